"""Texts to words with their places in *Unicode characters of the text as it was given*, in graph."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf
import tensorflow_text as tf_text

from tl_keras.text.word_rules import ALONE, IGNORED, PAGE, SPACE, WORD, character_tables


class Words(NamedTuple):
    """Words of a batch of texts: ragged `[batch, (words)]` each.

    Attributes:
        tokens: string, UTF-8.
        starts: int32, the first character of each word in its text.
        ends: int32, its last character, plus one. `text[start:end]` is the word as it was written.
    """

    tokens: tf.RaggedTensor
    starts: tf.RaggedTensor
    ends: tf.RaggedTensor


class WordTokenizer(tf.Module):
    """Strings to words, by the rules of `tl_keras.text.word_rules`: words and punctuation apart, Hangul syllables whole.

    It gives the words that `split_words` gives in Python, and holds no variables: in `tf.data` and in exports it is a few
    operations of TensorFlow and one of tensorflow_text (`normalize_utf8`).

    Args:
        lower_case: whether words are made small, character by character.

    Example:
        >>> words = WordTokenizer(lower_case=True)(["Don't go", "영화!"])
        >>> [[word.decode() for word in row] for row in words.tokens.to_list()]
        [['don', "'", 't', 'go'], ['영화', '!']]
        >>> words.starts.to_list(), words.ends.to_list()
        ([[0, 3, 4, 6], [0, 2]], [[3, 4, 5, 8], [2, 3]])
    """

    def __init__(self, lower_case: bool = False):
        super().__init__(name="word_tokenizer")
        self.lower_case = bool(lower_case)

    def tokenize(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """The words alone.

        Args:
            texts: UTF-8 string `[batch]`.

        Returns:
            String, ragged `[batch, (words)]`.
        """
        return self(texts).tokens

    def __call__(self, texts: tf.Tensor) -> Words:
        """Split texts into words.

        Args:
            texts: UTF-8 string `[batch]`; bytes that are no UTF-8 count as one symbol each.
        """
        texts = tf.convert_to_tensor(texts, tf.string)
        chars = tf.strings.unicode_decode(texts, "UTF-8", errors="replace")
        codes, rows = chars.flat_values, chars.value_rowids()
        pages, kinds, lower = (tf.constant(table) for table in character_tables())
        entries = tf.gather(pages, codes // PAGE) * PAGE + codes % PAGE
        kind = tf.gather(kinds, entries)
        places = tf.range(tf.size(codes, tf.int64)) - tf.gather(chars.row_starts(), rows)
        if self.lower_case:
            codes += tf.gather(lower, entries)
        seen = kind != IGNORED
        codes, rows, kind, places = (tf.boolean_mask(values, seen) for values in (codes, rows, kind, places))
        # A word begins at each character that stands alone, and where letters begin.
        letters = kind == WORD
        goes_on = tf.concat([[False], letters[:-1] & (rows[1:] == rows[:-1])], axis=0)[: tf.size(kind)]
        begins = (kind == ALONE) | (letters & ~goes_on)
        word_of = tf.cumsum(tf.cast(begins, tf.int64)) - 1
        kept = kind != SPACE
        codes, places, word_of = (tf.boolean_mask(values, kept) for values in (codes, places, word_of))
        word_rows = tf.boolean_mask(rows, begins)
        spelled = tf.RaggedTensor.from_value_rowids(codes, word_of, nrows=tf.size(word_rows, tf.int64), validate=False)
        tokens = tf_text.normalize_utf8(tf.strings.unicode_encode(spelled, "UTF-8"), "NFC")
        places = tf.cast(places, tf.int32)

        def per_text(values):
            return tf.RaggedTensor.from_value_rowids(values, word_rows, nrows=chars.nrows(), validate=False)

        # Words are never empty, so that each has a first and a last character.
        return Words(
            per_text(tokens),
            per_text(tf.gather(places, spelled.row_starts())),
            per_text(tf.gather(places, spelled.row_limits() - 1) + 1),
        )


def lower_words(words: tf.Tensor) -> tf.Tensor:
    """Words in small letters, by the same rules.

    Args:
        words: string `[n]`, from a `WordTokenizer`.

    Example:
        >>> lower_words(["ΣΟΦΟΣ", "İ", "영화"]).numpy().tolist() == ["σοφοσ".encode(), b"i", "영화".encode()]
        True
    """
    pages, _, lower = (tf.constant(table) for table in character_tables())
    chars = tf.strings.unicode_decode(words, "UTF-8", errors="replace")
    codes = chars.flat_values
    codes += tf.gather(lower, tf.gather(pages, codes // PAGE) * PAGE + codes % PAGE)
    return tf_text.normalize_utf8(tf.strings.unicode_encode(chars.with_flat_values(codes), "UTF-8"), "NFC")
