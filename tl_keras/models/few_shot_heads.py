"""What is worked out, not trained, from few vectors: a centre, the directions that count, and a matrix for the classes."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from sklearn.linear_model import LogisticRegression

from tl_keras._keras import keras, register, tf_variable

SHARPNESS = 10.0
"""Nearest mean: what cosines are multiplied by before the softmax. It changes no label, only how sure the scores look."""
REGULARISATION = 1.0
"""Logistic regression: scikit-learn's C. On vectors of length 1 a larger one gained up to 2 points on trec and lost as much on nsmc and sst2, at 8 to 64
labels a class (validation texts, five draws)."""
DESCRIPTION_WEIGHT = 4.0
"""A description of a class counts as so many labelled texts: with 2 to 16 accuracy differs by a point or two on nsmc, sst2 and trec (validation texts, six draws)."""


def nearest_mean_head(
    vectors: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel float32 `[width, classes]` and bias `[classes]` whose logits are the cosines to the class means, times `SHARPNESS`.

    Args:
        vectors: float32 `[n, width]`, of length 1.
        labels: int `[n]`, each class at least once.
        weights: float `[n]`, how much each vector counts; all alike by default.
    """
    means = unit_rows(class_means(vectors, labels, weights))
    return (SHARPNESS * means.T).astype("float32"), np.zeros(len(means), "float32")


def logistic_head(
    vectors: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel float32 `[width, classes]` and bias `[classes]` of a logistic regression in which each class counts alike.

    Args:
        vectors: float32 `[n, width]`.
        labels: int `[n]`, each class at least once.
        weights: float `[n]`, how much each vector counts within its class; all alike by default.
    """
    weights = np.ones(len(labels)) if weights is None else weights
    balanced = weights / np.bincount(labels, weights)[labels] * weights.sum() / (labels.max() + 1)
    fitted = LogisticRegression(C=REGULARISATION, max_iter=2000).fit(vectors, labels, balanced)
    kernel, bias = fitted.coef_.T, fitted.intercept_
    if kernel.shape[1] == 1:
        # scikit-learn gives two classes one logit.
        kernel, bias = np.concatenate([-kernel, kernel], 1) / 2, np.concatenate([-bias, bias]) / 2
    return kernel.astype("float32"), bias.astype("float32")


def class_means(vectors: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """The mean of each class's vectors: float `[classes, width]`; of labels 0, 1, ... each at least once."""
    weights = np.ones(len(labels)) if weights is None else weights
    sums = np.stack([weights[labels == index] @ vectors[labels == index] for index in range(labels.max() + 1)])
    return sums / np.bincount(labels, weights)[:, np.newaxis]


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Vectors `[n, width]` at length 1; zeros stay zeros."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def with_descriptions(
    vectors: np.ndarray, labels: np.ndarray, described: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors of texts, and of descriptions of their classes behind them, each of which counts as `DESCRIPTION_WEIGHT` texts.

    Args:
        vectors: float `[n, width]`, of length 1.
        labels: int `[n]`.
        described: float `[classes, width]`, of descriptions, what all of them have in common taken out.

    Returns:
        `(vectors, labels, weights)`, of `n` + classes, as heads take them.
    """
    return (
        np.concatenate([vectors, unit_rows(described)]).astype("float32"),
        np.concatenate([labels, np.arange(len(described))]),
        np.concatenate([np.ones(len(labels)), np.full(len(described), DESCRIPTION_WEIGHT)]),
    )


def centre_and_spread(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean of vectors, and the symmetric fourth root of their covariance, scaled to a largest stretch of 1.

    Multiplied by that root, vectors are stretched along the directions in which texts of this kind differ most, so a classifier that is
    kept small (as `logistic_head` keeps it) expects the classes to differ along these too. It is whitening turned round, by
    half: the square root won up to a point more on two classes and lost as much on the six of trec (validation texts, six draws).

    Args:
        vectors: float `[n, width]`, of length 1; labelled ones and others.

    Returns:
        `(mean, root)`, float32 `[width]` and `[width, width]`.

    Source: a kernel whose spectrum is changed by what unlabelled points say is a cluster kernel: Chapelle, Weston and Schoelkopf,
        "Cluster Kernels for Semi-Supervised Learning", NIPS 2002.

    Example:
        >>> vectors = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.25], [0.0, -0.25]])
        >>> mean, root = centre_and_spread(vectors)
        >>> mean.tolist(), root.round(6).tolist()
        ([0.0, 0.0], [[1.0, 0.0], [0.0, 0.5]])
    """
    vectors = np.asarray(vectors, "float64")
    values, directions = np.linalg.eigh(np.cov(vectors.T, bias=True))
    stretch = np.maximum(values, 0.0) ** 0.25
    root = (directions * (stretch / max(stretch[-1], 1e-12))) @ directions.T
    return vectors.mean(0).astype("float32"), root.astype("float32")


@register
class CentredVectors(keras.layers.Layer):
    """Vectors of length 1, a centre taken out of them, and of length 1 again: what all texts have in common says nothing of a class.

    Args:
        stretched: whether they are multiplied by a matrix before the last step; see `centre_and_spread`.
    """

    def __init__(self, stretched: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.stretched = stretched

    def build(self, input_shape):
        """Make the centre, all zeros, and the matrix, the identity: vectors then keep their direction."""
        width = int(input_shape[-1])
        kept = {"trainable": False, "dtype": "float32"}
        self.centre = self.add_weight(shape=(width,), initializer="zeros", name="centre", **kept)
        if self.stretched:
            self.spread = self.add_weight(shape=(width, width), initializer="identity", name="spread", **kept)
        super().build(input_shape)

    def set(self, centre: np.ndarray, spread: np.ndarray | None = None) -> None:
        """Set the centre, float32 `[width]`, and, where vectors are stretched, the matrix, float32 `[width, width]`."""
        tf_variable(self.centre).assign(centre)
        if self.stretched:
            tf_variable(self.spread).assign(spread)

    def call(self, vectors):
        """Float `[batch, width]` to float32 `[batch, width]`."""
        vectors = tf.math.l2_normalize(tf.cast(vectors, tf.float32), axis=-1) - tf.convert_to_tensor(self.centre)
        if self.stretched:
            vectors = tf.matmul(vectors, tf.convert_to_tensor(self.spread))
        return tf.math.l2_normalize(vectors, axis=-1)

    def stretch(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors `[n, width]` times the matrix, if there is one."""
        return vectors @ tf_variable(self.spread).numpy() if self.stretched else vectors

    def compute_output_shape(self, input_shape):
        """The same shape."""
        return tuple(input_shape)

    def get_config(self) -> dict:
        """The constructor's arguments; centre and matrix are among the weights."""
        return {**super().get_config(), "stretched": self.stretched}
