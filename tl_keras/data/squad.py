"""Read questions, contexts and answers from SQuAD's JSON: v1.1, v2.0, KorQuAD."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tl_keras.data.frames import is_path
from tl_keras.data.json_text import is_json_lines, parse_json
from tl_keras.data.questions import QuestionExamples
from tl_keras.data.text_files import decode_file, kind_of, open_text
from tl_keras.errors import UserError

logger = logging.getLogger(__name__)


def read_squad(path: str | os.PathLike, *, encoding: str = "utf-8") -> QuestionExamples:
    """Read a file of SQuAD's form.

    `{"data": [{"title", "paragraphs": [{"context", "qas": [{"id", "question", "answers": [{"text", "answer_start"}]}]}]}]}`; in
    v2.0 a question has `"is_impossible"`, and no answers where that is true. An answer that does not stand at its `answer_start`
    is reported in a warning and never moved. A file in which no question has answers and none is marked impossible gives questions
    to be answered.

    Args:
        path: the file, perhaps with `.gz`.
        encoding: of the file.

    Raises:
        UserError: no such file, no JSON, a key that is missing (the message says where), an empty context or question, an answer
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
    path = Path(path)
    asked = list(_entries(path, encoding))
    if not asked:
        raise UserError(f"{path} holds no questions.")
    places = [one.place for one in asked]
    answers = [_get(path, one.entry, one.place, "answers", list) if "answers" in one.entry else None for one in asked]
    given = _answers_or_none(path, answers, [one.entry.get("is_impossible") for one in asked], places)
    return QuestionExamples.from_lists(
        [one.question for one in asked],
        [one.context for one in asked],
        given,
        ids=[one.entry.get("id", number) for number, one in enumerate(asked, 1)],
        documents=[one.document for one in asked],
        source=str(path),
        places=places,
    )


def squad_pairs(path: str | os.PathLike, encoding: str = "utf-8") -> tuple[list[str], list[str]]:
    """Questions and their paragraphs from a file of SQuAD's form; questions marked impossible are left out.

    Args:
        path: the file, perhaps with `.gz`.
        encoding: of the file.

    Returns:
        `(questions, paragraphs)`, two lists of the same length.

    Raises:
        UserError: as for `read_squad`, but answers are not looked at.
    """
    asked = [one for one in _entries(Path(path), encoding) if not one.entry.get("is_impossible")]
    if not asked:
        raise UserError(f"{path} holds no questions with answers.")
    return [one.question for one in asked], [one.context for one in asked]


def is_squad(path) -> bool:
    """Whether a file is one JSON object, as SQuAD's are, and not a list of rows."""
    if not is_path(path) or isinstance(path, (list, tuple)) or kind_of(path) != ".json" or not os.path.isfile(path):
        return False
    with open_text(path) as stream:
        head = stream.read(1 << 12)
    return head.lstrip().startswith("{") and not is_json_lines(head)


class _Entry(NamedTuple):
    """A question in a file: where it stands, the number of its document, its context, and all that the file says of it."""

    place: str
    document: int
    context: str
    question: str
    entry: dict


def _entries(path: Path, encoding: str) -> Iterator[_Entry]:
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
            for q, entry in enumerate(_get(path, paragraph, at_paragraph, "qas", list)):
                place = f"{at_paragraph}.qas[{q}]"
                yield _Entry(place, d, context, _get(path, entry, place, "question", str), entry)


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


def _answers_or_none(path: Path, answers: list, marks: list, places: list) -> list[list] | None:
    """The answers of each question, none for impossible ones; None where the file has no answers at all."""
    if not any(answers) and not any(marks):
        return None
    ignored, given = 0, []
    for found, mark, place in zip(answers, marks, places, strict=True):
        if mark is not None and not isinstance(mark, bool):
            raise UserError(f'{path}, {place}: "is_impossible" must be true or false, not {mark!r}.')
        if mark:
            ignored += bool(found)
            given.append([])
        elif found:
            given.append(found)
        else:
            raise UserError(
                f"{path}, {place}: no answers, and not marked impossible. If its context does not answer it, add "
                '"is_impossible": true; else give "answers".'
            )
    if ignored:
        logger.warning('%s: %d question(s) with "is_impossible": true have answers; these are ignored.', path, ignored)
    return given
