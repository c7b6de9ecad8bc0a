"""Read tagged texts from files: CoNLL columns, KLUE's characters, JSON lines with character spans."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tl_keras.data.table import decode_file
from tl_keras.data.tagging import TaggedExamples
from tl_keras.data.tags import _PREFIXED, Scheme
from tl_keras.errors import UserError

logger = logging.getLogger(__name__)

Format = Literal["auto", "conll", "characters", "jsonl"]
FORMATS = ("auto", "conll", "characters", "jsonl")


def read_tagged(
    path: str | os.PathLike,
    format: Format = "auto",
    *,
    labels: Sequence[str] | None = None,
    scheme: Scheme = "auto",
    word_column: int = 0,
    tag_column: int = -1,
    overlaps: Literal["error", "longest"] = "error",
    encoding: str = "utf-8",
) -> TaggedExamples:
    r"""Read texts with labelled spans.

    Args:
        path: the file, perhaps with `.gz`.
        format: `"conll"`: a word and its tag a line, in columns (tabs, or else white space), an empty line between texts; lines
            that begin with `# ` or `## ` are comments, `-DOCSTART-` lines are skipped. `"characters"`: KLUE's, the same with one
            character a line, spaces among them. `"jsonl"`: `{"text": ..., "entities": [{"start", "end", "label"}]}` a line.
            `"auto"`: by the file's name and content.
        labels: all label names in the order wanted (for a validation file: those of the training data).
        scheme: of the tags: `"bio"`, `"bioes"`, `"plain"` or `"auto"`.
        word_column: of CoNLL files, from 0.
        tag_column: of CoNLL files, from 0; negative numbers count from the last.
        overlaps: of JSON lines: `"error"`, or `"longest"` keeps the longest of entities that overlap.
        encoding: of the file.

    Raises:
        UserError: no such file, nothing in it, or a line that cannot be read; the message names the line.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.conll"
        >>> _ = path.write_text("Ada\tB-PER\nsleeps\tO\n\nOslo\tB-LOC\n", "utf-8")
        >>> read_tagged(path).spans
        ((Span(start=0, end=3, label='PER'),), (Span(start=0, end=4, label='LOC'),))
    """
    path = Path(path)
    if format not in FORMATS:
        raise UserError(f"format={format!r} is not known; choose one of: {', '.join(FORMATS)}.")
    content = decode_file(path, encoding)
    if not content.strip():
        raise UserError(f"{path} is empty.")
    lines = content.replace("\r\n", "\n").split("\n")
    if format == "auto":
        format = _guess(path, lines)
    if format == "jsonl":
        return _read_jsonl(path, lines, labels, overlaps)
    texts = _read_columns(path, lines, word_column, tag_column, characters=format == "characters")
    words = [[word for _, word, _ in text] for text in texts]
    tags = [[tag for _, _, tag in text] for text in texts]
    places = [[f"line {line}" for line, _, _ in text] for text in texts]
    words_count = format == "conll"
    return TaggedExamples._from_units(
        words, tags, places, labels, scheme, " " if words_count else "", str(path), keep_words=words_count
    )


def _guess(path: Path, lines: list[str]) -> str:
    if ".json" in path.name or lines[0].lstrip("\ufeff").startswith("{"):
        return "jsonl"
    # Only where every character has a line does a space have one.
    return "characters" if any(line.startswith(" \t") for line in lines) else "conll"


def _read_columns(path: Path, lines, word_column, tag_column, characters: bool) -> list[list[tuple[int, str, str]]]:
    """Texts of `(line number, word, tag)`."""
    tabs = characters or any("\t" in line for line in lines if not line.startswith("#"))
    texts: list[list[tuple[int, str, str]]] = [[]]
    for number, line in enumerate(lines, 1):
        if not line.strip("\n") or (not line.strip() and "\t" not in line):
            texts.append([])
            continue
        cells = line.split("\t") if tabs else line.split()
        if _is_comment(line, cells, tabs) or cells[0].strip().startswith("-DOCSTART-"):
            continue
        if len(cells) < 2:
            raise UserError(
                f"{path}, line {number}: {line[:60]!r} has a word but no tag; each line needs a word and a tag, "
                f"{'separated by a tab' if tabs else 'separated by white space'}, and texts an empty line between them."
            )
        try:
            word, tag = cells[word_column], cells[tag_column].strip()
        except IndexError:
            raise UserError(
                f"{path}, line {number}: {len(cells)} columns, but the word is read from column {word_column} and the tag "
                f"from column {tag_column} (--word-column, --tag-column; the first is 0)."
            ) from None
        if not characters:
            word = word.strip()
        if not word or not tag:
            raise UserError(f"{path}, line {number}: the {'tag' if word else 'word'} is empty in {line[:60]!r}.")
        if characters and len(word) != 1:
            raise UserError(f'{path}, line {number}: {word!r} is not one character; is the format "conll"?')
        texts[-1].append((number, word, tag))
    texts = [text for text in texts if text]
    if not texts:
        raise UserError(f"{path} holds no tagged words.")
    return texts


def _is_comment(line: str, cells: list[str], tabs: bool) -> bool:
    if not line.startswith(("# ", "## ")):
        return False
    # In files with spaces between the columns, `# O` is the word "#".
    return tabs or not (len(cells) > 1 and (cells[-1] == "O" or _PREFIXED.fullmatch(cells[-1])))


def _read_jsonl(path: Path, lines: list[str], labels, overlaps: str) -> TaggedExamples:
    texts, entities, places, tagged = [], [], [], True
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, line {number}: no JSON ({error.msg}, column {error.colno}).") from None
        if not isinstance(row, dict) or not isinstance(row.get("text"), str):
            raise UserError(
                f'{path}, line {number}: expected an object with "text" (a string) and "entities" (a list).'
            )
        found = row.get("entities")
        if found is not None and not isinstance(found, list):
            raise UserError(f'{path}, line {number}: "entities" must be a list, not {type(found).__name__}.')
        tagged &= found is not None
        texts.append(row["text"])
        entities.append(found or [])
        places.append(f"line {number}")
    if not tagged and any(entities):
        row = next(i for i, line in enumerate(places) if '"entities"' not in lines[int(line.split()[1]) - 1])
        raise UserError(f'{path}, {places[row]}: no "entities"; a text without any has an empty list.')
    return TaggedExamples.from_spans(
        texts, entities if tagged else None, labels=labels, overlaps=overlaps, source=str(path), places=places
    )
