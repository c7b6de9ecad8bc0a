"""Loading a SavedModel: compared with its manifest first, and what TensorFlow makes of damage said in one line."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from tl_keras.errors import UserError, os_error_line, tensorflow_error_line
from tl_keras.manifest import MANIFEST, check_manifest

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
