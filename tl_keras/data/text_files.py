"""Text files as they come: gzip or zstd or neither, in any encoding; errors name the file, the line and what to do."""

from __future__ import annotations

import codecs
import contextlib
import difflib
import functools
import gzip
import io
import logging
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from tl_keras.errors import UserError

logger = logging.getLogger(__name__)

GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
COMPRESSED = (".gz", ".zst")
"""Suffixes that say nothing about what is inside."""
SAMPLE = 1 << 20
"""Bytes that are looked at to guess an encoding."""


def kind_of(path: str | os.PathLike) -> str:
    """What a file's name says of its content: the last suffix that is not one of compression, in lower case.

    Example:
        >>> kind_of("a.train.CSV.gz"), kind_of("notes")
        ('.csv', '')
    """
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    return next((suffix for suffix in reversed(suffixes) if suffix not in COMPRESSED), "")


def find_file(path: str | os.PathLike) -> Path:
    """A path that is a file.

    Raises:
        UserError: it is not; the message names files that are called nearly so.
    """
    path = Path(path)
    if path.is_file():
        return path
    if path.is_dir():
        raise UserError(f"{path} is a folder; give a file.")
    if path.exists() or str(path) == "-":
        what = "means a pipe" if str(path) == "-" else "is a pipe or a device"
        raise UserError(f"{path} {what}, and files are read more than once; save it to a file first, and give that.")
    folder = path.parent if path.parent.is_dir() else Path(".")
    try:
        near = difflib.get_close_matches(path.name, [p.name for p in folder.iterdir()], 3)
    except OSError:
        near = []
    raise UserError(f"no file {path}" + (f"; there is {', '.join(str(folder / n) for n in near)}." if near else "."))


def open_bytes(path: str | os.PathLike) -> io.BufferedIOBase:
    """Open a file for reading, unpacked where its first bytes say that it is gzip or zstd.

    Raises:
        UserError: no such file, or it is zstd and `zstandard` is not installed.
    """
    path = find_file(path)
    with reading(path):
        stream = open(path, "rb")  # noqa: SIM115  (handed on)
        head = stream.read(4)
        stream.seek(0)
    if head[:2] == GZIP:
        stream.close()
        return gzip.open(path)
    if head == ZSTD:
        return io.BufferedReader(_ZstdStream(stream, path))
    return stream


@contextlib.contextmanager
def open_text(path: str | os.PathLike, encoding: str = "utf-8") -> Iterator[io.TextIOWrapper]:
    """Open a text file, perhaps compressed. Line breaks stay as they are, a byte order mark is left out.

    Whatever fails while it is read inside the `with` block is a `UserError` that names the file.

    Args:
        path: of the file.
        encoding: of its text.

    Raises:
        UserError: no such file, damaged, or not in this encoding; the message names the line.
    """
    codec = codec_name(encoding)
    stream = open_bytes(path)
    with stream, reading(path, encoding):
        if codec == "utf-8-sig":
            head = stream.peek(2)[:2] if hasattr(stream, "peek") else b""
            if head in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                raise UserError(
                    f'{path} looks like UTF-16; pass encoding="utf-16" (--encoding utf-16) or save it as UTF-8.'
                )
        head = stream.peek(SAMPLE)[:SAMPLE] if hasattr(stream, "peek") else b""
        if head[:4] in _NO_TEXT:
            raise UserError(
                f"{path} is {_NO_TEXT[head[:4]]}, not text; give it the suffix that it should have, or unpack it."
            )
        if codec != "utf-8-sig" and _is_utf8(head):
            raise UserError(f"{path} is UTF-8, not {encoding}: leave encoding (--encoding) out.")
        if _SINGLE_BYTES.match(codec):
            _warn_of_letters(os.fspath(path), encoding, encoding_advice(head, encoding))
        # newline="" keeps line breaks inside quoted cells as they are.
        yield io.TextIOWrapper(stream, encoding=codec, newline="")


_SINGLE_BYTES = re.compile(r"latin|iso.?8859|l1$|cp125|cp437|cp850|windows-125|mac", re.IGNORECASE)
_NO_TEXT = {b"PK\x03\x04": "a zip archive or an Excel workbook", b"PAR1": "a Parquet file"}


def _is_utf8(head: bytes) -> bool:
    """Whether bytes are UTF-8, and not by chance: single characters of other encodings may look so, but not several in a row of them."""
    # The last character may be cut in two.
    text = head.decode("utf-8", "ignore")
    foreign = sum(letter > "\x7f" for letter in text)
    return foreign >= 4 and len(text.encode("utf-8")) >= len(head) - 3


@functools.lru_cache(maxsize=256)  # a file is opened several times while it is read
def _warn_of_letters(path: str, encoding: str, advice: str) -> None:
    if "Korean" in advice:
        logger.warning("%s is read as %s, as was asked for, in which all bytes are letters. %s", path, encoding, advice)


@contextlib.contextmanager
def reading(path: str | os.PathLike, encoding: str = "utf-8") -> Iterator[None]:
    """What reading a file can raise, as one line that names it.

    Raises:
        UserError: the file is damaged, cannot be read, or is not in its encoding.
    """
    try:
        yield
    except UnicodeDecodeError as error:
        raise UserError(_encoding_message(path, encoding, error)) from error
    except UnicodeError as error:
        # As UTF-16 without its mark, of which no byte is to blame.
        raise UserError(
            f"{path} is not {encoding}: {error}; save it as UTF-8, or name its encoding (--encoding)."
        ) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path} is damaged or was cut off: {error}.") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}.") from error


