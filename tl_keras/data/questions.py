"""Questions about contexts, with answers that are slices of the context: what `read_squad` returns."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tl_keras.data.examples import check_split, draw, row_numbers
from tl_keras.data.given import check_texts, string_array
from tl_keras.errors import UserError

logger = logging.getLogger(__name__)


class Answer(NamedTuple):
    """Characters `start` to `end` (exclusive) of a context; both -1 where the data's `answer_start` does not lead to `text`."""

    text: str
    start: int
    end: int

    @property
    def found(self) -> bool:
        """Whether the answer stands where the data say."""
        return self.start >= 0


@dataclasses.dataclass(frozen=True)
class QuestionExamples:
    """Questions, the context each is about, and its right answers.

    Args:
        questions: object array `[n]` of `str`.
        contexts: object array `[n]` of `str`; questions about the same context share the string.
        ids: object array `[n]` of `str`.
        answers: for each question its right answers (several people may have answered); none for a question that its context does
            not answer. None for questions that are to be answered.
        documents: int64 `[n]`: which document the context belongs to.
        source: where the questions came from, for messages.
        rows: int64 array `[n]`: of a part, which questions of the whole they are, from 0; None for the whole.

    Example:
        >>> examples = QuestionExamples.from_lists(["Who sleeps?"], ["Ada sleeps."], [[{"text": "Ada", "answer_start": 0}]])
        >>> examples.answers[0]
        (Answer(text='Ada', start=0, end=3),)
    """

    questions: np.ndarray
    contexts: np.ndarray
    ids: np.ndarray
    answers: tuple[tuple[Answer, ...], ...] | None
    documents: np.ndarray
    source: str = "the given questions"
    rows: np.ndarray | None = dataclasses.field(default=None, kw_only=True)

    @classmethod
    def from_lists(
        cls,
        questions: Sequence[str],
        contexts: Sequence[str],
        answers: Sequence[Sequence] | None = None,
        *,
        ids: Sequence | None = None,
        documents: Sequence[int] | None = None,
        source: str = "the given questions",
        places: Sequence[str] | None = None,
    ) -> QuestionExamples:
        """Make examples from parallel lists.

        Args:
            questions: `n` strings.
            contexts: `n` strings, the one each question is about.
            answers: for each question its right answers: `{"text", "answer_start"}` or `(text, start)`, in Unicode characters of
                the context; an empty list where the context does not answer it. None for questions to be answered.
            ids: `n` names of the questions; by default they are numbered from 1.
            documents: `n` numbers, the same for contexts that must stay together in a split; by default each context is a
                document of its own.
            source: a name for messages.
            places: a name for each question in messages.

        Raises:
            UserError: lengths differ, a question or context is empty, or an answer is empty or outside its context.
        """
        check_texts(questions, "questions")
        check_texts(contexts, "contexts")
        asked, read = string_array(questions, "questions", source), string_array(contexts, "contexts", source)
        for name, values in (("contexts", read), ("answers", answers), ("ids", ids), ("documents", documents)):
            if values is not None and len(values) != len(asked):
                raise UserError(f"{source}: {len(asked)} questions but {len(values)} {name}; each needs one.")
        places = places or [f"question {row + 1}" for row in range(len(asked))]
        for question, context, place in zip(asked, read, places, strict=True):
            for name, value in (("question", question), ("context", context)):
                if not value.strip():
                    raise UserError(f"{source}, {place}: the {name} is empty.")
        found = None
        if answers is not None:
            found = tuple(
                tuple(
                    _check_answer(context, answer, f"{source}, {place}")
                    for answer in _listed(given, f"{source}, {place}")
                )
                for context, given, place in zip(read, answers, places, strict=True)
            )
            _report_misplaced(read, found, source, places)
        # A context that two documents share would be on both sides of a split: it belongs to the first of them.
        first: dict[str, int] = {}
        groups = range(len(asked)) if documents is None else documents
        owners = [first.setdefault(context, int(group)) for context, group in zip(read, groups, strict=True)]
        names = string_array([str(x) for x in (range(1, len(asked) + 1) if ids is None else ids)], "ids")
        if len(set(names)) != len(names):
            logger.warning("%s: %d ids occur more than once.", source, len(names) - len(set(names)))
        return cls(asked, read, names, found, np.array(owners, "int64"), source)

    def __len__(self) -> int:
        return len(self.questions)

    @property
    def is_impossible(self) -> np.ndarray:
        """Bool `[n]`: which questions their contexts do not answer (SQuAD v2). All False for questions without answers."""
        if self.answers is None:
            return np.zeros(len(self), bool)
        return np.array([not given for given in self.answers], bool)

    @property
    def misplaced(self) -> int:
        """How many questions have answers, but none that stands where the data say; they are not trained on."""
        return sum(bool(given) and not any(a.found for a in given) for given in self.answers or ())

    def learnable(self) -> QuestionExamples:
        """The questions that can be trained on: with an answer that was found in its place, or impossible ones.

        Raises:
            UserError: there are none.
        """
        if self.answers is None:
            raise UserError(f"{self.source} has no answers to learn from.")
        rows = [row for row, given in enumerate(self.answers) if not given or any(a.found for a in given)]
        if not rows:
            raise UserError(f"{self.source} holds no question with an answer that stands where it is said to.")
        return self if len(rows) == len(self) else self.take(np.array(rows))

    def take(self, rows: np.ndarray) -> QuestionExamples:
        """The questions at the given row numbers, in that order."""
        return dataclasses.replace(
            self,
            questions=self.questions[rows],
            contexts=self.contexts[rows],
            ids=self.ids[rows],
            answers=None if self.answers is None else tuple(self.answers[row] for row in rows),
            documents=self.documents[rows],
            rows=row_numbers(self)[rows],
        )

    def sample(self, size: int, seed: int = 0) -> QuestionExamples:
        """At most `size` questions, drawn with the seed."""
        return draw(self, size, seed)

    def split(self, validation: float = 0.1, seed: int = 0) -> tuple[QuestionExamples, QuestionExamples]:
        """Split into training and validation questions, by document: no context is on both sides.

        Where all contexts belong to one document, each context counts as one. The second part holds about the fraction of questions
        asked for, as far as whole documents allow.

        Args:
            validation: the fraction, between 0 and 1, of the questions that go into the second part.
            seed: which split.

        Raises:
            UserError: a fraction outside (0, 1), or all questions are about one context.
        """
        check_split(validation, seed)
        groups = self.documents
        if len(np.unique(groups)) < 2:
            groups = np.unique(self.contexts.astype(str), return_inverse=True)[1]
        names, sizes = np.unique(groups, return_counts=True)
        if len(names) < 2:
            raise UserError(
                f"{self.source}: all questions are about one context, so none can be kept apart; give a validation file."
            )
        order = np.random.default_rng(seed).permutation(len(names))
        sums = np.cumsum(sizes[order])
        # At least one group on each side; of the places to cut, the one nearest to the fraction.
        cut = 1 + int(np.argmin(np.abs(sums[:-1] - validation * len(self))))
        held = np.isin(groups, names[order[:cut]])
        return self.take(np.flatnonzero(~held)), self.take(np.flatnonzero(held))


