"""Read questions, contexts and answers: SQuAD's JSON (v1.1, v2.0, KorQuAD), or a table of them."""

from __future__ import annotations

import logging
import os
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tl_keras.data.formats import expand, is_table
from tl_keras.data.frames import as_frame, is_path
from tl_keras.data.questions import QuestionExamples
from tl_keras.data.records import is_json_lines, parse_json
from tl_keras.data.text_files import decode_file, kind_of, open_text
from tl_keras.errors import UserError

logger = logging.getLogger(__name__)


def read_squad(source, *, encoding: str = "utf-8") -> QuestionExamples:
    """Read questions about contexts: files of SQuAD's form, or tables of them as Hugging Face's `datasets` keeps SQuAD.

    `{"data": [{"title", "paragraphs": [{"context", "qas": [{"id", "question", "answers": [{"text", "answer_start"}]}]}]}]}`; in
    v2.0 a question has `"is_impossible"`, and no answers where that is true. A table has the columns `question`, `context` and `answers`
    (`{"text": [...], "answer_start": [...]}`, or a list of `{"text", "answer_start"}`; empty where the context gives none), perhaps `id` and
    `title`. An answer that does not stand at its `answer_start` is reported in a warning and never moved. Where no question has answers and
    none is marked impossible, they are questions to be answered.

    Args:
        source: a path, a pattern (`"part-*.json"`) or a list of them: `.json` in SQuAD's form, or tables (`.jsonl`, `.parquet`, a `.json`
            list), text perhaps with `.gz` or `.zst`. Or a `datasets.Dataset`, a DataFrame, a list of dicts.
        encoding: of text files.

    Raises:
        UserError: no such file, no JSON, a key or column that is missing (the message says where), an empty context or question, an answer
            outside its context, or a question without answers that is not marked impossible.

    Source: Rajpurkar et al., https://arxiv.org/abs/1606.05250 (v1.1) and https://arxiv.org/abs/1806.03822 (v2.0); Lim et al.,
        "KorQuAD1.0", https://arxiv.org/abs/1909.07005.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.json"
        >>> question = {"id": "1", "question": "Who sleeps?", "answers": [{"text": "Ada", "answer_start": 0}]}
        >>> document = {"title": "Night", "paragraphs": [{"context": "Ada sleeps.", "qas": [question]}]}
        >>> import json
        >>> _ = path.write_text(json.dumps({"version": "1.1", "data": [document]}), "utf-8")
        >>> read_squad(path).answers
        ((Answer(text='Ada', start=0, end=3),),)
    """
    files = expand(source) if is_path(source) else [source]
    several, found = len(files) > 1, []
    for number, file in enumerate(files):
        read = _table_questions if not is_path(file) or (is_table(file) and not is_squad(file)) else _file_questions
        for asked in read(file, encoding):
            place = f"{file}, {asked.place}" if several else asked.place
            found.append(asked._replace(place=place, document=(number, asked.document)))
    name = str(source) if isinstance(source, (str, os.PathLike)) else "the given questions"
    if several and not isinstance(source, (str, os.PathLike)):
        name = f"{files[0]} and {len(files) - 1} more"
    elif len(files) == 1 and is_path(files[0]):
        name = str(files[0])
    if not found:
        raise UserError(f"{name} holds no questions.")
    documents = {document: place for place, document in enumerate(dict.fromkeys(asked.document for asked in found))}
    return QuestionExamples.from_lists(
        [asked.question for asked in found],
        [asked.context for asked in found],
        _answers_or_none(name, found),
        ids=[place if asked.id is None else asked.id for place, asked in enumerate(found, 1)],
        documents=[documents[asked.document] for asked in found],
        source=name,
        places=[asked.place for asked in found],
    )


def squad_pairs(path, encoding: str = "utf-8") -> tuple[list[str], list[str]]:
    """Questions and their paragraphs from files of SQuAD's form; questions marked impossible are left out.

    Args:
        path: a path, a pattern or a list of them.
        encoding: of the files.

    Returns:
        `(questions, paragraphs)`, two lists of the same length.

    Raises:
        UserError: as for `read_squad`, but answers are not looked at.
    """
    asked = [one for file in expand(path) for one in _file_questions(file, encoding) if not one.is_impossible]
    if not asked:
        raise UserError(f"{path} holds no questions with answers.")
    return [one.question for one in asked], [one.context for one in asked]


def is_squad(path) -> bool:
    """Whether each file of a path, pattern or list is one JSON object, as SQuAD's are, and not a list of rows.

    Raises:
        UserError: a pattern matches nothing.
    """

    def is_object(file) -> bool:
        if kind_of(file) != ".json" or not os.path.isfile(file):
            return False
        with open_text(file) as stream:
            head = stream.read(1 << 12)
        return head.lstrip().startswith("{") and not is_json_lines(head)

    return is_path(path) and all(is_object(file) for file in expand(path))


class _Asked(NamedTuple):
    """A question as it stands in a source."""

    question: str
    context: str
    answers: list | None
    is_impossible: object
    id: object
    document: Hashable
    place: str


