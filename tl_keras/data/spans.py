"""Labelled parts of a text, in characters, as a file or a caller gives them: checked and put in order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from tl_keras.errors import UserError


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
    if entities is None:
        raise UserError(f"{where}: its entities are None; of a text without any they are an empty list.")
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
    if not isinstance(label, (str, int, np.integer)):
        raise UserError(f"{where}: the label of an entity must be a name, not {label!r}.")
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
