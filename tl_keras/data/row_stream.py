"""Rows of a large file, one at a time: CSV, TSV or JSON lines, perhaps gzipped. The file is never in memory as a whole."""

from __future__ import annotations

import difflib
import gzip
import io
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from tl_keras.data.csv_rows import csv_rows
from tl_keras.data.table import codec_name
from tl_keras.errors import UserError

JSON_LINES = (".jsonl", ".ndjson")


class RowStream:
    r"""The rows of a file, each as the cells of the columns wanted; can be read again and again.

    Args:
        path: `.csv`, `.tsv`, `.txt` with a header line, or `.jsonl`, each perhaps with `.gz`.
        columns: names of the columns wanted.
        quoting: of tables: `"standard"`, `"none"`, or `"auto"`: none for tab-separated files; as in `read_table`.
        encoding: of the file; UTF-8 may have a byte order mark.

    Raises:
        UserError: no such file or column, or while reading: a line that cannot be read.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.csv"
        >>> _ = path.write_text("id,text\n1,good\n2,bad\n")
        >>> list(RowStream(path, ["text"])), RowStream(path, ["text"]).count()
        ([['good'], ['bad']], 2)
    """

    def __init__(
        self, path: str | os.PathLike, columns: Sequence[str], *, quoting: str = "auto", encoding: str = "utf-8"
    ):
        self.path = Path(path)
        self.columns = list(columns)
        self.quoting = quoting
        self.encoding = codec_name(encoding)
        if not self.path.is_file():
            raise UserError(f"no file {self.path}.")
        suffixes = [suffix for suffix in self.path.suffixes if suffix != ".gz"]
        self.is_json = bool(suffixes) and suffixes[-1] in JSON_LINES
        if suffixes and suffixes[-1] in {".json", ".xlsx", ".parquet"}:
            raise UserError(f"{self.path}: only CSV, TSV and JSON lines (.jsonl) can be read row by row.")
        # A wrong column is found here, not in the middle of a long job.
        for _ in itertools.islice(self, 1):
            pass

    def __iter__(self) -> Iterator[list[str]]:
        """The rows, in the order of the file; empty lines are left out."""
        try:
            with self._open() as stream:
                yield from self._json_rows(stream) if self.is_json else self._table_rows(stream)
        except UnicodeDecodeError as error:
            raise UserError(
                f"{self.path} is not {self.encoding.removesuffix('-sig')} (byte 0x{error.object[error.start]:02x}); name its encoding "
                "(--encoding)."
            ) from error
        except (gzip.BadGzipFile, EOFError) as error:
            raise UserError(f"{self.path} is damaged: {error}.") from error

    def count(self) -> int:
        """How many rows there are: the whole file is read for it, in constant memory."""
        return sum(1 for _ in self)

    def _open(self) -> io.TextIOWrapper:
        with open(self.path, "rb") as probe:
            zipped = probe.read(2) == b"\x1f\x8b"
        # newline="" keeps line breaks inside quoted cells as they are.
        return (gzip.open if zipped else open)(self.path, "rt", encoding=self.encoding, newline="")

    def _table_rows(self, stream) -> Iterator[list[str]]:
        header = stream.readline()
        if not header.strip():
            raise UserError(f"{self.path} is empty, or its first line, the header, is.")
        separator = "\t" if "\t" in header else ","
        plain = self.quoting == "none" or (self.quoting == "auto" and separator == "\t")
        rows = csv_rows(itertools.chain([header], stream), self.path, separator, plain)
        _, names = next(rows)
        places = [self._place(column, names) for column in self.columns]
        for _, cells in rows:
            yield [cells[place] for place in places]

    def _json_rows(self, stream) -> Iterator[list[str]]:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise UserError(f"{self.path}, line {number}: not JSON ({error}).") from error
            if not isinstance(row, dict):
                raise UserError(
                    f"{self.path}, line {number}: expected an object with names, not a {type(row).__name__}."
                )
            self._place_all(row, number)
            yield ["" if row[column] is None else str(row[column]) for column in self.columns]

    def _place_all(self, row: dict, number: int) -> None:
        for column in self.columns:
            if column not in row:
                raise UserError(f"{self.path}, line {number}: no {column!r}; it has: {', '.join(map(str, row))}.")

    def _place(self, column: str, names: list[str]) -> int:
        if column not in names:
            near = difflib.get_close_matches(column, names, 1)
            raise UserError(
                f"{self.path} has no column {column!r}; its columns are: {', '.join(names)}"
                + (f"; did you mean {near[0]!r}?" if near else ".")
            )
        return names.index(column)


def shard_of(rows: int, shard: tuple[int, int]) -> range:
    """The rows of one shard out of several: neighbours, so that the shards' outputs one behind the other are in the file's order.

    Args:
        rows: in all.
        shard: `(i, n)`: the `i`-th, from 0, of `n`.

    Example:
        >>> [list(shard_of(7, (i, 3))) for i in range(3)]
        [[0, 1], [2, 3], [4, 5, 6]]
    """
    number, count = shard
    return range(rows * number // count, rows * (number + 1) // count)


def parse_shard(value: str) -> tuple[int, int]:
    """`"0/4"` to `(0, 4)`: the first of four shards.

    Raises:
        UserError: no shard.

    Example:
        >>> parse_shard("3/4")
        (3, 4)
    """
    number, _, count = value.partition("/")
    if not (number.isdecimal() and count.isdecimal() and int(number) < int(count)):
        raise UserError(f'--shard is written "i/n", from 0/n to (n-1)/n, not {value!r}.')
    return int(number), int(count)
