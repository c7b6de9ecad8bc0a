"""Comparing texts: the nearest of many vectors, how well a search finds what it should, and how well scores go with those of people."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from scipy import stats

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


DEPTH = 100
"""How many documents of each answer are looked at."""


@dataclasses.dataclass(frozen=True)
class RetrievalReport:
    """The result of evaluating a search.

    Args:
        examples: how many questions were asked.
        documents: how many documents were searched.
        recall: fraction of the right documents found among the first `k`, by `k`.
        mrr: mean reciprocal rank of the first right document; 0 where none is among the first 100.
        ndcg: normalised discounted cumulative gain of the first ten.
    """

    examples: int
    documents: int
    recall: dict[int, float]
    mrr: float
    ndcg: float

    def to_dict(self) -> dict:
        """Plain numbers: what `metrics.json` holds; recall under `recall@k`."""
        return {
            "examples": self.examples,
            "documents": self.documents,
            **{f"recall@{k}": value for k, value in self.recall.items()},
            "mrr": self.mrr,
            "ndcg@10": self.ndcg,
        }

    def __str__(self) -> str:
        recall = "   ".join(f"recall@{k} {value:.4f}" for k, value in self.recall.items())
        return f"{recall}   MRR {self.mrr:.4f}   nDCG@10 {self.ndcg:.4f}   ({self.examples} questions, {self.documents} documents)"


def recall_at(ranked: Sequence[Sequence[int]], relevant: Sequence[Collection[int]], k: int) -> float:
    """The mean over the questions of the fraction of their right documents that are among the first `k`.

    Args:
        ranked: for each question the documents found, best first.
        relevant: for each question the right documents, at least one.
        k: how many count.

    Source: Manning, Raghavan and Schuetze, "Introduction to Information Retrieval", https://nlp.stanford.edu/IR-book/, section 8.4.

    Example:
        >>> recall_at([[3, 1, 2], [0, 5, 4]], [{1}, {0, 4}], k=2)
        0.75
    """
    fractions = [len(set(list(row)[:k]) & set(right)) / len(right) for row, right in zip(ranked, relevant, strict=True)]
    return float(np.mean(fractions))


def mean_reciprocal_rank(ranked: Sequence[Sequence[int]], relevant: Sequence[Collection[int]]) -> float:
    """The mean over the questions of `1 / rank` of the first right document, 0 where there is none.

    Args:
        ranked: for each question the documents found, best first.
        relevant: for each question the right documents.

    Source: Voorhees, "The TREC-8 Question Answering Track Report", https://trec.nist.gov/pubs/trec8/papers/qa_report.pdf

    Example:
        >>> mean_reciprocal_rank([[3, 1, 2], [0, 5, 4]], [{1}, {0, 4}])
        0.75
    """
    ranks = [
        next((1.0 / (place + 1) for place, document in enumerate(row) if document in right), 0.0)
        for row, right in zip(ranked, relevant, strict=True)
    ]
    return float(np.mean(ranks))


def ndcg_at(
    ranked: Sequence[Sequence[int]], relevant: Sequence[Collection[int] | Mapping[int, float]], k: int = 10
) -> float:
    """The mean over the questions of `DCG / best DCG`, with `DCG = sum_i gain_i / log2(i + 1)` over the first `k` ranks `i`.

    Args:
        ranked: for each question the documents found, best first.
        relevant: for each question the right documents (gain 1), or their gains.
        k: how many ranks count.

    Source: Jarvelin and Kekalainen, "Cumulated gain-based evaluation of IR techniques", ACM TOIS 20(4), 2002, with the discount of
        all ranks from the first on that is usual today (scikit-learn's `ndcg_score`).

    Example:
        >>> round(ndcg_at([[3, 1, 2]], [{1}]), 4)  # one right document, on rank 2: 1 / log2(3)
        0.6309
    """
    values = []
    for row, right in zip(ranked, relevant, strict=True):
        gains = right if isinstance(right, Mapping) else dict.fromkeys(right, 1.0)
        discounts = 1.0 / np.log2(np.arange(2, k + 2))
        got = np.array([gains.get(document, 0.0) for document in list(row)[:k]])
        best = np.sort(np.array(list(gains.values())))[::-1][:k]
        values.append(float(got @ discounts[: len(got)]) / float(best @ discounts[: len(best)]))
    return float(np.mean(values))


def retrieval_report(
    ranked: Sequence[Sequence[int]], relevant: Sequence[Collection[int]], documents: int
) -> RetrievalReport:
    """Judge ranked answers.

    Args:
        ranked: for each question the documents found, best first, at least ten of them where there are so many.
        relevant: for each question the right documents.
        documents: how many there are to search in.

    Raises:
        UserError: no questions.
    """
    if not len(ranked):
        raise UserError("there are no questions to judge a search by.")
    return RetrievalReport(
        examples=len(ranked),
        documents=documents,
        recall={k: recall_at(ranked, relevant, k) for k in (1, 5, 10)},
        mrr=mean_reciprocal_rank(ranked, relevant),
        ndcg=ndcg_at(ranked, relevant, 10),
    )


@dataclasses.dataclass(frozen=True)
class SimilarityReport:
    """The result of evaluating scores.

    Args:
        examples: how many pairs (or texts) were scored.
        spearman: rank correlation, -1 to 1: does the model put the pairs into the same order?
        pearson: linear correlation, -1 to 1.
        mean_absolute_error: in the units of the scores; None for a sentence encoder, whose cosines have another unit.
        root_mean_squared_error: likewise.
    """

    examples: int
    spearman: float
    pearson: float
    mean_absolute_error: float | None = None
    root_mean_squared_error: float | None = None

    def to_dict(self) -> dict:
        """Plain numbers: what `metrics.json` holds; errors only where they mean something."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}

    def __str__(self) -> str:
        line = f"Spearman {self.spearman:.4f}   Pearson {self.pearson:.4f}"
        if self.mean_absolute_error is not None:
            line += (
                f"   mean absolute error {self.mean_absolute_error:.4f}   "
                f"root mean squared error {self.root_mean_squared_error:.4f}"
            )
        return f"{line}   ({self.examples} examples)"


def similarity_report(scores: np.ndarray, predicted: np.ndarray, same_unit: bool = True) -> SimilarityReport:
    """Compare predicted scores with true ones.

    A model that gives every pair the same score orders nothing: its correlations, which are not defined, count as 0.

    Args:
        scores: float `[n]`, true.
        predicted: float `[n]`.
        same_unit: whether both are in the same unit, so that errors mean something.

    Raises:
        UserError: fewer than two pairs.

    Source: https://docs.scipy.org/doc/scipy/reference/generated/scipy.stats.spearmanr.html (ties share their mean rank).

    Example:
        >>> report = similarity_report([1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 9.0])
        >>> round(report.spearman, 4), report.mean_absolute_error
        (0.8, 1.75)
    """
    scores, predicted = np.asarray(scores, "float64"), np.asarray(predicted, "float64")
    if len(scores) < 2:
        raise UserError(f"{len(scores)} scored example(s): a correlation needs at least two.")
    constant = np.ptp(scores) == 0 or np.ptp(predicted) == 0
    errors = predicted - scores
    return SimilarityReport(
        examples=len(scores),
        spearman=0.0 if constant else float(stats.spearmanr(scores, predicted).statistic),
        pearson=0.0 if constant else float(stats.pearsonr(scores, predicted).statistic),
        mean_absolute_error=float(np.abs(errors).mean()) if same_unit else None,
        root_mean_squared_error=float(np.sqrt(np.square(errors).mean())) if same_unit else None,
    )
