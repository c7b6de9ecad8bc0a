"""Strings to the numbers of words, in graph, as `Preprocessor` and `OffsetTokenizer` do for TF Hub's encoders; which words have one."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text

from tl_keras.encoders.word_vectors.word_vectors import WordVectors
from tl_keras.errors import UserError
from tl_keras.text.offsets import Tokens, _words_around
from tl_keras.text.words import WordTokenizer, lower_words

MAX_WORDS = 100_000
"""Words of the vectors' file that a model gets at most, beyond those of its training texts."""
RANDOM_RANGE = 0.25
"""Half the width of the interval that random vectors are drawn from.

Source: Kim, "Convolutional Neural Networks for Sentence Classification", https://arxiv.org/abs/1408.5882, section 3.2.
"""


@dataclasses.dataclass(frozen=True, eq=False)
class Vocabulary:
    """The words of a model.

    Args:
        words: `n` words; the first ones can be learned.
        learned: how many these are. The others are not in the training texts, so nothing would ever move them; kept apart, they cost
            the optimizer nothing.
        width: numbers in a vector.
        matrix: float32 `[n, width]`, the vectors to begin with; None once a model has them.
        unknown: float32 `[width]`, what the vector of unknown words begins with; None for zeros.
    """

    words: tuple[str, ...]
    learned: int
    width: int
    matrix: np.ndarray | None = None
    unknown: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.words)


def choose_words(
    vectors: WordVectors, counts: collections.Counter[str] | None, min_count: int = 2, max_words: int = MAX_WORDS
) -> Vocabulary:
    """The words of a model that begins with pre-trained vectors.

    Args:
        vectors: those to begin with.
        counts: how often each word occurs in the training texts; None where these are not known, so that all words can be learned.
        min_count: words that occur less often keep their vectors as they are: from one place nothing general is learned.
        max_words: of the file, the first so many are taken along for the texts to come, beside those of the training texts.

    Raises:
        UserError: no word of the texts has a vector.
    """
    unknown = vectors.matrix.mean(axis=0)
    if counts is None:
        part = vectors.most_frequent(max_words)
        return Vocabulary(part.words, len(part), part.width, part.matrix, unknown)
    found = {word: vector for word in counts if (vector := vectors.vector(word)) is not None}
    if counts and not found:
        most = ", ".join(word for word, _ in counts.most_common(5))
        raise UserError(
            f"none of the {len(counts):,} words of the texts ({most}, ...) has a vector in {vectors.source}; are the vectors of this "
            "language, and of texts split and written small as these are?"
        )
    learned = [word for word, count in counts.most_common() if count >= min_count and word in found]
    chosen = dict.fromkeys(learned)
    chosen.update((word, None) for word in vectors.words[:max_words])
    chosen.update((word, None) for word in found)
    words = tuple(chosen)
    matrix = np.stack([found[word] if word in found else vectors.matrix[vectors.rows[word]] for word in words])
    return Vocabulary(words, len(learned), vectors.width, matrix, unknown)


def random_words(counts: collections.Counter[str], width: int, min_count: int = 2, seed: int = 0) -> Vocabulary:
    """The words of a model that begins with random vectors.

    Args:
        counts: how often each word occurs in the training texts.
        width: numbers in a vector.
        min_count: words that occur less often count as unknown, so that the model learns what an unknown word says.
        seed: of the vectors.

    Raises:
        UserError: no word occurs so often.
    """
    words = tuple(word for word, count in counts.most_common() if count >= min_count)
    if not words:
        raise UserError(
            f"no word occurs {min_count} times in the texts, so there is nothing to learn vectors for; choose min_count=1, or "
            "give more texts."
        )
    random = np.random.default_rng(seed)
    matrix = random.uniform(-RANDOM_RANGE, RANDOM_RANGE, (len(words), width)).astype("float32")
    return Vocabulary(words, len(words), width, matrix)


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
