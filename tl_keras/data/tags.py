"""Labelled parts of a text: spans in characters as a file or a caller gives them, and tags of words: BIO, BIOES (or BILOU), plain."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from tl_keras.errors import UserError

logger = logging.getLogger(__name__)

Scheme = Literal["auto", "bio", "bioes", "plain"]

# BILOU says L(ast) for E(nd) and U(nit) for S(ingle), BMES M(iddle) for I(nside).
_PREFIXED = re.compile(r"([BIESLUM])-(.+)", re.DOTALL)
_PREFIXED_ANYHOW = re.compile(r"([BIESLUM])[-_](.+)", re.DOTALL)
_SUFFIXED = re.compile(r"(.+)[-_]([BIESLUM])", re.DOTALL)
_ALIASES = {"L": "E", "U": "S", "M": "I"}
_NONE = ("O", "-", "_")
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
    """Tags of all texts, `B_PER`, `PER-B` and `PER_B` written as `B-PER`, and beside such tags `-` and `_` as `O`.

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
    named = distinct - set(_NONE)

    def place(tag: str) -> str:
        return next(p for row, ps in zip(tags, places, strict=True) for t, p in zip(row, ps, strict=True) if t == tag)

    bare = sorted(tag for tag in named if re.fullmatch(r"[BIESLUM][-_]|[-_][BIESLUM]", tag))
    if bare:
        raise UserError(f"{source}, {place(bare[0])}: the tag {bare[0]!r} has no label; write B-PER, for example.")
    new = {}
    if named and all(_PREFIXED_ANYHOW.fullmatch(tag) for tag in named):
        new = {tag: f"{tag[0]}-{tag[2:]}" for tag in named}
    elif named and all(_SUFFIXED.fullmatch(tag) for tag in named):
        new = {tag: f"{tag[-1]}-{tag[:-2]}" for tag in named}
    elif "B" in named and "O" in distinct and named <= set("BIESLUM"):
        new = {tag: f"{tag}-{UNNAMED}" for tag in named}
    if not new:
        strange = sorted(tag for tag in named if re.fullmatch(r"[A-Z]-.+", tag))
        if strange and strange == sorted(named):
            raise UserError(
                f"{source}, {place(strange[0])}: the tag {strange[0]!r} begins with {strange[0][:2]}, which no scheme has; known are B- and "
                'I-, and E-, S-, L-, U-, M-. If the tags are plain ones, pass scheme="plain" (--scheme plain).'
            )
        return [list(row) for row in tags]
    new |= dict.fromkeys(set(_NONE) & distinct, "O")
    changed = sorted(tag for tag in new if new[tag] != tag)
    if changed:
        logger.info("%s: the tag %r is read as %r, and others likewise.", source, changed[-1], new[changed[-1]])
    return [[new[tag] for tag in row] for row in tags]


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


class Span(NamedTuple):
    """Characters `start` to `end` (exclusive) of a text, with a label."""

    start: int
    end: int
    label: str


def spans_of_entities(text: str, entities: Iterable, overlaps: str, where: str) -> tuple[tuple[Span, ...], int]:
    """The spans of a text in order, without overlap, white space at their ends taken off.

    Args:
        text: they are of.
        entities: `{"start", "end", "label"}`, perhaps with `"text"`, or `(start, end, label)`, in characters.
        overlaps: `"error"`, or `"longest"` to keep the longest of those that overlap.
        where: the text's place, for messages.

    Returns:
        The spans, and how many of them lost white space.

    Raises:
        UserError: a span is outside its text or empty, does not hold the text it should, or overlaps another.
    """
    spans, trimmed = [], 0
    for entity in entities:
        span = _check_span(text, entity, where)
        inside = text[span.start : span.end]
        short = Span(
            span.start + len(inside) - len(inside.lstrip()), span.end - len(inside) + len(inside.rstrip()), span.label
        )
        trimmed += short != span
        spans.append(short)
    return _without_overlaps(text, spans, overlaps, where), trimmed


def _check_span(text: str, entity, where: str) -> Span:
    try:
        if isinstance(entity, dict):
            start, end, label, said = entity["start"], entity["end"], entity["label"], entity.get("text")
        else:
            (start, end, label), said = entity, None
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f'{where}: the entity {str(entity)[:80]} must have "start", "end" (characters) and "label".'
        ) from None
    if any(isinstance(x, bool) or not isinstance(x, (int, np.integer)) for x in (start, end)):
        raise UserError(f"{where}: start and end of an entity must be whole numbers, not {start!r} and {end!r}.")
    if not 0 <= start < end <= len(text):
        raise UserError(
            f"{where}: the entity {label!r} from {start} to {end} is empty or outside its text of {len(text)} characters."
        )
    if said is not None and said != text[start:end]:
        raise UserError(
            f"{where}: the entity {said!r} is said to stand at {start} to {end}, but there stands {text[start:end]!r}. "
            "Offsets count Unicode characters, not bytes, from 0; the end is exclusive."
        )
    if not text[start:end].strip():
        raise UserError(f"{where}: the entity {label!r} from {start} to {end} is only white space.")
    return Span(int(start), int(end), str(label))


def _without_overlaps(text: str, spans: list[Span], overlaps: str, where: str) -> tuple[Span, ...]:
    if overlaps not in {"error", "longest"}:
        raise UserError(f'overlaps must be "error" or "longest", not {overlaps!r}.')
    kept: list[Span] = []
    for span in sorted(spans, key=lambda s: (-(s.end - s.start), s.start)):
        other = next((k for k in kept if span.start < k.end and k.start < span.end), None)
        if other is None:
            kept.append(span)
        elif overlaps == "error":
            raise UserError(
                f"{where}: the entities {text[span.start : span.end]!r} ({span.label}) and {text[other.start : other.end]!r} "
                f'({other.label}) overlap; a token has one tag only. overlaps="longest" (--overlaps longest) keeps the longest.'
            )
    return tuple(sorted(kept))
