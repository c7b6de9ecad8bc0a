"""The nearest vectors, found without comparing with every one: a graph of neighbours (extra `search`)."""

from __future__ import annotations

import os

import numpy as np

from tl_keras.errors import UserError


class ApproximateIndex:
    """An HNSW graph over vectors of length 1, by the library `usearch`.

    It asks a few thousand vectors instead of all, and misses a few per cent of the true neighbours; below some hundred thousand
    texts the exact search is quick enough.

    Args:
        graph: of `usearch.index.Index`.

    Source: Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small World
        graphs", https://arxiv.org/abs/1603.09320; the library is https://github.com/unum-cloud/usearch
    """

    def __init__(self, graph):
        self.graph = graph

    @classmethod
    def build(cls, vectors: np.ndarray) -> ApproximateIndex:
        """Build the graph.

        Args:
            vectors: float32 `[n, width]`, of length 1.

        Raises:
            UserError: the library is not installed.
        """
        # A wider search than the library's default (64) finds more of the true neighbours, and still takes about a millisecond.
        graph = _usearch().Index(ndim=vectors.shape[1], metric="ip", dtype="f32", expansion_search=256)
        graph.add(np.arange(len(vectors), dtype="uint64"), vectors)
        return cls(graph)

    @classmethod
    def load(cls, path: str | os.PathLike) -> ApproximateIndex:
        """Load a graph that `save` wrote.

        Raises:
            UserError: the library is not installed, or the file is damaged.
        """
        library = _usearch()
        try:
            graph = library.Index.restore(str(path))
        except (RuntimeError, ValueError, OSError) as error:
            raise UserError(f"{path} cannot be read ({error}); build the index again.") from error
        if graph is None:
            raise UserError(f"{path} cannot be read; build the index again.")
        graph.expansion_search = 256
        return cls(graph)

    def save(self, path: str | os.PathLike) -> None:
        """Write the graph, its vectors included."""
        self.graph.save(str(path))

    def nearest(self, queries: np.ndarray, k: int) -> np.ndarray:
        """For each query the rows of about the `k` nearest vectors: int64 `[q, k]`, -1 where fewer were found."""
        rows = np.full((len(queries), min(k, len(self.graph))), -1, "int64")
        for place, query in enumerate(queries):
            found = self.graph.search(query, rows.shape[1]).keys.astype("int64")
            rows[place, : len(found)] = found
        return rows


def _usearch():
    try:
        from usearch import index
    except ImportError as error:
        raise UserError(
            'an approximate index needs usearch: pip install "tl_keras[search]", or search exactly (exact=True, --exact).'
        ) from error
    return index
