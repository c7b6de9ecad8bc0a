"""Where a model's variables live and how its batches are shared out."""

from __future__ import annotations

import logging

import tensorflow as tf

from tl_keras.errors import UserError

logger = logging.getLogger(__name__)

STRATEGIES = ("auto", "one-device", "mirrored")


def get_strategy(name: str = "auto") -> tf.distribute.Strategy:
    """The `tf.distribute` strategy of that name. Load encoders and build models inside its `scope()`.

    Args:
        name: `"one-device"`; `"mirrored"` for all GPUs of this machine; `"auto"` is mirrored where there is more than one GPU.

    Raises:
        UserError: no such strategy.
    """
    if name not in STRATEGIES:
        raise UserError(f"strategy {name!r} is not known; choose one of: {', '.join(STRATEGIES)}.")
    gpus = tf.config.list_physical_devices("GPU")
    if name == "mirrored" or (name == "auto" and len(gpus) > 1):
        strategy = tf.distribute.MirroredStrategy()
        logger.info("Strategy: mirrored over %d device(s).", strategy.num_replicas_in_sync)
        return strategy
    return tf.distribute.get_strategy()
