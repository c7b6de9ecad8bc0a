"""Tags of words, BIO, BIOES (or BILOU) or plain, in all the ways that people write them, and the spans of words that they stand for."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from tl_keras.errors import UserError

logger = logging.getLogger(__name__)

Scheme = Literal["auto", "bio", "bioes", "plain"]

# BILOU says L(ast) for E(nd) and U(nit) for S(ingle), BMES M(iddle) for I(nside).
_PREFIXED = re.compile(r"([BIESLUM])-(.+)", re.DOTALL)
_PREFIXED_ANYHOW = re.compile(r"([BIESLUM])[-_](.+)", re.DOTALL)
_SUFFIXED = re.compile(r"(.+)[-_]([BIESLUM])", re.DOTALL)
# Where every tag of a file is of this form, it is no chance.
_PREFIXED_AT_ALL = re.compile(r"([BIESLUMbieslum])\s*[-_:/.\u2010-\u2015]\s*(.+)", re.DOTALL)
_ALIASES = {"L": "E", "U": "S", "M": "I"}
_NONE = ("O", "-", "_")
_BEGIN = re.compile(r"[BS][-_].+", re.DOTALL)
_NUMBER = re.compile(r"[-+]?\d*[.,]?\d+")
UNNAMED = "ENTITY"
"""The label of spans in files whose tags are B, I and O alone."""


def looks_like_tag(tag: str) -> bool:
    """Whether a string is `O`, or a label with a prefix or suffix.

    Example:
        >>> [looks_like_tag(tag) for tag in ("O", "B-PER", "PER_B", "-", "word")]
        [True, True, True, True, False]
    """
    return tag in _NONE or bool(_PREFIXED_ANYHOW.fullmatch(tag) or _SUFFIXED.fullmatch(tag))


def with_prefixes(tags: Sequence[Sequence[str]], places: Sequence[Sequence[str]], source: str) -> list[list[str]]:
    """Tags of all texts, `B_PER`, `B:PER`, `b-per`, `PER-B` and `PER_B` written as `B-PER`, and beside such tags `-`, `_` and `o` as `O`.

    Only where all tags are of one such form; others are given back as they are.

    Args:
        tags: of each text.
        places: a name for each tag in messages.
        source: the file's name.

    Raises:
        UserError: a prefix without a label, or with one that no scheme has.

    Example:
        >>> with_prefixes([["PER_B", "-"]], [["1", "2"]], "a.txt")
        [['B-PER', 'O']]
    """
    distinct = {tag for row in tags for tag in row}
    named = distinct - {*_NONE, "o"}

    def place(tag: str) -> str:
        return next(p for row, ps in zip(tags, places, strict=True) for t, p in zip(row, ps, strict=True) if t == tag)

    bare = sorted(tag for tag in named if re.fullmatch(r"[BIESLUM][-_:]|[-_][BIESLUM]", tag))
    if bare:
        raise UserError(f"{source}, {place(bare[0])}: the tag {bare[0]!r} has no label; write B-PER, for example.")
    new = {}
    if named and all(_PREFIXED_AT_ALL.fullmatch(tag) for tag in named):
        parts = {tag: _PREFIXED_AT_ALL.fullmatch(tag) for tag in named}
        new = {tag: f"{match[1].upper()}-{match[2]}" for tag, match in parts.items()}
    elif named and all(_SUFFIXED.fullmatch(tag) for tag in named):
        new = {tag: f"{tag[-1]}-{tag[:-2]}" for tag in named}
    elif "B" in named and distinct & {"O", "I"} and named <= set("BIESLUM"):
        new = {tag: f"{tag}-{UNNAMED}" for tag in named}
    if not new:
        strange = sorted(tag for tag in named if re.fullmatch(r"[A-Z]-.+", tag) and not _PREFIXED.fullmatch(tag))
        if strange and all(re.fullmatch(r"[A-Z]-.+", tag) for tag in named):
            raise UserError(
                f"{source}, {place(strange[0])}: the tag {strange[0]!r} begins with {strange[0][:2]}, which no scheme has; known are B- and "
                'I-, and E-, S-, L-, U-, M-. If the tags are plain ones, pass scheme="plain" (--scheme plain).'
            )
        return [list(row) for row in tags]
    new |= dict.fromkeys({*_NONE, "o"} & distinct, "O")
    changed = sorted(tag for tag in new if new[tag] != tag)
    if changed:
        logger.info("%s: the tag %r is read as %r, and others likewise.", source, changed[-1], new[changed[-1]])
    return [[new[tag] for tag in row] for row in tags]


def refuse_strange_plain_tags(
    words: Sequence[Sequence[str]], tags: Sequence[Sequence[str]], places: Sequence[Sequence[str]], source: str
) -> None:
    """Refuse what would be read as plain tags, and is most likely something else: numbers, words, tags of whole sentences.

    Args:
        words: of each text.
        tags: of each word.
        places: a name for each tag in messages.
        source: the file's name.

    Raises:
        UserError: says what is strange, and where.
    """
    found = [unit for row in zip(words, tags, places, strict=True) for unit in zip(*row, strict=True)]
    counts = Counter(tag for _, tag, _ in found if tag != "O")

    def first(which) -> tuple[str, str, str] | None:
        return next((unit for unit in found if which(unit)), None)

    if len(counts) == 1 and counts.total() == len(found) > 1:
        raise UserError(
            f"{source}: every word has the tag {found[0][1]!r}; is that the column of the tags (--tag-column)?"
        )
    sure = 'If they are tags all the same, pass scheme="plain" (--scheme plain).'
    if counts and all(_NUMBER.fullmatch(tag) for tag in counts):
        _, tag, place = first(lambda unit: _NUMBER.fullmatch(unit[1]))
        raise UserError(
            f"{source}, {place}: the tag {tag!r} is a number, and so are all others. Put the names in that they stand for, or name the "
            f"column of the tags (--tag-column). {sure}"
        )
    strange = first(lambda unit: len(unit[1].split()) > 1 and all(map(looks_like_tag, unit[1].split())))
    if strange is not None:
        raise UserError(
            f"{source}, {strange[2]}: {strange[1][:60]!r} are several tags for {strange[0][:60]!r}; each word needs one, or the file is "
            'one of sentences throughout (format="sentences", --format sentences).'
        )
    begun = sum(bool(_BEGIN.fullmatch(word)) for word, *_ in found)
    if begun > 0.1 * len(found):
        word, tag, place = first(lambda unit: _BEGIN.fullmatch(unit[0]))
        raise UserError(
            f"{source}, {place}: {word!r} looks like a tag, but stands where the words are, and {tag[:60]!r} is read as its tag; name the "
            f"columns (--word-column, --tag-column), or give the sentences another form. {sure}"
        )
    if len(counts) > max(20, 0.5 * len(found)):
        raise UserError(
            f"{source}: there are {len(counts)} different tags for {len(found)} words; those look like words or texts. Name the column of the "
            f"tags (--tag-column). {sure}"
        )


def find_scheme(tags: Sequence[Sequence[str]], places: Sequence[Sequence[str]], scheme: Scheme, source: str) -> str:
    """Which scheme the tags follow: `"bio"`, `"bioes"` or `"plain"`.

    Args:
        tags: of each text.
        places: a name for each tag in messages.
        scheme: what the user says, or `"auto"`.
        source: the file's name.

    Raises:
        UserError: tags with and without prefix are mixed, or a tag is not of the scheme.
    """
    if scheme not in {"auto", "bio", "bioes", "plain"}:
        raise UserError(f'scheme must be "auto", "bio", "bioes" or "plain", not {scheme!r}.')
    if scheme == "plain":
        return "plain"
    prefixes, bare = set(), None
    for row, row_places in zip(tags, places, strict=True):
        for tag, place in zip(row, row_places, strict=True):
            match = _PREFIXED.fullmatch(tag)
            if match:
                prefixes.add(match[1])
                if scheme == "bio" and match[1] not in "BI":
                    raise UserError(f'{source}, {place}: the tag {tag!r} is not BIO; is the scheme "bioes"?')
            elif tag != "O" and bare is None:
                bare = (tag, place)
    if bare is not None:
        if prefixes or scheme != "auto":
            raise UserError(
                f"{source}, {bare[1]}: the tag {bare[0]!r} is neither O nor begins with B-, I-, E- or S- like others. "
                'If the tags are plain ones, pass scheme="plain" (--scheme plain); else check the column of the tags.'
            )
        return "plain"
    if scheme == "auto":
        return "bioes" if prefixes - {"B", "I"} else "bio"
    return scheme


def spans_of_tags(tags: Sequence[str], scheme: str = "bio") -> tuple[list[tuple[int, int, str]], list[int]]:
    """The spans that tags stand for, and the tags that break the scheme.

    A span ends where another begins, at `O`, where the label changes, and after `E-` or `S-`. `I-` or `E-` with no span of its
    label before begins one: so published scorers read it, and so the older IOB1 files are meant.

    Args:
        tags: of one text.
        scheme: `"bio"`, `"bioes"` or `"plain"`.

    Returns:
        `(first, last + 1, label)` of each span, and the numbers of the tags that do not follow from the one before.

    Source: the reading is that of conlleval, https://www.cnts.ua.ac.be/conll2000/chunking/output.html

    Example:
        >>> spans_of_tags(["B-LOC", "I-LOC", "O", "I-PER", "B-PER"])
        ([(0, 2, 'LOC'), (3, 4, 'PER'), (4, 5, 'PER')], [3])
    """
    if scheme == "plain":
        return [(i, i + 1, tag) for i, tag in enumerate(tags) if tag != "O"], []
    spans: list[tuple[int, int, str]] = []
    broken: list[int] = []
    start, label = None, ""
    for i, tag in enumerate([*tags, "O"]):
        match = _PREFIXED.fullmatch(tag)
        prefix, name = (_ALIASES.get(match[1], match[1]), match[2]) if match else ("O", "")
        goes_on = prefix in "IE" and start is not None and name == label
        if start is not None and not goes_on:
            spans.append((start, i, label))
            if scheme == "bioes":  # it should have been closed by E- before
                broken.append(min(i, len(tags) - 1))
            start = None
        if prefix in "BIES" and not goes_on:
            if prefix in "IE":
                broken.append(i)
            start, label = i, name
        if prefix in "ES":
            spans.append((start, i + 1, label))
            start = None
    return spans, sorted(set(broken))


def tags_of_spans(spans: Sequence[tuple[int, int, str]], length: int, scheme: str = "bio") -> list[str]:
    """The BIO or plain tags of spans of units.

    Args:
        spans: `(first, last + 1, label)`, without overlap.
        length: number of units.
        scheme: `"bio"` or `"plain"`.

    Example:
        >>> tags_of_spans([(1, 3, "LOC")], 4)
        ['O', 'B-LOC', 'I-LOC', 'O']
    """
    tags = ["O"] * length
    for start, end, label in spans:
        for i in range(start, end):
            tags[i] = label if scheme == "plain" else ("B-" if i == start else "I-") + label
    return tags
