"""A list of a folder's files with sizes and hashes, by which damage is noticed when the folder is opened."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from tl_keras.errors import UserError, os_error_line
from tl_keras.files import file_sha256

MANIFEST = "manifest.json"
"""In each folder we write: the size and SHA-256 of its files."""
READ_THROUGH = 1 << 28
"""Bytes; files of that much together are read through and compared when a folder is opened, which takes well below a second."""
SMALL = 1 << 23
"""Bytes; files up to that (vocabularies, settings) are always compared."""
_verify_all = False
_checked: set[tuple] = set()


def verify_everything(wanted: bool = True) -> None:
    """Compare all files with their manifests from now on, however large they are (`tl-keras --verify`)."""
    global _verify_all
    _verify_all = wanted
    _checked.clear()


def write_manifest(folder: Path, leave_out: Callable[[str], bool] | None = None) -> None:
    """Write down the size and hash of all files in a folder, those below a folder with a manifest of its own left out.

    Args:
        folder: all of whose files are written.
        leave_out: says of a file's path in it whether to leave it out.
    """
    files = {
        name: {"size": (folder / name).stat().st_size, "sha256": file_sha256(folder / name)}
        for name in _files_in(folder)
        if leave_out is None or not leave_out(name)
    }
    (folder / MANIFEST).write_text(json.dumps({"format": 1, "files": files}, indent=1) + "\n", "utf-8")


def tree_sha256(path: str | os.PathLike) -> str:
    """One hash for a file, or for all files of a folder, wherever it lies: what pins a handle.

    What people may edit (`info.json`) and manifests do not count.

    Args:
        path: a file or folder.

    Returns:
        SHA-256 in hexadecimal: of a folder that of the lines `<sha256>  <path>`, sorted by path, as `sha256sum` prints them.
    """
    path = Path(path)
    if path.is_file():
        return file_sha256(path)
    names = sorted(
        file.relative_to(path).as_posix()
        for file in path.rglob("*")
        if file.is_file() and file.name not in (MANIFEST, "info.json")
    )
    lines = "".join(f"{file_sha256(path / name)}  {name}\n" for name in names)
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def _files_in(folder: Path, inside: str = "") -> list[str]:
    found = []
    for entry in sorted((folder / inside).iterdir()):
        name = f"{inside}{entry.name}"
        if entry.is_dir():
            if not (entry / MANIFEST).is_file():
                found += _files_in(folder, f"{name}/")
        elif name != MANIFEST:
            found.append(name)
    return found


def check_manifest(
    folder: str | os.PathLike, remedy: str = "copy it again, or make it anew", below: str | None = None
) -> None:
    """Refuse a folder whose files are not as they were written. One without a manifest, from an earlier version, passes.

    Small files are always compared; all of them where they are no more than `READ_THROUGH` bytes together, or after
    `verify_everything`; otherwise of the large ones the size only.

    Args:
        folder: perhaps with a manifest.
        remedy: what to do, for the message.
        below: only the files whose path in the folder begins so.

    Raises:
        UserError: a file is missing or changed; names it.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    if not path.is_file():
        return
    try:
        files = {
            str(name): (int(entry["size"]), str(entry["sha256"]))
            for name, entry in json.loads(path.read_text("utf-8"))["files"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is damaged; {remedy}.") from error
    if below is not None:
        files = {name: entry for name, entry in files.items() if name.startswith(below)}
    stats = {}
    for name, (size, _) in files.items():
        try:
            stats[name] = (folder / name).stat()
        except OSError:
            raise UserError(f"{folder} is damaged: {name} is missing; {remedy}.") from None
        if stats[name].st_size != size:
            raise UserError(f"{folder} is damaged: {name} has {stats[name].st_size:,} bytes, not {size:,}; {remedy}.")
    everything = _verify_all or sum(size for size, _ in files.values()) <= READ_THROUGH
    for name, (size, digest) in files.items():
        stat = stats[name]
        known = (os.path.realpath(folder / name), stat.st_mtime_ns, stat.st_ino, size, digest)
        if known in _checked or not (everything or size <= SMALL):
            continue
        try:
            same = file_sha256(folder / name) == digest
        except OSError as error:
            raise UserError(f"cannot read {os_error_line(error, folder / name)}") from error
        if not same:
            raise UserError(f"{folder} is damaged: {name} is not as it was written; {remedy}.")
        _checked.add(known)
