"""Saving and restoring a training run, so that a crash or a full disk never costs the last good state."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import numpy as np
from keras import ops

from tl_keras.errors import UserError

NAME = "checkpoint.npz"


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
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as stream:
            np.savez(stream, state=np.frombuffer(json.dumps(state).encode(), np.uint8), **arrays)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(draft, final)
    except OSError as error:
        draft.unlink(missing_ok=True)
        kept = "the last good one is kept" if final.is_file() else "there is no earlier one"
        raise UserError(f"the checkpoint could not be written to {folder}: {error}; {kept}") from error
    return final


def read_state(folder: str | Path) -> dict:
    """The JSON values of a checkpoint.

    Raises:
        UserError: There is no checkpoint, or it cannot be read.
    """
    with _open(folder) as data:
        return json.loads(data["state"].tobytes())


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
    with _open(folder) as data:
        for name, variable in _variables(model, optimizer=not weights_only).items():
            if name not in data or data[name].shape != tuple(variable.shape):
                found = "nothing" if name not in data else f"shape {data[name].shape}"
                raise UserError(
                    f"the checkpoint in {folder} was written by another model: {variable.path} wants shape "
                    f"{tuple(variable.shape)} and finds {found}; give the options of the first run"
                )
            variable.assign(data[name])
        return json.loads(data["state"].tobytes())


def _open(folder: str | Path):
    path = Path(folder) / NAME
    if not path.is_file():
        raise UserError(f"{folder} holds no {NAME}: there is no run to resume")
    try:
        return np.load(path)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} cannot be read as a checkpoint: {error}") from error


def _variables(model, optimizer: bool = True) -> dict:
    # By position: Keras numbers the names of unnamed layers anew in each process.
    named = {f"model_{index:04d}": variable for index, variable in enumerate(model.variables)}
    if optimizer:
        named |= {f"optimizer_{index:04d}": variable for index, variable in enumerate(model.optimizer.variables)}
    return named
