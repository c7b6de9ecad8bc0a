"""Recurrent networks over whole padded batches: the LSTM, and the loop through time that it shares with the GRU.

What TensorFlow has for CPUs (looked up in 2.18 to 2.21): oneDNN gives it matrix products, and no LSTM; `keras.layers.LSTM` is a loop of
small operations, in Keras 2 as in Keras 3; and there is one fused kernel, `BlockLSTM`, a single operation for all times. Its matrix
products are not oneDNN's, and it multiplies the inputs anew at each time. `benchmarks/recurrent.py`, one training step in both directions,
32 texts of 24 words, 128 numbers, 128 cells, thousand words per second on two cores: `BlockLSTM` 36, the loop below 59, Keras's layer 64;
on one core 33, 37 and 37. (GRU: 71 and 71; 46 and 45.) So the loop it is: what depends on the inputs is one large oneDNN product for all
times, and each time does the small product of the state.

What loses this speed: `TF_ENABLE_ONEDNN_OPTS=0` (36 instead of 59); texts of very different lengths in one batch, since each is read to
the end of the longest; batches of few texts, where the small operations cost more than the arithmetic; and XLA on CPU. On a GPU Keras's
layers use cuDNN, which these do not. Keras's layers are not used because their masks do not stand a text without words, as served models
get them.

Padding needs no mask: an LSTM does not look ahead, and `reverse` keeps the padding behind each text, so that the padded
places are always read last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf


def lstm(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, projection: tf.Tensor | None = None) -> tf.Tensor:
    """The states of an LSTM that begins at zero.

    `i, j, f, o = [x_t, h_{t-1}] W + b`; `c_t = sigmoid(f + 1) c_{t-1} + sigmoid(i) tanh(j)`; `h_t = sigmoid(o) tanh(c_t)`. With a
    projection `h_t = P (sigmoid(o) tanh(c_t))`: many cells with few numbers between them, as in the published biLM (4,096 cells,
    projected to 512).

    Source: projection: Sak et al. 2014, https://arxiv.org/abs/1402.1128, section 2.1, without peepholes.

    Args:
        x: float32 `[batch, length, inputs]`.
        kernel: float32 `[inputs + width, 4 * cells]`, gates in the order i, j, f, o.
        bias: float32 `[4 * cells]`; the forget gate's is taken plus one.
        projection: float32 `[cells, width]`; without one, `width` is `cells`.

    Returns:
        float32 `[batch, length, width]`.
    """
    cells = bias.shape[0] // 4
    width = cells if projection is None else projection.shape[1]
    recurrent = kernel[-width:]

    def step(part, h, c):
        i, j, f, o = tf.split(part + tf.matmul(h, recurrent), 4, axis=1)
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(j)
        h = tf.sigmoid(o) * tf.tanh(c)
        return (h if projection is None else tf.matmul(h, projection)), c

    forget = tf.repeat(tf.constant([0.0, 0.0, 1.0, 0.0], x.dtype), cells)
    # What depends on the inputs alone is one large product for all times.
    return over_time(step, tf.tensordot(x, kernel[:-width], 1) + (bias + forget), (width, cells))


def over_time(step: Callable, products: tf.Tensor, sizes: Sequence[int]) -> tf.Tensor:
    """Carry states through time, from zero.

    Args:
        step: from the part of `products` for one time, float32 `[batch, n]`, and the states `[batch, size]` to the states that follow; the
            first of them is the output.
        products: float32 `[batch, length, n]`.
        sizes: of the states.

    Returns:
        float32 `[batch, length, sizes[0]]`.
    """
    fixed, length, dtype = products.shape[0], tf.shape(products)[1], products.dtype
    parts = tf.TensorArray(dtype, size=length, element_shape=[fixed, products.shape[2]])
    parts = parts.unstack(tf.transpose(products, [1, 0, 2]))
    outputs = tf.TensorArray(dtype, size=length, element_shape=[fixed, sizes[0]])
    start = [tf.ensure_shape(tf.zeros([tf.shape(products)[0], size], dtype), [fixed, size]) for size in sizes]

    def go_on(time, outputs, *states):
        states = step(parts.read(time), *states)
        return (time + 1, outputs.write(time, states[0]), *states)

    # XLA, which TPUs need, wants to know how many states the gradient will ask for: a length that is fixed is the most there can be.
    most = products.shape[1]
    _, outputs, *_ = tf.while_loop(lambda time, *_: time < length, go_on, (0, outputs, *start), maximum_iterations=most)
    return tf.ensure_shape(tf.transpose(outputs.stack(), [1, 0, 2]), [fixed, products.shape[1], sizes[0]])


def reverse(x: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """Turn each text around where it stands: its last word comes first, its padding stays behind.

    Example:
        >>> reverse(tf.constant([[1, 2, 3, 0]]), tf.constant([3])).numpy().tolist()
        [[3, 2, 1, 0]]
    """
    return tf.reverse_sequence(x, lengths, seq_axis=1, batch_axis=0)
