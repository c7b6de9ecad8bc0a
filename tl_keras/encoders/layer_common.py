"""What the layers for Keras 2 and Keras 3 share: loading, the callable, dtypes of inputs, refusals, arguments in a config and back."""

from __future__ import annotations

import inspect
import itertools
import os
import re
from collections.abc import Callable, Container, Iterable
from typing import Any

import tensorflow as tf

from tl_keras.encoders.resolve import resolve
from tl_keras.errors import UserError
from tl_keras.random_operations import seeded_loading
from tl_keras.saved_models import load_saved_model


def load_module(handle: Any, tags: Iterable[str] | None, load_options: tf.saved_model.LoadOptions | None) -> Any:
    """Load what `handle` means, as `hub.load` does; a callable is returned as it is.

    Args:
        handle: a TF Hub URL, folder or tarball, or an object already loaded.
        tags: which graph of a TF1 SavedModel; None for its only one (for TF1 Hub modules: the one without tags).
        load_options: of `tf.saved_model.load`; by default what the active strategy needs.

    Raises:
        UserError: nothing is found under the handle, or a callable comes with options that only loading can follow.
    """
    if callable(handle):
        refuse_load_arguments(tags, load_options)
        return handle
    folder = os.fspath(resolve(handle))
    is_tf1_hub = tf.io.gfile.exists(os.path.join(folder, "tfhub_module.pb"))
    if tags is None and is_tf1_hub:
        tags = []
    tags = None if tags is None else list(tags)
    options = load_options or load_options_here()
    with seeded_loading():
        module = load_saved_model(
            folder, lambda: with_text_ops(lambda: tf.saved_model.load(folder, tags=tags, options=options))
        )
    # The name under which tensorflow_hub keeps this, so that its layer and ours read the same mark.
    module._is_hub_module_v1 = is_tf1_hub
    return module


def refuse_load_arguments(tags: Any, load_options: Any) -> None:
    """Raise `UserError` if one of these is given, for a handle that needs no loading."""
    for name, value in (("tags", tags), ("load_options", load_options)):
        if value is not None:
            raise UserError(f"{name}= says how to load a SavedModel, but this handle is loaded already; leave it out.")


def with_text_ops(load: Callable[[], Any]) -> Any:
    """Return `load()`; if it misses an op, once more with the ops of tensorflow_text registered.

    Modules that tokenize inside, such as the multilingual sentence encoders, use them.
    """
    try:
        return load()
    except (tf.errors.OpError, RuntimeError, ValueError, KeyError) as error:
        if "Op type not registered" not in str(error):
            raise
    import tensorflow_text  # noqa: F401

    return load()


def refuse_training(layer_name: str, is_tf1_hub: bool, signature: str | None) -> None:
    """Raise if a trainable layer cannot be trained.

    Checked at each call, because `layer.trainable` can be set at any time.

    Args:
        layer_name: for the message.
        is_tf1_hub: the module is in the TF1 Hub format.
        signature: the SavedModel signature the layer calls, if any.

    Raises:
        UserError: one of these holds.
    """
    # A signature is a frozen picture of one graph. It takes no `training` argument, so dropout and batch normalization
    # cannot be told to learn; it brings neither update operations nor regularization losses; and the trainable
    # variables behind it are not listed. The TF1 Hub format can only be called through signatures.
    if is_tf1_hub:
        raise UserError(
            f"layer {layer_name!r} is a module in the TF1 Hub format, which cannot be trained: TF2 calls it through a "
            "signature, which has no training mode, no update operations and no regularization losses. "
            "Set trainable=False, or use the module's TF2 version."
        )
    if signature:
        raise UserError(
            f"layer {layer_name!r} calls the signature {signature!r}, which cannot be trained: a signature has no "
            "training mode, no update operations and no regularization losses. Set trainable=False, or leave out "
            "signature=."
        )


def refuse_outside_strategy(layer_name: str, variables: Iterable[tf.Variable]) -> None:
    """Raise if the active `tf.distribute` strategy did not make a layer's variables.

    Replicas that train would each update the one variable they share, and their copies of everything else would drift apart. Replicas
    that only read it would fetch it from the device where it is.

    Args:
        layer_name: for the message.
        variables: of the layer.

    Raises:
        UserError: it did not.
    """
    if created_outside_strategy(variables):
        raise UserError(
            f"layer {layer_name!r} was loaded outside the tf.distribute strategy that trains it, so its weights are "
            "not mirrored on the replicas; load it inside `with strategy.scope():`."
        )


