"""What is a word? The rules for splitting texts into words, for Python and as tables for graphs; no TensorFlow in here.

- White space separates words: the characters for which `str.isspace` is true.
- Each character of punctuation and each symbol (Unicode categories P and S: also `_`, `'`, `+`, emoji) is a word of its own.
- What cannot be seen is left out, and separates nothing: control and format characters (zero-width space, joiner and non-joiner,
  byte-order mark, soft hyphen), variation selectors, Hangul fillers.
- All other characters (letters of any script, digits, combining marks) make up words, as long as they stand together.
- Words come in NFC: Hangul syllables stay whole, and those that came as jamo (as in file names of macOS) are put together.
- In lower case, each character is mapped by itself: `Σ` is always `σ`, and `İ` is `i`.
"""

from __future__ import annotations

import functools
import unicodedata

import numpy as np

WORD, ALONE, SPACE, IGNORED = 0, 1, 2, 3
"""Kinds of characters: part of a word, a word by itself, between words, not there at all."""

PAGE = 256
# Of the other code points none has a name yet, or all are for private use.
_NAMED = (*range(0x0, 0x33480), *range(0xE0000, 0xE0200))
# Invisible though they are letters or marks: Unicode's Default_Ignorable_Code_Point, beyond the format characters.
_INVISIBLE = frozenset(
    (0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0, *range(0x180B, 0x1810), *range(0xFE00, 0xFE10))
)


def split_words(text: str, lower_case: bool = False) -> list[str]:
    """Split a text into words, as `tl_keras.text.words.WordTokenizer` does in graph.

    Args:
        text: any text.
        lower_case: whether words are made small.

    Example:
        >>> split_words("Don't miss 영화(2019)!", lower_case=True)
        ['don', "'", 't', 'miss', '영화', '(', '2019', ')', '!']
    """
    # Normalised after words stand between spaces, over which no characters are put together.
    spaced = text.translate(_translation(lower_case))
    return [word for word in unicodedata.normalize("NFC", spaced).split(" ") if word]


@functools.lru_cache(maxsize=1)
def character_tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kind and small letter of every character, in pages of 256 of which like ones are kept once.

    Returns:
        `(pages, kinds, lower)`: int32 `[0x1100]`, the page of a code point `c` is `pages[c // 256]`; int32 `[pages * 256]`: kind and
        lower-case code point *minus* `c`, at `page * 256 + c % 256`.
    """
    kinds = np.full(0x110000, WORD, "int32")
    shifts = np.zeros(0x110000, "int32")
    for code in _NAMED:
        kinds[code] = _kind(code)
        shifts[code] = ord(chr(code).lower()[0]) - code
    both = np.concatenate([kinds.reshape(-1, PAGE), shifts.reshape(-1, PAGE)], axis=1)
    distinct, pages = np.unique(both, axis=0, return_inverse=True)
    return pages.reshape(-1).astype("int32"), distinct[:, :PAGE].reshape(-1), distinct[:, PAGE:].reshape(-1)


@functools.lru_cache(maxsize=2)
def _translation(lower_case: bool) -> dict[int, str]:
    """For `str.translate`: words come to stand between single spaces."""
    table = {}
    for code in _NAMED:
        kind, character = _kind(code), chr(code)
        small = character.lower()[0] if lower_case else character
        changed = {WORD: small, ALONE: f" {small} ", SPACE: " ", IGNORED: ""}[kind]
        if changed != character:
            table[code] = changed
    return table


def _kind(code: int) -> int:
    character = chr(code)
    category = unicodedata.category(character)
    if character.isspace():
        return SPACE
    # The last are variation selectors too, in their hundreds.
    if category in ("Cc", "Cf", "Cs") or code in _INVISIBLE or 0xE0100 <= code < 0xE01F0:
        return IGNORED
    return ALONE if category[0] in "PS" else WORD


def is_wide(character: str) -> bool:
    """Whether a character is Hangul, Han, Kana or another as wide as these."""
    return unicodedata.east_asian_width(character) == "W"
