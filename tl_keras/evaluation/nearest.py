"""The nearest vectors, found by comparing with every one."""

from __future__ import annotations

import numpy as np

from tl_keras.errors import UserError

QUERIES_AT_ONCE = 64
"""Queries multiplied with the collection together: 64 x 100,000 products are 26 MB."""


def nearest(vectors: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """For each query the `k` vectors with the largest dot product.

    Args:
        vectors: float32 `[n, width]`.
        queries: float32 `[q, width]`.
        k: how many; all, if there are fewer.

    Returns:
        `(rows, scores)`: int64 and float32 `[q, min(k, n)]`, best first, equal scores in order of their rows.

    Raises:
        UserError: `k` below 1.

    Example:
        >>> rows, scores = nearest(np.eye(3, dtype="float32"), np.array([[0.25, 0.75, 0.5]], "float32"), 2)
        >>> rows.tolist(), scores.tolist()
        ([[1, 2]], [[0.75, 0.5]])
    """
    if k < 1:
        raise UserError(f"the number of texts to find must be at least 1, not {k}.")
    k = min(k, len(vectors))
    rows = np.empty((len(queries), k), "int64")
    scores = np.empty((len(queries), k), "float32")
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        part = queries[start : start + QUERIES_AT_ONCE]
        # A single query as a plain vector: the product with a matrix of one column is slower in BLAS.
        products = (vectors @ part[0])[np.newaxis] if len(part) == 1 else part @ vectors.T
        for row, values in enumerate(products, start):
            rows[row] = largest(values, k)
            scores[row] = values[rows[row]]
    return rows, scores


def largest(values: np.ndarray, k: int) -> np.ndarray:
    """The places of the `k` largest values, in falling order; among equals the first places."""
    if k < len(values):
        # Everything above the k-th value, then of those equal to it as many as fit, the first ones.
        edge = np.partition(values, len(values) - k)[len(values) - k]
        above = np.flatnonzero(values > edge)
        candidates = np.concatenate([above, np.flatnonzero(values == edge)[: k - len(above)]])
    else:
        candidates = np.arange(len(values))
    return candidates[np.lexsort((candidates, -values[candidates]))]