def created_outside_strategy(variables: Iterable[tf.Variable]) -> bool:
    """Whether a `tf.distribute` strategy is active that did not create these variables."""
    if not tf.distribute.has_strategy():
        return False
    extended = tf.distribute.get_strategy().extended
    return any(not extended.variable_created_in_scope(variable) for variable in variables)


def match_input_dtypes(function: Callable, inputs: Any) -> Any:
    """Cast numbers to the dtype that a loaded function was saved with: floats to its floats, integers to its integers.

    A SavedModel computes in the dtypes fixed when it was saved, whatever the dtype policy; `[batch, n]` floats that a
    mixed-precision model has cast to float16, or int64 ids out of NumPy, would match none of its signatures.

    Args:
        function: the loaded callable.
        inputs: tensor or nest of tensors.

    Returns:
        The same nest, cast where needed.
    """
    specs = _input_specs(function, inputs)

    def cast(tensor, spec=None):
        if not isinstance(tensor, (tf.Tensor, tf.Variable)):
            return tensor
        # float32, where the function does not say.
        wanted = spec.dtype if spec is not None else tf.float32 if tensor.dtype.is_floating else tensor.dtype
        same_kind = (tensor.dtype.is_floating and wanted.is_floating) or (tensor.dtype.is_integer and wanted.is_integer)
        return tf.cast(tensor, wanted) if same_kind and tensor.dtype != wanted else tensor

    if specs is None:
        return tf.nest.map_structure(cast, inputs)
    return tf.nest.map_structure(cast, inputs, specs)


def saved_signatures(function: Callable) -> list[tuple]:
    """Positional arguments, as nests of `tf.TensorSpec`, of each graph that a loaded function was saved with."""
    for candidate in (function, function.__call__):
        if hasattr(candidate, "concrete_functions"):
            return [concrete.structured_input_signature[0] for concrete in candidate.concrete_functions]
    return []


def _input_specs(function: Callable, inputs: Any) -> Any:
    """The specs of the first argument in the first graph with the same nest as `inputs`; None if there is none."""
    for args in saved_signatures(function):
        try:
            tf.nest.assert_same_structure(inputs, args[0])
        except (IndexError, TypeError, ValueError):
            continue
        if all(isinstance(spec, tf.TensorSpec) for spec in tf.nest.flatten(args[0])):
            return args[0]
    return None


def find_callable(module: Any, signature: str | None, handle: Any) -> Callable:
    """What the layer calls: the module itself, or one of its signatures.

    Args:
        module: from `load_module`.
        signature: name of a signature, or None.
        handle: for the message.

    Raises:
        UserError: the module cannot be called, or has no such signature.
    """
    if callable(module) and not signature:
        return module
    signatures = getattr(module, "signatures", {})
    names = ", ".join(sorted(signatures)) or "none"
    # A SavedModel without `__call__` may hold any number of functions; which of them is meant cannot be guessed.
    if not signature:
        raise UserError(
            f"{handle} cannot be called by itself; name one of its signatures with signature= (it has: {names})."
        )
    if signature not in signatures:
        raise UserError(f"{handle} has no signature {signature!r}; it has: {names}.")
    return signatures[signature]


def takes_argument(function: Callable, name: str) -> bool:
    """Whether `function` has a parameter called `name`."""
    try:
        return name in inspect.signature(function.__call__).parameters
    except (TypeError, ValueError):
        return False


def unique_path(name: str, taken: Container[str]) -> str:
    """The path for a variable of this name in a module whose other paths are `taken`.

    Example:
        >>> unique_path("dense/kernel:0", taken={}), unique_path("dense/kernel:0", taken={"dense/kernel"})
        ('dense/kernel', 'dense/kernel_1')
    """
    # What remains is allowed in TensorFlow's name scopes, which Keras opens for each part of the path.
    base = (
        "/".join(re.sub(r"[^A-Za-z0-9_.\\-]", "_", part) for part in name.split(":")[0].split("/") if part)
        or "variable"
    )
    return next(
        path for path in itertools.chain([base], (f"{base}_{i}" for i in itertools.count(1))) if path not in taken
    )


def set_output_shapes(inputs: Any, outputs: Any, shapes: Any) -> None:
    """Tell TensorFlow the shapes of `outputs`: the batch of `inputs`, and then `shapes`, in the nest of `outputs`."""
    batch = tf.nest.flatten(inputs)[0].shape[:1]
    tf.nest.map_structure(lambda tensor, shape: tensor.set_shape(batch.concatenate(shape)), outputs, shapes)


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
