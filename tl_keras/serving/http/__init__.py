"""A server for exports: TensorFlow Serving's REST interface, without Keras and without the builders."""
