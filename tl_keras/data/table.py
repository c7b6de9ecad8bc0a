"""Read a table of texts, whatever it comes as, into examples, with errors that name the line."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import logging
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from tl_keras.data.examples import Examples
from tl_keras.data.file_tables import column_name
from tl_keras.data.formats import expand
from tl_keras.data.frames import as_frame, no_column
from tl_keras.data.given import is_missing
from tl_keras.data.preview import warn_of_like_names
from tl_keras.data.records import cell_text
from tl_keras.errors import UserError
from tl_keras.files import file_sha256

logger = logging.getLogger(__name__)

OnEmpty = Literal["drop", "keep", "error"]
_TRUTH = {"0": 0, "1": 1, "false": 0, "true": 1}


def read_table(
    table,
    text: str = "text",
    label: str | Sequence[str] | None = "label",
    text_pair: str | None = None,
    *,
    classes: Sequence[str] | None = None,
    label_separator: str | None = None,
    separator: str | None = None,
    quoting: Literal["auto", "standard", "none"] = "auto",
    encoding: str = "utf-8",
    on_empty: OnEmpty = "drop",
) -> Examples:
    r"""Read texts and labels from files or from what is in memory.

    Of text files everything is read as text: `007` stays `007`, and a review that says `NA` or `null` stays a review.

    Args:
        table: a path, a pattern (`"part-*.parquet"`) or a list of them: `.csv`, `.tsv`, `.txt` with a header line, `.jsonl`, `.json`
            (each perhaps with `.gz` or `.zst`), `.parquet`, `.xlsx`, or a folder with a subfolder of `.txt` files for each class. Or a
            DataFrame, a list of dicts, a dict of lists, a Hugging Face `datasets.Dataset`, a `tf.data.Dataset` of strings and labels.
        text: the column with the text.
        label: the column with the label, or several columns of 0 and 1 (as a list, or with commas between), each a class of multi-label
            data; or None for texts without labels. A cell may hold a list of labels.
        text_pair: the column with the second text, for pair tasks.
        classes: all label names in the order wanted (for a validation file: those of the training data).
        label_separator: for multi-label data, what stands between the labels of one cell, e.g. `"|"`.
        separator: between columns of text files; by default what the header line has: a tab, or else commas, `;` or `|`.
        quoting: `"standard"` reads `"..."` as quoted cells; `"none"` takes quotes as ordinary characters; `"auto"` is `"none"`
            for tab-separated files, where published data sets (KorSTS, XNLI) quote nothing, unless a cell stands in quotes and has doubled
            ones inside, as pandas writes it; and `"standard"` otherwise.
        encoding: of text files; UTF-8 with or without byte order mark by default, `"cp949"` for older Korean files.
        on_empty: what to do with rows whose text is empty (or missing): drop them with a warning, keep them, or raise.

    Returns:
        The examples, in file order. Rows without a label are dropped with a warning when a label column is read.

    Raises:
        UserError: no such file or column, nothing in it, a line that cannot be read, or a column of numbers where text belongs.

    Example:
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"document": ["재미있다", "지루하다"], "label": [1, 0]})
        >>> read_table(frame, text="document").classes
        ('0', '1')
        >>> comments = [{"text": "you fool", "toxic": 1, "insult": 1}, {"text": "thank you", "toxic": 0, "insult": 0}]
        >>> read_table(comments, label=["toxic", "insult"]).labels.tolist()
        [[1.0, 1.0], [0.0, 0.0]]
    """
    text, text_pair = column_name(text), None if text_pair is None else column_name(text_pair)
    called = column_name(label) if isinstance(label, str) else "label"
    frame, source, places = as_frame(
        table, text, called, text_pair, separator=separator, quoting=quoting, encoding=encoding
    )
    if not len(frame):
        raise UserError(f"{source} holds no rows.")
    labels = _label_columns(label, frame)
    if set(labels) & {text, text_pair}:
        raise UserError(
            f"{source}: the column {labels[0]!r} is to be both the text and its label; name two columns (--text, --label)."
        )
    for role, columns in (("text", [text]), ("text_pair", [text_pair]), ("label", labels)):
        for column in columns:
            if column is not None and column not in frame.columns:
                raise UserError(no_column(source, role, column, list(frame.columns)))

    def where(row: int) -> str:
        return f"row {row + 1}" if places is None else places[row]

    texts = _cells(frame[text], where, source)
    pairs = _cells(frame[text_pair], where, source) if text_pair is not None else None
    _refuse_numbers(texts, text, source)
    keep = pd.Series(True, index=frame.index)
    if labels:
        unlabelled = frame[labels].map(_blank).all(axis=1)
        if label_separator is not None:
            unlabelled[:] = False  # an empty cell says: none of the labels
        if unlabelled.any():
            row = int(unlabelled.to_numpy().argmax())
            logger.warning("%s: %d row(s) without a label dropped (first: %s).", source, unlabelled.sum(), where(row))
            keep &= ~unlabelled
    empty = texts.str.strip() == ""
    if pairs is not None:
        empty |= pairs.str.strip() == ""
    if empty.any() and on_empty != "keep":
        row = int(empty.to_numpy().argmax())
        if on_empty == "error":
            raise UserError(f"{source}: {empty.sum()} row(s) with an empty text, the first at {where(row)}.")
        logger.warning("%s: %d row(s) with an empty text dropped (first: %s).", source, empty.sum(), where(row))
        keep &= ~empty
    rows = np.flatnonzero(keep.to_numpy())
    if not len(rows):
        raise UserError(f"{source}: no row is left after dropping those without text or label.")
    found, wanted = None, classes
    if len(labels) > 1:
        if label_separator is not None:
            raise UserError(
                "several label columns hold 0 or 1 each; a label separator (--label-separator) is for one column of several labels."
            )
        found = _true_columns(frame, labels, rows, where, source)
        wanted = labels if classes is None else classes
    elif labels:
        cells = [_plain(value) for value in frame[labels[0]].iloc[rows]]
        for row, cell in zip(rows, cells, strict=True):
            if isinstance(cell, (dict, bytes)):
                raise UserError(
                    f"{source}, {where(row)}: the label is a {type(cell).__name__} ({str(cell)[:40]}), not a name or a list of names."
                )
        found = [_labels_of(cell, label_separator) for cell in _written_lists(cells)]
    examples = Examples.from_lists(
        texts.iloc[rows].tolist(), found, None if pairs is None else pairs.iloc[rows].tolist(), wanted, source
    )
    if labels and classes is None:
        warn_of_like_names(examples.counts(), source)
    return dataclasses.replace(examples, rows=rows)


def hash_files(files) -> dict[str, str]:
    """SHA-256 of each file that a path, a pattern or a list stands for; of a folder that of its files, names and contents, together."""
    hashes = {}
    for path in expand(files):
        if not path.is_dir():
            hashes[str(path)] = file_sha256(path)
            continue
        inside = sorted(file for file in path.rglob("*") if file.is_file())
        lines = [f"{file_sha256(file)}  {file.relative_to(path)}" for file in inside]
        hashes[str(path)] = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return hashes


def _label_columns(label: str | Sequence[str] | None, frame: pd.DataFrame) -> list[str]:
    """The columns of the labels; a name with commas is several, unless there is a column of that name."""
    if label is None:
        return []
    if isinstance(label, (int, np.integer)):  # as `pd.read_csv(header=None)` calls columns
        return [str(label)]
    if not isinstance(label, str):
        return [column_name(str(name)) for name in label]
    label = column_name(label)
    if label not in frame.columns and "," in label:
        return [name.strip() for name in label.split(",") if name.strip()]
    return [label]


def _written_lists(cells: list) -> list:
    """Cells that are lists written as text, as tables of several labels are saved by pandas and by `predict`: those lists."""
    if not all(isinstance(cell, str) and cell.startswith("[") and cell.endswith("]") for cell in cells):
        return cells
    try:
        # JSON's quotes are Python's, too.
        found = [ast.literal_eval(cell) for cell in cells]
    except (ValueError, SyntaxError):
        return cells
    return found if all(isinstance(row, list) for row in found) else cells


def _labels_of(cell, separator: str | None):
    """The label in a cell; all of them where it is a list, as `datasets` and Parquet have it, or text with a separator."""
    if isinstance(cell, (list, tuple, np.ndarray)):
        return list(cell)
    if separator is not None and is_missing(cell):
        return []
    return cell if separator is None else [part.strip() for part in str(cell).split(separator) if part.strip()]


def _true_columns(frame, labels, rows, where, source) -> list[list[str]]:
    """For each row the columns that say 1."""
    values = np.zeros((len(rows), len(labels)), bool)
    for place, name in enumerate(labels):
        for number, (row, cell) in enumerate(zip(rows, frame[name].iloc[rows], strict=True)):
            said = _TRUTH.get(str(_plain(cell)).strip().lower())
            if said is None:
                raise UserError(
                    f"{source}, {where(row)}: the label column {name!r} says {str(_plain(cell))[:40]!r}; several label columns hold 0 or 1 "
                    "(or true and false)."
                )
            values[number, place] = said
    return [[labels[place] for place in np.flatnonzero(row)] for row in values]


def _cells(column: pd.Series, where, source: str) -> pd.Series:
    """A column as strings, missing values as empty strings.

    Raises:
        UserError: a string holds half of a surrogate pair, which is no text.
    """
    cells = pd.Series(
        [cell_text(value, lambda row=row: f"{source}, {where(row)}") for row, value in enumerate(column)], dtype=object
    )
    for row, cell in enumerate(cells):
        try:
            cell.encode("utf-8")
        except UnicodeEncodeError as error:
            half = ascii(cell[error.start])
            raise UserError(
                f"{source}, {where(row)}: half a character (surrogate {half}) stands alone; repair the text."
            ) from None
    return cells


def _blank(value) -> bool:
    return is_missing(value) or (isinstance(value, str) and not value.strip())


def _plain(value):
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _refuse_numbers(texts: pd.Series, column: str, source: str) -> None:
    filled = texts[texts.str.strip() != ""]
    if len(filled) > 1 and pd.to_numeric(filled, errors="coerce").notna().all():
        raise UserError(
            f"{source}: every text in column {column!r} is a number (the first is {filled.iloc[0]!r}); "
            "that looks like an id or a score. Name the column that holds the text (--text)."
        )
