"""What tokenizers do to letters before they split texts."""

from __future__ import annotations

import tensorflow as tf


def lower_letters(texts: tf.Tensor) -> tf.Tensor:
    """UTF-8 strings in lower case, each character by itself.

    Two letters are seen to first, because their lower case depends on the computer's language or on the neighbours.
    """
    for upper, lower in (("I", "i"), ("Σ", "σ")):
        texts = tf.strings.regex_replace(texts, upper, lower)
    return tf.strings.lower(texts, encoding="utf-8")
