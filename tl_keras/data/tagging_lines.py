"""Lines of tagged text: columns of words and tags, KLUE's characters, sentences with their tags; which of these a file is."""

from __future__ import annotations

import csv
import logging
import os
from collections import Counter
from collections.abc import Sequence

from tl_keras.data.tagging_columns import (
    LOOKED_AT,
    RANGE,
    Row,
    begins_text,
    choose_columns,
    find_counts,
    find_header,
    tag_columns,
)
from tl_keras.data.tags import looks_like_tag
from tl_keras.data.text_files import kind_of
from tl_keras.errors import UserError

logger = logging.getLogger(__name__)

TaggedText = list[tuple[int, str, str]]
"""The words of a text: the number of each one's line, the word, and its tag."""


def guess_format(lines: Sequence[str]) -> str:
    r"""`"characters"`, `"sentences"` or `"conll"`.

    Example:
        >>> guess_format(["Ada sleeps\tPER-B O"]), guess_format(["Ada/B-PER sleeps/O"]), guess_format(["Ada\tB-PER", "sleeps\tO"])
        ('sentences', 'sentences', 'conll')
    """
    # Only where every character has a line does a space have one.
    if any(line.startswith(" \t") for line in lines):
        return "characters"
    some = [line for line in lines[:LOOKED_AT] if line.strip() and not line.startswith(("# ", "## "))]
    if some and find_header(some[0].split("\t")):
        some = some[1:]
    pairs = [pair for pair in map(_sentence, some) if pair is not None]
    # Whether there are as many tags as words is looked at when it is read: then the line that is wrong can be named.
    return "sentences" if len(pairs) >= 0.9 * len(some) and any(len(tags) > 1 for _, tags in pairs) else "conll"


def read_sentence_lines(path: str | os.PathLike, lines: Sequence[str]) -> list[TaggedText]:
    """Lines of a sentence, a tab, and a tag for each of its words, or the other way round, or `word/TAG`; a number may stand before them.

    Raises:
        UserError: a line has more or fewer tags than words.
    """
    texts = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or (not texts and find_header(line.split("\t"))):
            continue
        found = _sentence(line)
        if found is None:
            raise UserError(f"{path}, line {number}: expected a sentence, a tab and its tags, not {line[:60]!r}.")
        if len(found[0]) != len(found[1]):
            raise UserError(f"{path}, line {number}: {len(found[0])} words but {len(found[1])} tags in {line[:60]!r}.")
        texts.append([(number, word, tag) for word, tag in zip(*found, strict=True)])
    return texts


def _sentence(line: str) -> tuple[list[str], list[str]] | None:
    """Words and tags of a line; None if it has not this form."""
    cells = [cell.strip() for cell in line.split("|||" if "|||" in line else "\t")]
    if len(cells) > 1 and all(len(cell) > 1 and cell[0] == cell[-1] == '"' for cell in cells):
        cells = [cell[1:-1].replace('""', '"') for cell in cells]
    if len(cells) == 3 and cells[0].isdecimal():
        cells = cells[1:]
    if len(cells) == 1:
        parts = [part.rpartition("/") for part in line.split()]
        return _parts([word for word, *_ in parts], [tag for *_, tag in parts])
    if len(cells) != 2:
        return None
    return _parts(cells[0].split(), cells[1].split()) or _parts(cells[1].split(), cells[0].split())


def _parts(words: list[str], tags: list[str]) -> tuple[list[str], list[str]] | None:
    return (words, tags) if words and all(words) and tags and all(map(looks_like_tag, tags)) else None


