"""Measures of search against another library and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import ndcg_score

from tl_keras.data.pairs import RetrievalPairs
from tl_keras.errors import UserError
from tl_keras.evaluation.similarity import mean_reciprocal_rank, ndcg_at, recall_at, retrieval_report
from tl_keras.serving.evaluate import evaluate, evaluate_retrieval
from tl_keras.serving.scorers import SentenceEncoder


@pytest.mark.parametrize("k", [1, 5, 10])
def test_ndcg_equals_scikit_learns(k):
    rng = np.random.default_rng(k)
    scores = rng.normal(size=(30, 12))
    gains = rng.integers(0, 4, size=(30, 12)) * (rng.random((30, 12)) < 0.4)
    gains[gains.sum(1) == 0, 0] = 2
    ranked = np.argsort(-scores, axis=1)
    relevant = [{document: float(gain) for document, gain in enumerate(row) if gain} for row in gains]
    assert ndcg_at(ranked.tolist(), relevant, k) == pytest.approx(ndcg_score(gains, scores, k=k))


def test_recall_and_reciprocal_rank_by_hand():
    ranked = [[4, 2, 0], [1, 3, 0], [5, 6, 7]]
    relevant = [{2}, {1, 0}, {9}]
    assert recall_at(ranked, relevant, 1) == pytest.approx((0 + 0.5 + 0) / 3)
    assert recall_at(ranked, relevant, 3) == pytest.approx((1 + 1 + 0) / 3)
    assert mean_reciprocal_rank(ranked, relevant) == pytest.approx((1 / 2 + 1 + 0) / 3)
    report = retrieval_report(ranked, relevant, 10)
    assert report.to_dict() == {
        "examples": 3, "documents": 10, "recall@1": 1 / 6, "recall@5": 2 / 3, "recall@10": 2 / 3, "mrr": 0.5,
        "ndcg@10": pytest.approx((1 / np.log2(3) + (1 + 1 / 2) / (1 + 1 / np.log2(3)) + 0) / 3),
    }  # fmt: skip
    # What stands on rank 10 counts, and on rank 11 no longer.
    last = [retrieval_report([[*range(rank), 99]], [{99}], 100) for rank in (9, 10)]
    assert [(one.recall[10], one.ndcg) for one in last] == [(1.0, pytest.approx(1 / np.log2(11))), (0.0, 0.0)]
    with pytest.raises(UserError, match="no questions"):
        retrieval_report([], [], 10)


def test_questions_search_all_documents():
    vectors = {"q north": [0.1, 2.0], "q east": [3.0, 0.2], "north": [0.0, 1.0], "east": [5.0, 0.0], "both": [1.0, 1.0]}
    encoder = SentenceEncoder(lambda texts: tf.constant([vectors[t.decode()] for t in texts.numpy()]), 2, "a table")
    pairs = RetrievalPairs.from_lists(["q north", "q east", "q east"], ["north", "both", "east"])
    report = evaluate(encoder, pairs)
    # "q east" has two right documents, found on ranks 1 and 2.
    assert (report.examples, report.documents, report.recall[1], report.mrr, report.ndcg) == (2, 3, 0.75, 1.0, 1.0)
    vectors["better"] = [1.0, 20.0]
    worse = evaluate_retrieval(encoder, pairs, among=["better", "north"])
    assert (worse.documents, worse.mrr) == (4, pytest.approx((1 / 2 + 1) / 2))
