"""Losses of models that compare texts, against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tl_keras._keras import keras
from tl_keras.errors import UserError
from tl_keras.models.similarity_losses import (
    Contrastive,
    CosineRanking,
    CosineRegression,
    InBatchNegatives,
    ScoreCrossEntropy,
)

RNG = np.random.default_rng(5)
COSINES = RNG.uniform(-1, 1, size=8).astype("float32")
SCORES = RNG.uniform(1, 5, size=8).astype("float32")


def test_in_batch_negatives_leave_out_the_others_with_the_same_document():
    cosines = RNG.uniform(-1, 1, size=(4, 4)).astype("float32")
    documents = [7, 3, 7, 5]
    expected = []
    for query in range(4):
        others = [d for d in range(4) if d == query or documents[d] != documents[query]]
        logits = 20.0 * cosines[query, others]
        expected.append(-20.0 * cosines[query, query] + np.log(np.exp(logits).sum()))
    loss = InBatchNegatives()
    np.testing.assert_allclose(loss.call(tf.constant(documents), cosines).numpy(), expected, rtol=1e-4, atol=1e-6)
    # Keras 2 hands labels over as [batch, 1].
    assert float(loss(np.array(documents)[:, None], cosines)) == pytest.approx(np.mean(expected), rel=1e-4)


def test_in_batch_negatives_of_a_single_pair_teach_nothing():
    assert float(InBatchNegatives()([3], [[0.2]])) == 0.0


def test_regression_on_cosines():
    expected = (COSINES - (SCORES - 1) / 4) ** 2
    np.testing.assert_allclose(CosineRegression(1, 5).call(SCORES, COSINES), expected, atol=1e-6)


def test_ranking_counts_only_pairs_in_the_wrong_order():
    scores = np.array([3, 1, 3, 5, 0, 2, 2, 4], "float32")
    terms = [np.exp(20 * (COSINES[j] - COSINES[i])) for i in range(8) for j in range(8) if scores[i] > scores[j]]
    loss = CosineRanking()
    np.testing.assert_allclose(loss.call(scores, COSINES), [np.log(1 + sum(terms))] * 8, rtol=1e-4)
    assert float(loss(scores, scores)) < 1e-6
    assert float(loss([3.0, 3.0], [0.9, -0.9])) == 0.0


def test_contrastive_with_labels_of_another_range():
    alike = np.array([1, 0, 1, 0, 1, 0, 0, 1], "float32")
    distance = 1 - COSINES
    expected = np.where(alike == 1, distance**2, np.maximum(0.8 - distance, 0) ** 2) / 2
    np.testing.assert_allclose(Contrastive(0.8).call(alike, COSINES), expected, atol=1e-6)
    np.testing.assert_allclose(Contrastive(0.8, 2, 6).call(2 + 4 * alike, COSINES), expected, atol=1e-6)


def test_cross_entropy_of_scores_is_least_at_the_score():
    loss = ScoreCrossEntropy(1, 5)
    target, given = (SCORES - 1) / 4, np.linspace(0.1, 0.9, 8).astype("float32")
    expected = -(target * np.log(given) + (1 - target) * np.log(1 - given))
    np.testing.assert_allclose(loss.call(SCORES, 1 + 4 * given), expected, rtol=1e-4)
    for shift in (-0.05, 0.05):
        assert float(loss(SCORES, SCORES)) < float(loss(SCORES, np.clip(SCORES + shift, 1, 5)))
    assert np.isfinite(loss.call([1.0, 5.0], [5.0, 1.0])).all()


@pytest.mark.parametrize(
    "loss",
    [
        CosineRegression(1, 5),
        CosineRanking(9.0),
        InBatchNegatives(7.0),
        Contrastive(0.7, 1, 2),
        ScoreCrossEntropy(0, 9),
    ],
)
def test_losses_are_made_again_from_their_config(loss):
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()


@pytest.mark.parametrize(
    "make",
    [lambda: CosineRegression(5, 0), lambda: InBatchNegatives(0), lambda: Contrastive(0), lambda: Contrastive(3)],
)
def test_wrong_settings(make):
    with pytest.raises(UserError):
        make()
