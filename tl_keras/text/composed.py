"""Hangul that comes decomposed (Unicode's NFD, as macOS writes file names) composed before it is tokenized, in graph.

An encoder whose vocabulary has whole syllables knows nothing of their parts: `한` of three jamo would be an unknown token.
"""

from __future__ import annotations

import unicodedata

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
