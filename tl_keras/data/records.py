"""Rows of comma- or tab-separated text and JSON that users give: what is wrong with it is one line that names the place."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from tl_keras.errors import UserError

# A long article may be one cell; the csv module's own limit is 131,072 characters. This is the most it takes.
LONGEST_CELL = 2**31 - 1


def csv_rows(
    lines: Iterable[str], source: str | os.PathLike, separator: str, plain: bool
) -> Iterator[tuple[int, list[str]]]:
    r"""Cut lines into cells.

    Args:
        lines: with their line breaks; a cell in quotes may run over several.
        source: for messages.
        separator: between cells.
        plain: whether quotes are ordinary characters.

    Yields:
        The number of a row's first line, from 1, and its cells. The header comes first, white space around its names taken off; empty
        lines are left out.

    Raises:
        UserError: a row has more or fewer cells than the header, or a quote is not closed.

    Example:
        >>> list(csv_rows(["text, id\n", "\n", '"one\n', 'two",1\n'], "a.csv", ",", plain=False))
        [(1, ['text', 'id']), (3, ['one\ntwo', '1'])]
    """
    csv.field_size_limit(LONGEST_CELL)
    quoting = csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL
    reader = csv.reader(lines, delimiter=separator, quoting=quoting, strict=not plain)
    names, line = None, 1
    try:
        for cells in reader:
            if names is None:
                cells = names = [name.strip() for name in cells]
            if cells and len(cells) != len(names):
                raise UserError(
                    f"{source}, line {line}: {len(cells)} cells, but the header has {len(names)} ({', '.join(names)}). "
                    + _advice(separator, plain, len(cells) > len(names))
                )
            if cells:
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{source}, line {line}: {error}. A cell that begins with a quote must end with one, and quotes inside it are doubled; "
            'if quotes are ordinary characters in this file, pass quoting="none" (--quoting none).'
        ) from error


# What pandas and spreadsheets make of a cell with a quote in it: in quotes, and every quote inside it doubled.
_QUOTED = re.compile(r'"(?:[^"]|"")*""(?:[^"]|"")*"')


def looks_quoted(text: str, separator: str) -> bool:
    r"""Whether cells of lines stand in quotes for sure: one of them has doubled quotes inside, and no others.

    Example:
        >>> looks_quoted('"a ""meal"", they said"\t1\n', "\t"), looks_quoted('"A meal," they said.\t1\n', "\t")
        (True, False)
    """
    cells = (cell for line in text.splitlines() if '""' in line for cell in line.split(separator))
    return any(_QUOTED.fullmatch(cell) for cell in cells)


def guess_separator(header: str) -> str:
    """What stands between the names of a header line: a tab if there is one, else the most frequent of comma, `;` and `|`.

    Example:
        >>> guess_separator("id;text;why, if known"), guess_separator('"a;b",c'), guess_separator("text")
        (';', ',', ',')
    """
    if "\t" in header:
        return "\t"
    # What stands in quotes belongs to a name.
    bare = re.sub(r'"[^"]*"', "", header)
    return max((",", ";", "|"), key=bare.count)


def _advice(separator: str, plain: bool, too_many: bool) -> str:
    if not too_many:
        return "A cell is missing, or the text holds a line break and is not quoted."
    if separator == "\t":
        return "The text holds a tab" + (' ; if cells are quoted, pass quoting="standard".' if plain else ".")
    name = {",": "a comma"}.get(separator, repr(separator))
    return (
        f'A text that holds {name} must stand in quotes: "like this{separator} for example". If cells stand between something else, name '
        "it with separator=... (--separator)."
    )


def parse_object(text: str, where: str) -> dict:
    """A JSON object from a text.

    Raises:
        UserError: it is none; the message begins with `where`.
    """
    row = parse_json(text, where, whole=False)
    if not isinstance(row, dict):
        raise UserError(f"{where}: expected an object with names, not a {type(row).__name__}.")
    return row


def parse_json(text: str, where: str, whole: bool = True):
    """What a JSON text says.

    Args:
        text: the JSON.
        where: it stands, for messages.
        whole: whether it is a whole file, in which lines have numbers.

    Raises:
        UserError: it is no JSON, too deeply nested, or holds half a character; the message begins with `where`.
    """
    try:
        found = json.loads(text)
        # Half a surrogate pair can be written in JSON, but is no text: nothing could be made of it later on.
        if "\\u" in text or "\\U" in text:
            entries = found if isinstance(found, list) else [found]
            for entry, part in enumerate(entries, 1):
                at = f"{where}, entry {entry}" if entries is found else where
                json.dumps(part, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        line = f", line {error.lineno}" if whole else ""
        raise UserError(f"{where}{line}: not JSON ({error.msg}, column {error.colno}).") from error
    except RecursionError:
        raise UserError(f"{where}: the JSON is nested too deeply to be read.") from None
    except UnicodeEncodeError as error:
        raise UserError(
            f"{at}: half a character (surrogate {error.object[error.start]!a}) stands alone; repair the text."
        ) from None
    return found


def is_json_lines(content: str) -> bool:
    """Whether the first line of a text is an object by itself, and no whole file in the format of SQuAD."""
    try:
        first = json.loads(content.lstrip().split("\n", 1)[0])
    except (ValueError, RecursionError):
        return False
    return isinstance(first, dict) and not isinstance(first.get("data"), list)


def refuse_half_characters(texts: Sequence[str], place: Callable[[int], str]) -> None:
    r"""Refuse texts with lone surrogates: halves of characters, as cut JSON escapes and undecodable bytes leave them.

    Args:
        texts: strings.
        place: says where the text of a row number, from 0, stands.

    Raises:
        UserError: names the first such text.

    Example:
        >>> refuse_half_characters(["whole", "a \ud83d b"], lambda row: f"row {row + 1}")
        Traceback (most recent call last):
        ...
        tl_keras.errors.UserError: row 2 holds half a character (U+D83D, a lone surrogate) behind 'a '; mend or leave out this text.
    """
    for row, text in enumerate(texts):
        if text.isascii():
            continue
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            half = ord(text[error.start])
            what = (
                f"a byte that is no UTF-8 (0x{half - 0xDC00:02x})"
                if 0xDC80 <= half <= 0xDCFF
                else f"half a character (U+{half:04X}, a lone surrogate)"
            )
            raise UserError(
                f"{place(row)} holds {what} behind {text[max(0, error.start - 20) : error.start]!r}; mend or leave out this text."
            ) from None


def cell_text(value, where: Callable[[], str]) -> str:
    """What stands in a cell as a text: strings as they are, numbers as they are written, "" where there is nothing.

    Args:
        value: of the cell.
        where: says where it stands; asked only if something is wrong.

    Raises:
        UserError: it is a list or an object, or bytes that are no UTF-8: how a text should be made of that, nobody said.

    Example:
        >>> cell_text("a", str), cell_text(5.0, str), cell_text(None, str), cell_text(b"a", str)
        ('a', '5', '', 'a')
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise UserError(
                f"{where()}: the text is bytes that are no UTF-8 ({value[:40]!r}); decode them first."
            ) from None
    if isinstance(value, (list, tuple, set, dict)) or getattr(value, "ndim", 0):
        raise UserError(
            f"{where()}: the text is a {type(value).__name__} ({str(value)[:40]}), not a string; put what is to be read into one string."
        )
    # Those of pandas are not equal to themselves either, or cannot be compared at all.
    if value is None or type(value).__name__ in ("NAType", "NaTType") or value != value:
        return ""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)
