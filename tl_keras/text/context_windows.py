"""Windows over long contexts: how many tokens of a context stand beside its question in each input."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import tensorflow as tf

from tl_keras.errors import UserError


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
