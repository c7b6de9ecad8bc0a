"""How good an answerer is: exact match and F1, as SQuAD and KorQuAD count them."""

from __future__ import annotations

import dataclasses
import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np

from tl_keras.errors import UserError

Normalisation = Literal["auto", "squad", "korquad"]

_PUNCTUATION = str.maketrans("", "", string.punctuation)
# KorQuAD parts words at these twelve brackets and quotation marks, before other punctuation is dropped.
_KOREAN_MARKS = str.maketrans(dict.fromkeys("'\"《》<>〈〉()‘’", " "))
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_HANGUL = re.compile("[가-힣]")


def normalise_answer(text: str, normalisation: Literal["squad", "korquad"] = "squad") -> str:
    """An answer without what does not count: case, punctuation, white space; in English also articles.

    Args:
        text: of the answer.
        normalisation: `"squad"` or `"korquad"`. Punctuation is ASCII punctuation in both; KorQuAD turns brackets and quotation marks
            into spaces first, and knows no articles.

    Source: the evaluation scripts published with SQuAD v1.1 and v2.0, https://rajpurkar.github.io/SQuAD-explorer/, and with
        KorQuAD 1.0, https://korquad.github.io/KorQuad%201.0/. The marks, the order of the steps and the counting of characters were
        compared with the copy of KorQuAD's script in github.com/monologg/KoELECTRA @ 8969136, finetune/src/evaluate_v1_0.py.

    Example:
        >>> normalise_answer("The  U.S.-based Theatre!"), normalise_answer("《토지》(1969년)", "korquad")
        ('usbased theatre', '토지 1969년')
    """
    text = text.lower() if normalisation == "squad" else text.translate(_KOREAN_MARKS).lower()
    text = text.translate(_PUNCTUATION)
    if normalisation == "squad":
        text = _ARTICLE.sub(" ", text)
    return " ".join(text.split())


def exact_match(prediction: str, answer: str, normalisation: Literal["squad", "korquad"] = "squad") -> float:
    """1.0 if both are the same after normalisation, else 0.0."""
    return float(normalise_answer(prediction, normalisation) == normalise_answer(answer, normalisation))


def overlap_f1(prediction: str, answer: str, normalisation: Literal["squad", "korquad"] = "squad") -> float:
    """The harmonic mean of precision and recall of words (SQuAD) or of characters without spaces (KorQuAD).

    What repeats counts as often as it does in both. Where nothing is left of one side, both must be empty, as in SQuAD v2.0's
    script; those of v1.1 and KorQuAD give 0 even then, which matters only for answers that are nothing but articles and punctuation.

    Source: see `normalise_answer`.

    Example:
        >>> overlap_f1("the old clock tower", "clock tower"), round(overlap_f1("1969년에", "1969년", "korquad"), 4)
        (0.8, 0.9091)
    """
    found, there = (_units(text, normalisation) for text in (prediction, answer))
    if not found or not there:
        return float(found == there)
    shared = (Counter(found) & Counter(there)).total()
    return 2 * shared / (len(found) + len(there))


def _units(text: str, normalisation: str) -> list[str]:
    words = normalise_answer(text, normalisation).split()
    return words if normalisation == "squad" else list("".join(words))


def choose_normalisation(answers: Sequence[str]) -> Literal["squad", "korquad"]:
    """`"korquad"` where most questions or answers hold Hangul, else `"squad"`.

    Example:
        >>> choose_normalisation(["시계탑", "1983년", "7"]), choose_normalisation(["the tower"])
        ('korquad', 'squad')
    """
    korean = sum(bool(_HANGUL.search(text)) for text in answers)
    return "korquad" if 2 * korean > len(answers) else "squad"


