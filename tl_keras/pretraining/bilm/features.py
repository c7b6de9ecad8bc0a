"""What the biLM reads of a word: its characters, or its number; looked up for ids while training, for strings in the export."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tl_keras.pretraining.bilm.char_cnn import PADDING, character_ids, end_ids, word_bytes
from tl_keras.pretraining.bilm.model import Bilm
from tl_keras.pretraining.bilm.words import BEGIN, END, UNKNOWN, Lexicon

_WORDS_AT_ONCE = 100_000


class LexiconFeatures:
    """Ids of a lexicon -> features; the bytes of all words lie in one table.

    Args:
        lexicon: the words.
        max_chars: characters of a word, its two marks included; None where words are read by number.
    """

    def __init__(self, lexicon: Lexicon, max_chars: int | None):
        self.max_chars = max_chars
        if max_chars is not None:
            words = lexicon.vocabulary
            parts = [
                word_bytes(tf.constant(words[start : start + _WORDS_AT_ONCE]), max_chars).numpy()
                for start in range(0, len(words), _WORDS_AT_ONCE)
            ]
            self.bytes = tf.constant(np.concatenate(parts))

    def __call__(self, ids: tf.Tensor) -> tf.Tensor:
        """Int32 `[words]` -> int32 `[words, characters]`, or the ids themselves."""
        if self.max_chars is None:
            return ids
        chars = character_ids(tf.gather(self.bytes, ids))
        ends = tf.gather(end_ids(self.max_chars), tf.minimum(ids, END))
        return trim(tf.where((ids <= END)[:, tf.newaxis], ends, chars))


class StringFeatures(tf.Module):
    """Strings -> features, as part of a SavedModel.

    Args:
        words: those that are known by number; None where words are read by their characters.
        max_chars: characters of a word, its two marks included.
    """

    def __init__(self, words: list[str] | None, max_chars: int):
        super().__init__(name="features")
        self.max_chars, self.table = max_chars, None
        if words is not None:
            initializer = tf.lookup.KeyValueTensorInitializer(
                tf.constant(words), tf.range(len(words), dtype=tf.int64), tf.string, tf.int64
            )
            self.table = tf.lookup.StaticHashTable(initializer, default_value=UNKNOWN)

    def __call__(self, words: tf.Tensor) -> tf.Tensor:
        """String `[words]` -> features of the two ends of a text, and of these words behind them."""
        if self.table is not None:
            ends = tf.constant([BEGIN, END])
            return tf.concat([ends, tf.cast(self.table.lookup(words), tf.int32)], axis=0)
        chars = character_ids(word_bytes(words, self.max_chars))
        return trim(tf.concat([end_ids(self.max_chars), chars], axis=0))


def trim(chars: tf.Tensor) -> tf.Tensor:
    """Cut the padding that all words share."""
    longest = tf.reduce_max(tf.reduce_sum(tf.cast(chars > PADDING, tf.int32), axis=1))
    return chars[:, :longest]


def vectors_of_ids(model: Bilm, features: Callable[[tf.Tensor], tf.Tensor], ids: tf.Tensor) -> tf.Tensor:
    """Word vectors of a batch; a word that stands there many times is worked out once.

    Args:
        model: The biLM.
        features: Of ids `[words]`.
        ids: int32 `[batch, length]`.

    Returns:
        float32 `[batch, length, width]`.
    """
    distinct, places = tf.unique(tf.reshape(ids, [-1]))
    return tf.gather(model.word_vectors(features(distinct)), tf.reshape(places, tf.shape(ids)))
