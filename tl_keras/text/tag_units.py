"""What a tag belongs to: units of one or several tokens, and the tags that labelled spans give them."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from tl_keras.data.tagging import TagSet
from tl_keras.text.offsets import Tokens
from tl_keras.text.word_rules import ALONE, PAGE, character_tables


class Units(NamedTuple):
    """Units of a batch of texts.

    Attributes:
        first: bool `[tokens]`, through the whole batch: whether the token is the first of its unit, which carries the tag.
        rows: int64 `[units]`: the text each unit is in.
        starts: int32 `[units]`: its first character in the text.
        ends: int32 `[units]`: its last character, plus one.
        glued: bool `[units]`: whether it stands in the same white-space separated word as the unit before.
    """

    first: tf.Tensor
    rows: tf.Tensor
    starts: tf.Tensor
    ends: tf.Tensor
    glued: tf.Tensor


def make_units(tokens: Tokens, tag_set: TagSet, texts: tf.Tensor) -> Units:
    """Join tokens to units: words, or single tokens.

    Words end at white space and at punctuation, each mark being a unit by itself: in CoNLL files `Seoul .` are two words, in the text that
    somebody writes they are one, and an entity ends before the mark in both. Tokens that share a character (jamo of one Hangul syllable)
    are one unit in any case, so that spans never overlap.

    Args:
        tokens: of a batch of texts.
        tag_set: its `tokens` says which.
        texts: string `[batch]`, what the tokens are of.
    """
    rows = tokens.ids.value_rowids()
    starts, ends = tokens.starts.flat_values, tokens.ends.flat_values
    word_starts, word_ends = tokens.word_starts.flat_values, tokens.word_ends.flat_values
    new_word = _changes(rows) | _changes(word_starts)
    ends_before, starts_before = _one_before(ends), _one_before(starts)
    apart = starts >= ends_before
    if tag_set.tokens == "first":
        mark_at_start, mark_at_end = _are_marks(texts, rows, starts), _are_marks(texts, rows, ends - 1)
        first = new_word | (apart & (ends_before > starts_before) & (mark_at_start | _one_before(mark_at_end)))
        # What the tokenizer dropped at either end of a word belongs to it all the same.
        last_in_word = tf.concat([new_word[1:], [True]], axis=0)[: tf.size(starts)]
        starts, ends = tf.where(new_word, word_starts, starts), tf.where(last_in_word, word_ends, ends)
    else:
        first = _changes(rows) | apart
    unit = tf.cumsum(tf.cast(first, tf.int32)) - 1
    count = tf.reduce_sum(tf.cast(first, tf.int32))
    return Units(
        first,
        tf.boolean_mask(rows, first),
        tf.boolean_mask(starts, first),
        # The number of units is the last id plus one: unit ids rise by one.
        tf.math.unsorted_segment_max(ends, unit, count),
        tf.boolean_mask(~new_word, first),
    )


def plain_begins(tags: tf.Tensor, units: Units) -> tf.Tensor:
    """Where spans of plain tags begin: at each unit with a tag, but parts of one word that have the same tag are one span.

    Args:
        tags: int `[units]`, 0 for none.
        units: of the batch.

    Returns:
        bool `[units]`.
    """
    return (tags > 0) & ~(units.glued & ~_changes(tags))


def tags_of_units(units: Units, spans: tf.RaggedTensor, tag_set: TagSet) -> tf.Tensor:
    """The tag of each unit: that of the first span which touches it.

    Args:
        units: of a batch of texts.
        spans: int32, ragged `[batch, (spans), 3]`: start, end and number of the label, in order, without overlap.
        tag_set: gives the tags their numbers.

    Returns:
        int32 `[units]`.
    """
    span_rows = spans.value_rowids()
    values = tf.cast(spans.flat_values, tf.int64)
    # Through the whole batch: texts are set far enough apart for no span to reach the next.
    stride = tf.cast(
        1
        + tf.maximum(
            tf.reduce_max(tf.concat([units.ends, [0]], 0)),
            tf.cast(tf.reduce_max(tf.concat([values[:, 1], [0]], 0)), tf.int32),
        ),
        tf.int64,
    )
    span_starts = values[:, 0] + span_rows * stride
    span_ends = values[:, 1] + span_rows * stride
    unit_starts = tf.cast(units.starts, tf.int64) + units.rows * stride
    unit_ends = tf.cast(units.ends, tf.int64) + units.rows * stride
    # The first span that ends behind the unit's start; it touches the unit if it begins before the unit's end.
    number = tf.searchsorted(span_ends, unit_starts, side="right", out_type=tf.int64)
    padded = tf.concat([span_starts, [tf.int64.max]], axis=0)
    touched = tf.gather(padded, number) < unit_ends
    labels = tf.gather(tf.concat([values[:, 2], [0]], axis=0), number)
    if tag_set.scheme == "plain":
        return tf.cast(tf.where(touched, 1 + labels, 0), tf.int32)
    inside = touched & ~_changes(number) & tf.concat([[False], touched[:-1]], axis=0)[: tf.size(touched)]
    return tf.cast(tf.where(touched, 1 + 2 * labels + tf.cast(inside, tf.int64), 0), tf.int32)


def _are_marks(texts: tf.Tensor, rows: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
    """Whether the characters at some places (int32 `[n]`, in texts number `rows`) are punctuation or symbols."""
    chars = tf.strings.unicode_decode(texts, "UTF-8", errors="replace")
    pages, kinds, _ = (tf.constant(table) for table in character_tables())
    at = tf.cast(places, tf.int64) + tf.gather(chars.row_starts(), rows)
    # A place behind the last text's end, or before the first's beginning, is nowhere: no mark.
    codes = tf.concat([chars.flat_values, [ord(" ")]], axis=0)
    code = tf.gather(codes, tf.clip_by_value(at, 0, tf.size(codes, tf.int64) - 1))
    return tf.gather(kinds, tf.gather(pages, code // PAGE) * PAGE + code % PAGE) == ALONE


def _one_before(values: tf.Tensor) -> tf.Tensor:
    """Each value's predecessor; zero, or False, before the first."""
    return tf.concat([tf.zeros([1], values.dtype), values[:-1]], axis=0)[: tf.size(values)]


def _changes(values: tf.Tensor) -> tf.Tensor:
    """Whether each value differs from the one before; the first one does."""
    size = tf.size(values)
    return tf.concat([tf.ones([tf.minimum(size, 1)], tf.bool), values[1:] != values[:-1]], axis=0)
