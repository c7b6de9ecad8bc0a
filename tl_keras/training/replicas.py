"""What a replica has to know of the others, so that several learn from a batch what one device would learn from it."""

from __future__ import annotations

import tensorflow as tf
from tensorflow.python.framework import ops


def among_several() -> bool:
    """Whether this code runs on one of several replicas that share a batch.

    Example:
        >>> among_several()
        False
    """
    return (
        tf.distribute.has_strategy()
        and not tf.distribute.in_cross_replica_context()
        and tf.distribute.get_strategy().num_replicas_in_sync > 1
    )


def mean_over_replicas(value: tf.Tensor) -> tf.Tensor:
    """The mean of the replicas' values; on one device the value itself. Not for what gradients go through.

    Args:
        value: of any shape, the same on all replicas.

    Example:
        >>> float(mean_over_replicas(tf.constant(3.0)))
        3.0
    """
    if not among_several():
        return value
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, value)


def sum_over_replicas(
    gradients: list[tf.Tensor | tf.IndexedSlices | None],
) -> list[tf.Tensor | tf.IndexedSlices | None]:
    """Add each gradient up over the replicas; on one device the gradients themselves.

    Args:
        gradients: of the variables, in the same order on all replicas; None where a variable has none.

    Example:
        >>> sum_over_replicas([tf.constant(3.0), None])
        [<tf.Tensor: shape=(), dtype=float32, numpy=3.0>, None]
    """
    if not among_several():
        # TensorFlow would do nothing, but remember it: it gives the sum a gradient of its own, and keeps that, the graph and the model
        # behind it until the process ends (https://github.com/tensorflow/tensorflow/issues/80895).
        return gradients
    known = set(ops.gradient_registry.list())
    found = [gradient for gradient in gradients if gradient is not None]
    sums = iter(tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, found))
    for name in set(ops.gradient_registry.list()) - known:
        ops.gradient_registry._registry.pop(name, None)  # nobody differentiates an optimizer's step
    return [None if gradient is None else next(sums) for gradient in gradients]


def gather_replicas(value: tf.Tensor) -> tf.Tensor:
    """The rows of all replicas, in their order, as one device would have them; gradients find their way back.

    Args:
        value: `[rows, ...]`; the number of rows may differ between replicas.

    Example:
        >>> gather_replicas(tf.constant([1, 2])).numpy().tolist()
        [1, 2]
    """
    if not among_several():
        return value
    return tf.distribute.get_replica_context().all_gather(value, axis=0)


def first_row_of(value: tf.Tensor) -> tf.Tensor | int:
    """The place of this replica's first row in `gather_replicas(value)`.

    Args:
        value: `[rows, ...]`.

    Example:
        >>> first_row_of(tf.constant([1, 2]))
        0
    """
    if not among_several():
        return 0
    context = tf.distribute.get_replica_context()
    counts = context.all_gather(tf.shape(value)[:1], axis=0)
    before = tf.range(tf.size(counts)) < context.replica_id_in_sync_group
    return tf.reduce_sum(tf.where(before, counts, 0))
