"""Objects with a text and its spans, or with tokens and their tags: JSON lines, Parquet, `datasets`, DataFrames."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pandas as pd

from tl_keras.data.frames import as_frame
from tl_keras.data.tagging import TaggedExamples
from tl_keras.errors import UserError

logger = logging.getLogger(__name__)

# The names that common annotation tools and data sets use, the likeliest first.
_TEXTS = ("text", "sentence", "content", "document", "data", "raw")
_SPANS = ("entities", "spans", "label", "labels", "annotations", "ner", "NE")
_TOKENS = ("tokens", "words", "token", "word")
_TAGS = ("ner_tags", "tags", "labels", "ner", "tag", "pos_tags")
_STARTS = ("start", "begin", "start_offset", "start_char", "startOffset")
_ENDS = ("end", "end_offset", "end_char", "endOffset")
_LABELS = ("label", "type", "tag", "entity_group", "entity", "name", "category")
_SURFACES = ("text", "form", "surface", "word")


def read_objects(data, labels, scheme, overlaps, encoding) -> TaggedExamples:
    """Read texts with spans, or lists of tokens with their tags; see `read_tagged` for the arguments.

    Which key holds what is found by its content, and by its name where several would do; what was found is logged.

    Raises:
        UserError: no key holds a text, or something is wrong with a span or a tag.
    """
    frame, source, places = as_frame(data, text=None, encoding=encoding)
    if not len(frame):
        raise UserError(f"{source} holds no rows.")
    columns = {name: [_listed(cell) for cell in frame[name]] for name in frame.columns}
    where = [f"row {row + 1}" if places is None else places[row] for row in range(len(frame))]
    tokens = _choose([name for name, cells in columns.items() if _are_lists_of_strings(cells)], _TOKENS)
    tags = None if tokens is None else _tag_column(columns, tokens)
    if tags is not None:
        return _from_tokens(columns, tokens, tags, where, labels, scheme, source)
    text = _choose([name for name, cells in columns.items() if all(isinstance(c, str) for c in cells)], _TEXTS)
    if text is None:
        row = next(
            (
                i
                for name in _TEXTS
                if name in columns
                for i, cell in enumerate(columns[name])
                if not isinstance(cell, str)
            ),
            0,
        )
        raise UserError(
            f'{source}, {where[row]}: expected an object with "text" (a string) and "entities" (a list), or with "tokens" and "tags"; '
            f"it has: {', '.join(columns)}."
        )
    found = _span_column(columns, source, where)
    if (text, found) not in (("text", "entities"), ("text", None)):
        logger.info("%s: texts are read from %r, spans from %r.", source, text, found)
    entities = None
    if found is not None:
        for row, cell in enumerate(columns[found]):
            if cell is None:
                raise UserError(f'{source}, {where[row]}: no "{found}"; a text without any has an empty list.')
            if not isinstance(cell, list):
                raise UserError(f'{source}, {where[row]}: "{found}" must be a list, not {type(cell).__name__}.')
        entities = [[_canonical(entity) for entity in cell] for cell in columns[found]]
    return TaggedExamples.from_spans(
        columns[text], entities, labels=labels, overlaps=overlaps, source=source, places=where
    )


def _from_tokens(columns, tokens: str, tags: str, where, labels, scheme, source) -> TaggedExamples:
    logger.info("%s: words are read from %r, tags from %r.", source, tokens, tags)
    words, said = columns[tokens], columns[tags]
    for row, (some, theirs) in enumerate(zip(words, said, strict=True)):
        if len(some) != len(theirs):
            raise UserError(f"{source}, {where[row]}: {len(some)} words but {len(theirs)} tags; each word needs one.")
        number = next((tag for tag in theirs if not isinstance(tag, str)), None)
        if number is not None:
            raise UserError(
                f"{source}, {where[row]}: the tag {number!r} is no name, such as B-PER. Numbers mean something only with the data set's list "
                "of names: pass the datasets.Dataset or its Parquet file, which have it, or put the names in."
            )
    units = [[f"{place}, word {i + 1}" for i in range(len(some))] for place, some in zip(where, words, strict=True)]
    return TaggedExamples._from_units(words, said, units, labels, scheme, " ", source, keep_words=True)


def _tag_column(columns: dict, tokens: str) -> str | None:
    """The column with a tag for each token."""
    fit = [
        name
        for name, cells in columns.items()
        if name != tokens
        and all(isinstance(cell, list) and all(isinstance(x, (str, int)) for x in cell) for cell in cells)
        and sum(len(cell) == len(words) for cell, words in zip(cells, columns[tokens], strict=True)) > 0.5 * len(cells)
    ]
    return _choose(fit, _TAGS)


def _span_column(columns: dict, source: str, where: Sequence[str]) -> str | None:
    """The column with the spans; None if there is none."""
    if "entities" in columns:
        return "entities"
    lists = [name for name, cells in columns.items() if any(isinstance(cell, list) for cell in cells)]
    fit = [
        name
        for name in lists
        if any(_canonical(x) is not x for cell in columns[name] if isinstance(cell, list) for x in cell)
    ]
    if fit:
        chosen = _choose(fit, _SPANS)
        if chosen is None:
            raise UserError(
                f'{source}: {" and ".join(map(repr, fit))} could both be the spans; name the right one "entities".'
            )
        return chosen
    for name in lists:
        row = next((i for i, cell in enumerate(columns[name]) if cell), None)
        if row is not None and name in _SPANS:
            raise UserError(
                f"{source}, {where[row]}: {name!r} holds {str(columns[name][row][0])[:60]}, which is no span; one is "
                '{"start": 0, "end": 3, "label": "PER"} or [0, 3, "PER"], in characters.'
            )
    # Every text without spans.
    return _choose([name for name in lists if name in _SPANS], _SPANS)


def _canonical(entity):
    """A span as `from_spans` wants it; what is none, as it is."""
    if isinstance(entity, dict):
        start, end, label = (next((entity[k] for k in keys if k in entity), None) for keys in (_STARTS, _ENDS, _LABELS))
        if isinstance(label, list) and len(label) == 1:
            label = label[0]
        if start is None or end is None or not isinstance(label, str):
            return entity
        surface = next((entity[k] for k in _SURFACES if isinstance(entity.get(k), str)), None)
        return {"start": start, "end": end, "label": label, **({} if surface is None else {"text": surface})}
    if isinstance(entity, list) and len(entity) == 3:
        kinds = [type(x) for x in entity]
        if kinds == [int, int, str]:
            return tuple(entity)
        if kinds == [str, int, int]:
            return (entity[1], entity[2], entity[0])
    return entity


def _choose(names: list[str], likely: Sequence[str]) -> str | None:
    """The likeliest of several names; of unlikely ones only one that stands alone."""
    for name in likely:
        if name in names:
            return name
    return names[0] if len(names) == 1 else None


def _are_lists_of_strings(cells: list) -> bool:
    return all(isinstance(cell, list) and all(isinstance(x, str) for x in cell) for cell in cells) and any(cells)


def _listed(cell):
    """Arrays and tuples as lists; what is missing, as None."""
    if isinstance(cell, (list, tuple)) or hasattr(cell, "tolist"):
        cell = cell.tolist() if hasattr(cell, "tolist") else list(cell)
        return [_listed(x) for x in cell] if isinstance(cell, list) else cell
    return None if cell is None or cell is pd.NA or (isinstance(cell, float) and cell != cell) else cell
