"""Dropout whose masks cost little on a CPU: 16 random bits a number, all of a step's from one generator."""

from __future__ import annotations

import tensorflow as tf

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
