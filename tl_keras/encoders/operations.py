"""What a forward pass is made of: products, normalisation, word scores, relative positions, dropout, recurrence. Arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from tl_keras.encoders.encoder_weights import MLM_HEAD

BUCKETS, FARTHEST = 32, 128
"""Of relative positions: how many weights a head has, and the distance from which all count alike."""


def dense(arrays: Mapping[str, tf.Tensor], name: str, x: tf.Tensor, activation: Callable | None = None) -> tf.Tensor:
    """`x W + b` with `name/kernel` and `name/bias`; kernels of several axes (heads) are flattened to a matrix, the faster product.

    An activation comes before the shape is given back: TensorFlow computes product, bias and activation in one go only if nothing
    stands between them.
    """
    size = x.shape[-1]
    kernel = tf.reshape(arrays[f"{name}/kernel"], [size, -1])
    bias = tf.reshape(arrays[f"{name}/bias"], [-1])
    y = tf.nn.bias_add(tf.matmul(tf.reshape(x, [-1, size]), kernel), bias)
    y = y if activation is None else activation(y)
    return tf.reshape(y, tf.concat([tf.shape(x)[:-1], [bias.shape[0]]], axis=0))


def layer_norm(arrays: Mapping[str, tf.Tensor], name: str, x: tf.Tensor, epsilon: float) -> tf.Tensor:
    """Layer normalisation over the last axis, with `name/gamma` and `name/beta`."""
    centred = x - tf.reduce_mean(x, axis=-1, keepdims=True)
    variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
    return centred * tf.math.rsqrt(variance + epsilon) * arrays[f"{name}/gamma"] + arrays[f"{name}/beta"]


def masked_word_logits(
    arrays: Mapping[str, tf.Tensor], outputs: tf.Tensor, activation: Callable, epsilon: float
) -> tf.Tensor:
    """Scores of the whole vocabulary by a masked-LM head whose output matrix is the word embedding.

    Args:
        arrays: the head's weights, as `MlmWeights` names them, and `word_embeddings/embeddings`.
        outputs: float32 `[..., width]`, of the encoder at the masked places.
        activation: of the head's dense layer.
        epsilon: of its layer normalisation.

    Returns:
        float32 `[..., vocabulary]`.
    """
    x = dense(arrays, f"{MLM_HEAD}/transform/dense", outputs, activation)
    x = layer_norm(arrays, f"{MLM_HEAD}/transform/LayerNorm", x, epsilon)
    table = arrays["word_embeddings/embeddings"]
    return tf.einsum("...h,vh->...v", x, table) + arrays[f"{MLM_HEAD}/output_bias/bias"]


def distance_buckets() -> np.ndarray:
    """MPNet's buckets: that of each distance to an earlier token, 0 to `FARTHEST`, where all that is farther is counted too.

    Half of the buckets are for later tokens. Of each half the first half holds one distance each, the others grow with the distance.

    Example:
        >>> buckets = distance_buckets()
        >>> buckets[[0, 1, 7, 8, 11, 12, 16, 64, 128]].tolist()
        [0, 1, 7, 8, 8, 9, 10, 14, 15]

    Source: Song et al. 2020, https://arxiv.org/abs/2004.09297; the buckets are those of Raffel et al. 2020 (T5),
        https://arxiv.org/abs/1910.10683, section 2.1, in both directions.
    """
    distances, exact = np.arange(FARTHEST + 1), BUCKETS // 4
    # From `exact` to `FARTHEST` the distance doubles log2(FARTHEST / exact) times, and there are as many buckets left as exact ones.
    steps = exact / np.log2(FARTHEST / exact)
    far = exact + np.floor(steps * np.log2(np.maximum(distances, exact) / exact)).astype(int)
    return np.where(distances < exact, distances, np.minimum(far, BUCKETS // 2 - 1))


def relative_scores(table: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """What is added to the attention scores of all blocks for how far apart two tokens stand.

    Args:
        table: float32 `[BUCKETS, heads]`.
        length: of the sequences, an int32 scalar.

    Returns:
        float32 `[1, heads, length, length]`, queries by keys.
    """
    places = tf.range(length)
    ahead = places[tf.newaxis, :] - places[:, tf.newaxis]
    bucket = tf.gather(tf.constant(distance_buckets(), tf.int32), tf.minimum(tf.abs(ahead), FARTHEST))
    bucket += tf.where(ahead > 0, BUCKETS // 2, 0)
    return tf.transpose(tf.gather(table, bucket), [2, 0, 1])[tf.newaxis]


_LEVELS = 2**16
_PHILOX = 1  # TensorFlow's number for the generator that CPUs, GPUs and TPUs compute alike


class Dropout:
    """The dropout of one graph.

    `tf.nn.dropout` draws a float32 from 32 random bits for each number; drawing them takes longer than all that is done with them. 16
    bits halve that, and the rate is off by 1/131,072 at most. A stateful operation, as in `tf.nn.dropout`, draws one key for all masks
    of a step, so what `tl_keras.random_operations` says of seeds, and of taking up a training, holds here too.

    Args:
        seed: of the operation that draws the keys. Without one a loaded SavedModel takes it from the clock, and no seed that the user
            sets could make a fine-tuning run repeatable.

    Source: Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011 (Philox).
    """

    def __init__(self, seed: int = 1):
        bits = tf.random.uniform([2], -(2**31), 2**31 - 1, tf.int32, seed=seed)
        self._key = tf.reshape(tf.bitcast(bits, tf.uint64), [1])
        self._masks = 0

    def __call__(self, x: tf.Tensor, rate: float) -> tf.Tensor:
        """Set a share `rate` of the numbers to zero and scale the others up.

        Args:
            x: floats of any shape.
            rate: a probability, rounded to a multiple of 1/65,536.
        """
        dropped = round(rate * _LEVELS)
        count = tf.size(x)
        # The upper half of the counter tells the masks apart; the lower one counts within a mask.
        counter = tf.constant([0, self._masks], tf.uint64)
        self._masks += 1
        words = tf.raw_ops.StatelessRandomUniformFullIntV2(
            shape=tf.reshape((count + 1) // 2, [1]), key=self._key, counter=counter, alg=_PHILOX, dtype=tf.uint32
        )
        bits = tf.reshape(tf.bitcast(words, tf.uint16), [-1])[:count]
        kept = tf.cast(bits >= dropped, x.dtype) * (_LEVELS / (_LEVELS - dropped))
        return x * tf.reshape(kept, tf.shape(x))


# What TensorFlow has for CPUs (looked up in 2.18 to 2.21): oneDNN gives it matrix products, and no LSTM; `keras.layers.LSTM` is a loop of
# small operations, in Keras 2 as in Keras 3; and there is one fused kernel, `BlockLSTM`, a single operation for all times. Its matrix
# products are not oneDNN's, and it multiplies the inputs anew at each time. `benchmarks/recurrent.py`, one training step in both directions,
# 32 texts of 24 words, 128 numbers, 128 cells, thousand words per second on two cores: `BlockLSTM` 36, the loop below 59, Keras's layer 64;
# on one core 33, 37 and 37. (GRU: 71 and 71; 46 and 45.) So the loop it is: what depends on the inputs is one large oneDNN product for all
# times, and each time does the small product of the state. Keras's layers are not used because their masks do not stand a text without
# words, as served models get them.
#
# What loses this speed: `TF_ENABLE_ONEDNN_OPTS=0` (36 instead of 59); texts of very different lengths in one batch, since each is read to
# the end of the longest; batches of few texts, where the small operations cost more than the arithmetic; and XLA on CPU. On a GPU Keras's
# layers use cuDNN, which these do not.
#
# Padding needs no mask: an LSTM does not look ahead, and `reverse` keeps the padding behind each text, so that the padded places are
# always read last.


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
