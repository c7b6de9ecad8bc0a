"""Loading a SavedModel: compared with its manifest first, and what TensorFlow makes of damage said in one line."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from tl_keras.errors import UserError
from tl_keras.manifest import MANIFEST, check_manifest
from tl_keras.system_errors import os_error_line, tensorflow_error_line

_REMEDY = "copy or download it again, or make it anew"
# What TensorFlow's loader raises over files that are cut off or changed: it believes what they say.
_FAULTS = (
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    RuntimeError,
    AssertionError,
    NotImplementedError,
    EOFError,
)


def load_saved_model(folder: str | os.PathLike, load: Callable[[], Any] | None = None) -> Any:
    """Load a SavedModel.

    A SavedModel is a program that TensorFlow runs: load only what comes from people you trust.

    Args:
        folder: the SavedModel's folder.
        load: how to load it; by default `tf.saved_model.load`.

    Raises:
        UserError: it is damaged; names the file where its manifest tells.
    """
    check_saved_model(folder)
    try:
        return tf.saved_model.load(os.fspath(folder)) if load is None else load()
    except UserError:
        raise
    except (OSError, tf.errors.OpError, *_FAULTS) as error:
        # TensorFlow also raises an OSError, without a number, for a file that it cannot parse.
        by_system = isinstance(error, OSError) and error.errno is not None
        line = os_error_line(error, folder) if by_system else tensorflow_error_line(error, folder)
        reason = " ".join((str(error).strip() or type(error).__name__).splitlines()[0].split())[:200]
        raise UserError(line or f"{folder} cannot be loaded ({reason}); {_REMEDY}.") from error


def check_saved_model(folder: str | os.PathLike) -> None:
    """Compare a SavedModel with its manifest, or with its part of that of the encoder pair it belongs to.

    Raises:
        UserError: a file is missing or changed.
    """
    if "://" in os.fspath(folder):
        return
    folder = Path(folder)
    if (folder / MANIFEST).is_file():
        check_manifest(folder, _REMEDY)
    elif (folder.parent / MANIFEST).is_file():
        check_manifest(folder.parent, _REMEDY, below=f"{folder.name}/")