def _file_questions(path: Path, encoding: str) -> Iterator[_Asked]:
    """The questions of a file in SQuAD's form."""
    content = decode_file(path, encoding)
    if not content.strip():
        raise UserError(f"{path} is empty.")
    tree = parse_json(content, str(path))
    for d, document in enumerate(_get(path, tree, "", "data", list)):
        at_document = f"data[{d}]"
        for p, paragraph in enumerate(_get(path, document, at_document, "paragraphs", list)):
            at_paragraph = f"{at_document}.paragraphs[{p}]"
            context = _get(path, paragraph, at_paragraph, "context", str)
            if not context.strip():
                raise UserError(f"{path}, {at_paragraph}: the context is empty.")
            for q, asked in enumerate(_get(path, paragraph, at_paragraph, "qas", list)):
                place = f"{at_paragraph}.qas[{q}]"
                question = _get(path, asked, place, "question", str)
                answers = _get(path, asked, place, "answers", list) if "answers" in asked else None
                yield _Asked(question, context, answers, asked.get("is_impossible"), asked.get("id"), d, place)


def _table_questions(table, encoding: str) -> list[_Asked]:
    """The questions of a table with the columns that SQuAD has at Hugging Face."""
    frame, source, places = as_frame(table, None, encoding=encoding)
    for column in ("question", "context"):
        if column not in frame.columns:
            raise UserError(
                f"{source} has no column {column!r}; questions stand in SQuAD's JSON or in a table with question, context and answers. Its "
                f"columns are: {', '.join(map(str, frame.columns[:30]))}."
            )
    found = []
    for row, cells in enumerate(frame.to_dict("records")):
        place = f"row {row + 1}" if places is None else places[row]
        for column in ("question", "context"):
            if not isinstance(cells[column], str):
                raise UserError(f"{source}, {place}: the {column} must be a string, not {cells[column]!r}.")
        answers = _answers_of_cell(cells.get("answers"), f"{source}, {place}")
        # A title is what holds the paragraphs of a document together; without one each context is its own.
        document = cells.get("title") or cells["context"]
        mark = cells.get("is_impossible")
        found.append(_Asked(cells["question"], cells["context"], answers, mark, cells.get("id"), document, place))
    if any(asked.answers for asked in found):
        # SQuAD v2 has no marks at Hugging Face: an empty list says that the context gives no answer.
        found = [a._replace(is_impossible=True) if a.is_impossible is None and a.answers == [] else a for a in found]
    return found


def _answers_of_cell(cell, where: str) -> list | None:
    """A cell's answers as SQuAD's JSON has them; None where there is no such column or nothing in it."""
    if cell is None or (isinstance(cell, float) and cell != cell):
        return None
    if isinstance(cell, dict) and {"text", "answer_start"} <= set(cell):
        texts, starts = (list(cell[key]) for key in ("text", "answer_start"))
        if len(texts) != len(starts):
            raise UserError(f"{where}: {len(texts)} answers but {len(starts)} places in answer_start.")
        return [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]
    if isinstance(cell, (list, tuple, np.ndarray)):
        return list(cell)
    raise UserError(
        f'{where}: answers must be {{"text": [...], "answer_start": [...]}} or a list of {{"text", "answer_start"}}, not '
        f"{str(cell)[:60]!r}."
    )


def _get(path: Path, node, place: str, key: str, kind: type):
    """A key of an object in the file, of the type it must have."""
    where = f"{path}, {place}" if place else f"{path}, at the top"
    if not isinstance(node, dict):
        raise UserError(
            f'{where}: expected an object with "{key}", not {type(node).__name__}. Is the file in SQuAD form?'
        )
    if key not in node:
        raise UserError(f'{where}: there is no "{key}". Is the file in SQuAD form?')
    if not isinstance(node[key], kind):
        wanted = {list: "a list", str: "a string"}[kind]
        raise UserError(f'{where}: "{key}" must be {wanted}, not {type(node[key]).__name__}.')
    return node[key]


def _answers_or_none(source: str, found: list[_Asked]) -> list[list] | None:
    """The answers of each question, none for impossible ones; None where there are no answers at all."""
    if not any(asked.answers or asked.is_impossible for asked in found):
        return None
    ignored, given = 0, []
    for asked in found:
        mark = asked.is_impossible
        if mark is not None and not isinstance(mark, bool):
            raise UserError(f'{source}, {asked.place}: "is_impossible" must be true or false, not {mark!r}.')
        if mark:
            ignored += bool(asked.answers)
            given.append([])
        elif asked.answers:
            given.append(asked.answers)
        else:
            raise UserError(
                f"{source}, {asked.place}: no answers, and not marked impossible. If its context does not answer it, add "
                '"is_impossible": true; else give "answers".'
            )
    if ignored:
        logger.warning(
            '%s: %d question(s) with "is_impossible": true have answers; these are ignored.', source, ignored
        )
    return given
