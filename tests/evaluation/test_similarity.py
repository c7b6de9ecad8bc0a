"""Correlations with people's scores."""

from __future__ import annotations

import numpy as np
import pytest

from tl_keras.data.pairs import ScoredExamples
from tl_keras.errors import UserError
from tl_keras.evaluation.similarity import similarity_report
from tl_keras.serving.evaluate import evaluate
from tl_keras.serving.scorers import Regressor


def test_correlations_and_errors_by_their_definitions():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 6, size=40).astype(float)  # with ties
    predicted = true + rng.normal(size=40)
    report = similarity_report(true, predicted)

    def pearson(a, b):
        a, b = a - a.mean(), b - b.mean()
        return (a @ b) / np.sqrt((a @ a) * (b @ b))

    def mean_ranks(values):
        return np.array([np.mean(np.flatnonzero(np.sort(values) == value)) for value in values])

    assert report.pearson == pytest.approx(pearson(true, predicted))
    assert report.spearman == pytest.approx(pearson(mean_ranks(true), mean_ranks(predicted)))
    assert report.mean_absolute_error == pytest.approx(np.mean(np.abs(true - predicted)))
    assert report.root_mean_squared_error == pytest.approx(np.sqrt(np.mean((true - predicted) ** 2)))
    # Only the order counts for Spearman.
    assert similarity_report(true, np.exp(predicted)).spearman == pytest.approx(report.spearman)


def test_a_model_that_orders_nothing_scores_zero():
    report = similarity_report([1.0, 2.0, 3.0], [2.0, 2.0, 2.0])
    assert (report.spearman, report.pearson) == (0.0, 0.0)
    with pytest.raises(UserError, match="at least two"):
        similarity_report([1.0], [1.0])


def test_evaluate_in_the_units_of_the_scores():
    def lengths(batch):
        import tensorflow as tf

        return tf.cast(tf.strings.length(batch["text"]), tf.float32)

    model = Regressor(lengths, (0.0, 9.0), False, "a model of lengths")
    report = evaluate(model, ScoredExamples.from_lists(["a", "bb", "cccc"], [1.0, 3.0, 4.0]))
    assert report.to_dict() == pytest.approx(
        {
            "examples": 3,
            "spearman": 1.0,
            "pearson": np.corrcoef([1, 2, 4], [1, 3, 4])[0, 1],
            "mean_absolute_error": 1 / 3,
            "root_mean_squared_error": np.sqrt(1 / 3),
        }
    )
    with pytest.raises(UserError, match="takes single texts"):
        evaluate(model, ScoredExamples.from_lists(["a", "b"], [0, 1], ["c", "d"]))
