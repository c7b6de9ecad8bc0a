"""LSTMs over whole padded batches, on the fused kernel where TensorFlow has one.

What there is (looked up in TensorFlow 2.18 to 2.21): on CPU, oneDNN gives TensorFlow no LSTM, and `keras.layers.LSTM` is a
loop of small operations, in Keras 2 as in Keras 3. The one fused kernel on CPU is `BlockLSTM`: a single operation for all
times, with a gradient of its own; `fused_lstm` is made of it. On a GPU it runs too, but there Keras's layer uses cuDNN.

Lost is the kernel with a projection inside the recurrence (`projected_lstm`), with other activations than tanh and sigmoid,
with dropout between times, and with float64 or bfloat16. `BlockLSTMV2` is not used: the gradient that TensorFlow registers
for it is that of `BlockLSTM`, whose gates stand in another order.

Padding needs no mask: an LSTM does not look ahead, and `reverse` keeps the padding behind each text, so that the padded
places are always read last.
"""

from __future__ import annotations

import tensorflow as tf


def fused_lstm(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """The states of an LSTM that begins at zero.

    `i, j, f, o = [x_t, h_{t-1}] W + b`; `c_t = sigmoid(f + 1) c_{t-1} + sigmoid(i) tanh(j)`; `h_t = sigmoid(o) tanh(c_t)`.

    Args:
        x: float32 `[batch, length, inputs]`.
        kernel: float32 `[inputs + cells, 4 * cells]`, gates in the order i, j, f, o.
        bias: float32 `[4 * cells]`; the forget gate's is taken plus one.

    Returns:
        float32 `[batch, length, cells]`.
    """
    cells = bias.shape[0] // 4
    start, peephole = tf.zeros([tf.shape(x)[0], cells], x.dtype), tf.zeros([cells], x.dtype)
    outputs = tf.raw_ops.BlockLSTM(
        seq_len_max=tf.shape(x, out_type=tf.int64)[1],
        x=tf.transpose(x, [1, 0, 2]),
        cs_prev=start,
        h_prev=start,
        w=kernel,
        wci=peephole,
        wcf=peephole,
        wco=peephole,
        b=bias,
        forget_bias=1.0,
        cell_clip=-1.0,  # the default would clip at 3
        use_peephole=False,
    )
    return tf.ensure_shape(tf.transpose(outputs.h, [1, 0, 2]), [x.shape[0], x.shape[1], cells])


def projected_lstm(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, projection: tf.Tensor) -> tf.Tensor:
    """As `fused_lstm`, but what goes on to the next time and out is projected: `h_t = P (sigmoid(o) tanh(c_t))`.

    Many cells with few numbers between them, as in the published biLM (4,096 cells, projected to 512). A loop of
    operations: several times slower than `fused_lstm` on short texts.

    Source: Sak et al. 2014, https://arxiv.org/abs/1402.1128, section 2.1, without peepholes.

    Args:
        x: float32 `[batch, length, inputs]`.
        kernel: float32 `[inputs + width, 4 * cells]`.
        bias: float32 `[4 * cells]`.
        projection: float32 `[cells, width]`.

    Returns:
        float32 `[batch, length, width]`.
    """
    cells, width = projection.shape
    # What depends on the inputs alone is one large product for all times.
    gates = tf.transpose(tf.tensordot(x, kernel[:-width], 1) + bias, [1, 0, 2])
    recurrent = kernel[-width:]

    def step(state, gate):
        h, c = state
        i, j, f, o = tf.split(gate + tf.matmul(h, recurrent), 4, axis=-1)
        c = tf.sigmoid(f + 1.0) * c + tf.sigmoid(i) * tf.tanh(j)
        return tf.matmul(tf.sigmoid(o) * tf.tanh(c), projection), c

    batch = tf.shape(x)[0]
    start = tf.zeros([batch, width], x.dtype), tf.zeros([batch, cells], x.dtype)
    states, _ = tf.scan(step, gates, start)
    return tf.ensure_shape(tf.transpose(states, [1, 0, 2]), [None, None, width])


def reverse(x: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """Turn each text around where it stands: its last word comes first, its padding stays behind.

    Example:
        >>> reverse(tf.constant([[1, 2, 3, 0]]), tf.constant([3])).numpy().tolist()
        [[3, 2, 1, 0]]
    """
    return tf.reverse_sequence(x, lengths, seq_axis=1, batch_axis=0)
