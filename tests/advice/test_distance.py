"""The proxy A-distance, and the reference that comes with the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tl_keras.advice.domain import language_of, proxy_distance, reference_texts

pytestmark = pytest.mark.one_keras


def test_known_distances():
    """Two normal distributions whose means are `gap` apart: the best linear classifier errs with Phi(-gap / 2)."""
    from scipy.stats import norm

    rng = np.random.default_rng(0)
    for gap in (0.0, 1.0, 2.0):
        one, other = rng.normal(size=(1500, 2)), rng.normal([gap, 0.0], size=(2500, 2))
        found = proxy_distance(one, other)
        assert found.texts == 1500
        assert found.error == pytest.approx(norm.cdf(-gap / 2), abs=0.025)
        assert found.distance == pytest.approx(max(2 - 4 * norm.cdf(-gap / 2), 0), abs=0.1)


def test_width_alone_makes_no_distance():
    """With more numbers than texts everything can be separated on the training side; held-out texts tell."""
    rng = np.random.default_rng(1)
    assert proxy_distance(rng.normal(size=(40, 256)), rng.normal(size=(40, 256))).distance < 0.8


def test_the_shipped_reference_is_the_sample_data():
    for language in ("en", "ko"):
        texts = reference_texts(language)
        assert len(texts) > 90
        assert language_of(texts) == language
        corpus = Path(__file__).parents[2] / "data" / f"corpus_{language}.txt"
        assert texts == [line for line in corpus.read_text("utf-8").split("\n") if line]
    assert language_of(["Der Film war gut, und die Musik auch."]) is None
    assert language_of(["!!!", "123"]) is None
