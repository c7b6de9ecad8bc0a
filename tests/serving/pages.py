"""Models for the page, which answer the same whatever they are asked: by hand, without training."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tl_keras.serving.exported import ExportedClassifier
from tl_keras.serving.exported_answerer import Answerer
from tl_keras.serving.exported_similarity import Regressor, TextEncoder
from tl_keras.serving.exported_tagger import Tagger
from tl_keras.serving.index import TextIndex


def classifier(folder) -> ExportedClassifier:
    """Every character halves the probability of being short."""
    module = tf.Module()

    def serve(text):
        short = tf.pow(2.0, -tf.cast(tf.strings.length(text, unit="UTF8_CHAR"), tf.float32))
        return {"scores": tf.stack([short, 1 - short], axis=1)}

    module.serve = tf.function(serve, input_signature=[tf.TensorSpec([None], tf.string, "text")])
    module.class_names = tf.function(lambda: tf.constant(["short", "긴 글"]), input_signature=[])
    module.multi_label = tf.function(lambda: tf.constant(False), input_signature=[])
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})
    return ExportedClassifier(folder)


def tagger() -> Tagger:
    """The first two characters are a person, the fourth is a place."""

    def spans(texts):
        rows = len(texts)
        return {
            "starts": tf.constant([[0, 3]] * rows),
            "ends": tf.constant([[2, 4]] * rows),
            "labels": tf.constant([["PER", "LOC"]] * rows),
            "scores": tf.constant([[0.9, 0.5]] * rows),
            "count": tf.constant([2] * rows),
        }

    return Tagger(spans, ("LOC", "PER"), "bio")


def answerer() -> Answerer:
    """The first four characters, or less likely the first two; nothing if the question is "?"."""

    def answers(question, context):
        none = (question == "?").numpy()
        return {
            "starts": tf.constant(np.where(none[:, None], -1, [[0, 0]])),
            "ends": tf.constant(np.where(none[:, None], -1, [[4, 2]])),
            "log_scores": tf.constant(np.log([[0.5, 0.25]] * len(none))),
            "null_log_score": tf.constant(np.log([0.125] * len(none))),
        }

    return Answerer(answers, True, 0.0)


def encoder() -> TextEncoder:
    """Vectors of the number of letters a and b."""

    def vectors(texts):
        return tf.constant([[text.count(b"a"), text.count(b"b")] for text in texts.numpy()], tf.float32)

    return TextEncoder(vectors, 2, "letters")


def regressor() -> Regressor:
    """Four, on a scale from 0 to 5, of pairs."""
    return Regressor(lambda batch: tf.fill([len(batch["text"])], 4.0), (0.0, 5.0), True, "four")


def index() -> TextIndex:
    return TextIndex.build(encoder(), ["aaa", "abab", "bbb"])
