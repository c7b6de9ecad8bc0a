"""Which column of a file of tagged words holds the words, which the tags, and which the numbers of words or sentences."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import NamedTuple

from tl_keras.data.tags import looks_like_tag

logger = logging.getLogger(__name__)

LOOKED_AT = 1000
"""Lines from which the form of a file is guessed."""
RANGE = re.compile(r"\d+[-.]\d+")
"""The number of a line of CoNLL-U that stands for several words, or for none."""
_BEGIN = re.compile(r"[BS][-_:].+|.+[-_][BS]", re.IGNORECASE | re.DOTALL)
_SENTENCE_ID = re.compile(r"\D{0,20}\d+")

# What headers call their columns, the likeliest first.
_WORD_NAMES = ("word", "words", "token", "tokens", "form", "text", "sentence", "sentences", "단어", "어절", "문장")
_TAG_NAMES = ("ner_tag", "ner_tags", "ner", "tag", "tags", "label", "labels", "pos_tag", "pos_tags", "pos", "태그", "개체명")  # fmt: skip
_OTHER_NAMES = ("id", "index", "no", "sentence #", "sentence_id", "sent_id", "lemma", "chunk", "chunk_tag", "chunk_tags", "")  # fmt: skip

Row = tuple[int, list[str]]
"""The number of a line, and its cells; none for an empty line."""


class Header(NamedTuple):
    """Which columns a header says hold the words and the tags; None where it does not say."""

    word: int | None
    tag: int | None


def find_header(cells: Sequence[str]) -> Header | None:
    """What a line says of the columns, if it is a header: it holds nothing but names of columns, one of tags among them."""
    names = [cell.strip().strip('"').lower() for cell in cells]
    if (
        len(names) < 2
        or not set(names) <= {*_WORD_NAMES, *_TAG_NAMES, *_OTHER_NAMES}
        or not set(names) & set(_TAG_NAMES)
    ):
        return None
    word, tag = (next((names.index(n) for n in known if n in names), None) for known in (_WORD_NAMES, _TAG_NAMES))
    return Header(word, tag)


def find_counts(rows: Sequence[Row]) -> str | None:
    """What the first of at least three columns counts: `"running numbers"` of words, `"the numbers of sentences"`, or nothing."""
    last, count, running, same = -1, 0, 0, 0
    some = [cells for _, cells in rows[:LOOKED_AT] if not RANGE.fullmatch(cells[0].strip())]
    names = [cells[0].strip() for cells in some if len(cells) >= 3]
    if not names or len(names) < len(some):
        return None
    if not all(name.isdecimal() for name in names if name):
        # As spreadsheets show groups: a name in the first row of each, nothing below.
        grouped = "" in names and all(_SENTENCE_ID.fullmatch(name) for name in names if name)
        return "the numbers of sentences" if grouped and names[0] else None
    for name in names:
        number = int(name) if name else last
        count += 1
        running += number == last + 1 or number in (0, 1)
        same += number == last or number == last + 1 or last == -1
        last = number
    # A sentence of one word after the other has running numbers, too.
    if running > 0.95 * count:
        return "running numbers"
    return "the numbers of sentences" if same > 0.95 * count else None


def begins_text(first: str, last: str, counts: str) -> bool:
    """Whether another text begins where the number in the first column is `first`, behind `last`; `counts` as `find_counts` says."""
    if counts == "running numbers":
        return first.isdecimal() and last.isdecimal() and int(first) <= int(last)
    return first != last


def tag_columns(rows: Sequence[Row]) -> list[int]:
    """The columns in which nearly every cell is a tag, and some begin an entity."""
    some = [cells for _, cells in rows[:LOOKED_AT]]
    found = []
    for place in range(min(map(len, some), default=0)):
        cells = [row[place].strip() for row in some]
        tags = sum(looks_like_tag(cell) or looks_like_tag(cell.upper()) for cell in cells)
        if tags > 0.95 * len(cells) and any(_BEGIN.fullmatch(cell) for cell in cells):
            found.append(place)
    return found


def choose_columns(
    path, rows: Sequence[Row], header, word: int | None, tag: int | None, numbered: bool
) -> tuple[int, int]:
    """The columns of the words and of the tags, where the user did not name them."""
    width = len(rows[0][1]) if rows else 2
    if tag is None:
        found, last = tag_columns(rows), width - 1
        tag = last
        if header is not None and header.tag is not None and (not found or header.tag in found):
            tag = header.tag
        elif len(found) == 1 and found[0] != last:
            logger.info("%s: the tags are read from column %d, the only one that holds any.", path, found[0])
            tag = found[0]
    if word is None:
        taken = tag % width
        if header is not None and header.word is not None and header.word != taken:
            word = header.word
        else:
            word = next(place for place in range(int(numbered), width + 1) if place != taken)
    return word, tag
