"""What each command does, one module a task; `tl_keras.cli` puts them together. Importing them loads no TensorFlow."""
