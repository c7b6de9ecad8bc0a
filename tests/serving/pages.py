"""Models for the page, which answer the same whatever they are asked: by hand, without training."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tl_keras.serving.answerer import Answerer
from tl_keras.serving.index import TextIndex
from tl_keras.serving.scorers import Classifier, Regressor, SentenceEncoder
from tl_keras.serving.tagger import Tagger


def classifier() -> Classifier:
    """Every character halves the probability of being short."""

    def scores(batch):
        short = tf.pow(2.0, -tf.cast(tf.strings.length(batch["text"], unit="UTF8_CHAR"), tf.float32))
        return tf.stack([short, 1 - short], axis=1)

    return Classifier(scores, ("short", "긴 글"), False, False, "by length")


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


def encoder() -> SentenceEncoder:
    """Vectors of the number of letters a and b."""

    def vectors(texts):
        return tf.constant([[text.count(b"a"), text.count(b"b")] for text in texts.numpy()], tf.float32)

    return SentenceEncoder(vectors, 2, "letters")


def regressor() -> Regressor:
    """Four, on a scale from 0 to 5, of pairs."""
    return Regressor(lambda batch: tf.fill([len(batch["text"])], 4.0), (0.0, 5.0), True, "four")


def index() -> TextIndex:
    return TextIndex.build(encoder(), ["aaa", "abab", "bbb"])
