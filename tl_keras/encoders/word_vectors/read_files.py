"""Word vectors from files: word2vec's text and binary formats, fastText's `.vec`, and GloVe.

gensim reads these too, but says neither which row is damaged nor that the header promises another count, stops at words with spaces in
them (GloVe 840B has some), and must be installed. The tests compare the two.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from tl_keras.errors import UserError

ROWS_AT_ONCE = 2000
_HEADER = re.compile(rb"\s*(\d+)[ \t]+(\d+)\s*")
_NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)


def header_of(line: bytes) -> tuple[int, int] | None:
    """`(count, width)` if a line is a header: two whole numbers and nothing else."""
    match = _HEADER.fullmatch(line.removeprefix(b"\xef\xbb\xbf"))
    return None if match is None else (int(match[1]), int(match[2]))


def is_row(line: bytes) -> bool:
    """Whether a line ends in numbers behind a word."""
    fields = line.split()
    return len(fields) > 1 and all(_NUMBER.fullmatch(field) for field in fields[max(1, len(fields) - 8) :])


def read_text(
    stream: BinaryIO, source: str, limit: int | None, encoding: str, keep_first: bool
) -> tuple[list[str], np.ndarray]:
    """Read the words and their numbers.

    Args:
        stream: at its beginning.
        source: for messages.
        limit: of words; None for all.
        encoding: of the words.
        keep_first: whether a word's second vector is passed over, and no error.

    Returns:
        The words, and float32 `[words, width]`.

    Raises:
        UserError: the file is damaged; see `read_vectors`.
    """
    lines = _lines(stream)
    number, line = next(lines)
    header = header_of(line)
    if header is not None:
        count, width = header
        if not width:
            raise UserError(f"{source}: the header says that vectors have no numbers.")
        rows = lines
    else:
        count, width = None, _width_without_header(line, source)
        rows = _and_then((number, line), lines)
    words: dict[str, int] = {}
    parts, rows_read = [], 0
    for chunk in _chunks(rows, limit):
        names, matrix = _parse(chunk, width, source, header is not None)
        kept = []
        for place, (name, (number, _)) in enumerate(zip(names, chunk, strict=True)):
            word = _decode(name, encoding, source, number)
            if word not in words:
                words[word] = number
                kept.append(place)
            elif not keep_first:
                raise UserError(
                    f"{source}, line {number}: the word {word!r} stands in line {words[word]} already; take one of them out, "
                    'or pass duplicates="first".'
                )
        parts.append(matrix if len(kept) == len(names) else matrix[kept])
        rows_read += len(names)
    if count is not None and rows_read != count and (rows_read < min(count, limit or count) or limit is None):
        reason = "was it cut off while being copied?" if rows_read < count else "is the header of another file?"
        raise UserError(f"{source}: the header says {count:,} words, but there are {rows_read:,}; {reason}")
    if not words:
        raise UserError(f"{source} holds no word, only a header.")
    return list(words), np.concatenate(parts)


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(stream, start=1):
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        line = line.rstrip(b" \t\r\n")
        # An empty line at the end is nothing; between rows it is a row without numbers.
        yield number, line


def _and_then(first, rest):
    yield first
    yield from rest


def _chunks(rows: Iterator[tuple[int, bytes]], limit: int | None) -> Iterator[list[tuple[int, bytes]]]:
    chunk: list[tuple[int, bytes]] = []
    empty: list[tuple[int, bytes]] = []
    left = limit
    for row in rows:
        if not row[1]:
            empty.append(row)
            continue
        # Only at the end of the file are empty lines passed over.
        for missing in (*empty, row):
            if left == 0:
                break
            chunk.append(missing)
            left = None if left is None else left - 1
        empty = []
        if len(chunk) >= ROWS_AT_ONCE:
            yield chunk
            chunk = []
        if left == 0:
            break
    if chunk:
        yield chunk


def _width_without_header(line: bytes, source: str) -> int:
    """How many numbers a GloVe row has: its first field is the word."""
    width = len(line.split()) - 1
    if width < 1:
        raise UserError(f"{source}, line 1: {line[:40]!r} is neither a header nor a word with numbers.")
    return width


def _parse(chunk: list[tuple[int, bytes]], width: int, source: str, has_header: bool) -> tuple[list[bytes], np.ndarray]:
    """The words' bytes and their numbers."""
    names, numbers = [], []
    for _, line in chunk:
        # From the right: words may hold spaces.
        name, *fields = line.rsplit(None, width) or [b""]
        names.append(name)
        numbers.append(b" ".join(fields) if len(fields) == width else b"?")
    matrix = _numbers(b" ".join(numbers), len(chunk) * width)
    if matrix is None:
        _complain(chunk, width, source, has_header)
    matrix = matrix.reshape(len(chunk), width)
    finite = np.isfinite(matrix).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise UserError(f"{source}, line {chunk[row][0]}: holds NaN or infinity, or a number too large for float32.")
    longer = [i for i, name in enumerate(names) if b" " in name and is_row(name)]
    if longer:
        # `word 1 2 | 3 4`: a row with too many numbers looks like a word with spaces and numbers in it.
        _complain([chunk[longer[0]]], width, source, has_header)
    return names, matrix


