"""Saving and restoring a training run, so that a crash or a full disk never costs the last good state."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np
from keras import ops

from tl_keras.errors import UserError

NAME = "checkpoint.npz"
_STATE, _HASHES = "state", "sha256"
# What numpy and zipfile raise over bytes that have changed: they believe what the file says of itself.
_DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    MemoryError,
    zipfile.BadZipFile,
    zlib.error,
)


def save_checkpoint(folder: str | Path, model, state: dict) -> Path:
    """Write a checkpoint beside the last one, then put it in its place in one step.

    Args:
        folder: Where `checkpoint.npz` lies.
        model: A compiled `BertPretrainer`; its weights, its random seeds and its optimizer are saved as plain arrays,
            so the file can be read under any backend.
        state: JSON values: the step, the place among the batches, and so on.

    Returns:
        The file.

    Raises:
        UserError: It could not be written, for instance because the disk is full; the last checkpoint is as it was.
    """
    folder = Path(folder)
    final, draft = folder / NAME, folder / f".{NAME}.part"
    arrays = {name: ops.convert_to_numpy(variable) for name, variable in _variables(model).items()}
    arrays[_STATE] = np.frombuffer(json.dumps(state).encode(), np.uint8)
    # In the same file, so that a kill never leaves hashes of another checkpoint beside it.
    hashes = json.dumps({name: _sha256(array) for name, array in arrays.items()})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as stream:
            np.savez(stream, **arrays, **{_HASHES: np.frombuffer(hashes.encode(), np.uint8)})
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(draft, final)
    except OSError as error:
        draft.unlink(missing_ok=True)
        kept = "the last good one is kept" if final.is_file() else "there is no earlier one"
        raise UserError(f"the checkpoint could not be written to {folder}: {error}; {kept}") from error
    return final


def restore_checkpoint(folder: str | Path, model, weights_only: bool = False) -> dict:
    """Put a checkpoint's values into a model of the same shape and its optimizer.

    Args:
        folder: Where `checkpoint.npz` lies.
        model: A `BertPretrainer`, compiled and its optimizer built unless `weights_only`.
        weights_only: Leave the optimizer alone, as an export does.

    Returns:
        The JSON values that were saved.

    Raises:
        UserError: There is no checkpoint, or it was written by a model of another shape.
    """
    with _Stored(folder) as stored:
        for name, variable in _variables(model, optimizer=not weights_only).items():
            value = stored.array(name)
            if value is None or value.shape != tuple(variable.shape):
                found = "nothing" if value is None else f"shape {value.shape}"
                raise UserError(
                    f"the checkpoint in {folder} was written by another model: {variable.path} wants shape "
                    f"{tuple(variable.shape)} and finds {found}; give the options of the first run"
                )
            variable.assign(value)
        return stored.state()


class _Stored:
    """A checkpoint's file, whose arrays are compared with their hashes as they are read.

    Raises:
        UserError: there is none, or it is damaged.
    """

    def __init__(self, folder: str | Path):
        self.path = Path(folder) / NAME
        if not self.path.is_file():
            raise UserError(f"{folder} holds no {NAME}: there is no run to resume")
        try:
            self._data = np.load(self.path, allow_pickle=False)
        except _DAMAGE as error:
            raise self._damaged(str(error)) from error
        hashes = self._read(_HASHES) if _HASHES in self._data else None  # an earlier version wrote none
        self._hashes = {} if hashes is None else self._parse(hashes)

    def __enter__(self) -> _Stored:
        return self

    def __exit__(self, *_) -> None:
        self._data.close()

    def array(self, name: str) -> np.ndarray | None:
        """The array of that name; None if there is none."""
        if name not in self._data:
            return None
        value = self._read(name)
        if self._hashes and _sha256(value) != self._hashes.get(name):
            raise self._damaged(f"{name} is not as it was written")
        return value

    def state(self) -> dict:
        """The JSON values."""
        value = self.array(_STATE)
        if value is None:
            raise self._damaged(f"{_STATE} is missing")
        return self._parse(value)

    def _read(self, name: str) -> np.ndarray:
        try:
            return self._data[name]
        except _DAMAGE as error:
            raise self._damaged(f"{name}: {error}") from error

    def _parse(self, value: np.ndarray) -> dict:
        try:
            return dict(json.loads(value.tobytes()))
        except (ValueError, TypeError) as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, why: str) -> UserError:
        return UserError(
            f"{self.path} is damaged and cannot be read as a checkpoint ({' '.join(why.split())}); take a copy of it that is whole, or "
            "start anew without --resume"
        )


def _sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).reshape(-1).view(np.uint8)).hexdigest()


def _variables(model, optimizer: bool = True) -> dict:
    # By position: Keras numbers the names of unnamed layers anew in each process.
    named = {f"model_{index:04d}": variable for index, variable in enumerate(model.variables)}
    if optimizer:
        named |= {f"optimizer_{index:04d}": variable for index, variable in enumerate(model.optimizer.variables)}
    return named
