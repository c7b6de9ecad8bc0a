"""Vectors with their common direction taken out: what makes those of a masked language model comparable without any labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tl_keras._keras import keras
from tl_keras.data.examples import Examples
from tl_keras.encoders.base import Encoder
from tl_keras.errors import UserError
from tl_keras.models.text_vectors import TextVectors

MOST_TEXTS = 4096
"""So many texts are enough to tell the covariance of a few hundred numbers."""


def whitening(vectors: np.ndarray, dimensions: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The matrix and the shift that give vectors the mean 0 and the identity as covariance.

    The cosine of two BERT vectors is near 1 for any two texts, since all lie in a narrow cone; what tells texts apart are small
    numbers beside large ones that all texts share.

    Args:
        vectors: float `[n, width]`, of texts as they will come.
        dimensions: keep the so many directions in which the vectors vary most; None for all.

    Returns:
        `(matrix, shift)`, float32 `[width, dimensions]` and `[dimensions]`: `v @ matrix + shift` is whitened.

    Raises:
        UserError: fewer vectors than numbers to keep, or more to keep than there are.

    Source: Su et al., "Whitening Sentence Representations for Better Semantics and Faster Retrieval", https://arxiv.org/abs/2103.15316

    Example:
        >>> vectors = np.random.default_rng(0).normal(size=(100, 3)) * [1, 5, 20] + 7
        >>> matrix, shift = whitening(vectors)
        >>> bool(np.abs(np.cov((vectors @ matrix + shift).T) - np.eye(3)).max() < 1e-4)
        True
    """
    vectors = np.asarray(vectors, "float64")
    dimensions = dimensions or vectors.shape[1]
    if dimensions > vectors.shape[1]:
        raise UserError(
            f"whitened vectors of {dimensions} numbers would be more than the encoder's {vectors.shape[1]}."
        )
    if len(vectors) <= dimensions:
        raise UserError(
            f"{len(vectors)} different texts are too few to whiten vectors of {dimensions} numbers: give more texts, or fewer dimensions."
        )
    mean = vectors.mean(axis=0)
    values, directions = np.linalg.eigh(np.cov(vectors.T))
    # Directions in which nothing varies would be blown up to noise.
    values = np.maximum(values, values[-1] * 1e-7)
    matrix = directions[:, ::-1][:, :dimensions] / np.sqrt(values[::-1][:dimensions])
    return matrix.astype("float32"), (-mean @ matrix).astype("float32")


def pooled_vectors(model: keras.Model, encoder: Encoder, texts: Sequence[str]) -> np.ndarray:
    """What a model gives for texts of a sample: float32 `[at most 4096, width]`.

    Args:
        model: from what `encoder.batches` gives to float `[batch, width]`.
        encoder: makes the batches.
        texts: strings; those that come twice count once.
    """
    different = np.array(list(dict.fromkeys(texts)), object)
    if len(different) > MOST_TEXTS:
        different = different[np.sort(np.random.default_rng(0).permutation(len(different))[:MOST_TEXTS])]
    return TextVectors(model, encoder).compute(Examples.from_lists(different.tolist()))
