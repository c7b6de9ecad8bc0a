"""The best texts by meaning and shared words together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tl_keras.evaluation.nearest import QUERIES_AT_ONCE, largest
from tl_keras.serving.approximate import ApproximateIndex
from tl_keras.serving.shared_words import SharedWords

CANDIDATES = 200
"""Texts from each of the two lists that an approximate search compares."""
SAMPLE = 10_000
"""Texts from which an approximate search learns how the cosines lie."""


def joined_search(
    queries: Sequence[str],
    asked: np.ndarray,
    vectors: np.ndarray,
    words: SharedWords,
    lexical_weight: float,
    k: int,
    approximate: ApproximateIndex | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """For each query the `k` texts with the best `(1 - lexical_weight) * meaning + lexical_weight * words`.

    Meaning is the cosine, words the score of BM25, each as standard scores: how many standard deviations it lies above its mean over
    all texts. Cosines of some encoders lie between 0.7 and 0.9, of others between 0 and 1, and BM25 has no bounds; so the weight means
    the same for all queries and encoders.

    Args:
        queries: `q` strings.
        asked: float32 `[q, width]`, their vectors, of length 1.
        vectors: float32 `[n, width]`, those of the texts.
        words: the texts' terms.
        lexical_weight: 0 to 1.
        k: how many texts.
        approximate: compare only the texts that are best, or nearly so, by one of the two.

    Returns:
        `(rows, scores)`, int64 and float32 `[q, min(k, n)]`, best first, equal scores in order of their rows.

    Source: z-score normalisation in Lee, "Combining multiple evidence from different relevance feedback methods", and Renda and
        Straccia, "Web metasearch: rank vs. score based rank aggregation methods", https://doi.org/10.1145/952532.952698
    """
    k = min(k, len(vectors))
    every = np.arange(len(vectors))
    compared = vectors if approximate is None else vectors[:: max(1, len(vectors) // SAMPLE)]
    rows, scores = np.empty((len(queries), k), "int64"), np.empty((len(queries), k), "float32")
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        part = slice(start, start + QUERIES_AT_ONCE)
        by_word = words.scores(queries[part])
        by_word = (by_word - by_word.mean(axis=1, keepdims=True)) / _deviation(by_word)
        cosines = asked[part] @ compared.T
        usual, deviation = cosines.mean(axis=1), _deviation(cosines)[:, 0]
        for row, lexical in enumerate(by_word):
            query = asked[start + row]
            among = every if approximate is None else _candidates(approximate, query, lexical, max(k, CANDIDATES))
            cosine = cosines[row] if approximate is None else vectors[among] @ query
            meaning = (cosine - usual[row]) / deviation[row]
            joined = (1 - lexical_weight) * meaning + lexical_weight * lexical[among]
            best = largest(joined, k)
            rows[start + row], scores[start + row] = among[best], joined[best]
    return rows, scores


def _deviation(values: np.ndarray) -> np.ndarray:
    """The standard deviation of each row, `[rows, 1]`; 1 where all are alike, which then says nothing."""
    deviation = values.std(axis=1, keepdims=True)
    return np.where(deviation > 1e-6, deviation, 1.0)


def _candidates(graph: ApproximateIndex, vector: np.ndarray, lexical: np.ndarray, count: int) -> np.ndarray:
    """The rows, in order, of the best texts by meaning and of the best by words."""
    by_meaning = graph.nearest(vector[np.newaxis], count)[0]
    return np.union1d(by_meaning[by_meaning >= 0], largest(lexical, min(count, len(lexical))))