@dataclasses.dataclass(frozen=True)
class QuestionReport:
    """The result of evaluating an answerer. All values lie between 0 and 1.

    Args:
        examples: how many questions were scored.
        exact_match: fraction of the questions whose answer is one of the right ones, letter for letter after normalisation.
        f1: mean overlap with the right answer that fits best.
        has_answer: the same for the questions that have an answer: `{"examples", "exact_match", "f1"}`.
        no_answer: the same for those that have none (SQuAD v2); there both are the fraction for which none was given. None
            where there are no such questions.
        normalisation: `"squad"` or `"korquad"`.
        null_threshold: used; None if the model always answers.
        best_null_threshold: what would have given the best F1 on these questions; None without impossible questions or if the model
            always answers.
        best_f1: the F1 it would have given.
    """

    examples: int
    exact_match: float
    f1: float
    has_answer: dict
    no_answer: dict | None
    normalisation: str
    null_threshold: float | None = None
    best_null_threshold: float | None = None
    best_f1: float | None = None

    def to_dict(self) -> dict:
        """Plain numbers, strings and dicts: what `metrics.json` holds."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        unit = "words" if self.normalisation == "squad" else "characters"
        lines = [
            f"exact match {self.exact_match:.4f}   F1 {self.f1:.4f}   ({self.examples} questions, F1 over {unit}, "
            f"normalised as by {self.normalisation})"
        ]
        if self.no_answer is not None:
            lines += [
                f"{name:13} exact match {part['exact_match']:.4f}   F1 {part['f1']:.4f}   ({part['examples']} questions)"
                for name, part in (("with answer", self.has_answer), ("without", self.no_answer))
            ]
        if self.best_null_threshold is not None:
            lines.append(
                f"null threshold {self.null_threshold:g}; {self.best_null_threshold:.3f} would give the best F1 here, "
                f"{self.best_f1:.4f}"
            )
        return "\n".join(lines)


def question_report(
    predictions: Sequence[str], answers: Sequence[Sequence[str]], normalisation: Normalisation = "auto"
) -> QuestionReport:
    """Compare answers with the right ones.

    Args:
        predictions: `n` answers, `""` where none is given.
        answers: for each question its right answers; empty where it has none. The best fit counts.
        normalisation: `"squad"` (words), `"korquad"` (characters), or `"auto"`: by whether most of the right answers hold Hangul.

    Source: see `normalise_answer`.

    Example:
        >>> report = question_report(["the tower", "1983", ""], [["tower", "a big tower"], ["in 1983"], []])
        >>> round(report.exact_match, 4), round(report.f1, 4), report.no_answer["f1"]
        (0.6667, 0.8889, 1.0)
    """
    normalisation = normalisation_for(normalisation, [text for given in answers for text in given])
    exact, f1 = score_answers(predictions, answers, normalisation)
    impossible = np.array([not given for given in answers], bool)

    def part(rows) -> dict:
        count = int(rows.sum())
        means = {
            name: float(values[rows].mean()) if count else 0.0 for name, values in (("exact_match", exact), ("f1", f1))
        }
        return {"examples": count, **means}

    return QuestionReport(
        examples=len(predictions),
        exact_match=float(exact.mean()) if len(exact) else 0.0,
        f1=float(f1.mean()) if len(f1) else 0.0,
        has_answer=part(~impossible),
        no_answer=part(impossible) if impossible.any() else None,
        normalisation=normalisation,
    )


def score_answers(
    predictions: Sequence[str], answers: Sequence[Sequence[str]], normalisation: Literal["squad", "korquad"]
) -> tuple[np.ndarray, np.ndarray]:
    """Exact match and F1 of each question, float `[n]` twice, with the right answer that fits best."""
    scores = []
    for prediction, given in zip(predictions, answers, strict=True):
        # As in SQuAD v2.0's script: what normalises to nothing is no answer, and no answer is right where there is none.
        right = [text for text in given if normalise_answer(text, normalisation)] or [""]
        scores.append(
            [max(score(prediction, text, normalisation) for text in right) for score in (exact_match, overlap_f1)]
        )
    exact, f1 = np.array(scores, "float64").reshape(-1, 2).T
    return exact, f1


def best_null_threshold(margins: np.ndarray, f1: np.ndarray, impossible: np.ndarray) -> tuple[float, float]:
    """The threshold that gives the best F1: a question is answered if its margin is not above it.

    Args:
        margins: float `[n]`: by how much "no answer" beats the best answer.
        f1: float `[n]`: of the best answer, were it given; for impossible questions 0, or 1 where the answer normalises to nothing.
        impossible: bool `[n]`: whether giving none is right.

    Returns:
        `(threshold, f1)`: halfway between the two margins it parts; never infinite.

    Example:
        >>> best_null_threshold(np.array([-3.0, -1.0, 2.0, 4.0]), np.array([1.0, 0.5, 0.0, 0.9]), np.array([0, 0, 1, 0], bool))
        (0.5, 0.625)
    """
    order = np.argsort(margins, kind="stable")
    margins, gains = margins[order], np.where(impossible, f1 - 1.0, f1)[order]
    totals = impossible.sum() + np.concatenate([[0.0], np.cumsum(gains)])
    # Equal margins are answered together or not at all.
    allowed = np.concatenate([[True], margins[1:] > margins[:-1], [True]])
    finite = np.isfinite(margins).sum()
    if not finite:
        return 0.0, float(totals[0] / len(margins))
    allowed[finite + 1 :] = False
    cut = int(np.argmax(np.where(allowed, totals, -np.inf)))
    below = margins[cut - 1] if cut else margins[0] - 2.0
    above = margins[cut] if cut < finite else below + 2.0
    return float((below + above) / 2), float(totals[cut] / len(margins))


def normalisation_for(normalisation: str, texts: Sequence[str]) -> Literal["squad", "korquad"]:
    """The way to normalise that is named, or with `"auto"` the one that suits the texts.

    Raises:
        UserError: there is no such way.
    """
    if normalisation == "auto":
        return choose_normalisation(texts)
    if normalisation not in ("squad", "korquad"):
        raise UserError(f"normalisation={normalisation!r} is not known; choose one of: auto, squad, korquad.")
    return normalisation
