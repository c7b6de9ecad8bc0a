"""What people read: texts from files made harmless for a terminal, a Markdown page and a spreadsheet; how far long work is."""

from __future__ import annotations

import logging
import re
import time
import unicodedata

logger = logging.getLogger(__name__)


def printable(text: str) -> str:
    r"""A text in one line, its control characters as escapes: what comes from a file must not move a terminal's cursor.

    Tabs, line feeds and their like become blanks; marks that turn the direction of writing are escaped too.

    Example:
        >>> printable("a\nb\x1b[31m c\u202e")
        'a b\\x1b[31m c\\u202e'
    """
    text = re.sub(r"[\t\n\x0b\x0c\r\x85\u2028\u2029]+", " ", text)
    return "".join(_escape(letter) if _dangerous(letter) else letter for letter in text)


def printable_lines(text: str) -> str:
    """As `printable`, with tabs and line ends kept, for output of several lines."""
    return "".join(letter if letter in "\t\n" or not _dangerous(letter) else _escape(letter) for letter in text)


def _dangerous(letter: str) -> bool:
    if letter < "\x7f":
        return letter < " "
    kind = unicodedata.category(letter)
    return kind in ("Cc", "Cs") or letter in _TURNS


_TURNS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def _escape(letter: str) -> str:
    return letter.encode(
        "unicode_escape" if letter < "\ud800" or letter > "\udfff" else "ascii", "backslashreplace"
    ).decode("ascii")


_MARKUP = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", "[": "\\[", "]": "\\]", "`": "\\`", "|": "\\|", "\\": "\\\\"}
)


def markdown(text: str, width: int | None = None) -> str:
    r"""A text as it stands, in one line of a Markdown page: no tag, link, picture or code is made of it.

    Args:
        text: from a file.
        width: so many characters at most.

    Example:
        >>> markdown("<b>[a](javascript:x)|")
        '&lt;b&gt;\\[a\\](javascript:x)\\|'
    """
    text = " ".join(printable(str(text)).split())
    if width is not None and len(text) > width:
        text = text[: width - 1] + "…"
    return text.translate(_MARKUP)


def spreadsheet_cell(value):
    """A cell that no spreadsheet takes for a formula: a text that would be one gets an apostrophe before it.

    Source: OWASP, "CSV Injection", https://owasp.org/www-community/attacks/CSV_Injection

    Example:
        >>> spreadsheet_cell("=1+1"), spreadsheet_cell("-3.5"), spreadsheet_cell("a=b"), spreadsheet_cell(-2)
        ("'=1+1", '-3.5', 'a=b', -2)
    """
    if not isinstance(value, str) or not value.startswith(
        ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
    ):
        return value
    return value if re.fullmatch(r"[+-]?\d+([.,]\d+)?", value) else f"'{value}"


class LoggedProgress:
    """Logs how far a long computation is, at most every ten seconds: a short one stays silent.

    Args:
        seconds: between two lines.
        done: what happens to texts.
    """

    def __init__(self, seconds: float = 10.0, done: str = "texts encoded"):
        self.seconds = seconds
        self.done = done
        self.started = self.last = time.perf_counter()

    def __call__(self, done: int, total: int) -> None:
        """Tell that `done` of `total` texts are done."""
        now = time.perf_counter()
        if done < total and now - self.last >= self.seconds:
            self.last = now
            left = (now - self.started) / done * (total - done)
            logger.info("%d of %d %s, about %.0f s left.", done, total, self.done, left)
