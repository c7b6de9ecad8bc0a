"""Strings to the numbers of words, in graph: what `Preprocessor` and `OffsetTokenizer` are for encoders in TF Hub's format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text

from tl_keras.text.offsets import Tokens, _words_around
from tl_keras.text.words import WordTokenizer, lower_words

PADDING, UNKNOWN, SEPARATOR, FIRST_WORD = 0, 1, 2, 3
"""Numbers of what is no word of the vocabulary; its words follow."""


class WordPreprocessor(tf.Module):
    """Splits texts into words, and numbers these.

    Its tokens are the words themselves; they get their numbers when they are packed. There is no `[CLS]`, and between the two texts of
    a pair stands one separator.

    Args:
        words: of the vocabulary, in order.
        lower_case: whether the vocabulary is in small letters.
        gives_words: whether the packed batch also holds the words, as they were written, for a model that reads letters.
        words_lower_case: whether these are in small letters.
    """

    special_tokens_around = (0, 0)
    separators = 1
    prompts: ClassVar[dict[str, str]] = {}
    prompt_ids: ClassVar[set[int]] = set()

    def __init__(
        self,
        words: Sequence[str],
        lower_case: bool = False,
        gives_words: bool = False,
        words_lower_case: bool = False,
    ):
        super().__init__(name="word_preprocessor")
        self.gives_words = gives_words
        self.tokenizer = WordTokenizer(lower_case=words_lower_case if gives_words else lower_case)
        self._lower_later = lower_case and not self.tokenizer.lower_case
        with tf.init_scope():
            # A table of no keys is not allowed; an empty word occurs in no text.
            keys = tf.constant(list(words) or [""], tf.string)
            numbers = tf.range(FIRST_WORD, FIRST_WORD + tf.size(keys, tf.int64), dtype=tf.int64)
            initializer = tf.lookup.KeyValueTensorInitializer(keys, numbers)
            self.table = tf.lookup.StaticHashTable(initializer, default_value=UNKNOWN, name="words")

    def special_count(self, texts: int) -> int:
        """As of `tl_keras.text.preprocessor.Preprocessor`."""
        return self.separators * (texts - 1)

    @property
    def module(self) -> tf.Module:
        """What has to be saved with a model."""
        return self

    @property
    def special_tokens(self) -> dict[str, int]:
        """The numbers of what is no word, for code that asks."""
        return {"padding_id": PADDING, "unknown_id": UNKNOWN, "end_of_segment_id": SEPARATOR}

    @property
    def unknown_id(self) -> int:
        """The number of words that are not in the vocabulary."""
        return UNKNOWN

    def tokenize(self, texts: tf.Tensor, role: str | None = None) -> tf.RaggedTensor:
        """Split texts into words.

        Args:
            texts: string `[batch]`.
            role: makes no difference: there are no prompts.

        Returns:
            String, ragged `[batch, (words)]`.
        """
        return self.tokenizer.tokenize(texts)

    def number(self, words: tf.RaggedTensor) -> tf.RaggedTensor:
        """The numbers of words, int32, of the same shape."""
        flat = lower_words(words.flat_values) if self._lower_later else words.flat_values
        return words.with_flat_values(tf.cast(self.table.lookup(flat), tf.int32))

    def pack(self, segments: Sequence[tf.RaggedTensor], seq_length: int) -> dict[str, tf.Tensor]:
        """Number the words of one or two segments, cut to `seq_length`, pad.

        Of a pair, both texts are cut alike, and a separator is put between them.

        Args:
            segments: what `tokenize` returned, one entry for each segment; words may come grouped, ragged
                `[batch, (groups), (words)]`.
            seq_length: length of the result, in words.

        Returns:
            `input_word_ids` and `input_mask` (1 for words, 0 for padding), int32 `[batch, seq_length]`; with `gives_words` also
            `input_words`, string `[batch, seq_length]`, empty where there is no word.
        """
        segments = [segment.merge_dims(1, -1) if segment.ragged_rank > 1 else segment for segment in segments]
        if len(segments) > 1:
            segments = tf_text.RoundRobinTrimmer(seq_length - 1).trim(segments)
        words = [segment[:, :seq_length] for segment in segments]
        ids = [self.number(segment) for segment in words]
        if len(segments) > 1:
            rows = segments[0].nrows(out_type=tf.int64)
            between = tf.RaggedTensor.from_uniform_row_length(tf.fill([rows], SEPARATOR), 1)
            blank = tf.RaggedTensor.from_uniform_row_length(tf.fill([rows], ""), 1)
            ids, words = [ids[0], between, ids[1]], [words[0], blank, words[1]]
        ids, words = tf.concat(ids, axis=1), tf.concat(words, axis=1)
        shape = [None, seq_length]
        packed = {
            "input_word_ids": ids.to_tensor(PADDING, shape=shape),
            "input_mask": tf.ones_like(ids).to_tensor(0, shape=shape),
        }
        if self.gives_words:
            packed["input_words"] = words.to_tensor("", shape=shape)
        return packed


class WordOffsetTokenizer(tf.Module):
    """Words with their places in the text, for tagging.

    Args:
        preprocessor: whose words they are.
    """

    def __init__(self, preprocessor: WordPreprocessor):
        super().__init__(name="word_offset_tokenizer")
        self.tokenizer = preprocessor.tokenizer

    def __call__(self, texts: tf.Tensor) -> Tokens:
        """Split texts into words; `ids` are the words themselves, as `WordPreprocessor.pack` takes them.

        Args:
            texts: UTF-8 string `[batch]`.
        """
        texts = tf.convert_to_tensor(texts, tf.string)
        words = self.tokenizer(texts)
        chars = tf.strings.unicode_split(texts, "UTF-8", errors="replace")
        rows = words.tokens.value_rowids()
        row_first, row_limit = tf.gather(chars.row_starts(), rows), tf.gather(chars.row_limits(), rows)
        first = tf.cast(words.starts.flat_values, tf.int64) + row_first
        begin, end = _words_around(chars.flat_values, first, row_first, row_limit)

        def per_text(values):
            return words.tokens.with_flat_values(tf.cast(values - row_first, tf.int32))

        return Tokens(words.tokens, words.starts, words.ends, per_text(begin), per_text(end))


def count_known(preprocessor: WordPreprocessor, texts: Sequence[str]) -> tuple[np.ndarray, int]:
    """How many words each text has, int64 `[n]`, and how many of all are unknown."""
    words = preprocessor.tokenize(tf.constant(list(texts), tf.string))
    numbers = preprocessor.number(words).flat_values
    return words.row_lengths().numpy(), int(tf.reduce_sum(tf.cast(numbers == UNKNOWN, tf.int32)))
