"""Classes of uneven size: weights that make rare ones count as much as common ones, and macro F1 while training."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tl_keras._keras import keras, register
from tl_keras.data.examples import Examples
from tl_keras.errors import UserError


def class_weights(examples: Examples) -> dict[int, float]:
    """For `model.fit(class_weight=...)`: `n / (classes x n of the class)`, as scikit-learn's `"balanced"`.

    Args:
        examples: with one label each.

    Returns:
        Class index to weight. A class without examples gets no weight.

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
    return {i: len(examples) / (present * n) for i, n in enumerate(counts) if n}


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
