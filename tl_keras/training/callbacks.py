"""Scoring epochs, stopping when validation no longer improves, and keeping the best weights whatever happens."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

from tl_keras._keras import keras
from tl_keras.settings import check_ranges

logger = logging.getLogger(__name__)


class EpochScore(keras.callbacks.Callback):
    """Adds a score of the validation examples to each epoch's logs, where the callbacks behind this one find it.

    The loss often rises again while the answers still get better, so the best epoch is chosen by such a score.

    Args:
        name: in the logs, e.g. `"val_spearman"`.
        score: computes it.
    """

    def __init__(self, name: str, score: Callable[[], float]):
        super().__init__()
        self.name = name
        self.score = score

    def on_epoch_end(self, epoch, logs=None):
        """Score."""
        if logs is not None:
            logs[self.name] = self.score()


class BestWeights(keras.callbacks.Callback):
    """Keeps the weights of the best epoch in memory; puts them back when training ends, also by Ctrl-C.

    Where `examples` says of how few examples the monitored value is a fraction, a later epoch is kept also if it is not clearly worse than
    the best one: by no more than a standard error, `sqrt(p (1 - p) / n)`. Among few examples the best epoch is best by chance, while the
    last ones, at a falling learning rate, have learned most.

    Args:
        monitor: a validation metric. One whose name ends in "loss" should fall, any other should rise.
        patience: stop after so many epochs without improvement; None never stops.
        examples: of a fraction such as accuracy: how many validation examples there are.
    """

    def __init__(self, monitor: str = "val_loss", patience: int | None = None, examples: int | None = None):
        super().__init__()
        check_ranges({"patience": patience})
        self.monitor = monitor
        self.patience = patience
        self.examples = examples
        self.best: float | None = None
        self.best_epoch: int | None = None
        self._improved: int | None = None
        self._weights: list | None = None

    def on_train_begin(self, logs=None):
        """Forget an earlier run."""
        self.best = self.best_epoch = self._improved = self._weights = None

    def on_epoch_end(self, epoch, logs=None):
        """Compare, keep, perhaps stop."""
        value = (logs or {}).get(self.monitor)
        if value is None:
            return
        falls = self.monitor.endswith("loss")
        better = self.best is None or (value < self.best if falls else value > self.best)
        if better:
            self.best, self._improved = float(value), epoch
        if better or abs(value - self.best) <= self._by_chance():
            self.best_epoch, self._weights = epoch, self.model.get_weights()
        if not better and self.patience is not None and epoch - self._improved >= self.patience:
            logger.info("%s has not improved for %d epochs: stopping.", self.monitor, self.patience)
            self.model.stop_training = True

    def _by_chance(self) -> float:
        """How much below the best value another may be by chance; less than nothing where that is not asked for."""
        if self.examples is None:
            return -1.0
        # One example more or less is never clear, also where the best is all or none.
        return max(math.sqrt(max(self.best * (1.0 - self.best), 0.0) / self.examples), 1.0 / self.examples) + 1e-9

    @property
    def state(self) -> list | None:
        """What a checkpoint keeps of it beside the weights; None before the first epoch."""
        return None if self._weights is None else [self.best, self.best_epoch, self._improved]

    def resume(self, state: list, weights: list) -> None:
        """Go on from what a checkpoint kept."""
        self.best, self.best_epoch, self._improved = state
        self._weights = weights

    def on_train_end(self, logs=None):
        """Put the best weights back."""
        self.restore()

    def restore(self) -> int | None:
        """Put the best weights back; returns their epoch (from 0), or None if no epoch has been validated."""
        if self._weights is not None:
            self.model.set_weights(self._weights)
        return self.best_epoch


def early_stopping(patience: int = 2, monitor: str = "val_loss") -> BestWeights:
    """Stop when `monitor` has not improved for `patience` epochs, and go back to the best epoch's weights."""
    return BestWeights(monitor, patience)
