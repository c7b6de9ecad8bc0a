"""What a replica has to know of the others, so that several learn from a batch what one device would learn from it."""

from __future__ import annotations

import tensorflow as tf


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
