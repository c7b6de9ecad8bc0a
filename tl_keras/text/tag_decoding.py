"""From probabilities of tags to labelled spans, in graph: the likeliest tags that follow from one another."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tl_keras.data.tagging import TagSet
from tl_keras.text.tag_units import Units, plain_begins


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
