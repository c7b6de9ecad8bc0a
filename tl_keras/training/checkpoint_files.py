"""A folder of checkpoints that a kill at any moment cannot harm: written beside, renamed, the one before kept."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import re
import shutil
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tl_keras.errors import UserError, os_error_line
from tl_keras.files import swap_in
from tl_keras.manifest import check_manifest, write_manifest

logger = logging.getLogger(__name__)

KEEP = 2
_NAME = re.compile(r"epoch-(\d{4,})-step-(\d{7,})")


@dataclasses.dataclass(frozen=True)
class SavedState:
    """What a checkpoint holds.

    Args:
        epoch: from 0: the one that was under way.
        step: batches of it that were done.
        arrays: lists of arrays by name.
        facts: what JSON can say.
        folder: where it was read from; None for one that is yet to be written.
    """

    epoch: int
    step: int
    arrays: Mapping[str, Sequence[np.ndarray]]
    facts: dict
    folder: Path | None = None


class CheckpointFolder:
    """Writes and finds checkpoints, one sub-folder each, the two newest kept.

    A sub-folder gets its name only when all of it is on the disk, so whatever has a name is whole. Should a disk damage it all the
    same, the older one is taken.

    Args:
        path: made when something is written.
        keep: how many to keep, at least 1.

    Example:
        >>> import tempfile
        >>> folder = CheckpointFolder(Path(tempfile.mkdtemp()) / "backup")
        >>> folder.newest() is None
        True
        >>> place = folder.write(SavedState(0, 5, {"weights": [np.ones(2)]}, {"loss": 0.5}))
        >>> state = folder.newest()
        >>> state.step, state.arrays["weights"][0].tolist(), state.facts["loss"]
        (5, [1.0, 1.0], 0.5)
    """

    def __init__(self, path: str | os.PathLike, keep: int = KEEP):
        self.path = Path(path)
        self.keep = max(int(keep), 1)

    def write(self, state: SavedState) -> Path:
        """Write a checkpoint, then remove those that are too old.

        Raises:
            UserError: the disk is full, or the folder cannot be written.
        """
        place = self.path / f"epoch-{state.epoch:04d}-step-{state.step:07d}"
        beside = self.path / f".{place.name}.partial"
        try:
            # Also what a process that was killed left of another step.
            for left in self.path.glob(".epoch-*.partial"):
                shutil.rmtree(left, ignore_errors=True)
            beside.mkdir(parents=True)
            flat = {f"{name}/{i:05d}": array for name, arrays in state.arrays.items() for i, array in enumerate(arrays)}
            with open(beside / "arrays.npz", "wb") as stream:
                np.savez(stream, **flat)
                _to_disk(stream)
            facts = {"epoch": state.epoch, "step": state.step, "counts": {k: len(v) for k, v in state.arrays.items()}}
            with open(beside / "state.json", "w", encoding="utf-8") as stream:
                json.dump({**facts, "facts": state.facts}, stream)
                _to_disk(stream)
            write_manifest(beside)
            # The same step may be there from before a resume.
            swap_in(beside, place, replace=True)
            _folder_to_disk(self.path)
        except OSError as error:
            shutil.rmtree(beside, ignore_errors=True)
            raise UserError(
                f"cannot write a checkpoint: {os_error_line(error, place)} Training can go on from the one before it, with --resume."
            ) from error
        for old in self.places()[: -self.keep]:
            shutil.rmtree(old, ignore_errors=True)
        return place

    def places(self) -> list[Path]:
        """The folders of whole checkpoints, oldest first."""
        if not self.path.is_dir():
            return []
        found = [(_NAME.fullmatch(path.name), path) for path in self.path.iterdir()]
        return [path for _, path in sorted((tuple(map(int, match.groups())), path) for match, path in found if match)]

    def newest(self) -> SavedState | None:
        """The newest checkpoint that can be read; None if there is none.

        Raises:
            UserError: there are checkpoints, but none can be read.
        """
        places = self.places()
        for place in reversed(places):
            try:
                return _read(place)
            except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
                logger.warning("The checkpoint %s is damaged (%s); trying the one before it.", place, error)
        if places:
            raise UserError(f"no checkpoint in {self.path} can be read; remove that folder to start anew.")
        return None


def _read(place: Path) -> SavedState:
    check_manifest(place)
    state = json.loads((place / "state.json").read_text("utf-8"))
    with np.load(place / "arrays.npz", allow_pickle=False) as stored:
        arrays = {name: [stored[f"{name}/{i:05d}"] for i in range(count)] for name, count in state["counts"].items()}
    return SavedState(state["epoch"], state["step"], arrays, state["facts"], place)


def _to_disk(stream) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def _folder_to_disk(path: Path) -> None:
    # The new name is safe from a power cut only when the folder that holds it is on the disk too. Windows has no such call.
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
