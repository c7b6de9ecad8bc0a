"""One file or several, of any kind, as one table, or row by row, where they are never in memory as a whole."""

from __future__ import annotations

import difflib
import glob
import os
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from tl_keras.data.file_tables import (
    EXCEL,
    JSON_LINES,
    PARQUET,
    TABLES,
    ExcelTable,
    JsonArray,
    JsonLines,
    ObjectTable,
    ParquetTable,
    Table,
    TextTable,
    column_name,
    holds_json,
)
from tl_keras.data.records import cell_text, refuse_half_characters
from tl_keras.data.text_files import kind_of, open_text
from tl_keras.errors import UserError
from tl_keras.paths import matching, on_disk


class ClassFolders(Table):
    """A folder with a subfolder for each class, and in it a `.txt` file for each text, as Keras's `text_dataset_from_directory` has it.

    Its columns are `text`, `label` (the subfolder's name) and `file`.
    """

    unit = "file"
    columns = ["text", "label", "file"]  # noqa: RUF012

    @cached_property
    def files(self) -> list[tuple[str, Path]]:
        """Class and path of each text; refuses a model, whose vocabulary is a .txt file too."""
        if any(any(self.path.glob(name)) for name in ("manifest.json", "saved_model.pb", "*/saved_model.pb")):
            raise UserError(f"{self.path} holds a model, not texts; give the file or folder that has the texts.")
        found = [
            (folder.name, file)
            for folder in sorted(self.path.iterdir())
            if folder.is_dir() and not folder.name.startswith(".")
            for file in sorted(folder.rglob("*"))
            if kind_of(file) == ".txt" and file.is_file()
        ]
        if not found:
            tables = sorted({p.suffix for p in self.path.iterdir() if kind_of(p) in TABLES})
            raise UserError(
                f"{self.path} is a folder, but has no subfolders, one for each class, with .txt files in them"
                + (f'; for its files give the pattern "{self.path / ("*" + tables[0])}".' if tables else ".")
            )
        return found

    def rows(self):
        """A row for each file."""
        for number, (name, file) in enumerate(self.files, 1):
            with open_text(file, self.encoding) as stream:
                yield number, [stream.read(), name, str(file.relative_to(self.path))]


class Tables:
    r"""One file or several as one table.

    Args:
        files: paths, patterns (`"part-*.csv"`), or a list of both; a folder stands for its classes.
        separator: between cells of text tables; by default what stands in the header: tab, comma, `;` or `|`.
        quoting: of text tables; see `read_table`.
        encoding: of text.
        required: columns that each object of JSON lines must have.

    Raises:
        UserError: there is no such file, or the files have other columns than the first.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.csv"
        >>> _ = path.write_text("id;text\n1;good\n2;bad\n")
        >>> tables = Tables(path)
        >>> tables.columns, list(tables.rows())
        (['id', 'text'], [((0, 2), ['1', 'good']), ((0, 3), ['2', 'bad'])])
        >>> tables.where((0, 3))
        'line 3'
    """

    def __init__(
        self,
        files,
        separator: str | None = None,
        quoting: str = "auto",
        encoding: str = "utf-8",
        required: Sequence[str] = (),
    ):
        separator = {"\\t": "\t", "tab": "\t"}.get(separator, separator)
        if separator is not None and (len(separator) != 1 or separator in '"\r\n'):
            raise UserError(f"a separator is one character, such as ; or a tab (\\t), not {separator!r} (--separator).")
        if quoting not in ("auto", "standard", "none"):
            raise UserError(f"quoting={quoting!r} is not known; choose one of: auto, standard, none (--quoting).")
        self.paths = expand(files)
        self.source = str(files) if isinstance(files, (str, os.PathLike)) else ", ".join(map(str, self.paths[:3]))
        if len(self.paths) > 3 and not isinstance(files, (str, os.PathLike)):
            self.source += f" and {len(self.paths) - 3} more"
        self.tables = [_table(path, encoding)(path, separator, quoting, encoding) for path in self.paths]
        for table in self.tables:
            table.required = required

    @cached_property
    def columns(self) -> list[str]:
        """The names of the columns, in the order of the first file."""
        first = self.tables[0].columns
        for table in self.tables[1:]:
            if set(table.columns) != set(first) and not isinstance(table, ObjectTable):
                other = sorted(set(table.columns) ^ set(first))
                raise UserError(
                    f"{table.path} has other columns than {self.tables[0].path}: {', '.join(other)} stand in one only."
                )
        # Objects need not have every name.
        return list(dict.fromkeys(name for table in self.tables for name in table.columns))

    def rows(self) -> Iterator[tuple[tuple[int, int], list]]:
        """Places, for `where`, and cells in the order of `columns`."""
        names = self.columns
        for part, table in enumerate(self.tables):
            order = {name: place for place, name in enumerate(table.columns)}
            places = [order.get(name) for name in names]
            same = places == list(range(len(table.columns)))
            for number, cells in table.rows():
                yield (part, number), cells if same else [None if p is None else cells[p] for p in places]

    def where(self, place: tuple[int, int]) -> str:
        """A row's place, for messages that name the source."""
        part, number = place
        table = self.tables[part]
        if table.unit == "file":
            return str(table.files[number - 1][1])
        return f"{table.unit} {number}" if len(self.tables) == 1 else f"{table.path.name}, {table.unit} {number}"


