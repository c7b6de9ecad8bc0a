"""From log-probabilities of starts and ends to the best answers of each question, in graph."""

from __future__ import annotations

import tensorflow as tf

from tl_keras.text.offsets import Tokens

IMPOSSIBLE = -1e9
"""The log-probability of places where no answer can begin or end; finite, so that sums and gradients stay finite."""


def best_in_windows(scores: tf.Tensor, max_answer_length: int, n_best: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The best spans of each window: start <= end, not longer than allowed, both in the context.

    Args:
        scores: log-probabilities of start and end, float `[windows, length, 2]`; `IMPOSSIBLE` outside the context. Place 0 (`[CLS]`)
            is no answer.
        max_answer_length: in tokens.
        n_best: how many.

    Returns:
        `(firsts, lasts, totals)`, `[windows, n_best]` each: places in the input, and the sum of both log-probabilities, which is
        below `IMPOSSIBLE / 2` where there are fewer.

    Example:
        >>> p = tf.math.log(tf.constant([[[0.1, 0.1], [0.1, 0.6], [0.6, 0.1], [0.2, 0.2]]]))
        >>> first, last, total = best_in_windows(p, max_answer_length=2, n_best=2)
        >>> first.numpy().tolist(), last.numpy().tolist(), [round(x, 2) for x in tf.exp(total)[0].numpy().tolist()]
        ([[2, 1]], [[3, 1]], [0.12, 0.06])
    """
    length = tf.shape(scores)[1]
    starts, ends = scores[:, 1:, 0], scores[:, 1:, 1]
    beyond = tf.pad(ends, [[0, 0], [0, max_answer_length]], constant_values=IMPOSSIBLE)
    spans = tf.stack([starts + beyond[:, k : k + length - 1] for k in range(max_answer_length)], axis=2)
    flat = tf.reshape(spans, [tf.shape(spans)[0], (length - 1) * max_answer_length])
    flat = tf.pad(flat, [[0, 0], [0, n_best]], constant_values=2 * IMPOSSIBLE)
    totals, places = tf.math.top_k(flat, n_best)
    firsts = 1 + places // max_answer_length
    return firsts, firsts + places % max_answer_length, totals


def best_of_questions(
    rows: tf.Tensor,
    firsts: tf.Tensor,
    lasts: tf.Tensor,
    totals: tf.Tensor,
    nulls: tf.Tensor,
    tokens: Tokens,
    n_best: int,
) -> dict[str, tf.Tensor]:
    """The best answers of each question over all windows of its context.

    Windows overlap, and several tokens may lie in one character (jamo of a syllable), so the same characters may be proposed
    more than once: the best score counts.

    Args:
        rows: int64 `[windows]`: the question of each window.
        firsts: int64 `[windows, k]`: first tokens of the spans proposed, counted in the context.
        lasts: int64 `[windows, k]`: their last tokens.
        totals: float `[windows, k]`: their scores; below `IMPOSSIBLE / 2` where there is no span.
        nulls: float `[windows]`: the score of "not in this window".
        tokens: of the contexts.
        n_best: how many answers of each question.

    Returns:
        `starts` and `ends`: int32 `[batch, n_best]`, characters of the context, -1 where there are fewer answers; `log_scores`:
        float32 `[batch, n_best]`, falling, `IMPOSSIBLE` where none; `null_log_score`: float32 `[batch]`, the lowest over the
        windows, since a question has no answer only if it has none in any window.
    """
    batch = tokens.ids.nrows()
    real = totals > IMPOSSIBLE / 2
    rows_of_spans = tf.boolean_mask(tf.broadcast_to(rows[:, tf.newaxis], tf.shape(totals)), real)
    shift = tf.gather(tokens.ids.row_starts(), rows_of_spans)
    starts = tf.cast(tf.gather(tokens.starts.flat_values, tf.boolean_mask(firsts, real) + shift), tf.int64)
    ends = tf.cast(tf.gather(tokens.ends.flat_values, tf.boolean_mask(lasts, real) + shift), tf.int64)
    scores = tf.boolean_mask(totals, real)
    # One number for a question and two ends, so that equal spans are found by equal numbers.
    side = 1 + tf.reduce_max(tf.concat([ends, [0]], axis=0))
    numbers, which = tf.unique((rows_of_spans * side + starts) * side + ends)
    best = tf.math.unsorted_segment_max(scores, which, tf.size(numbers))
    owners, starts, ends = numbers // (side * side), numbers // side % side, numbers % side
    # Falling scores; then by question, keeping that order.
    order = tf.argsort(best, direction="DESCENDING", stable=True)
    order = tf.gather(order, tf.argsort(tf.gather(owners, order), stable=True))

    def table(values, default):
        ragged = tf.RaggedTensor.from_value_rowids(tf.gather(values, order), tf.gather(owners, order), nrows=batch)
        return ragged.to_tensor(default, shape=[None, n_best])

    return {
        "starts": table(tf.cast(starts, tf.int32), -1),
        "ends": table(tf.cast(ends, tf.int32), -1),
        "log_scores": table(best, IMPOSSIBLE),
        "null_log_score": tf.math.unsorted_segment_min(nulls, rows, batch),
    }