def decode_file(path: str | os.PathLike, encoding: str = "utf-8") -> str:
    """The text of a file, perhaps compressed, without byte order mark.

    Raises:
        UserError: no such file, damaged, or it is not in this encoding; the message names the line.
    """
    with open_text(path, encoding) as stream:
        return stream.read()


def codec_name(encoding: str) -> str:
    """The codec that reads files of an encoding: UTF-8 may have a byte order mark.

    Raises:
        UserError: nobody knows it, or it is none of text.

    Example:
        >>> codec_name("UTF8"), codec_name("cp949")
        ('utf-8-sig', 'cp949')
    """
    try:
        known = codecs.lookup(encoding)
    except (LookupError, ValueError) as error:
        raise UserError(f"no encoding is called {encoding!r}; common ones are utf-8, cp949 and latin-1.") from error
    if not known._is_text_encoding:
        raise UserError(f"{encoding!r} is no encoding of text; common ones are utf-8, cp949 and latin-1.")
    return "utf-8-sig" if known.name == "utf-8" else encoding


def encoding_advice(raw: bytes, encoding: str) -> str:
    """What to do about bytes that are not in an encoding: which other one they look like.

    Args:
        raw: from the file's beginning, line breaks and all.
        encoding: the one that they are not in.

    Example:
        >>> encoding_advice("정말 재미있다".encode("cp949"), "utf-8")
        'It reads as Korean cp949 (euc-kr is part of it): pass encoding="cp949" (--encoding cp949), or save the file as UTF-8.'
        >>> encoding_advice("정말 재미있다".encode("utf-8"), "cp949")
        'It reads as UTF-8: leave encoding (--encoding) out.'
    """
    given = codecs.lookup(encoding).name
    # The replacement stands for bytes that are none; text in another encoding hardly ever makes valid UTF-8 by chance.
    known, unknown = _other_than_ascii(raw, "utf-8")
    if known > 3 * unknown:
        if given == "utf-8":
            return "The rest of the file is UTF-8, so this byte is damaged: mend that line."
        return "It reads as UTF-8: leave encoding (--encoding) out."
    if given != "cp949":
        text = raw.decode("cp949", "replace")
        known, unknown = _other_than_ascii(raw, "cp949")
        korean = sum("가" <= c <= "힣" for c in text)
        if korean > 0.5 * known and known > 3 * unknown:
            return (
                'It reads as Korean cp949 (euc-kr is part of it): pass encoding="cp949" (--encoding cp949), or save the file as '
                "UTF-8."
            )
    if given == "utf-8" and sum(byte > 127 for byte in raw) < 0.1 * len(raw):
        return 'If it was saved by an older Windows program, pass encoding="cp1252" (--encoding cp1252); else save it as UTF-8.'
    return "Save the file as UTF-8, or name its encoding (--encoding)."


def _other_than_ascii(raw: bytes, encoding: str) -> tuple[int, int]:
    """How many characters are not ASCII, and how many bytes are none at all."""
    text = raw.decode(encoding, "replace")
    unknown = text.count("\ufffd")
    return sum(c > "\x7f" for c in text) - unknown, unknown


def _encoding_message(path, encoding: str, error: UnicodeDecodeError) -> str:
    # Read once more, line by line: what reads in blocks does not know where it is.
    codec, line, byte = codec_name(encoding), None, error.object[error.start]
    with open_bytes(path) as stream:
        raw = stream.read(SAMPLE)
    with open_bytes(path) as stream:
        # In UTF-16 and its like a line break is no byte of its own.
        for number, content in enumerate(stream, 1) if "\n".encode(codec.removesuffix("-sig")) == b"\n" else ():
            try:
                content.decode(codec)
            except UnicodeDecodeError as found:
                line, byte = number, content[found.start]
                break
    where = "" if line is None else f", line {line}"
    return f"{path}{where}: byte 0x{byte:02x} is not {encoding}. {encoding_advice(raw, encoding)}"


class _ZstdStream(io.RawIOBase):
    """Bytes of a zstd file, one frame or several; one that was cut off is an error, as with gzip."""

    def __init__(self, stream, path):
        self._zstandard = need("zstandard", f"{path} is packed with zstd")
        self._stream = stream
        self._frame = None
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._stream.close()
        super().close()

    def readinto(self, buffer) -> int:
        while not self._ready:
            packed = self._stream.read(1 << 16)
            if not packed:
                if self._frame is not None:
                    raise EOFError("the compressed data end before they should")
                return 0
            self._ready = memoryview(self._unpack(packed))
        size = min(len(buffer), len(self._ready))
        buffer[:size], self._ready = self._ready[:size], self._ready[size:]
        return size

    def _unpack(self, packed: bytes) -> bytes:
        parts = []
        try:
            while packed:
                if self._frame is None:
                    self._frame = self._zstandard.ZstdDecompressor().decompressobj()
                parts.append(self._frame.decompress(packed))
                packed = b""
                if self._frame.eof:
                    packed, self._frame = self._frame.unused_data, None
        except self._zstandard.ZstdError as error:
            raise EOFError(str(error)) from error
        return b"".join(parts)


def need(module: str, why: str):
    """Import a module that comes with an extra of this package.

    Raises:
        UserError: it is not installed.
    """
    try:
        return __import__(module, fromlist=["_"])
    except ImportError as error:
        raise UserError(f"{why}, which needs {module.split('.')[0]}: pip install 'tl_keras[data]'.") from error