def _listed(given, where: str) -> list:
    """The answers of a question as a list; `{"text": [...], "answer_start": [...]}`, as Hugging Face has them, too."""
    if isinstance(given, dict) and all(
        isinstance(given.get(name), (list, np.ndarray)) for name in ("text", "answer_start")
    ):
        return list(zip(given["text"], given["answer_start"], strict=True))
    if given is None or isinstance(given, (str, dict)):
        raise UserError(
            f'{where}: its answers are {str(given)[:40]!r}, not a list of {{"text", "answer_start"}}; without an answer the list is empty.'
        )
    return list(given)


def _check_answer(context: str, answer, where: str) -> Answer:
    try:
        text, start = (answer["text"], answer["answer_start"]) if isinstance(answer, dict) else answer
    except (KeyError, TypeError, ValueError):
        raise UserError(f'{where}: the answer {str(answer)[:80]} must have "text" and "answer_start".') from None
    if not isinstance(text, str) or isinstance(start, bool) or not isinstance(start, (int, np.integer)):
        raise UserError(
            f"{where}: an answer's text must be a string and its start a whole number, not {text!r} and {start!r}."
        )
    if not text.strip():
        raise UserError(f"{where}: an answer is empty; a question without an answer has an empty list of answers.")
    if not 0 <= start <= len(context) - len(text):
        raise UserError(
            f"{where}: the answer {text[:60]!r} at {start} is outside its context of {len(context)} characters. "
            "answer_start counts Unicode characters, not bytes, from 0."
        )
    if context[start : start + len(text)] != text:
        return Answer(text, -1, -1)
    return Answer(text, int(start), int(start) + len(text))


def _report_misplaced(contexts, answers, source: str, places) -> None:
    wrong = [(row, answer) for row, given in enumerate(answers) for answer in given if not answer.found]
    if not wrong:
        return
    row, answer = wrong[0]
    elsewhere = "it is elsewhere in the context" if answer.text in contexts[row] else "it is nowhere in the context"
    logger.warning(
        "%s: %d answer(s) do not stand at their answer_start, the first at %s (%r; %s). They are scored against, but not "
        "trained on.",
        source, len(wrong), places[row], answer.text[:60], elsewhere,
    )  # fmt: skip
