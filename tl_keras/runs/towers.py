"""What the runs of bi-encoders share: the way back to the weights they began with."""

from __future__ import annotations

import logging

from tl_keras._keras import keras

logger = logging.getLogger(__name__)


def keep_start_if_better(model: keras.Model, start: list, before: float, after: float, measure: str) -> bool:
    """Put the weights from before training back, if the best epoch was worse; says so in a warning.

    An encoder made for sentences is often better than what few or noisy pairs make of it.

    Args:
        model: trained.
        start: its weights before.
        before: the score before training.
        after: the score of the best epoch.
        measure: the score's name.

    Returns:
        Whether they were put back.
    """
    if after >= before:
        return False
    model.set_weights(start)
    logger.warning(
        "Training made it worse: %s %.4f on the validation examples, %.4f before. The weights from before training are kept. "
        "A lower learning rate, fewer epochs or more examples may help.",
        measure,
        after,
        before,
    )
    return True
