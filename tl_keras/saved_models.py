"""SavedModels as folders: loaded after a look at their manifests, their task, numbered versions as TensorFlow Serving watches them.

Importing this loads no TensorFlow.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tl_keras.errors import UserError, no_os_error, os_error_line, tensorflow_error_line
from tl_keras.files import whole_folder
from tl_keras.manifest import MANIFEST, check_manifest
from tl_keras.paths import on_disk

TASK = "tl_keras_task"
"""Of an export's object: a function without arguments that gives the task, such as `text-classification`."""
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
    import tensorflow as tf

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


def exported_task(folder: str | os.PathLike) -> str | None:
    """Which task a SavedModel is an export for; None for one that `tl_keras.export` did not write.

    Loading it to see would cost as much as using it: the constant is read from its graph.

    Args:
        folder: with `saved_model.pb`.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    try:
        saved = saved_model_pb2.SavedModel.FromString((Path(folder) / "saved_model.pb").read_bytes())
        (graph,) = saved.meta_graphs
    except (OSError, DecodeError, ValueError):
        return None  # whoever loads it says what is wrong with it
    nodes = graph.object_graph_def.nodes
    places = [child.node_id for child in nodes[0].children if child.local_name == TASK] if nodes else []
    if not places:
        return None
    (name,) = nodes[places[0]].function.concrete_functions
    body = next(function for function in graph.graph_def.library.function if function.signature.name == name)
    value = next(node for node in body.node_def if node.op == "Const").attr["value"]
    return value.tensor.string_val[0].decode()


def versions_of(path: str | os.PathLike) -> dict[int, Path]:
    """The SavedModels at a path, by version: of a folder of numbered versions, of a run folder, or the one that the path itself is.

    A folder whose name is no number counts as version 1.

    Raises:
        UserError: there is none.
    """
    path = on_disk(path)
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
