"""Rows of large files, one at a time: the files are never in memory as a whole."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from tl_keras.data.examples import refuse_half_characters
from tl_keras.data.formats import Tables
from tl_keras.errors import UserError


class RowStream:
    r"""The rows of files of any kind that `read_table` reads; can be read again and again.

    Args:
        files: path, pattern, or a list of them. (A `.json` file, one array, and the names in JSON lines are the exceptions to constant
            memory: the first is read as a whole.)
        required: columns that there must be.
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

    def __iter__(self) -> Iterator[list]:
        """The cells of each row, in the order of `columns`; empty lines are left out. A cell that is not there is None.

        Raises:
            UserError: a line cannot be read, or a cell holds half a character; names the place in the file.
        """
        for place, cells in self.tables.rows():
            # Here, because whoever gets the rows in parts does not know where in the file they stand.
            letters = [cell for cell in cells if isinstance(cell, str) and not cell.isascii()]
            refuse_half_characters(letters, lambda _, at=place: f"{self.source}, {self.tables.where(at)}")
            yield cells

    def count(self) -> int:
        """How many rows there are: the files are read for it once, in constant memory."""
        return sum(1 for _ in self)

    def place(self, column: str) -> int:
        """Which cell of a row belongs to a column.

        Raises:
            UserError: there is no such column.
        """
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
