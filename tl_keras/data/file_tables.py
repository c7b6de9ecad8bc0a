"""Tables in files, row by row, a class for each kind: CSV and TSV, JSON lines, Parquet, Excel, a folder for each class."""

from __future__ import annotations

import functools
import itertools
import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from tl_keras.data.records import csv_rows, guess_separator, is_json_lines, looks_quoted, parse_json, parse_object
from tl_keras.data.text_files import SAMPLE, find_file, need, open_text
from tl_keras.errors import UserError

JSON_LINES = (".jsonl", ".ndjson")
PARQUET = (".parquet", ".pq")
EXCEL = (".xlsx", ".xlsm")
TABLES = (".csv", ".tsv", ".tab", *JSON_LINES, ".json", *PARQUET, *EXCEL)
"""Suffixes of files that are tables for sure; `.txt` and others may be."""
ROWS_AT_ONCE = 4096

Row = tuple[int, list]
"""The number of a row's first line (or of the row), from 1, and its cells in the order of the columns; None where there is nothing."""


def holds_json(path: Path, encoding: str = "utf-8") -> bool:
    """Whether a file begins as JSON objects, or an array of them, do, whatever it is called."""
    with open_text(path, encoding) as stream:
        return re.match(r'\s*(?:\[\s*)?\{\s*"', stream.read(4096)) is not None