def _numbers(text: bytes, size: int) -> np.ndarray | None:
    """Numbers between spaces as float32 `[size]`; None if they are not so many, or no numbers."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            values = np.fromstring(text, dtype="float64", sep=" ")
        except (DeprecationWarning, ValueError):
            return None
    with np.errstate(over="ignore"):
        return values.astype("float32") if len(values) == size else None


def _complain(chunk: list[tuple[int, bytes]], width: int, source: str, has_header: bool):
    """Raise for the first row that is not a word and `width` numbers."""
    by = "the header says" if has_header else "the first line has"
    for number, line in chunk:
        fields = line.split()
        values = [bool(_NUMBER.fullmatch(field)) for field in fields[1:]]
        if len(values) != width:
            raise UserError(
                f"{source}, line {number}: {len(values)} numbers behind the word, but {by} {width}; the line is {line[:40]!r}"
                f"{'...' if len(line) > 40 else ''}"
            )
        if not all(values):
            wrong = fields[1 + values.index(False)]
            raise UserError(f"{source}, line {number}: {wrong[:40]!r} is no number.")
    raise UserError(f"{source}, lines {chunk[0][0]} to {chunk[-1][0]}: not all of it are words and numbers.")


def _decode(name: bytes, encoding: str, source: str, number: int) -> str:
    try:
        return name.decode(encoding)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{source}, line {number}: the word {name[:40]!r} is not {encoding} (byte {error.start + 1}); name the file's encoding, "
            'e.g. encoding="cp949" or encoding="latin-1".'
        ) from error


_CHUNK = 1 << 22


def read_binary(
    stream: BinaryIO, source: str, limit: int | None, encoding: str, keep_first: bool
) -> tuple[list[str], np.ndarray]:
    """Read the words and their numbers.

    gensim reads this too, but not with a count that is too small, and says nothing of NaN; the tests compare the two.

    Args:
        stream: at its beginning.
        source: for messages.
        limit: of words; None for all.
        encoding: of the words.
        keep_first: whether a word's second vector is passed over, and no error.

    Returns:
        The words, and float32 `[words, width]`.

    Raises:
        UserError: the file is damaged; see `read_vectors`.
    """
    count, width = header_of(stream.readline())
    if not width or not count:
        raise UserError(f"{source}: the header says {count} words with {width} numbers each.")
    wanted = count if limit is None else min(count, limit)
    size = 4 * width
    words: dict[str, int] = {}
    parts: list[bytes] = []
    buffer, place = b"", 0
    for number in range(1, wanted + 1):
        end = buffer.find(b" ", place)
        # A row can lie across the border between two reads.
        while end < 0 or end + 1 + size > len(buffer):
            more = stream.read(max(_CHUNK, size))
            if not more:
                raise UserError(
                    f"{source}: the header says {count:,} words, but the file ends in word {number:,}; was it cut off while being "
                    "copied? (Or it is text, and damaged.)"
                )
            buffer, place = buffer[place:] + more, 0
            end = buffer.find(b" ", place)
        # Some programs end each row with a line break, others do not.
        name = buffer[place:end].lstrip(b"\n")
        place = end + 1 + size
        try:
            word = name.decode(encoding)
        except UnicodeDecodeError as error:
            raise UserError(
                f"{source}: word {number}, {name[:40]!r}, is not {encoding}; name the file's encoding with encoding=, or the header "
                f"says a wrong width ({width})."
            ) from error
        if word not in words:
            words[word] = number
            parts.append(buffer[end + 1 : place])
        elif not keep_first:
            raise UserError(
                f"{source}: word {number}, {word!r}, is word {words[word]} already; make the file anew, or pass "
                'duplicates="first".'
            )
    rest = (buffer[place:] + stream.read(1)).strip(b"\n")
    if limit is None and rest:
        raise UserError(f"{source}: the header says {count:,} words, but more follow; is the header of another file?")
    matrix = np.frombuffer(b"".join(parts), "<f4").reshape(len(words), width).astype("float32")
    finite = np.isfinite(matrix).all(axis=1)
    if not finite.all():
        bad = list(words)[int(np.argmin(finite))]
        raise UserError(f"{source}: word {words[bad]}, {bad!r}: its vector holds NaN or infinity.")
    return list(words), matrix
