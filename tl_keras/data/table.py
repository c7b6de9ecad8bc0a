"""Read a table of texts (CSV, TSV, DataFrame) into examples, with errors that name the line."""

from __future__ import annotations

import codecs
import dataclasses
import difflib
import gzip
import hashlib
import io
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from tl_keras.data.csv_rows import csv_rows
from tl_keras.data.examples import Examples
from tl_keras.errors import UserError

logger = logging.getLogger(__name__)

OnEmpty = Literal["drop", "keep", "error"]


def read_table(
    table: str | os.PathLike | pd.DataFrame,
    text: str = "text",
    label: str | None = "label",
    text_pair: str | None = None,
    *,
    classes: Sequence[str] | None = None,
    label_separator: str | None = None,
    separator: str | None = None,
    quoting: Literal["auto", "standard", "none"] = "auto",
    encoding: str = "utf-8",
    on_empty: OnEmpty = "drop",
) -> Examples:
    r"""Read texts and labels from a CSV or TSV file with a header line, or from a DataFrame.

    Everything is read as text: `007` stays `007`, and a review that says `NA` or `null` stays a review.

    Args:
        table: a path (`.csv`, `.tsv`, `.txt`, each perhaps with `.gz`), or a DataFrame.
        text: the column with the text.
        label: the column with the label, or None for texts without labels.
        text_pair: the column with the second text, for pair tasks.
        classes: all label names in the order wanted (for a validation file: those of the training data).
        label_separator: for multi-label data, what stands between the labels of one cell, e.g. `"|"`.
        separator: between columns; by default a tab if the header line has one, else a comma.
        quoting: `"standard"` reads `"..."` as quoted cells; `"none"` takes quotes as ordinary characters; `"auto"` is `"none"`
            for tab-separated files, where published data sets (KorSTS, XNLI) quote nothing, and `"standard"` otherwise.
        encoding: of the file; UTF-8 with or without byte order mark by default, `"cp949"` for older Korean files.
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
    """
    if isinstance(table, pd.DataFrame):
        frame, source, first_line = table.reset_index(drop=True), "the DataFrame", None
    else:
        source = str(table)
        frame = _read_file(Path(table), separator, quoting, encoding)
        first_line = frame.attrs["lines"]
    if not len(frame):
        raise UserError(f"{source} holds no rows.")
    wanted = {"text": text, "text_pair": text_pair, "label": label}
    for role, column in wanted.items():
        if column is not None and column not in frame.columns:
            names = [str(name) for name in frame.columns]
            near = difflib.get_close_matches(column, names, 1)
            option = "--" + role.replace("_", "-")
            raise UserError(
                f"{source} has no column {column!r}; its columns are: {', '.join(names)}. "
                f"Name the {role} column with {role}=... ({option})" + (f"; did you mean {near[0]!r}?" if near else ".")
            )

    def where(row: int) -> str:
        return f"row {row + 1}" if first_line is None else f"line {first_line[row]}"

    texts = _cells(frame[text])
    pairs = _cells(frame[text_pair]) if text_pair is not None else None
    _refuse_numbers(texts, text, source)
    keep = pd.Series(True, index=frame.index)
    if label is not None:
        unlabelled = _cells(frame[label]).str.strip() == ""
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
    rows = keep.to_numpy()
    if not rows.any():
        raise UserError(f"{source}: no row is left after dropping those without text or label.")
    labels = None
    if label is not None:
        cells = [_plain(value) for value in frame[label][rows]]
        if label_separator is None:
            labels = cells
        else:
            labels = [[part.strip() for part in str(cell).split(label_separator) if part.strip()] for cell in cells]
    examples = Examples.from_lists(
        texts[rows].tolist(),
        labels,
        None if pairs is None else pairs[rows].tolist(),
        classes,
        source,
    )
    return dataclasses.replace(examples, rows=np.flatnonzero(rows))


