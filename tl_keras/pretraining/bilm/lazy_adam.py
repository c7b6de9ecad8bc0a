"""Adam in plain TensorFlow that moves only those rows of a table that a batch has used."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


class LazyAdam:
    """Adam; where a gradient comes as slices (embeddings, sampled softmax), rows that got none stay as they are.

    A dense step would read and write the whole table and its moments for the few thousand rows that a batch touches.
    The moments of a row decay when it is used, not at every step; the bias correction counts all steps.

    Source: Kingma and Ba 2015, https://arxiv.org/abs/1412.6980, algorithm 1, in the order of computation of the end of
    section 2.

    Args:
        variables: Weights to move.
        clip_norm: The norm of all gradients together is at most this; slices of one row count as their sum.
        beta_1, beta_2, epsilon: Of Adam.

    Example:
        >>> table = tf.Variable([[1.0], [1.0]])
        >>> optimizer = LazyAdam([table])
        >>> _ = optimizer.apply([tf.IndexedSlices(tf.constant([[3.0]]), [1], [2, 1])], rate=0.1)
        >>> table.numpy().round(3).tolist()  # row 1 moved by the rate, as in each first step of Adam
        [[1.0], [0.8999...]]
    """

    def __init__(
        self,
        variables: Sequence[tf.Variable],
        clip_norm: float | None = None,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
    ):
        self.targets, self.clip_norm = list(variables), clip_norm
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="adam_step")
        self.momentums, self.velocities = (
            [tf.Variable(tf.zeros(v.shape), trainable=False, name=f"{kind}/{v.name[:-2]}") for v in self.targets]
            for kind in ("momentum", "velocity")
        )

    @property
    def variables(self) -> list[tf.Variable]:
        """All state, in a fixed order."""
        return [self.step, *self.momentums, *self.velocities]

    def apply(self, gradients: Sequence[tf.Tensor | tf.IndexedSlices], rate: float | tf.Tensor) -> tf.Tensor:
        """Move the weights one step.

        Args:
            gradients: In the order of the variables.
            rate: Learning rate, a scalar.

        Returns:
            The norm of all gradients together, before clipping.
        """
        gradients = [_add_up(g) if isinstance(g, tf.IndexedSlices) else tf.convert_to_tensor(g) for g in gradients]
        norm = tf.linalg.global_norm(gradients)
        factor = 1.0 if self.clip_norm is None else tf.minimum(1.0, self.clip_norm / tf.maximum(norm, 1e-12))
        step = tf.cast(self.step.assign_add(1), tf.float32)
        powers = tf.pow(self.beta_1, step), tf.pow(self.beta_2, step)
        for variable, m, v, gradient in zip(self.targets, self.momentums, self.velocities, gradients, strict=True):
            if isinstance(gradient, tf.IndexedSlices):
                self._move_rows(variable, m, v, gradient.indices, factor * gradient.values, rate, powers)
                continue
            # TensorFlow's own kernel reads and writes each number once.
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle, m=m.handle, v=v.handle, beta1_power=powers[0], beta2_power=powers[1], lr=rate,
                beta1=self.beta_1, beta2=self.beta_2, epsilon=self.epsilon, grad=factor * gradient,
            )  # fmt: skip
        return norm

    def _move_rows(self, variable, m, v, rows, gradient, rate, powers) -> None:
        m_rows = self.beta_1 * tf.gather(m, rows) + (1.0 - self.beta_1) * gradient
        v_rows = self.beta_2 * tf.gather(v, rows) + (1.0 - self.beta_2) * tf.square(gradient)
        m.scatter_update(tf.IndexedSlices(m_rows, rows))
        v.scatter_update(tf.IndexedSlices(v_rows, rows))
        rate *= tf.sqrt(1.0 - powers[1]) / (1.0 - powers[0])
        variable.scatter_sub(tf.IndexedSlices(rate * m_rows / (tf.sqrt(v_rows) + self.epsilon), rows))


def _add_up(slices: tf.IndexedSlices) -> tf.IndexedSlices:
    """The same gradient with each row once."""
    rows, places = tf.unique(slices.indices)
    values = tf.math.unsorted_segment_sum(slices.values, places, tf.size(rows))
    return tf.IndexedSlices(values, rows, slices.dense_shape)
