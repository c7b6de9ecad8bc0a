"""Numbered version folders, as TensorFlow Serving watches them."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from tl_keras.errors import UserError
from tl_keras.serving.exported import find_saved_model


def add_version(run: str | os.PathLike, directory: str | os.PathLike) -> Path:
    """Copy a run's SavedModel into the next version folder of `directory`.

    Args:
        run: a run folder, or an export.
        directory: e.g. `models/reviews`; gets `1/`, then `2/`, ...

    Returns:
        The new version's folder.

    Raises:
        UserError: nothing to copy, or `directory` is a file.
    """
    source, directory = find_saved_model(run), Path(directory)
    if directory.is_file():
        raise UserError(f"{directory} is a file; give a folder for version folders.")
    directory.mkdir(parents=True, exist_ok=True)
    versions = [int(f.name) for f in directory.iterdir() if f.name.isdecimal()]
    target = directory / str(max(versions, default=0) + 1)
    # TensorFlow Serving loads a version as soon as its folder is there, so it must appear whole.
    beside = Path(tempfile.mkdtemp(prefix=".version-", dir=directory))
    try:
        shutil.copytree(source, beside / "model")
        (beside / "model").rename(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return target
