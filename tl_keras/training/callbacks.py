"""What is watched while training: the best weights, when to stop, macro F1; and weights that make rare classes count as much."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tl_keras._keras import keras, register
from tl_keras.data.examples import Examples
from tl_keras.errors import UserError
from tl_keras.options import check_ranges

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


class ClassWeights(dict):
    """Weights of classes by their number among the classes of some examples, as Keras wants them; models look them up by name.

    Args:
        classes: of the examples.
        weights: by number.
    """

    def __init__(self, classes: Sequence[str], weights: dict[int, float]):
        super().__init__(weights)
        self.by_name = {classes[number]: weight for number, weight in weights.items()}


def class_weights(examples: Examples) -> ClassWeights:
    """For `model.fit(class_weight=...)`: `n / (classes x n of the class)`, as scikit-learn's `"balanced"`.

    Args:
        examples: with one label each.

    Returns:
        Class index to weight. A class without examples gets no weight. `fit` of this package's models looks the classes up by name,
        should the model have them in another order.

    Raises:
        UserError: no labels, or several labels a text.

    Example:
        >>> class_weights(Examples.from_lists(["a", "b", "c", "d"], ["x", "x", "x", "y"]))
        {0: 0.666..., 1: 2.0}
    """
    if examples.labels is None or examples.multi_label:
        raise UserError("balanced class weights need exactly one label for each text.")
    counts = np.bincount(examples.labels, minlength=len(examples.classes)).tolist()
    present = sum(n > 0 for n in counts)
    return ClassWeights(examples.classes, {i: len(examples) / (present * n) for i, n in enumerate(counts) if n})


@register
class MacroF1(keras.metrics.Metric):
    """The mean of the classes' F1, from the counts of all batches.

    Args:
        classes: how many there are.
        name: in the logs.
        **kwargs: of `keras.metrics.Metric`.

    Source: van Rijsbergen, "Information Retrieval", 1979, chapter 7; the same as scikit-learn's `f1_score(average="macro")`, with 0 for a
        class that neither occurs nor is predicted.

    Example:
        >>> metric = MacroF1(2)
        >>> _ = metric.update_state([0, 0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.1, 0.9]])
        >>> round(float(metric.result()), 4)  # (2/3 + 4/5) / 2
        0.7333
    """

    def __init__(self, classes: int, name: str = "macro_f1", **kwargs):
        super().__init__(name=name, **kwargs)
        self.classes = classes
        self.right, self.said, self.there = (
            self.add_weight(shape=(classes,), initializer="zeros", name=part) for part in ("right", "said", "there")
        )

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Count a batch: class numbers `[batch]`, or 0 and 1 `[batch, classes]`; probabilities `[batch, classes]`."""
        y_pred = tf.convert_to_tensor(y_pred)
        y_true = tf.convert_to_tensor(y_true)
        if y_true.shape.rank == 2 and y_true.shape[1] == self.classes and self.classes > 1:
            there, said = tf.cast(y_true, tf.float32), tf.cast(y_pred >= 0.5, tf.float32)
        else:
            there = tf.one_hot(tf.reshape(tf.cast(y_true, tf.int32), [-1]), self.classes)
            said = tf.one_hot(tf.argmax(y_pred, axis=-1), self.classes)
        for total, counted in ((self.right, there * said), (self.said, said), (self.there, there)):
            total.assign_add(tf.reduce_sum(counted, axis=0))

    def result(self):
        """Macro F1, float32."""
        right, said, there = (tf.convert_to_tensor(total) for total in (self.right, self.said, self.there))
        return tf.reduce_mean(tf.math.divide_no_nan(2.0 * right, said + there))

    def reset_state(self):
        """Forget what was counted; Keras 2 by itself would put a single zero into each count."""
        for total in (self.right, self.said, self.there):
            total.assign(tf.zeros([self.classes]))

    def get_config(self) -> dict:
        """With the number of classes."""
        return {**super().get_config(), "classes": self.classes}