def file_sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file's bytes, in hexadecimal: what `config.json` keeps of the data."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _read_file(path: Path, separator: str | None, quoting: str, encoding: str) -> pd.DataFrame:
    if path.suffix in {".xlsx", ".xls", ".parquet", ".json", ".jsonl", ".feather"}:
        raise UserError(f"{path}: only CSV and TSV files are read; read it with pandas and pass the DataFrame.")
    content = decode_file(path, encoding)
    header = content.split("\n", 1)[0]
    if not header.strip():
        raise UserError(
            f"{path} is empty." if not content.strip() else f"{path}: the first line, the header, is empty."
        )
    separator = separator or ("\t" if "\t" in header else ",")
    if quoting == "auto":
        quoting = "none" if separator == "\t" else "standard"
    # newline="" keeps line breaks inside quoted cells as they are.
    (_, columns), *rows = csv_rows(io.StringIO(content, newline=""), path, separator, plain=quoting == "none")
    if len(set(columns)) != len(columns):
        raise UserError(f"{path}: the header names a column twice: {', '.join(columns)}.")
    frame = pd.DataFrame([cells for _, cells in rows], columns=columns, dtype=object)
    frame.attrs["lines"] = [line for line, _ in rows]
    return frame


def decode_file(path: Path, encoding: str = "utf-8") -> str:
    """The text of a file, perhaps gzipped, without byte order mark.

    Raises:
        UserError: no such file, or it is not in this encoding; the message names the line.
    """
    if not path.exists():
        folder = path.parent if path.parent.is_dir() else Path(".")
        near = difflib.get_close_matches(path.name, [p.name for p in folder.iterdir()], 3)
        raise UserError(
            f"no file {path}" + (f"; there is {', '.join(str(folder / n) for n in near)}." if near else ".")
        )
    if path.is_dir():
        raise UserError(f"{path} is a folder; give a file.")
    raw = path.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        raw = gzip.decompress(raw)
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff") and encoding == "utf-8":
        raise UserError(f'{path} looks like UTF-16; pass encoding="utf-16" (--encoding utf-16) or save it as UTF-8.')
    try:
        return raw.decode(codec_name(encoding))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}, line {line}: byte 0x{raw[error.start]:02x} is not {encoding}. {_encoding_advice(raw, encoding)}"
        ) from error


def codec_name(encoding: str) -> str:
    """The codec that reads files of an encoding: UTF-8 may have a byte order mark.

    Raises:
        UserError: nobody knows it.

    Example:
        >>> codec_name("UTF8"), codec_name("cp949")
        ('utf-8-sig', 'cp949')
    """
    try:
        known = codecs.lookup(encoding).name
    except LookupError as error:
        raise UserError(f"no encoding is called {encoding!r}; common ones are utf-8, cp949 and latin-1.") from error
    return "utf-8-sig" if known == "utf-8" else encoding


def _encoding_advice(raw: bytes, encoding: str) -> str:
    if encoding.lower() != "cp949":
        try:
            korean = sum("가" <= c <= "힣" for c in raw.decode("cp949"))
            if korean > 10:
                return 'It reads as Korean cp949: pass encoding="cp949" (--encoding cp949), or save the file as UTF-8.'
        except UnicodeDecodeError:
            pass
    return "Save the file as UTF-8, or name its encoding (--encoding)."


def _cells(column: pd.Series) -> pd.Series:
    """A column as strings, missing values as empty strings."""
    return column.map(lambda value: "" if _missing(value) else str(_plain(value))).astype(object)


def _missing(value) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value)


def _plain(value):
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _refuse_numbers(texts: pd.Series, column: str, source: str) -> None:
    filled = texts[texts.str.strip() != ""]
    if len(filled) > 1 and pd.to_numeric(filled, errors="coerce").notna().all():
        raise UserError(
            f"{source}: every text in column {column!r} is a number (the first is {filled.iloc[0]!r}); "
            "that looks like an id or a score. Name the column that holds the text (--text)."
        )
