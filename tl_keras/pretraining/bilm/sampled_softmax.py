"""What makes a large vocabulary cheap to train: a softmax over drawn words, and an Adam that leaves rows without a gradient alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf


class Negatives(NamedTuple):
    """Words drawn to stand for all others.

    Attributes:
        ids: int32 `[n]`, each word once.
        offsets: float32 `[n]`, how often it was drawn against how often it is on average, as a logarithm.
    """

    ids: np.ndarray
    offsets: np.ndarray


def draw_negatives(rng: np.random.Generator, draws: int, size: int) -> Negatives:
    """Draw words with replacement, frequent ones more often: `P(k) = (log(k + 2) - log(k + 1)) / log(size + 1)`.

    Words are numbered by frequency, so this is close to how often they occur (Zipf's law).

    Args:
        rng: source of chance.
        draws: how many; 0 for none.
        size: of the vocabulary.

    Example:
        >>> ids, offsets = draw_negatives(np.random.default_rng(0), draws=4, size=3)
        >>> ids, (4 * np.log((ids + 2) / (ids + 1)) / np.log(4) * np.exp(offsets)).round(4)
        (array([0, 1], dtype=int32), array([3., 1.]))
    """
    drawn = np.floor(np.exp(rng.random(draws) * np.log(size + 1.0))).astype(np.int64) - 1
    # Where rounding goes up, a number comes out that no word has.
    ids, counts = np.unique(np.clip(drawn, 0, max(size - 1, 0)), return_counts=True)
    usual = draws * np.log1p(1.0 / (ids + 1.0)) / np.log(size + 1.0)
    return Negatives(ids.astype(np.int32), np.log(counts / usual).astype(np.float32))


MOST_LOGITS = 1 << 23
"""Logits that are in memory at once while measuring."""


def sampled_softmax_losses(
    hidden: tf.Tensor, targets: tf.Tensor, negatives: Negatives, weights: tf.Variable, bias: tf.Variable
) -> tf.Tensor:
    """The cross-entropy of the target against drawn words, weighted so that they stand for all.

    The target counts as it is. The sum of `exp(logit + offset)` over the drawn words is, on average over draws, that of
    `exp(logit)` over all words; where the target itself was drawn it is left out.

    Source: importance sampling, Bengio and Senécal 2003, "Quick training of probabilistic neural nets by importance
    sampling"; Jean et al. 2015, https://arxiv.org/abs/1412.2007, section 3.

    Args:
        hidden: float `[n, width]`.
        targets: int32 `[n]`.
        negatives: from `draw_negatives`, at least one.
        weights: float `[words, width]`.
        bias: float `[words]`.

    Returns:
        float `[n]`, in nats. The gradient of `weights` and `bias` comes as slices of the rows that were used.
    """
    ids, offsets = negatives
    # How often each drawn word is drawn on average; the targets are not drawn, so they count as they are.
    candidates = (tf.cast(ids, tf.int64), tf.ones_like(targets, tf.float32)[:, tf.newaxis], tf.exp(-offsets))
    return tf.nn.sampled_softmax_loss(
        weights,
        bias,
        tf.cast(targets, tf.int64)[:, tf.newaxis],
        hidden,
        num_sampled=tf.size(ids),
        num_classes=int(weights.shape[0]),
        sampled_values=candidates,
    )


def softmax_losses(hidden: tf.Tensor, targets: tf.Tensor, weights: tf.Variable, bias: tf.Variable) -> tf.Tensor:
    """The cross-entropy against all words: float `[n]`, in nats."""
    logits = tf.matmul(hidden, weights, transpose_b=True) + bias
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=logits)


def total_softmax_loss(hidden: tf.Tensor, targets: tf.Tensor, weights: tf.Variable, bias: tf.Variable) -> tf.Tensor:
    """The sum of `softmax_losses`, a few rows at a time, so that a large vocabulary fits into memory. For measuring."""
    at_once = max(MOST_LOGITS // int(weights.shape[0]), 1)
    count = tf.size(targets)

    def add(start, total):
        rows = slice(start, start + at_once)
        return start + at_once, total + tf.reduce_sum(softmax_losses(hidden[rows], targets[rows], weights, bias))

    return tf.while_loop(lambda start, _: start < count, add, [0, tf.zeros([])], parallel_iterations=1)[1]


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
