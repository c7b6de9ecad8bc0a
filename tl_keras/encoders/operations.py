"""What a forward pass is made of: products, normalisation, word scores, relative positions. Arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

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
