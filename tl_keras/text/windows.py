"""Long texts in windows of an encoder's length: tagged words with the way back, and contexts beside a question."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import tensorflow as tf

from tl_keras.errors import UserError
from tl_keras.text.offsets import Tokens


class Windows(NamedTuple):
    """Windows over the tokens of a batch of texts.

    Attributes:
        places: int64, ragged `[windows, (tokens)]`: which token, counted through the whole batch, stands where.
        best_window: int64 `[tokens]`: the window in which each token has most context on both sides.
        best_place: int64 `[tokens]`: its place in that window.
        texts: int `[windows]`: which text each window is of.
    """

    places: tf.RaggedTensor
    best_window: tf.Tensor
    best_place: tf.Tensor
    texts: tf.Tensor


def window_sizes(seq_length: int, overlap: int | None = None, special: int = 2) -> tuple[int, int]:
    """How many tokens a window holds and how far the next one is moved on.

    Args:
        seq_length: of the encoder's inputs, special tokens included.
        overlap: tokens that neighbouring windows share; by default a quarter of the window.
        special: special tokens in each window.

    Raises:
        UserError: no room, or windows that would not move on.

    Example:
        >>> window_sizes(130), window_sizes(130, overlap=64)
        ((128, 96), (128, 64))
    """
    size = seq_length - special
    overlap = size // 4 if overlap is None else overlap
    if size < 1 or not 0 <= overlap < size:
        raise UserError(
            f"windows of {size} tokens (seq_length {seq_length}) cannot overlap by {overlap}: choose 0 to {size - 1}."
        )
    return size, size - overlap


def make_windows(counts: tf.Tensor, size: int, step: int) -> Windows:
    """Lay windows over texts: one over a text that fits, else one every `step` tokens, the last one ending with the text.

    A text without tokens gets one empty window.

    Args:
        counts: int `[batch]`: tokens of each text.
        size: tokens in a window.
        step: from one window's start to the next; at most `size`.

    Example:
        >>> windows = make_windows(tf.constant([5, 2]), size=4, step=2)
        >>> windows.places.to_list(), windows.best_window.numpy().tolist()
        ([[0, 1, 2, 3], [1, 2, 3, 4], [5, 6]], [0, 0, 0, 1, 1, 2, 2])
    """
    counts = tf.cast(counts, tf.int64)
    text_starts = tf.cumsum(counts, exclusive=True)
    per_text = 1 + (tf.maximum(counts - size, 0) + step - 1) // step
    first_window = tf.cumsum(per_text, exclusive=True)
    text = tf.repeat(tf.range(tf.size(counts)), per_text)
    number = tf.range(tf.size(text, tf.int64)) - tf.gather(first_window, text)
    # The last window moves back, so that it is full too.
    start = tf.minimum(number * step, tf.maximum(tf.gather(counts, text) - size, 0))
    length = tf.minimum(tf.gather(counts, text), size)
    from_batch = tf.gather(text_starts, text) + start
    places = tf.ragged.range(from_batch, from_batch + length)
    # Of the windows around a token, the one whose middle is nearest leaves it most context.
    owner = tf.repeat(tf.range(tf.size(counts)), counts)
    place = tf.range(tf.size(owner, tf.int64)) - tf.gather(text_starts, owner)
    nearest = (2 * place - size + step) // (2 * step)
    nearest = tf.clip_by_value(nearest, 0, tf.gather(per_text, owner) - 1)
    best = tf.gather(first_window, owner) + nearest
    return Windows(places, best, place - tf.gather(start, best), text)


@dataclasses.dataclass(frozen=True)
class WindowSettings:
    """How a question and a long context are laid into inputs of limited length.

    Args:
        seq_length: of the encoder's inputs, special tokens included.
        max_question_length: longer questions are cut behind so many tokens; by default 64, or half of `seq_length` if that is
            less.
        overlap: tokens that neighbouring windows share; by default a quarter of the window, but at least 30 tokens (so that a usual
            answer is whole in one of them) and at most half the window.
        separators: special tokens between question and context: 1 for BERT, 2 for RoBERTa and XLM-R.

    Raises:
        UserError: no room for the context, or windows that would not move on.

    Example:
        >>> settings = WindowSettings(384)
        >>> settings.max_question_length, settings.room(10), settings.step(10)
        (64, 371, 279)
    """

    seq_length: int
    max_question_length: int | None = None
    overlap: int | None = None
    separators: int = 1

    @property
    def special(self) -> int:
        """Special tokens in an input: the first one, those behind the question, and the last one."""
        return 2 + self.separators

    @property
    def before_context(self) -> int:
        """Special tokens before the context."""
        return 1 + self.separators

    def __post_init__(self):
        if self.max_question_length is None:
            length = min(64, self.seq_length // 2, self.seq_length - self.special - 1)
            object.__setattr__(self, "max_question_length", max(length, 1))
        least = self.room(self.max_question_length)
        if self.max_question_length < 1 or least < 1:
            raise UserError(
                f"max_question_length={self.max_question_length} leaves no room for the context in seq_length="
                f"{self.seq_length}: choose 1 to {self.seq_length - self.special - 1}."
            )
        if self.overlap is not None and not 0 <= self.overlap < least:
            raise UserError(
                f"windows that hold {least} tokens of the context beside the longest question cannot overlap by "
                f"{self.overlap}: choose 0 to {least - 1}."
            )

    def room(self, question_length):
        """Tokens of the context in a window, beside a question of so many tokens."""
        return self.seq_length - self.special - question_length

    def step(self, question_length):
        """How far the next window is moved on; works on numbers and on integer arrays and tensors."""
        room = self.room(question_length)
        if self.overlap is not None:
            return room - self.overlap
        if isinstance(room, int):
            return room - min(max(room // 4, 30), room // 2)
        return room - tf.minimum(tf.maximum(room // 4, 30), room // 2)


class ContextWindows(NamedTuple):
    """Windows over the contexts of a batch of questions.

    Attributes:
        rows: int64 `[windows]`: whose question.
        starts: int64 `[windows]`: the first token of the context in it.
        lengths: int64 `[windows]`: how many tokens of the context it holds.
    """

    rows: tf.Tensor
    starts: tf.Tensor
    lengths: tf.Tensor


def context_windows(
    question_lengths: tf.Tensor, context_lengths: tf.Tensor, settings: WindowSettings
) -> ContextWindows:
    """Lay windows over contexts: one over a context that fits beside its question, else several, the last one full too.

    A short question leaves more room for the context, so windows are as large as each question allows.

    Args:
        question_lengths: int `[batch]`, in tokens, cut already.
        context_lengths: int `[batch]`, in tokens.
        settings: of the windows.

    Example:
        >>> windows = context_windows(tf.constant([2, 1]), tf.constant([7, 3]), WindowSettings(9, 3, overlap=2))
        >>> windows.rows.numpy().tolist(), windows.starts.numpy().tolist(), windows.lengths.numpy().tolist()
        ([0, 0, 0, 1], [0, 2, 3, 0], [4, 4, 4, 3])
    """
    counts = tf.cast(context_lengths, tf.int64)
    asked = tf.cast(question_lengths, tf.int64)
    size, step = settings.room(asked), settings.step(asked)
    per_row = 1 + (tf.maximum(counts - size, 0) + step - 1) // step
    rows = tf.repeat(tf.range(tf.size(counts, tf.int64)), per_row)
    number = tf.range(tf.size(rows, tf.int64)) - tf.gather(tf.cumsum(per_row, exclusive=True), rows)
    # The last window moves back, so that it is full too.
    starts = tf.minimum(number * tf.gather(step, rows), tf.gather(tf.maximum(counts - size, 0), rows))
    return ContextWindows(rows, starts, tf.gather(tf.minimum(counts, size), rows))


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
