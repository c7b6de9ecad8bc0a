"""Numbered version folders, as TensorFlow Serving watches them: found and added. Nothing here needs TensorFlow."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tl_keras.errors import UserError, no_os_error
from tl_keras.files import path_text, whole_folder
from tl_keras.manifest import check_manifest


def versions_of(path: str | os.PathLike) -> dict[int, Path]:
    """The SavedModels at a path, by version: of a folder of numbered versions, of a run folder, or the one that the path itself is.

    A folder whose name is no number counts as version 1.

    Raises:
        UserError: there is none.
    """
    path = Path(path_text(path))
    if not path.exists():
        raise UserError(f"there is no folder {path}.")
    for folder in (path, path / "saved_model"):
        if (folder / "saved_model.pb").is_file():
            return {int(folder.name) if folder.name.isdecimal() else 1: folder}
        found = [f for f in folder.glob("*") if f.name.isdecimal() and (f / "saved_model.pb").is_file()]
        if found:
            return {int(version.name): version for version in found}
    raise UserError(
        f"{path} holds no SavedModel: expected saved_model/1/ of a finished run, or an exported version folder."
    )


def find_saved_model(path: str | os.PathLike) -> Path:
    """The SavedModel in or under `path`; of numbered versions the latest.

    Raises:
        UserError: there is none.
    """
    versions = versions_of(path)
    return versions[max(versions)]


def is_export(path: str | os.PathLike) -> bool:
    """Whether a path is a run folder or an export of this package, rather than a pre-trained encoder, which is a SavedModel too."""
    if not os.path.isdir(path):
        return False
    from tl_keras.saved_models import exported_task

    try:
        return exported_task(find_saved_model(path)) is not None
    except UserError:
        return False


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
    with no_os_error(directory):
        directory.mkdir(parents=True, exist_ok=True)
        versions = [int(f.name) for f in directory.iterdir() if f.name.isdecimal()]
    check_manifest(source)
    target = directory / str(max(versions, default=0) + 1)
    # TensorFlow Serving loads a version as soon as its folder is there, so it must appear whole.
    with whole_folder(target) as beside, no_os_error(target):
        shutil.copytree(source, beside, dirs_exist_ok=True)
    return target