def read_column_lines(
    path: str | os.PathLike,
    lines: Sequence[str],
    word_column: int | None,
    tag_column: int | None,
    characters: bool = False,
) -> list[TaggedText]:
    """Lines of a word and its tag in columns, an empty line between texts.

    Args:
        path: for messages.
        lines: of the file.
        word_column: from 0; None for the first that holds neither numbers nor the tags.
        tag_column: from 0, or from the last with negative numbers; None for the last, or the only one that holds tags.
        characters: whether every line has one character, spaces among them.

    Raises:
        UserError: a line has no tag, or not so many columns.
    """
    rows, separated = _rows(path, lines, characters)
    filled = [(number, cells) for number, cells in rows if cells]
    if not filled:
        raise UserError(f"{path} holds no tagged words.")
    header = None if characters else find_header(filled[0][1])
    if header is not None:
        logger.info("%s: line %d is a header: %s.", path, filled[0][0], ", ".join(filled[0][1]))
        rows = [row for row in rows if row[0] != filled[0][0]]
        filled = filled[1:]
    short = next(((number, cells) for number, cells in filled if len(cells) < 2), None)
    if short is not None:
        raise UserError(
            f"{path}, line {short[0]}: {lines[short[0] - 1][:60]!r} has a word but no tag; each line needs a word and a tag, "
            f"separated by {separated}, and texts an empty line between them."
        )
    if not characters and (word_column is None or tag_column is None):
        _refuse_uneven(path, filled, lines)
    counts = None if characters or word_column is not None else find_counts(filled)
    if counts == "running numbers":
        rows = [(number, cells) for number, cells in rows if not cells or not RANGE.fullmatch(cells[0].strip())]
    if counts is not None:
        logger.info("%s: the first column holds %s; the words are read from another.", path, counts)
    word_column, tag_column = choose_columns(path, filled, header, word_column, tag_column, counts is not None)
    texts: list[TaggedText] = [[]]
    last = ""
    for number, cells in rows:
        if not cells:
            texts.append([])
            continue
        first = cells[0].strip()
        # Not every file with numbers has empty lines.
        if counts is not None and first and begins_text(first, last, counts) and texts[-1]:
            texts.append([])
        last = first or last
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
            raise UserError(
                f"{path}, line {number}: the {'tag' if word else 'word'} is empty in {lines[number - 1][:60]!r}."
            )
        if characters and len(word) != 1:
            raise UserError(f'{path}, line {number}: {word!r} is not one character; is the format "conll"?')
        texts[-1].append((number, word, tag))
    return [text for text in texts if text]


def _rows(path, lines: Sequence[str], characters: bool) -> tuple[list[Row], str]:
    """The cells of each line, none for an empty one, without comments; and what stands between them, in words."""
    tabs = characters or any("\t" in line for line in lines if not line.startswith("#"))
    commas = not tabs and _has_commas(path, lines)
    rows: list[Row] = []
    for number, line in enumerate(lines, 1):
        if not line.strip("\n") or (not line.strip() and "\t" not in line):
            rows.append((number, []))
            continue
        cells = line.split("\t") if tabs else next(csv.reader([line])) if commas else line.split()
        if _is_comment(line, cells, tabs) or cells[0].strip().startswith("-DOCSTART-"):
            continue
        rows.append((number, cells))
    return rows, "a tab" if tabs else "a comma" if commas else "white space"


def _has_commas(path, lines: Sequence[str]) -> bool:
    """Whether cells stand between commas.

    Raises:
        UserError: they seem to, but no column holds tags.
    """
    some = [line for line in lines[:LOOKED_AT] if line.strip()]
    alike = len(some) > 1 and all(line.count(",") == some[0].count(",") > 0 for line in some)
    if not alike and kind_of(path) != ".csv":
        return False
    cells = [(number, row) for number, row in enumerate(csv.reader(some)) if row]
    if not alike and not all(len(row) > 1 for _, row in cells):
        return False
    body = cells[1:] if find_header(cells[0][1]) else cells
    if not tag_columns(body):
        raise UserError(
            f"{path}, line 1: {some[0][:60]!r} looks like a table with commas, of which no column holds tags such as B-PER; tagged words "
            "stand in columns, each with its tag. (Or pass read_tagged a DataFrame with a list of tokens and a list of tags in each row.)"
        )
    return True


def _is_comment(line: str, cells: list[str], tabs: bool) -> bool:
    if not line.startswith(("# ", "## ")):
        return False
    # In files with spaces between the columns, `# O` is the word "#".
    return tabs or not (len(cells) > 1 and looks_like_tag(cells[-1]) and cells[-1] != "-")


def _refuse_uneven(path, rows: Sequence[Row], lines: Sequence[str]) -> None:
    """Lines of different lengths are sentences, or hold words with blanks: which cell is the word cannot be told."""
    usual = Counter(len(cells) for _, cells in rows).most_common(1)[0][0]
    for number, cells in rows:
        if len(cells) != usual:
            raise UserError(
                f"{path}, line {number}: {len(cells)} columns, but other lines have {usual} ({lines[number - 1][:60]!r}). Each line is a "
                "word and its tag; if the first columns and the last are right all the same, name them with --word-column and --tag-column."
            )