class Table:
    """A file as a table that can be read again and again; nothing of it is kept in memory but what one row needs.

    Args:
        path: of the file.
        separator: between the cells of text tables; None guesses by the header.
        quoting: of text tables: `"standard"`, `"none"`, or `"auto"`: none where tabs stand between cells and none of these is quoted for sure.
        encoding: of text.
    """

    unit = "line"
    """What its rows are counted in."""
    required: Sequence[str] = ()
    """Names that every object must have, if any has them."""

    def __init__(self, path: Path, separator: str | None = None, quoting: str = "auto", encoding: str = "utf-8"):
        self.path, self.separator, self.quoting, self.encoding = path, separator, quoting, encoding

    @cached_property
    def columns(self) -> list[str]:
        """The names of the columns.

        Raises:
            UserError: the file cannot be read, or a name stands twice.
        """
        return next(self._open())[1]

    def rows(self) -> Iterator[Row]:
        """The rows, in the order of the file; empty ones are left out.

        Raises:
            UserError: a row cannot be read.
        """
        yield from itertools.islice(self._open(), 1, None)

    def _open(self) -> Iterator[Row]:
        """The header and the rows, for tables that keep both in one form."""
        raise NotImplementedError

    def _checked(self, names: list[str]) -> list[str]:
        # As pandas calls columns without a name; exports of spreadsheets end in some.
        names = [column_name(name) or f"Unnamed: {place}" for place, name in enumerate(names)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise UserError(f"{self.path}: the header names a column twice: {', '.join(map(repr, twice))}.")
        return names


class TextTable(Table):
    """Cells between commas, tabs or the like, under a header line."""

    @cached_property
    def _quoted(self) -> bool:
        """Whether a file of tabs quotes its cells all the same, by its beginning."""
        with open_text(self.path, self.encoding) as stream:
            return looks_quoted(stream.read(SAMPLE), "\t")

    def _open(self) -> Iterator[Row]:
        """The header, then the rows."""
        with open_text(self.path, self.encoding) as stream:
            header = stream.readline()
            if not header.strip():
                empty = not header and not stream.read(1)
                raise UserError(
                    f"{self.path} is empty." if empty else f"{self.path}: the first line, the header, is empty."
                )
            separator = self.separator or guess_separator(header)
            plain = self.quoting == "none" or (self.quoting == "auto" and separator == "\t" and not self._quoted)
            rows = csv_rows(itertools.chain([header], stream), self.path, separator, plain)
            line, names = next(rows)
            yield line, self._checked(names)
            yield from rows


class ObjectTable(Table):
    """Objects with names, of which not every one need have all."""

    def _objects(self) -> Iterator[tuple[int, dict]]:
        raise NotImplementedError

    @cached_property
    def columns(self):
        """Every name that an object has: the file is read once for it."""
        names: dict[str, None] = {}
        for _, row in self._objects():
            names.update(dict.fromkeys(row))
        if not names:
            raise UserError(f"{self.path} holds no objects with names.")
        return self._checked(list(names))

    def rows(self):
        """A row for each object."""
        names = self.columns
        required = [name for name in self.required if name in names]
        for number, found in self._objects():
            row = {column_name(name): cell for name, cell in found.items()}
            for name in required:
                if name not in row:
                    raise UserError(
                        f"{self.path}, {self.unit} {number}: no {name!r}; it has: {', '.join(map(str, row)) or 'nothing'}."
                    )
            yield number, [row.get(name) for name in names]


class JsonLines(ObjectTable):
    """An object on each line."""

    def _objects(self):
        with open_text(self.path, self.encoding) as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    yield number, parse_object(line, f"{self.path}, line {number}")


class JsonArray(ObjectTable):
    """One JSON array of objects, which has to be in memory as a whole."""

    unit = "row"

    def _objects(self):
        with open_text(self.path, self.encoding) as stream:
            content = stream.read()
        if not content.strip():
            raise UserError(f"{self.path} is empty.")
        if content.lstrip()[0] == "{" and is_json_lines(content):
            yield from JsonLines(self.path, encoding=self.encoding)._objects()
            return
        rows = parse_json(content, str(self.path))
        if not isinstance(rows, list):
            raise UserError(
                f"{self.path}: expected a list of objects, or an object on each line, not one {type(rows).__name__}."
            )
        for number, row in enumerate(rows, 1):
            if not isinstance(row, dict):
                raise UserError(
                    f"{self.path}, row {number}: expected an object with names, not a {type(row).__name__}."
                )
            yield number, row


class ParquetTable(Table):
    """A Parquet file; numbers of classes become their names where Hugging Face's `datasets` wrote these into it."""

    unit = "row"

    def _open(self):
        parquet = need("pyarrow.parquet", f"{self.path} is a Parquet file")
        arrow = need("pyarrow", f"{self.path} is a Parquet file")
        try:
            return parquet.ParquetFile(find_file(self.path))
        except (arrow.ArrowException, OSError) as error:
            raise UserError(f"{self.path} is damaged or no Parquet file: {str(error).splitlines()[0]}") from error

    @cached_property
    def columns(self):
        """The names of the file's schema."""
        with self._open() as file:
            return self._checked(list(file.schema_arrow.names))

    def rows(self):
        """The rows, some thousand of them in memory."""
        arrow, number = need("pyarrow", f"{self.path} is a Parquet file"), 0
        with self._open() as file:
            names = [_class_names(file.schema_arrow.metadata, column) for column in self.columns]
            try:
                for batch in file.iter_batches(ROWS_AT_ONCE):
                    columns = [
                        cells if names is None else [named(cell, names) for cell in cells]
                        for cells, names in zip((c.to_pylist() for c in batch.columns), names, strict=True)
                    ]
                    for cells in zip(*columns, strict=True):
                        number += 1
                        yield number, list(cells)
            except (arrow.ArrowException, OSError) as error:
                raise UserError(f"{self.path} is damaged behind row {number}: {str(error).splitlines()[0]}") from error


class ExcelTable(Table):
    """The first sheet of an Excel workbook, its first row that is not empty being the header."""

    unit = "row"

    def _open(self) -> Iterator[Row]:
        openpyxl = need("openpyxl", f"{self.path} is an Excel file")
        find_file(self.path)
        try:
            book = openpyxl.load_workbook(self.path, read_only=True, data_only=True)
        except Exception as error:  # openpyxl lets through whatever its parsers raise
            raise UserError(
                f"{self.path} is damaged or no Excel workbook ({type(error).__name__}: {error})."
            ) from error
        try:
            sheet = book.worksheets[0]
            sheet.reset_dimensions()
            names = None
            for number, cells in enumerate(sheet.iter_rows(values_only=True), 1):
                if all(cell is None for cell in cells):
                    continue
                if names is None:
                    used = max(place for place, cell in enumerate(cells) if cell is not None) + 1
                    found = ["" if cell is None else str(cell).strip() for cell in cells[:used]]
                    names = self._checked(found)
                    yield number, names
                    continue
                if any(cell is not None for cell in cells[len(names) :]):
                    raise UserError(f"{self.path}, row {number}: a cell stands behind the last column of the header.")
                yield number, [*cells[: len(names)], *[None] * (len(names) - len(cells))]
            if names is None:
                raise UserError(f"{self.path} is empty: its first sheet, {sheet.title!r}, holds nothing.")
        finally:
            book.close()


@functools.lru_cache(maxsize=1024)
def column_name(name: str) -> str:
    r"""A name of a column as it is compared: Hangul and accents composed, without marks that nobody sees.

    Example:
        >>> column_name("\ufefftext") == "text", column_name("\u1112\u1161\u11ab") == "한"
        (True, True)
    """
    return _UNSEEN.sub("", unicodedata.normalize("NFC", str(name))).strip()


_UNSEEN = re.compile("[\u200b-\u200f\u2060\ufeff\u00ad]")
"""Marks without width: of byte order (also where two files were joined), joiners, soft hyphens."""


def named(value, names: Sequence[str]):
    """Numbers of classes as their names, also in lists; None for -1, which says "not known"."""
    if isinstance(value, (list, tuple)):
        return [named(one, names) for one in value]
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        return value
    return None if int(value) == -1 else names[int(value)]


def _class_names(metadata: dict | None, column: str) -> list[str] | None:
    """The names that `datasets` gave the classes of a column, in the file's own notes."""
    if not metadata or b"huggingface" not in metadata:
        return None
    feature = json.loads(metadata[b"huggingface"]).get("info", {}).get("features", {}).get(column)
    while isinstance(feature, (list, dict)):
        if isinstance(feature, list):
            feature = feature[0] if feature else None
        elif "names" in feature:
            return feature["names"]
        else:
            feature = feature.get("feature")
    return None
