"""Pairs of texts that are compared, with a score each; questions with the documents that answer them, and texts to search in."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tl_keras.data.examples import Examples, check_split, draw
from tl_keras.data.formats import expand, is_table
from tl_keras.data.frames import is_path
from tl_keras.data.squad import is_squad, squad_pairs
from tl_keras.data.table import read_table
from tl_keras.data.text_files import decode_file
from tl_keras.errors import UserError


@dataclasses.dataclass(frozen=True)
class ScoredExamples(Examples):
    """Texts, mostly pairs of texts, with a number each: how alike two sentences are, how good a review is.

    Args:
        texts: object array `[n]` of `str`.
        text_pairs: object array `[n]` of `str`, or None for single texts.
        labels: float32 array `[n]`, the scores.
        classes: None; there are none.
        source: where the texts came from, for messages.
        score_range: the lowest and the highest score there can be.

    Example:
        >>> pairs = ScoredExamples.from_lists(["good", "bad"], [4.5, 0.0], ["great", "plot"], score_range=(0, 5))
        >>> pairs.labels.tolist(), pairs.score_range
        ([4.5, 0.0], (0.0, 5.0))
    """

    score_range: tuple[float, float] = (0.0, 1.0)

    @classmethod
    def from_lists(
        cls,
        texts: Sequence[str],
        scores: Sequence[float],
        text_pairs: Sequence[str] | None = None,
        score_range: tuple[float, float] | None = None,
        source: str = "the given texts",
    ) -> ScoredExamples:
        """Make scored examples from parallel sequences.

        Args:
            texts: `n` strings.
            scores: `n` numbers, or strings that are numbers.
            text_pairs: `n` strings, the second texts.
            score_range: lowest and highest possible score; by default those that occur.
            source: a name for messages.

        Raises:
            UserError: lengths differ, a score is no number or lies outside the range, or there is only one score.
        """
        plain = Examples.from_lists(texts, None, text_pairs, None, source)
        if len(scores) != len(plain):
            raise UserError(f"{source}: {len(plain)} texts but {len(scores)} scores; there must be one for each text.")
        values = np.array([_number(value, row, source) for row, value in enumerate(scores)], "float32")
        if score_range is None:
            if not len(values) or values.min() == values.max():
                raise UserError(
                    f"{source}: every score is {values[0]:g}; there is nothing to learn or to compare."
                    if len(values)
                    else f"{source} holds no scores."
                )
            score_range = (float(values.min()), float(values.max()))
        low, high = check_range(score_range)
        # Numbers such as 4.2 have no exact float32, so the ends get a hair's breadth.
        outside = np.flatnonzero((values < low - 1e-5) | (values > high + 1e-5))
        if len(outside):
            raise UserError(
                f"{source}: score {values[outside[0]]:g} (example {outside[0] + 1}) lies outside the range {low:g} to {high:g}; "
                "give the range of the scores (--score-range)."
            )
        return cls(plain.texts, plain.text_pairs, values, None, source, (low, high))

    @property
    def label_names(self) -> list:
        """The scores as plain numbers."""
        return self.labels.tolist()

    def counts(self) -> dict[str, int]:
        """How many examples there are: scores have no classes to count."""
        return {"all": len(self)}

    def split(self, validation: float = 0.1, seed: int = 0) -> tuple[ScoredExamples, ScoredExamples]:
        """Split into training and validation examples by chance; see `Examples.split`."""
        return _split_groups(self, np.arange(len(self)), validation, seed)


@dataclasses.dataclass(frozen=True)
class RetrievalPairs(Examples):
    """Questions (`texts`) and the documents (`text_pairs`) that answer them; a document may answer several questions.

    Example:
        >>> pairs = RetrievalPairs.from_lists(["who?", "when?", "where?"], ["doc a", "doc b", "doc a"])
        >>> pairs.documents.tolist(), pairs.document_ids.tolist()
        (['doc a', 'doc b'], [0, 1, 0])
    """

    @classmethod
    def from_lists(
        cls, questions: Sequence[str], documents: Sequence[str], source: str = "the given texts"
    ) -> RetrievalPairs:
        """Make pairs from parallel sequences of `n` questions and `n` documents.

        Raises:
            UserError: lengths differ, or an entry is no string.
        """
        plain = Examples.from_lists(questions, None, documents, None, source)
        return cls(plain.texts, plain.text_pairs, None, None, source)

    @property
    def documents(self) -> np.ndarray:
        """The different documents, object array, in the order in which they come first."""
        return np.array(list(dict.fromkeys(self.text_pairs)), object)

    @property
    def document_ids(self) -> np.ndarray:
        """For each pair the place of its document in `documents`: int64 `[n]`."""
        place = {document: number for number, document in enumerate(self.documents)}
        return np.array([place[document] for document in self.text_pairs], "int64")

    def questions(self) -> tuple[list[str], list[set[int]]]:
        """The different questions, and for each the places in `documents` of all that answer it."""
        relevant: dict[str, set[int]] = {}
        for question, document in zip(self.texts, self.document_ids, strict=True):
            relevant.setdefault(question, set()).add(int(document))
        return list(relevant), list(relevant.values())

    def split(self, validation: float = 0.1, seed: int = 0) -> tuple[RetrievalPairs, RetrievalPairs]:
        """Split by document: what is searched in validation was not seen in training.

        Args:
            validation: the fraction, between 0 and 1, of the documents that go into the second part with their questions.
            seed: which split.

        Raises:
            UserError: a fraction outside (0, 1), or fewer than two documents.
        """
        return _split_groups(self, self.document_ids, validation, seed)

    def sample(self, size: int, seed: int = 0) -> RetrievalPairs:
        """At most `size` pairs, drawn with the seed."""
        return draw(self, size, seed)


def read_scored(
    table: str | os.PathLike | pd.DataFrame,
    text: str = "text",
    text_pair: str | None = "text_pair",
    score: str = "score",
    *,
    score_range: tuple[float, float] | None = None,
    **options,
) -> ScoredExamples:
    """Read texts with a number each from a table of any kind.

    Args:
        table: as for `read_table`.
        text: the column with the (first) text.
        text_pair: the column with the second text; None for single texts.
        score: the column with the number.
        score_range: lowest and highest possible score, e.g. `(0, 5)`; by default those that occur in the file.
        **options: as for `read_table`: `separator`, `quoting`, `encoding`, `on_empty`.

    Raises:
        UserError: as for `read_table`, or a score is no number or outside the range.

    Example:
        >>> frame = pd.DataFrame({"a": ["good", "bad"], "b": ["great", "plot"], "score": [4.5, 0.5]})
        >>> read_scored(frame, "a", "b", score_range=(0, 5)).labels.tolist()
        [4.5, 0.5]
    """
    examples = read_table(table, text, score, text_pair, **options)
    scored = ScoredExamples.from_lists(
        examples.texts, examples.label_names, examples.text_pairs, score_range, examples.source
    )
    return dataclasses.replace(scored, rows=examples.rows)


def check_range(score_range: tuple[float, float]) -> tuple[float, float]:
    """A range of scores as two numbers.

    Raises:
        UserError: not two numbers, or the first is not below the second.

    Example:
        >>> check_range((0, 5))
        (0.0, 5.0)
    """
    try:
        low, high = (float(end) for end in score_range)
    except (TypeError, ValueError) as error:
        raise UserError(f"a score range is two numbers, such as (0, 5), not {score_range!r}.") from error
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UserError(f"a score range goes from a lower to a higher number, not from {low:g} to {high:g}.")
    return low, high


def _number(value, row: int, source: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{source}: the score {str(value)[:40]!r} (example {row + 1}) is no number, such as 3 or 4.25.")
    return number


def _split_groups(examples, groups: np.ndarray, validation: float, seed: int):
    """Split so that examples of one group stay together: `(training, validation)`."""
    check_split(validation, seed)
    names = np.unique(groups)
    if len(names) < 2:
        raise UserError(f"{examples.source} holds {len(names)} example(s) or document(s): too few to split.")
    held = min(max(round(len(names) * validation), 1), len(names) - 1)
    chosen = np.isin(groups, np.random.default_rng(seed).permutation(names)[:held])
    return examples.take(np.flatnonzero(~chosen)), examples.take(np.flatnonzero(chosen))


def read_retrieval_pairs(
    table: str | os.PathLike | pd.DataFrame, question: str = "question", document: str = "document", **options
) -> RetrievalPairs:
    """Read questions and the documents that answer them.

    Args:
        table: as for `read_table`; or a `.json` file in the format of SQuAD, whose paragraphs are the documents.
        question: the column with the question.
        document: the column with the document.
        **options: as for `read_table`: `separator`, `quoting`, `encoding`, `on_empty`.

    Raises:
        UserError: as for `read_table`, or the JSON is not in the format of SQuAD.
    """
    if is_squad(table):
        questions, documents = squad_pairs(table, options.get("encoding", "utf-8"))
        return RetrievalPairs.from_lists(questions, documents, str(table))
    examples = read_table(table, question, None, document, **options)
    pairs = RetrievalPairs.from_lists(examples.texts, examples.text_pairs, examples.source)
    return dataclasses.replace(pairs, rows=examples.rows)


def read_collection(path, text: str | None = None, encoding: str = "utf-8") -> list[str]:
    """The texts of a file to search in.

    Args:
        path: a table of any kind that `read_table` reads (a pattern or a list, too), a `.json` file in the format of SQuAD (its
            paragraphs, each once), or any other file with a text on each line, perhaps packed.
        text: the column of a table with the text; by default `text`.
        encoding: of the file.

    Returns:
        The texts in file order, without empty ones.

    Raises:
        UserError: the file cannot be read, or holds no text.
    """
    if not is_path(path):
        return read_table(path, text or "text", None).texts.tolist()
    if is_squad(path):
        _no_column_in(path, text)
        return list(dict.fromkeys(squad_pairs(path, encoding)[1]))
    files = expand(path)
    if any(is_table(file) for file in files):
        return read_table(path, text or "text", None, encoding=encoding).texts.tolist()
    _no_column_in(path, text)
    texts = [line.strip() for file in files for line in decode_file(file, encoding).split("\n") if line.strip()]
    if not texts:
        raise UserError(f"{path} holds no text.")
    return texts


def _no_column_in(path, text: str | None) -> None:
    if text is not None:
        raise UserError(f"{path} is no table, so there is no column {text!r} in it; leave --text out.")
