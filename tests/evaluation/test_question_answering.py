"""Exact match and F1 as SQuAD and KorQuAD count them: expected values worked out by hand from the published definitions."""

from __future__ import annotations

import numpy as np
import pytest

from tl_keras import UserError
from tl_keras.data.questions import QuestionExamples
from tl_keras.evaluation.answers import (
    best_null_threshold,
    exact_match,
    normalise_answer,
    overlap_f1,
    question_report,
)
from tl_keras.serving.answerer import Answerer
from tl_keras.serving.evaluate import evaluate_questions


@pytest.mark.parametrize(
    ("text", "squad", "korquad"),
    [
        ("The Theatre", "theatre", "the theatre"),
        # Articles are whole words, taken out after punctuation: "a-b" has become "ab" by then.
        ("another a-b an apple", "another ab apple", "another ab an apple"),
        ("  U.S.\tdollars ", "us dollars", "us dollars"),
        # SQuAD joins what a hyphen or apostrophe parted; KorQuAD parts at the apostrophe and joins at the hyphen.
        ("Smith's co-op", "smiths coop", "smith s coop"),
        ("《토지》", "《토지》", "토지"),
        ("‘봄’(1935)", "‘봄’1935", "봄 1935"),
        # All twelve marks at which KorQuAD's script parts words; 「」 and “” are none of them, in either.
        (
            "가'나\"다《라》마<바>사〈아〉자(차)카‘타’파",
            "가나다《라》마바사〈아〉자차카‘타’파",
            "가 나 다 라 마 바 사 아 자 차 카 타 파",
        ),
        ("「가」나“다”", "「가」나“다”", "「가」나“다”"),
        # Only ASCII punctuation is dropped in either.
        ("1.5–2%", "15–2", "15–2"),
        ("“Yes”", "“yes”", "“yes”"),
        ("the", "", "the"),
    ],
)
def test_normalisation(text, squad, korquad):
    assert normalise_answer(text) == squad
    assert normalise_answer(text, "korquad") == korquad


def test_f1_by_hand():
    # Words shared: clock, tower. 2 * 2 / (3 + 2).
    assert overlap_f1("old clock tower", "The clock tower!") == pytest.approx(0.8)
    # A word said twice counts twice only if it is there twice: shared {new: 1, york: 1} of 4 and 2.
    assert overlap_f1("New new York city", "new York") == pytest.approx(2 * 2 / 6)
    assert overlap_f1("a", "the") == 1.0
    assert overlap_f1("", "tower") == overlap_f1("tower", "the") == 0.0
    # Characters without the spaces: 시계탑에서 against 시계탑 shares 3 of 5 and 3; "1983 년" against "1983년이다" 5 of 5 and 7.
    assert overlap_f1("시계탑에서", "시계탑", "korquad") == pytest.approx(6 / 8)
    assert overlap_f1("1983 년", "1983년이다", "korquad") == pytest.approx(10 / 12)
    assert exact_match("1983 년", "1983년", "korquad") == 0.0
    # The same by words has nothing in common.
    assert overlap_f1("시계탑에서", "시계탑") == 0.0


def test_report_by_hand():
    predictions = ["the old tower", "1983", "", "York", ""]
    answers = [["tower", "old tower"], ["in 1983", "May 1983"], [], [], ["x"]]
    report = question_report(predictions, answers)
    # Exact: the first and the third. F1: 1, 2/3, 1, 0 (none was right), 0 (none given).
    assert report.exact_match == pytest.approx(2 / 5)
    assert report.f1 == pytest.approx((1 + 2 / 3 + 1) / 5)
    assert report.has_answer == pytest.approx({"examples": 3, "exact_match": 1 / 3, "f1": (1 + 2 / 3) / 3})
    assert report.no_answer == pytest.approx({"examples": 2, "exact_match": 0.5, "f1": 0.5})
    assert report.normalisation == "squad"
    text = str(report)
    assert "exact match 0.4000   F1 0.5333   (5 questions, F1 over words" in text
    assert "without       exact match 0.5000" in text
    assert question_report(["시계탑"], [["시계탑을"]]).f1 == pytest.approx(6 / 7)
    assert question_report(["시계탑"], [["시계탑을"]], "squad").f1 == 0.0
    nothing = question_report([], [])
    assert (nothing.examples, nothing.exact_match, nothing.f1, nothing.no_answer) == (0, 0.0, 0.0, None)
    with pytest.raises(UserError, match="choose one of: auto, squad, korquad"):
        question_report(["a"], [["a"]], "klue")


def test_the_best_threshold_is_that_of_exhaustive_search():
    rng = np.random.default_rng(3)
    for trial in range(30):
        n = int(rng.integers(1, 9))
        margins = rng.integers(-3, 4, size=n).astype(float)
        if trial % 3 == 0:
            margins[0] = np.inf
        impossible = rng.random(n) < 0.5
        # An answer of articles and full stops only counts as none, so it is right where there is none.
        f1 = np.where(impossible, rng.random(n) < 0.3, rng.random(n).round(1))

        def total(threshold, margins=margins, f1=f1, impossible=impossible):
            given = margins <= threshold
            return np.where(given, f1, impossible).mean()

        threshold, best = best_null_threshold(margins, f1, impossible)
        assert np.isfinite(threshold)
        assert total(threshold) == pytest.approx(best)
        assert best == pytest.approx(max(total(t) for t in np.arange(-4, 5) + 0.5))


class Fixed(Answerer):
    """Gives the first three characters with fixed scores."""

    def __init__(self, margins, **options):
        super().__init__(None, options.get("null_answers", True), options.get("null_threshold", 0.0))
        self.margins = np.array(margins)

    def candidates(self, questions, contexts, batch_size=32):
        from tl_keras.serving.answerer import Candidates

        n = len(questions)
        return Candidates(np.zeros((n, 1), int), np.full((n, 1), 3), np.zeros((n, 1)), self.margins[:n])


def test_evaluation_with_and_without_a_threshold(monkeypatch):
    from tl_keras.serving import predict

    monkeypatch.setattr(predict, "as_predictor", lambda model: model)
    examples = QuestionExamples.from_lists(
        ["a?", "b?", "c?"], ["Ada sleeps", "Bob eats", "Cem runs"], [[("Ada", 0)], [], [("runs", 4)]]
    )
    # Ada is right, Bob should not be answered, Cem is wrong anyhow.
    report = evaluate_questions(Fixed([-2.0, -1.0, 3.0]), examples)
    assert (report.exact_match, report.f1) == pytest.approx((1 / 3, 1 / 3))
    # Between -2 and -1 only Ada is answered.
    assert (report.best_null_threshold, report.best_f1) == pytest.approx((-1.5, 2 / 3))
    assert evaluate_questions(Fixed([-2.0, -1.0, 3.0], null_threshold=-1.5), examples).f1 == pytest.approx(2 / 3)
    always = evaluate_questions(Fixed([9.0, 9.0, 9.0], null_answers=False), examples)
    assert (always.f1, always.no_answer["f1"], always.null_threshold) == (pytest.approx(1 / 3), 0.0, None)
