"""One step: from how many examples it learns, over all replicas that share a batch, how fast, and in which precision it computes."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import tensorflow as tf
from tensorflow.python.framework import ops

from tl_keras._keras import keras, register
from tl_keras.errors import UserError

logger = logging.getLogger(__name__)

SCALINGS = ("none", "linear", "sqrt")
BASE_BATCH = 32
"""The batch size that default learning rates are for."""


def share_batches(model: keras.Model, batch_size: int, scaling: str = "none") -> str:
    """Scale a compiled model's peak rate to the batch size, and say in one line who gets how much of a batch, and at which rate.

    Args:
        model: of a builder, not yet trained. With a schedule of one's own nothing is scaled.
        batch_size: examples in a global batch: what a step learns from, over all replicas.
        scaling: `"none"`, `"linear"` or `"sqrt"`; see `scaled_learning_rate`.

    Raises:
        UserError: fewer examples than replicas, or no such scaling.
    """
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    schedule = getattr(optimizer, "_learning_rate", None)
    if isinstance(schedule, WarmupLinearDecay):
        rate = schedule.peak = scaled_learning_rate(schedule.peak, scaling, batch_size)
    else:
        rate = float(optimizer.learning_rate)
    return batch_line(model.distribute_strategy, batch_size, rate)


def scaled_learning_rate(rate: float, scaling: str, batch_size: int) -> float:
    """A peak rate for batches of another size than the 32 that it is meant for.

    Args:
        rate: for batches of `BASE_BATCH`.
        scaling: `"none"`; `"linear"`: k times the batch, k times the rate; `"sqrt"`: the square root of k times, gentler, often chosen
            with Adam.
        batch_size: examples in a global batch, over all replicas.

    Source: Goyal et al., "Accurate, Large Minibatch SGD", https://arxiv.org/abs/1706.02677 (linear); Krizhevsky, "One weird trick for
        parallelizing convolutional neural networks", https://arxiv.org/abs/1404.5997, section 5 (square root).

    Example:
        >>> scaled_learning_rate(1e-4, "linear", 128), scaled_learning_rate(1e-4, "sqrt", 128), scaled_learning_rate(1e-4, "none", 128)
        (0.0004, 0.0002, 0.0001)
    """
    if scaling not in SCALINGS:
        raise UserError(f"scale_learning_rate {scaling!r} is not known; choose one of: {', '.join(SCALINGS)}.")
    factor = batch_size / BASE_BATCH
    return rate * {"none": 1.0, "linear": factor, "sqrt": factor**0.5}[scaling]


def batch_line(strategy: tf.distribute.Strategy, batch_size: int, rate: float) -> str:
    """One line on who gets how much of a batch, and at which rate; warns where the parts are unequal.

    Args:
        strategy: of the model.
        batch_size: examples in a global batch: what a step learns from, over all replicas.
        rate: the peak learning rate, scaled already.

    Raises:
        UserError: fewer examples than replicas.

    Example:
        >>> batch_line(tf.distribute.get_strategy(), 32, 5e-05)
        'Global batch 32: 1 replica(s) of 32 each; peak learning rate 5e-05.'
    """
    replicas = strategy.num_replicas_in_sync
    if batch_size < replicas:
        raise UserError(
            f"a batch of {batch_size} cannot be shared by {replicas} replicas; choose a batch size (--batch-size) of at least {replicas}."
        )
    if batch_size % replicas:
        logger.warning(
            "The batch of %d does not divide by %d replicas: each replica's mean counts the same, however many examples it has.",
            batch_size, replicas,
        )  # fmt: skip
    each = f"{batch_size // replicas}" if batch_size % replicas == 0 else f"{batch_size / replicas:.1f}"
    return f"Global batch {batch_size}: {replicas} replica(s) of {each} each; peak learning rate {rate:g}."


@contextlib.contextmanager
def precision(mixed: bool) -> Iterator[None]:
    """Compute in mixed precision, if that is wanted, and as before afterwards.

    Args:
        mixed: whether; see `use_mixed_precision`.

    Example:
        >>> with precision(mixed=True):
        ...     keras.layers.Dense(1).compute_dtype
        'bfloat16'
        >>> keras.layers.Dense(1).compute_dtype
        'float32'
    """
    before = keras.mixed_precision.global_policy()
    if mixed:
        use_mixed_precision()
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)


def use_mixed_precision() -> str:
    """Let Keras compute in half precision from now on; weights stay float32. Before a model is built.

    bfloat16 on TPUs, on GPUs that have it (compute capability 8.0 and above) and on CPUs; float16 on older GPUs, where Keras scales the
    loss so that small gradients do not vanish.

    Returns:
        The policy's name.
    """
    policy = "mixed_bfloat16"
    for gpu in tf.config.list_physical_devices("GPU"):
        capability = tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0))
        if tuple(capability) < (8, 0):
            policy = "mixed_float16"
    keras.mixed_precision.set_global_policy(policy)
    logger.info(
        "Mixed precision: %s for the head and for all that Keras computes itself. The encoder is a SavedModel and computes in the "
        "precision it was saved in, usually float32, so little time is saved.",
        policy,
    )
    return policy


WARMUP_FRACTION = 0.1


@register
class WarmupLinearDecay(keras.optimizers.schedules.LearningRateSchedule):
    """The rate rises linearly over the first steps to its peak, then falls linearly to zero at the last step.

    How many steps there will be is known when training starts, not when a model is built: until `plan` has been called, the rate
    is the peak rate.

    Args:
        peak: the highest rate.
        warmup: fraction of the steps during which it rises.
        first_step: the optimizer step at which the plan begins.
        steps: how many steps the plan has; 0 for no plan.

    Source: Devlin et al., "BERT", https://arxiv.org/abs/1810.04805, appendix A.2 and A.3.

    Example:
        >>> schedule = WarmupLinearDecay(1e-3, warmup=0.2, steps=10)
        >>> [round(float(schedule(step)) * 1e4, 2) for step in (0, 1, 2, 6, 10)]
        [5.0, 10.0, 10.0, 5.0, 0.0]
    """

    def __init__(self, peak: float, warmup: float = WARMUP_FRACTION, first_step: int = 0, steps: int = 0):
        super().__init__()
        self.peak = float(peak)
        self.warmup = float(warmup)
        # Variables, so that a training function traced earlier follows a new plan.
        self.first_step = tf.Variable(float(first_step), trainable=False, dtype=tf.float32, name="first_step")
        self.steps = tf.Variable(float(steps), trainable=False, dtype=tf.float32, name="steps")

    def plan(self, first_step: int, steps: int) -> None:
        """Spread warm-up and decay over `steps` steps from `first_step` on."""
        self.first_step.assign(float(first_step))
        self.steps.assign(float(steps))

    def __call__(self, step) -> tf.Tensor:
        """The rate at an optimizer step: float32 scalar."""
        done = tf.cast(tf.convert_to_tensor(step), tf.float32) - self.first_step
        rising = tf.maximum(tf.floor(self.steps * self.warmup), 1.0)
        up = (done + 1.0) / rising
        down = (self.steps - done) / tf.maximum(self.steps - rising, 1.0)
        factor = tf.clip_by_value(tf.minimum(up, down), 0.0, 1.0)
        return self.peak * tf.where(self.steps > 0.0, factor, 1.0)

    def get_config(self) -> dict:
        """The constructor's arguments, the current plan among them."""
        return {
            "peak": self.peak,
            "warmup": self.warmup,
            "first_step": int(self.first_step.numpy()),
            "steps": int(self.steps.numpy()),
        }


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
