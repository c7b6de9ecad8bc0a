"""Learning curves: parts in proportion, the same for all methods, scored on what was not trained on."""

from __future__ import annotations

import numpy as np
import pytest

from tl_keras.advice.curve import FEWEST_TEXTS, frozen_method, learning_curves, stratified_order, words_method
from tl_keras.data.examples import Examples

pytestmark = pytest.mark.one_keras


def test_every_beginning_holds_the_classes_in_proportion():
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    for seed in range(5):
        order = stratified_order(labels, np.random.default_rng(seed))
        assert sorted(order) == list(range(100))
        for size in (10, 50, 90):
            assert (
                np.abs(np.bincount(labels[order[:size]], minlength=3) - size * np.array([0.6, 0.3, 0.1])).max() <= 1.5
            )


def test_sizes_splits_and_scores():
    labels = np.tile([0, 1], 100)
    seen = {"oracle": [], "majority": []}

    def method(name, answer):
        def run(train, held):
            seen[name].append((tuple(train), tuple(held)))
            return answer(train, held)

        return run

    methods = {
        "oracle": method("oracle", lambda train, held: labels[held]),
        "majority": method("majority", lambda train, held: np.zeros(len(held), int)),
    }
    oracle, majority = learning_curves(labels, methods, all_labels=1000)
    assert oracle.sizes == (19, 38, 75, 150)  # of 150, with 50 held out
    assert oracle.accuracy.shape == (4, 10)
    assert (oracle.accuracy == 1).all()
    np.testing.assert_allclose(majority.accuracy, 0.5, atol=0.02)
    np.testing.assert_allclose(majority.macro_f1.mean(), 1 / 3, atol=0.02)  # F1 2/3 and 0
    assert [entry.labels for entry in majority.forecasts] == [1000, 2000, 4000]
    assert majority.with_all.accuracy == pytest.approx(0.5, abs=0.02)
    assert seen["oracle"] == seen["majority"]
    for train, held in seen["oracle"]:
        assert not set(train) & set(held)
        assert len(held) == 50
    assert len({held for _, held in seen["oracle"]}) == 10


def test_too_few_texts_give_no_curve():
    assert learning_curves(np.tile([0, 1], FEWEST_TEXTS // 2 - 1), {"none": None}) == []


def test_a_class_in_a_handful_of_texts_does_no_harm():
    labels = np.array([0] * 95 + [1] * 5)
    vectors = np.random.default_rng(0).normal(size=(100, 4)) + 6 * labels[:, np.newaxis]
    (curve,) = learning_curves(labels, {"frozen": frozen_method(vectors, labels)})
    assert curve.accuracy[-1].mean() > 0.98


def test_words_see_texts_and_overlap_of_pairs():
    single = Examples.from_lists(["a good film", "a bad film"] * 30, ["pos", "neg"] * 30)
    train, held = np.arange(40), np.arange(40, 60)
    assert (words_method(single, False)(train, held) == single.labels[held]).all()
    rng = np.random.default_rng(1)
    words = [f"word{i}" for i in range(40)]
    first = [" ".join(rng.choice(words[:20], 4, replace=False)) for _ in range(120)]
    second = [text if i % 2 else " ".join(rng.choice(words[20:], 4, replace=False)) for i, text in enumerate(first)]
    pairs = Examples.from_lists(first, ["different", "same"] * 60, text_pairs=second)
    train, held = np.arange(80), np.arange(80, 120)
    assert (words_method(pairs, True)(train, held) == pairs.labels[held]).mean() > 0.95
    # Texts without any word: the most common answer, and no traceback.
    empty = Examples.from_lists(["!", "?", "!?"] * 4, ["x", "x", "y"] * 4)
    assert words_method(empty, False)(np.arange(9), np.arange(9, 12)).tolist() == [0, 0, 0]
