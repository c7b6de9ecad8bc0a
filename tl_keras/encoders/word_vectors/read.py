"""Files of word vectors: which format is it, and who reads it?"""

from __future__ import annotations

import bz2
import gzip
import os
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tl_keras.encoders.word_vectors.read_files import header_of, is_row, read_binary, read_text
from tl_keras.encoders.word_vectors.word_vectors import WordVectors
from tl_keras.errors import UserError
from tl_keras.paths import on_disk

SUFFIXES = (".vec", ".txt", ".bin", ".vec.gz", ".txt.gz", ".bin.gz", ".vec.bz2", ".txt.bz2", ".bin.bz2")
"""What files of word vectors are usually called."""
_FASTTEXT_MAGIC = struct.pack("<i", 793712314)
_OTHERS = {
    b"PK": "a zip archive (or NumPy's .npz); unpack it first",
    b"\x80": "a Python pickle, perhaps gensim's own format: write it with save_word2vec_format(path) in gensim first",
    b"\x93NUMPY": "a NumPy array, which has no words",
    b"\x89HDF": "an HDF5 file",
    b"\xff\xfe": "UTF-16 text; convert it to UTF-8",
    b"\xfe\xff": "UTF-16 text; convert it to UTF-8",
}


def read_vectors(
    path: str | os.PathLike,
    *,
    limit: int | None = None,
    encoding: str = "utf-8",
    duplicates: str = "error",
) -> WordVectors:
    """Read word vectors: word2vec (text and binary), GloVe, fastText's `.vec` and `.bin`; also packed with gzip or bzip2.

    The format is found from what is in the file. fastText's `.bin` also holds vectors of parts of words, from which words that are
    not in it get vectors; reading it needs gensim (`pip install tl_keras[vectors]`) and memory for all of the file.

    Args:
        path: of the file.
        limit: read the first so many words only; files begin with the frequent ones. For large files.
        encoding: of the words.
        duplicates: `"error"` refuses a file in which a word occurs twice; `"first"` keeps its first vector.

    Raises:
        UserError: there is no such file, it holds no word vectors, or it is damaged: the header promises another count, a row has too few
            or too many numbers, a word occurs twice, a number is NaN or infinite, or bytes are not in this encoding. Says which row.

    Example:
        >>> vectors = tlk.read_vectors("ko.vec")
        >>> vectors.width, vectors.coverage(["good film", "bad film"]).token_fraction
        (2, 0.5)
    """
    path = on_disk(path)
    if duplicates not in ("error", "first"):
        raise UserError(f'duplicates must be "error" or "first", not {duplicates!r}.')
    if limit is not None and limit < 1:
        raise UserError(f"limit must be at least 1, not {limit}.")
    try:
        "".encode(encoding)
    except LookupError:
        raise UserError(f"encoding {encoding!r} is not known.") from None
    if not path.is_file():
        raise UserError(f"{path} is a folder, not a file of word vectors." if path.is_dir() else f"no file {path}.")
    with open_packed(path) as stream:
        try:
            start = stream.read(1 << 16)
        except (OSError, EOFError) as error:
            raise UserError(f"{path} cannot be unpacked: {error}.") from error
    kind = _kind(path, start)
    if kind == "fasttext":
        return _read_fasttext(path, limit, encoding)
    reader = read_text if kind == "text" else read_binary
    with open_packed(path) as stream:
        try:
            words, matrix = reader(stream, str(path), limit, encoding, duplicates == "first")
        except (EOFError, gzip.BadGzipFile) as error:
            raise UserError(f"{path} cannot be unpacked: {error}.") from error
    return WordVectors(words, matrix, source=str(path))


def looks_like_vectors(path: str | os.PathLike) -> bool:
    """Whether this is called as files of word vectors are, and is no other file.

    Weights in PyTorch's format end in `.bin` too; these are zip archives or pickles. A file that is not there counts, so that whoever
    reads it says so.
    """
    if "://" in str(path):
        return False
    path = on_disk(path)
    if not path.name.lower().endswith(SUFFIXES) or path.is_dir():
        return False
    if not path.exists():
        return True
    with path.open("rb") as stream:
        return not stream.read(2).startswith((b"PK", b"\x80"))


def open_packed(path: Path) -> BinaryIO:
    """Open for reading, through gzip or bzip2 where the file's first bytes are theirs."""
    with path.open("rb") as stream:
        magic = stream.read(3)
    if magic[:2] == b"\x1f\x8b":
        return gzip.open(path, "rb")
    return bz2.open(path, "rb") if magic == b"BZh" else path.open("rb")


def _kind(path: Path, start: bytes) -> str:
    """`"fasttext"`, `"binary"` or `"text"`."""
    if not start.strip():
        raise UserError(f"{path} is empty; a file of word vectors holds a word and its numbers on each line.")
    if start.startswith(_FASTTEXT_MAGIC):
        return "fasttext"
    for magic, name in _OTHERS.items():
        if start.startswith(magic):
            raise UserError(f"{path} is {name}; {_KNOWN}.")
    first, *others = start.split(b"\n", 2)
    if header_of(first) is not None:
        # Text goes on with a word and numbers. A row that is too short for its header is still text.
        return "text" if others and _readable(others[0]) else "binary"
    if is_row(first):
        return "text"
    raise UserError(f"{path} holds no word vectors: its first line is {first[:60]!r}; {_KNOWN}.")


_KNOWN = "word2vec (text or binary), GloVe and fastText (.vec or .bin) can be read"


def _readable(line: bytes) -> bool:
    """Whether a line can be part of a text: no control characters, as four bytes of a number would soon bring."""
    return not any(byte < 32 and byte not in (9, 13) for byte in line) and (is_row(line) or line.isascii())


def _read_fasttext(path: Path, limit: int | None, encoding: str) -> WordVectors:
    try:
        from gensim.models.fasttext import load_facebook_vectors
    except ImportError as error:
        raise UserError(f"{path}: reading fastText's .bin needs gensim: pip install tl_keras[vectors]") from error
    try:
        loaded = load_facebook_vectors(str(path), encoding=encoding)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: a word is not {encoding}; name the file's encoding with encoding=.") from error
    except Exception as error:
        # gensim meets a damaged file with whatever error comes first.
        raise UserError(f"{path} is a damaged fastText file ({type(error).__name__}: {error}).") from error

    def subwords(word: str) -> np.ndarray | None:
        # gensim gives zeros for a word too short to have parts, with a warning.
        vector = loaded.get_vector(word)
        return vector if vector.any() else None

    vectors = WordVectors(tuple(loaded.index_to_key), loaded.vectors, subwords, str(path))
    return vectors if limit is None else vectors.most_frequent(limit)
