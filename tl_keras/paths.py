"""Paths as people write them: from their home, and with Hangul composed or taken apart."""

from __future__ import annotations

import glob
import os
import unicodedata
from pathlib import Path

from tl_keras.errors import UserError


def path_text(value: str | os.PathLike) -> str:
    """A path, handle or name as text.

    Raises:
        UserError: it is something else, a model perhaps.
    """
    try:
        return os.fspath(value)
    except TypeError:
        raise UserError(
            f"a path, or a name as `tl-keras encoders` lists them, is needed here, not a {type(value).__name__}."
        ) from None


def on_disk(path: str | os.PathLike) -> Path:
    r"""A path to what is there, as the file system calls it.

    `~` is the home of the user. Names that macOS wrote have Hangul and accents taken apart (NFD), typed ones have them composed (NFC): Linux
    takes these for different names, people do not.

    Args:
        path: to a file or folder, which need not be there.

    Returns:
        The path; unchanged where nothing is called so, or two things are.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "\u1112\u1161\u11ab.csv").write_text("text,label\n")
        >>> len((folder / "\ud55c.csv").name), len(on_disk(folder / "\ud55c.csv").name)
        (5, 7)
    """
    given = Path(path_text(path))
    try:
        wanted = given.expanduser()
        if wanted.exists():
            return wanted
        found = Path(wanted.anchor)
        for part in wanted.relative_to(wanted.anchor).parts:
            if not (found / part).exists():
                alike = [name for name in os.listdir(found) if _composed(name) == _composed(part)]
                if len(alike) != 1:
                    return wanted
                (part,) = alike
            found = found / part
        return found
    except (
        OSError,
        RuntimeError,
    ):  # no home, a name that is too long, a folder that may not be read: whoever opens it says so
        return given


def matching(pattern: str | os.PathLike) -> list[Path]:
    """What a pattern such as `part-*.csv` matches, in the order of the names, however Hangul is written; what is no pattern is itself a path."""
    path = on_disk(pattern)
    if path.exists() or not glob.has_magic(str(path)):
        return [path]
    home = os.path.expanduser(path_text(pattern))
    found = {name for form in ("NFC", "NFD") for name in glob.glob(unicodedata.normalize(form, home), recursive=True)}
    return [Path(name) for name in sorted(found)]


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
