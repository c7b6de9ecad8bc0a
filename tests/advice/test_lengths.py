"""Lengths, cuts and unknown words, counted by hand on the tiny vocabulary."""

from __future__ import annotations

import numpy as np
import pytest

from tl_keras.advice.advise import suggest_seq_length
from tl_keras.advice.texts import LengthReport, length_report
from tl_keras.data.examples import Examples
from tl_keras.text.preprocessor import Preprocessor


@pytest.fixture(scope="module")
def preprocessor(mlm_pair):
    return Preprocessor(str(mlm_pair / "preprocess"))


def test_by_hand(preprocessor):
    # Tokens: 2; 재미 ##있다 !: 3; unknown, good: 2; c ##d ##e: 3. [CLS] and [SEP] are two more.
    texts = Examples.from_lists(["good film", "재미있다!", "жук good", "cde"])
    report = length_report(texts, preprocessor, seq_length=4)
    assert report.lengths.tolist() == [4, 5, 4, 5]
    assert report.cut == 0.5
    assert report.unknown_tokens == pytest.approx(1 / 10)
    assert report.unknown_words == pytest.approx(1 / 6)
    assert report.commonest_unknown == {"жук": 1}
    pairs = Examples.from_lists(["good film"], text_pairs=["bad"])
    assert length_report(pairs, preprocessor, 8).lengths.tolist() == [6]


def test_a_text_embedding_module_is_counted_in_words():
    report = length_report(Examples.from_lists(["a b c", "d"]), None, 128)
    assert (report.unit, report.lengths.tolist(), report.cut, report.unknown_words) == ("words", [3, 1], None, None)
    assert suggest_seq_length(report, None) is None


def test_percentiles_are_lengths_that_occur_and_the_limit_follows_them():
    report = LengthReport(200, "tokens", np.arange(1, 201), seq_length=128, unknown_tokens=0.0, unknown_words=0.0)
    assert report.percentiles == {50: 100, 75: 150, 90: 180, 95: 190, 99: 198, 100: 200}
    assert report.cut == pytest.approx(0.36)
    assert suggest_seq_length(report, limit=512) == 200  # 198, rounded up to a multiple of 8
    assert suggest_seq_length(report, limit=160) == 160
    assert suggest_seq_length(LengthReport(2, "tokens", np.array([5, 9]), seq_length=128), 512) == 128
