"""The softmax over words: all of them, or a sample that stands for them while training."""

from __future__ import annotations

import tensorflow as tf

from tl_keras.pretraining.bilm.negatives import Negatives

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