def is_table(path: str | os.PathLike) -> bool:
    """Whether a name says that there is a table: the suffix of one, or a folder of classes.

    Example:
        >>> is_table("new.csv.gz"), is_table("part-*.parquet"), is_table("notes.txt")
        (True, True, False)
    """
    return kind_of(path) in TABLES or Path(path).is_dir()


def expand(files: str | os.PathLike | Sequence) -> list[Path]:
    """Paths of files: patterns give the files that match, in the order of their names; commas stand between several.

    Raises:
        UserError: nothing matches, or the list is empty.
    """
    if isinstance(files, (str, os.PathLike)):
        parts, whole = [part.strip() for part in str(files).split(",")], on_disk(files).exists()
        if len(parts) > 1 and not whole and all(on_disk(part).exists() or glob.has_magic(part) for part in parts):
            return expand(parts)
        if found := matching(files):
            return found
        raise UserError(f"no file matches {files}.")
    if len(files):
        return [path for file in files for path in expand(file)]
    raise UserError("give at least one file.")


_READERS = {JSON_LINES: JsonLines, (".json",): JsonArray, PARQUET: ParquetTable, EXCEL: ExcelTable}


def _table(path: Path, encoding: str) -> Callable[..., Table]:
    """The class that reads a path."""
    if path.is_dir():
        return ClassFolders
    kind = kind_of(path)
    for kinds, reader in _READERS.items():
        if kind in kinds:
            return reader
    if kind in (".xls", ".ods"):
        raise UserError(f"{path}: of spreadsheets only .xlsx is read; save it as that, or as CSV.")
    if kind in (".feather", ".arrow", ".pkl", ".pickle", ".zip", ".bz2", ".xz", ".h5", ".hdf5", ".avro", ".orc"):
        raise UserError(
            f"{path}: {kind} is not read. Known are CSV, TSV, JSON lines, Parquet, Excel, gzip and zstd; or read it with pandas and pass "
            "the DataFrame."
        )
    # JSON that is called otherwise; read as a table, it would be nonsense.
    return JsonArray if path.is_file() and holds_json(path, encoding) else TextTable


class RowStream:
    r"""The rows of files of any kind that `read_table` reads; can be read again and again.

    Args:
        files: path, pattern, or a list of them. (A `.json` file, one array, and the names in JSON lines are the exceptions to constant
            memory: the first is read as a whole.)
        required: columns that there must be.
        texts: those of them in which each cell must be a text, or nothing.
        separator: of text files; see `read_table`.
        quoting: of text files; see `read_table`.
        encoding: of text files.

    Attributes:
        columns: the names of all columns, in the order of the file.

    Raises:
        UserError: no such file or column, or while reading: a line that cannot be read.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.csv"
        >>> _ = path.write_text("id,text\n1,good\n2,bad\n")
        >>> stream = RowStream(path, ["text"])
        >>> stream.columns, list(stream), stream.count()
        (['id', 'text'], [['1', 'good'], ['2', 'bad']], 2)
    """

    def __init__(
        self,
        files,
        required: Sequence[str] = (),
        *,
        texts: Sequence[str] = (),
        separator: str | None = None,
        quoting: str = "auto",
        encoding: str = "utf-8",
    ):
        self.tables = Tables(files, separator, quoting, encoding, required)
        self.paths, self.source = self.tables.paths, self.tables.source
        # A wrong column is found here, not in the middle of a long job.
        self.columns = self.tables.columns
        for name in required:
            self.place(name)
        self.text_places = [self.place(name) for name in texts]

    def __iter__(self) -> Iterator[list]:
        """The cells of each row, in the order of `columns`; empty lines are left out. A cell that is not there is None.

        Raises:
            UserError: a line cannot be read, or a cell holds half a character; names the place in the file.
        """
        for place, cells in self.tables.rows():
            # Here, because whoever gets the rows in parts does not know where in the file they stand.
            letters = [cell for cell in cells if isinstance(cell, str) and not cell.isascii()]
            refuse_half_characters(letters, lambda _, at=place: f"{self.source}, {self.tables.where(at)}")
            for text in self.text_places:
                if not isinstance(cells[text], str):
                    cells[text] = (
                        cell_text(cells[text], lambda at=place: f"{self.source}, {self.tables.where(at)}") or None
                    )
            yield cells

    def count(self) -> int:
        """How many rows there are; the files are read for it."""
        return sum(1 for _ in self)

    def place(self, column: str) -> int:
        """Which cell of a row belongs to a column; without one, a `UserError`."""
        column = column_name(column)
        if column not in self.columns:
            near = difflib.get_close_matches(column, self.columns, 1)
            raise UserError(
                f"{self.source} has no column {column!r}; its columns are: {', '.join(self.columns)}"
                + (f"; did you mean {near[0]!r}?" if near else ".")
            )
        return self.columns.index(column)


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
    """`"0/4"` to `(0, 4)`: the first of four shards. No shard is a `UserError`.

    Example:
        >>> parse_shard("3/4")
        (3, 4)
    """
    number, _, count = value.partition("/")
    if number.isdecimal() and count.isdecimal() and int(number) < int(count):
        return int(number), int(count)
    raise UserError(f'--shard is written "i/n", from 0/n to (n-1)/n, not {value!r}.')
