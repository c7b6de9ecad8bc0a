"""Mixed precision: what computes in half precision, and what cannot."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import tensorflow as tf

from tl_keras._keras import keras

logger = logging.getLogger(__name__)


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
