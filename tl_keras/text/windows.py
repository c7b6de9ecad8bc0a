"""Long texts as overlapping windows of tokens, and the way back, in graph."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from tl_keras.errors import UserError


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
