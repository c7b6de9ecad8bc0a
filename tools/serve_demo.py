"""Classify texts with an exported classifier: TensorFlow alone, as a server would.

    python tools/serve_demo.py runs/demo-serving/1 "What a lovely evening." "Broke after a week."

Nothing of tl_keras and nothing of Keras is used here. `tensorflow_text` is imported for its ops, of which the tokenizer
inside the SavedModel is made.
"""

from __future__ import annotations

import sys

import tensorflow as tf
import tensorflow_text  # noqa: F401


def main(folder: str, texts: list[str]) -> None:
    """Load the SavedModel in `folder`, print label, score and text for each of `texts`."""
    classify = tf.saved_model.load(folder).signatures["serving_default"]
    answer = classify(text=tf.constant(texts))
    for text, label, score in zip(texts, answer["label"].numpy(), answer["score"].numpy(), strict=True):
        print(f"{label.decode():10} {score:.2f}  {text}")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(f"usage: python {sys.argv[0]} EXPORT_FOLDER TEXT [TEXT ...]")
    main(sys.argv[1], sys.argv[2:])
