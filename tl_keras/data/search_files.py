"""Texts to search in, and questions with the documents that answer them, from files of any kind."""

from __future__ import annotations

import dataclasses
import os

import pandas as pd

from tl_keras.data.formats import expand, is_table
from tl_keras.data.frames import is_path
from tl_keras.data.pairs import RetrievalPairs
from tl_keras.data.squad import is_squad, squad_pairs
from tl_keras.data.table import read_table
from tl_keras.data.text_files import decode_file
from tl_keras.errors import UserError


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
