"""word2vec's binary format: a header line, then each word, a space, and its numbers as float32."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from tl_keras.encoders.word_vectors.read_text import header_of
from tl_keras.errors import UserError

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
