"""Lines of words and tags: CoNLL's columns, KLUE's characters, whole sentences with their tags behind a tab."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence

from tl_keras.data.tags import looks_like_tag
from tl_keras.errors import UserError

logger = logging.getLogger(__name__)

LOOKED_AT = 1000
"""Lines from which the form of a file is guessed."""
_RANGE = re.compile(r"\d+[-.]\d+")
"""The number of a line of CoNLL-U that stands for several words, or for none."""

TaggedText = list[tuple[int, str, str]]
"""The words of a text: the number of each one's line, the word, and its tag."""


def guess_format(lines: Sequence[str]) -> str:
    r"""`"characters"`, `"sentences"` or `"conll"`.

    Example:
        >>> guess_format(["Ada sleeps\tPER-B O"]), guess_format(["Ada\tB-PER", "sleeps\tO"])
        ('sentences', 'conll')
    """
    # Only where every character has a line does a space have one.
    if any(line.startswith(" \t") for line in lines):
        return "characters"
    some = [line for line in lines[:LOOKED_AT] if line.strip() and not line.startswith(("# ", "## "))]
    pairs = [_sentence(line) for line in some]
    fit = [pair for pair in pairs if pair is not None and len(pair[0]) == len(pair[1])]
    several = [words for words, _ in fit if len(words) > 1]
    return "sentences" if several and len(fit) >= 0.9 * len(some) else "conll"


def read_sentence_lines(path: str | os.PathLike, lines: Sequence[str]) -> list[TaggedText]:
    """Lines of a sentence, a tab, and a tag for each of its words; a number may stand before them.

    Raises:
        UserError: a line has more or fewer tags than words.
    """
    texts = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        found = _sentence(line)
        if found is None:
            raise UserError(f"{path}, line {number}: expected a sentence, a tab and its tags, not {line[:60]!r}.")
        words, tags = found
        if len(words) != len(tags):
            raise UserError(f"{path}, line {number}: {len(words)} words but {len(tags)} tags in {line[:60]!r}.")
        texts.append([(number, word, tag) for word, tag in zip(words, tags, strict=True)])
    return texts


def _sentence(line: str) -> tuple[list[str], list[str]] | None:
    """Words and tags of a line; None if it has not this form."""
    cells = line.split("\t")
    if len(cells) == 3 and cells[0].strip().isdecimal():
        cells = cells[1:]
    if len(cells) != 2:
        return None
    words, tags = cells[0].split(), cells[1].split()
    return (words, tags) if words and all(looks_like_tag(tag) for tag in tags) else None


def read_column_lines(
    path: str | os.PathLike,
    lines: Sequence[str],
    word_column: int | None,
    tag_column: int,
    characters: bool = False,
) -> list[TaggedText]:
    """Lines of a word and its tag in columns, an empty line between texts.

    Args:
        path: for messages.
        lines: of the file.
        word_column: from 0; None for the first that holds no running numbers.
        tag_column: from 0, or from the last with negative numbers.
        characters: whether every line has one character, spaces among them.

    Raises:
        UserError: a line has no tag, or not so many columns.
    """
    tabs = characters or any("\t" in line for line in lines if not line.startswith("#"))
    _refuse_commas(path, lines, tabs)
    numbered = word_column is None and not characters and _has_running_numbers(lines, tabs)
    if numbered:
        logger.info("%s: the first column holds running numbers; the words are read from the second.", path)
    word_column = int(numbered) if word_column is None else word_column
    texts: list[TaggedText] = [[]]
    last = -1
    for number, line in enumerate(lines, 1):
        if not line.strip("\n") or (not line.strip() and "\t" not in line):
            texts.append([])
            continue
        cells = line.split("\t") if tabs else line.split()
        if _is_comment(line, cells, tabs) or cells[0].strip().startswith("-DOCSTART-"):
            continue
        if numbered:
            if _RANGE.fullmatch(cells[0].strip()):
                continue
            place = int(cells[0]) if cells[0].strip().isdecimal() else last + 1
            # Not every such file has empty lines.
            if place <= last and texts[-1]:
                texts.append([])
            last = place
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


def _has_running_numbers(lines: Sequence[str], tabs: bool) -> bool:
    """Whether the first of at least three columns counts the words of each text."""
    last, count, running = -1, 0, 0
    for line in lines[:LOOKED_AT]:
        cells = line.split("\t") if tabs else line.split()
        if not line.strip() or line.startswith("#") or _RANGE.fullmatch(cells[0].strip()):
            continue
        count += 1
        if len(cells) < 3 or not cells[0].strip().isdecimal():
            continue
        number = int(cells[0])
        running += number == last + 1 or number in (0, 1)
        last = number
    return count > 0 and running > 0.95 * count


def _refuse_commas(path, lines: Sequence[str], tabs: bool) -> None:
    """A table with commas would be read as words that have no tag, or as nonsense."""
    some = [line for line in lines[:LOOKED_AT] if line.strip()]
    if not tabs and len(some) > 1 and all(line.count(",") == some[0].count(",") > 0 for line in some):
        raise UserError(
            f"{path}, line 1: {some[0][:60]!r} looks like a table with commas; tagged words stand in columns with tabs or blanks between "
            "them. (Or pass read_tagged a DataFrame with a list of tokens and a list of tags in each row.)"
        )


def _is_comment(line: str, cells: list[str], tabs: bool) -> bool:
    if not line.startswith(("# ", "## ")):
        return False
    # In files with spaces between the columns, `# O` is the word "#".
    return tabs or not (len(cells) > 1 and looks_like_tag(cells[-1]) and cells[-1] != "-")
