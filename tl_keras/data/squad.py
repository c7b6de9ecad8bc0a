"""Read questions, contexts and answers from SQuAD's JSON: v1.1, v2.0, KorQuAD."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from tl_keras.data.json_text import parse_json
from tl_keras.data.questions import QuestionExamples
from tl_keras.data.text_files import decode_file
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
    content = decode_file(path, encoding)
    if not content.strip():
        raise UserError(f"{path} is empty.")
    tree = parse_json(content, str(path))
    questions, contexts, answers, marks, ids, documents, places = [], [], [], [], [], [], []
    for d, document in enumerate(_get(path, tree, "", "data", list)):
        at_document = f"data[{d}]"
        for p, paragraph in enumerate(_get(path, document, at_document, "paragraphs", list)):
            at_paragraph = f"{at_document}.paragraphs[{p}]"
            context = _get(path, paragraph, at_paragraph, "context", str)
            if not context.strip():
                raise UserError(f"{path}, {at_paragraph}: the context is empty.")
            for q, asked in enumerate(_get(path, paragraph, at_paragraph, "qas", list)):
                place = f"{at_paragraph}.qas[{q}]"
                questions.append(_get(path, asked, place, "question", str))
                contexts.append(context)
                answers.append(_get(path, asked, place, "answers", list) if "answers" in asked else None)
                marks.append(asked.get("is_impossible"))
                ids.append(asked.get("id", len(ids) + 1))
                documents.append(d)
                places.append(place)
    if not questions:
        raise UserError(f"{path} holds no questions.")
    given = _answers_or_none(path, answers, marks, places)
    return QuestionExamples.from_lists(
        questions, contexts, given, ids=ids, documents=documents, source=str(path), places=places
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
