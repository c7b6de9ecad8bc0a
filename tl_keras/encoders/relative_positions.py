"""MPNet's relative positions: what is added to the attention scores for how far apart two tokens stand.

Source: Song et al. 2020, https://arxiv.org/abs/2004.09297; the buckets are those of Raffel et al. 2020 (T5),
https://arxiv.org/abs/1910.10683, section 2.1, in both directions.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

BUCKETS, FARTHEST = 32, 128


def distance_buckets() -> np.ndarray:
    """The bucket of each distance to an earlier token, 0 to `FARTHEST`, where all that is farther is counted too.

    Half of the buckets are for later tokens. Of each half the first half holds one distance each, the others grow with the distance.

    Example:
        >>> buckets = distance_buckets()
        >>> buckets[[0, 1, 7, 8, 11, 12, 16, 64, 128]].tolist()
        [0, 1, 7, 8, 8, 9, 10, 14, 15]
    """
    distances, exact = np.arange(FARTHEST + 1), BUCKETS // 4
    # From `exact` to `FARTHEST` the distance doubles log2(FARTHEST / exact) times, and there are as many buckets left as exact ones.
    steps = exact / np.log2(FARTHEST / exact)
    far = exact + np.floor(steps * np.log2(np.maximum(distances, exact) / exact)).astype(int)
    return np.where(distances < exact, distances, np.minimum(far, BUCKETS // 2 - 1))


def relative_scores(table: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """What is added to the attention scores of all blocks.

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
