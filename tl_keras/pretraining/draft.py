"""What a run exports appears in its folder part by part, each of them whole."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

MAIN_FILE = "saved_model.pb"


@contextlib.contextmanager
def draft_in(folder: Path) -> Iterator[Path]:
    """A folder to write into; what is in it when the block ends takes the place of what has the same name in `folder`.

    After an error nothing has been replaced, and the draft is gone.

    Args:
        folder: the run folder.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with draft_in(folder) as draft:
        ...     draft.mkdir()
        ...     _ = (draft / "a.txt").write_text("new")
        >>> [path.name for path in folder.iterdir()]
        ['a.txt']
    """
    draft = folder / f".draft{os.getpid()}"
    shutil.rmtree(draft, ignore_errors=True)
    try:
        yield draft
        # The main file last: without it, a folder is no SavedModel yet.
        for part in sorted(draft.iterdir(), key=lambda path: path.name == MAIN_FILE):
            target = folder / part.name
            shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
            part.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
