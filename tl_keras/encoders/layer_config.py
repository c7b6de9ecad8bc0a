"""The hub layer's arguments as entries of a Keras config, and back."""

from __future__ import annotations

import json
from typing import Any

import tensorflow as tf

from tl_keras.errors import UserError

_LOAD_OPTIONS = (
    "allow_partial_checkpoint",
    "experimental_io_device",
    "experimental_skip_checkpoint",
    "experimental_variable_policy",
)


def load_options_here() -> tf.saved_model.LoadOptions | None:
    """How to load a SavedModel in the active `tf.distribute` scope; None where nothing has to be said.

    On a TPU, files of this machine can only be read by this machine, and not by the TPU's own host.
    """
    if isinstance(tf.distribute.get_strategy(), tf.distribute.TPUStrategy):
        return tf.saved_model.LoadOptions(experimental_io_device="/job:localhost")
    return None


def load_options_config(options: tf.saved_model.LoadOptions | None) -> dict | None:
    """`options` as a dict for a layer's config: those entries that differ from the default."""
    if options is None:
        return None
    default = tf.saved_model.LoadOptions()
    entries = {
        name: getattr(options, name) for name in _LOAD_OPTIONS if getattr(options, name) != getattr(default, name)
    }
    if "experimental_variable_policy" in entries:
        entries["experimental_variable_policy"] = entries["experimental_variable_policy"].value
    return entries or None


def load_options_from(options: tf.saved_model.LoadOptions | dict | None) -> tf.saved_model.LoadOptions | None:
    """The inverse of `load_options_config`; an object passes through."""
    return tf.saved_model.LoadOptions(**options) if isinstance(options, dict) else options


def require_json(name: str, value: Any) -> Any:
    """Return `value` if a layer's config can hold it.

    Raises:
        UserError: it cannot be written as JSON.
    """
    try:
        json.dumps(value)
    except TypeError as error:
        raise UserError(f"{name}= of the hub layer cannot be written to a model file: {error}.") from error
    return value


def require_handle(handle: Any) -> str:
    """Return `handle` if a layer's config can hold it.

    Raises:
        NotImplementedError: it is an object; this is the type by which Keras learns that a layer has no config.
    """
    if isinstance(handle, str):
        return handle
    raise NotImplementedError(
        "a hub layer made from an object that was already loaded cannot be written to a model file, because the file "
        f"holds only the handle, not the module's graph, and this handle is a {type(handle).__name__}; "
        "make the layer from a path or URL, or save weights only."
    )


def shapes_from_config(nest: Any) -> Any:
    """A nest of tuples or lists of int or None, as a nest of `tf.TensorShape`.

    Example:
        >>> shapes_from_config({"a": (3,), "b": [None, 4]})
        {'a': TensorShape([3]), 'b': TensorShape([None, 4])}
    """
    if isinstance(nest, dict):
        return {name: shapes_from_config(value) for name, value in nest.items()}
    try:
        return tf.TensorShape(nest)
    except TypeError:
        if isinstance(nest, (list, tuple)):
            return type(nest)(shapes_from_config(value) for value in nest)
        raise UserError(f"{nest!r} is no shape: give a tuple of int or None, or a nest of such tuples.") from None


def shapes_to_config(nest: Any) -> Any:
    """The inverse of `shapes_from_config`; None stays None."""
    return None if nest is None else tf.nest.map_structure(lambda shape: tuple(shape.as_list()), nest)
