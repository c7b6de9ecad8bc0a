"""What a tag belongs to, units of one or several tokens; the tags of labelled spans, and the likeliest spans of predicted tags."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
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


def allowed_transitions(tag_set: TagSet) -> np.ndarray:
    """Bool `[tags, tags]`: whether the second tag may follow the first. `I-X` follows only `B-X` and `I-X`.

    Example:
        >>> allowed_transitions(TagSet(("X",))).astype(int).tolist()  # from O, B-X, I-X to O, B-X, I-X
        [[1, 1, 0], [1, 1, 1], [1, 1, 1]]
    """
    count = len(tag_set.tags)
    allowed = np.ones((count, count), bool)
    if tag_set.scheme == "bio":
        for inside in range(2, count, 2):
            allowed[:, inside] = False
            allowed[[inside - 1, inside], inside] = True
    return allowed


def best_tags(probabilities: tf.Tensor, lengths: tf.Tensor, allowed: np.ndarray) -> tf.Tensor:
    """The sequence of tags with the largest product of probabilities among those that are allowed.

    Args:
        probabilities: float `[batch, length, tags]`.
        lengths: int `[batch]`; what is behind is ignored.
        allowed: bool `[tags, tags]`, from and to. A text begins as after tag 0 (`O`).

    Returns:
        int32 `[batch, length]`.

    Source: Viterbi, https://doi.org/10.1109/TIT.1967.1054010, with transitions of weight 0 or minus infinity.
    """
    likeliest = tf.argmax(probabilities, axis=-1, output_type=tf.int32)
    before = tf.pad(likeliest, [[0, 0], [1, 0]])[:, :-1]
    broken = ~tf.gather_nd(tf.constant(allowed), tf.stack([before, likeliest], axis=-1))
    broken &= tf.sequence_mask(lengths, tf.shape(likeliest)[1])
    # The likeliest tags one by one are the likeliest sequence, too, unless they break a rule; most texts break none.
    return tf.cond(tf.reduce_any(broken), lambda: _viterbi(probabilities, lengths, allowed), lambda: likeliest)


def _viterbi(probabilities, lengths, allowed) -> tf.Tensor:
    steps = tf.shape(probabilities)[1]
    batch = tf.shape(probabilities)[0]
    lengths = tf.cast(lengths, tf.int32)
    tags = allowed.shape[0]
    forbidden = tf.constant(np.where(allowed, 0.0, -1e9).astype("float32"))
    logs = tf.transpose(tf.math.log(tf.maximum(probabilities, 1e-9)), [1, 0, 2])
    same = tf.broadcast_to(tf.range(tags), [batch, tags])

    def forward(step, scores, came_from):
        paths = scores[:, :, tf.newaxis] + forbidden
        new = tf.reduce_max(paths, axis=1) + logs[step]
        # Only differences matter; without this, long texts would lose them to rounding.
        new -= tf.reduce_max(new, axis=1, keepdims=True)
        goes_on = (step < lengths)[:, tf.newaxis]
        pointers = tf.where(goes_on, tf.argmax(paths, axis=1, output_type=tf.int32), same)
        return step + 1, tf.where(goes_on, new, scores), came_from.write(step, pointers)

    start = tf.broadcast_to(tf.constant([[0.0] + [-1e9] * (tags - 1)]), [batch, tags])
    pointers = tf.TensorArray(tf.int32, size=steps, element_shape=[None, tags])
    _, scores, pointers = tf.while_loop(lambda step, *_: step < steps, forward, [0, start, pointers])
    last = tf.argmax(scores, axis=1, output_type=tf.int32)

    def backward(step, tag, chosen):
        return step - 1, tf.gather(pointers.read(step), tag, batch_dims=1), chosen.write(step, tag)

    chosen = tf.TensorArray(tf.int32, size=steps, element_shape=[None])
    _, _, chosen = tf.while_loop(lambda step, *_: step >= 0, backward, [steps - 1, last, chosen])
    return tf.transpose(chosen.stack())


def decode_spans(probabilities: tf.Tensor, units: Units, batch: tf.Tensor, tag_set: TagSet) -> dict[str, tf.Tensor]:
    """The spans that the tags of all units of a batch stand for.

    Args:
        probabilities: float `[units, tags]`.
        units: of the batch.
        batch: how many texts there are.
        tag_set: what the tags mean.

    Returns:
        `starts` and `ends`: int32 `[batch, most spans]`, characters of the text, -1 where there is no span; `labels`: string of that
        shape, "" where none; `scores`: float32, the mean probability of the tags of the span's units, 0 where none; `count`:
        int32 `[batch]`.
    """
    batch = tf.cast(batch, tf.int64)
    per_text = tf.RaggedTensor.from_value_rowids(probabilities, units.rows, nrows=batch)
    lengths = per_text.row_lengths()
    dense = tf.ensure_shape(per_text.to_tensor(), [None, None, len(tag_set.tags)])
    chosen = best_tags(dense, lengths, allowed_transitions(tag_set))
    tags = tf.boolean_mask(chosen, tf.sequence_mask(lengths, tf.shape(chosen)[1]))
    if tag_set.scheme == "plain":
        begins, labels = plain_begins(tags, units), tags
    else:
        begins, labels = tags % 2 == 1, (tags + 1) // 2
    inside = tags > 0
    span = tf.boolean_mask(tf.cumsum(tf.cast(begins, tf.int32)) - 1, inside)
    count = tf.reduce_sum(tf.cast(begins, tf.int32))
    sure = tf.gather(probabilities, tags, batch_dims=1)
    rows = tf.boolean_mask(units.rows, begins)

    def padded(values, default):
        return tf.RaggedTensor.from_value_rowids(values, rows, nrows=batch).to_tensor(default)

    ends = tf.math.unsorted_segment_max(tf.boolean_mask(units.ends, inside), span, count)
    scores = tf.math.unsorted_segment_mean(tf.boolean_mask(sure, inside), span, count)
    names = tf.constant(["", *tag_set.labels])
    return {
        "starts": padded(tf.boolean_mask(units.starts, begins), -1),
        "ends": padded(ends, -1),
        "labels": tf.gather(names, padded(tf.boolean_mask(labels, begins), 0)),
        "scores": padded(scores, 0.0),
        "count": tf.cast(tf.RaggedTensor.from_value_rowids(rows, rows, nrows=batch).row_lengths(), tf.int32),
    }
