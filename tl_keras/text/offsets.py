"""Tokens of texts with their places in *Unicode characters of the text as it was given*, in graph; decomposed Hangul composed before.

An encoder whose vocabulary has whole syllables knows nothing of their parts: `한` of three jamo would be an unknown token.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text

# The jamo of which syllables are composed. Only texts that hold some are touched: of others, NFC would change what a tokenizer was
# made for (decomposed Latin letters, say).
_HAS_JAMO = r"(?s).*[\x{1100}-\x{11FF}].*"


def compose(texts: tf.Tensor) -> tf.Tensor:
    """Texts with their Hangul composed.

    Args:
        texts: UTF-8 string `[batch]`.

    Example:
        >>> import unicodedata
        >>> compose(tf.constant([unicodedata.normalize("NFD", "한글"), "é"])).numpy()[0].decode() == "한글"
        True
    """
    decomposed = tf.strings.regex_full_match(texts, _HAS_JAMO)
    return tf.where(decomposed, tf_text.normalize_utf8(tf.where(decomposed, texts, ""), "NFC"), texts)


def places_before_composing(texts: tf.Tensor, places: list[tf.RaggedTensor]) -> list[tf.RaggedTensor]:
    """Where characters of composed texts stand in the texts as they were given.

    Args:
        texts: UTF-8 string `[batch]`, before `compose`.
        places: int32, ragged `[batch, (tokens)]` each: numbers of characters in the composed texts, the one behind the last included.

    Returns:
        The same for the texts as they were given.
    """
    decomposed = tf.strings.regex_full_match(texts, _HAS_JAMO)
    composed, offsets = tf_text.normalize_utf8_with_offsets_map(tf.where(decomposed, texts, ""), "NFC")
    composed = tf.where(decomposed, composed, texts)
    composed_bytes, composed_rows = _byte_places(composed)
    given_bytes, given_rows = _byte_places(texts)
    size = tf.cast(tf.strings.length(texts), tf.int64)
    before = tf.cumsum(size + 1, exclusive=True)  # of each text, all set one after another; no two places are the same
    marks = given_bytes.flat_values + tf.gather(before, given_bytes.value_rowids())
    found = []
    for place in places:
        rows = place.value_rowids()
        number = tf.cast(place.flat_values, tf.int64) + tf.gather(composed_rows, rows)
        at = tf.gather(composed_bytes.flat_values, number)
        # The op wants a place in every text, so each gets one more.
        padded = tf.concat([tf.zeros([place.nrows(), 1], tf.int64), place.with_flat_values(at)], axis=1)
        source = tf_text.find_source_offsets(offsets, padded)[:, 1:].flat_values
        at = tf.where(tf.gather(decomposed, rows), tf.cast(source, tf.int64), at)
        char = tf.searchsorted(marks, at + tf.gather(before, rows), side="left", out_type=tf.int64)
        found.append(place.with_flat_values(tf.cast(char - tf.gather(given_rows, rows), place.dtype)))
    return found


def _byte_places(texts: tf.Tensor) -> tuple[tf.RaggedTensor, tf.Tensor]:
    """The byte at which each character begins, and the one behind the last; and where each text begins among them."""
    _, starts = tf.strings.unicode_split_with_offsets(texts, "UTF-8", errors="replace")
    size = tf.cast(tf.strings.length(texts), tf.int64)
    places = tf.concat([starts, size[:, tf.newaxis]], axis=1)
    return places, places.row_starts()


_SYLLABLES = [chr(code) for code in range(0xAC00, 0xD7A4)]


def wants_syllables(tokenize, unknown_id: int) -> bool:
    """Whether a tokenizer knows Hangul better by syllables than by their parts, found by asking for each of them.

    Args:
        tokenize: strings `[batch]` -> ids, ragged.
        unknown_id: of the unknown token.
    """
    known, sizes = [], []
    for texts in (_SYLLABLES, [unicodedata.normalize("NFD", syllable) for syllable in _SYLLABLES]):
        ids = tokenize(tf.constant(texts))
        while ids.ragged_rank > 1:
            ids = ids.merge_dims(-2, -1)
        unknown = tf.reduce_any(ids == tf.cast(unknown_id, ids.dtype), axis=1)
        known.append(int(np.count_nonzero(~unknown.numpy())))
        sizes.append(int(tf.size(ids.flat_values)))
    return known[0] > known[1] or (known[0] == known[1] > 0 and sizes[0] < sizes[1])


def lower_letters(texts: tf.Tensor) -> tf.Tensor:
    """UTF-8 strings in lower case, each character by itself.

    Two letters are seen to first, because their lower case depends on the computer's language or on the neighbours.
    """
    for upper, lower in (("I", "i"), ("Σ", "σ")):
        texts = tf.strings.regex_replace(texts, upper, lower)
    return tf.strings.lower(texts, encoding="utf-8")


# The same characters for which Python's str.isspace is true.
_WHITE_SPACE = r"[\t-\r\x{1C}-\x{1F}\x{85}\p{Z}]"
_MARK = r"\p{M}"
# What SentencePiece's normalising (nmt_nfkc) makes a blank of, besides white space.
_BLANK = r"[\t-\r\x{1C}-\x{1F}\x{85}\p{Z}\x{200B}\x{200E}\x{200F}\x{2581}\x{FEFF}\x{FFFD}]"


class Tokens(NamedTuple):
    """Tokens of a batch of texts: int32, ragged `[batch, (tokens)]` each.

    Attributes:
        ids: in the encoder's vocabulary, special tokens not among them.
        starts: first character of each token in its text.
        ends: last character of each token, plus one. `text[start:end]` is the token's surface.
        word_starts: first character of the white-space separated word that the token begins in.
        word_ends: last character of that word, plus one.
    """

    ids: tf.RaggedTensor
    starts: tf.RaggedTensor
    ends: tf.RaggedTensor
    word_starts: tf.RaggedTensor
    word_ends: tf.RaggedTensor


class OffsetTokenizer(tf.Module):
    """Strings to tokens with character offsets, whatever tokenizer is behind it.

    Tokenizers count bytes, some in the text as given, some in the text as they normalised it, where `ﬁ` has become `fi` and `é`
    has lost its accent. Both are brought back to characters of the text as given. A token that is part of one character (`ss`
    of `ß`, a jamo of a Hangul syllable) gets the whole character. Combining marks that the tokenizer dropped stay with their
    letter, so that no token ends between a letter and its accent. Where a token begins with blanks (SentencePiece's "▁word" does),
    they are left out; one that is nothing but blanks ("▁") gets the character behind them, which it belongs to.

    Args:
        tokenize: strings `[batch]` -> ids, first byte and last byte + 1 of each token, ragged `[batch, (tokens)]` or
            `[batch, (words), (tokens)]`.
        normalize: None where the bytes are those of the text as given; else what the tokenizer does to strings `[n]` before it
            counts. It must treat each character by itself.
        tracked: what has to be saved with it (a loaded module, vocabulary tables).
        unknown_id: of the unknown token, where its end is not to be trusted: tensorflow_text's WordPiece tokens give an unknown token
            that stands for a word of more than 100 bytes (12 Hangul syllables, decomposed) the length of `[UNK]`.
        composes: compose decomposed Hangul before it is tokenized; places are those in the text as given all the same.
    """

    def __init__(
        self,
        tokenize: Callable,
        normalize: Callable | None = None,
        tracked=None,
        unknown_id: int | None = None,
        composes: bool = False,
    ):
        super().__init__(name="offset_tokenizer")
        self._tokenize = tokenize
        self._normalize = normalize
        self._tracked = tracked
        self._unknown_id = unknown_id
        self._composes = composes

    def __call__(self, texts: tf.Tensor) -> Tokens:
        """Split texts into tokens.

        Args:
            texts: UTF-8 string `[batch]`.
        """
        texts = tf.convert_to_tensor(texts, tf.string)
        if not self._composes:
            return self._tokens(texts)
        ids, *places = self._tokens(compose(texts))
        return Tokens(ids, *places_before_composing(texts, places))

    def _tokens(self, texts: tf.Tensor) -> Tokens:
        ids, begin, end = (_merge_words(part) for part in self._tokenize(texts))
        chars, byte_starts = tf.strings.unicode_split_with_offsets(texts, "UTF-8", errors="replace")
        limits, text_shifts = self._limits(texts, chars, byte_starts)
        rows = ids.value_rowids()
        shift = tf.gather(text_shifts, rows)
        row_first = tf.gather(chars.row_starts(), rows)
        row_limit = tf.gather(chars.row_limits(), rows)
        # From here on, characters are counted through the whole batch. A character's limit is where its bytes end, so the one
        # that holds byte b is the first whose limit is larger; dropped characters have no bytes and are passed over.
        begin = tf.cast(begin.flat_values, tf.int64) + shift
        end = tf.cast(end.flat_values, tf.int64) + shift
        first = tf.searchsorted(limits, begin, side="right", out_type=tf.int64)
        limit = tf.searchsorted(limits, end - 1, side="right", out_type=tf.int64) + 1
        first = _behind_blanks(chars.flat_values, first, row_limit)
        first = tf.minimum(first, row_limit - 1)
        limit = tf.clip_by_value(limit, first + 1, row_limit)
        next_first = tf.concat([first, [tf.size(chars.flat_values, tf.int64)]], axis=0)[1:]
        limit = _with_marks(chars.flat_values, limit, row_limit, next_first)
        word_first, word_limit = _words_around(chars.flat_values, first, row_first, row_limit)
        if self._unknown_id is not None:
            # An unknown token is a whole word: what follows it without white space and is no token belongs to it.
            reach = tf.maximum(limit, tf.minimum(word_limit, next_first))
            limit = tf.where(tf.cast(ids.flat_values, tf.int32) == self._unknown_id, reach, limit)

        def per_text(values):
            return ids.with_flat_values(tf.cast(values - row_first, tf.int32))

        return Tokens(
            ids.with_flat_values(tf.cast(ids.flat_values, tf.int32)),
            per_text(first),
            per_text(limit),
            per_text(word_first),
            per_text(word_limit),
        )

    def _limits(self, texts, chars, byte_starts):
        """Where each character's bytes end, all texts set one after another, and where each text begins there."""
        if self._normalize is None:
            size = tf.cast(tf.strings.length(texts), tf.int64)
            following = tf.concat([byte_starts, size[:, tf.newaxis]], axis=1)[:, 1:].flat_values
            sizes = following - byte_starts.flat_values
        else:
            sizes = tf.cast(tf.strings.length(self._normalize(chars.flat_values)), tf.int64)
        limits = tf.cumsum(sizes)
        before = tf.concat([tf.zeros([1], tf.int64), limits], axis=0)
        return limits, tf.gather(before, chars.row_starts())


def _merge_words(part: tf.RaggedTensor) -> tf.RaggedTensor:
    while part.ragged_rank > 1:
        part = part.merge_dims(-2, -1)
    return part


def _with_marks(chars, limit, row_limit, next_first):
    """Move limits behind the combining marks that follow, as far as the next token."""
    others = tf.where(~tf.strings.regex_full_match(chars, _MARK))[:, 0]
    total = tf.size(chars, out_type=tf.int64)
    stops = tf.concat([others, [total]], axis=0)
    behind = tf.gather(stops, tf.searchsorted(others, limit, side="left"))
    return tf.minimum(tf.minimum(behind, row_limit), tf.maximum(next_first, limit))


def _behind_blanks(chars, place, row_limit):
    """Move places to the next character that is no blank, if there is one in the text."""
    others = tf.where(~tf.strings.regex_full_match(chars, _BLANK))[:, 0]
    total = tf.size(chars, out_type=tf.int64)
    found = tf.gather(tf.concat([others, [total]], axis=0), tf.searchsorted(others, place, side="left"))
    return tf.where(found < row_limit, found, place)


def _words_around(chars, place, row_first, row_limit):
    """First character and limit of the white-space separated word at each place."""
    spaces = tf.where(tf.strings.regex_full_match(chars, _WHITE_SPACE))[:, 0]
    total = tf.size(chars, out_type=tf.int64)
    number = tf.searchsorted(spaces, place, side="left")
    before = tf.gather(tf.concat([[tf.constant(-1, tf.int64)], spaces], axis=0), number)
    after = tf.gather(tf.concat([spaces, [total]], axis=0), number)
    return tf.maximum(before + 1, row_first), tf.minimum(after, row_limit)
