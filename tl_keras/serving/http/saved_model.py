"""A SavedModel as the server uses it: its signatures, called with NumPy arrays, and its description. Plain TensorFlow, no Keras."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  (registers the ops of the tokenizer inside)
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import saved_model_pb2

from tl_keras.errors import UserError
from tl_keras.saved_models import load_saved_model

DEFAULT_SIGNATURE = "serving_default"


class Signature:
    """One function of a SavedModel: columns of rows in, columns of rows out.

    Args:
        name: of the signature.
        function: the loaded function, taking and giving tensors by name.

    Attributes:
        inputs: `tf.TensorSpec` by name, each with a free first dimension.
        outputs: names of what it gives.
    """

    def __init__(self, name: str, function):
        self.name = name
        self.function = function
        self.inputs: dict[str, tf.TensorSpec] = dict(function.structured_input_signature[1])
        self.outputs = tuple(function.structured_outputs)

    @property
    def batched(self) -> bool:
        """Whether rows of several requests can go through it together: every input has a free first dimension."""
        shapes = [spec.shape for spec in self.inputs.values()]
        return bool(shapes) and all(shape.rank and shape[0] is None for shape in shapes)

    def __call__(self, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs of rows; strings are arrays of `bytes`.

        Raises:
            tf.errors.OpError: an operation of the model refused the values.
        """
        tensors = {name: tf.constant(values, self.inputs[name].dtype) for name, values in columns.items()}
        return {name: value.numpy() for name, value in self.function(**tensors).items()}

    def warm_up(self) -> None:
        """Run it once: the first call prepares the graph, which no client should wait for."""
        columns = {}
        for name, spec in self.inputs.items():
            shape = [1, *(1 if size is None else size for size in spec.shape[1:])]
            columns[name] = np.full(shape, "warm" if spec.dtype == tf.string else 0, object)
            if spec.dtype != tf.string:
                columns[name] = columns[name].astype(spec.dtype.as_numpy_dtype)
        self(columns)


class SavedModel:
    """A loaded SavedModel.

    Args:
        folder: with `saved_model.pb`.

    Raises:
        UserError: it cannot be loaded, or has nothing that can be served.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.module = load_saved_model(folder)
        found = {name: Signature(name, function) for name, function in self.module.signatures.items()}
        self.signatures = {name: signature for name, signature in found.items() if signature.batched}
        if DEFAULT_SIGNATURE not in self.signatures:
            raise UserError(
                f"{folder} is a SavedModel, but no export: it has no signature {DEFAULT_SIGNATURE} for batches of rows."
            )
        # A classifier's own names, for `:classify`; other exports have none.
        names = getattr(self.module, "class_names", None)
        self.class_names = None if names is None else [name.decode() for name in names().numpy()]

    def warm_up(self) -> None:
        """Run every signature once.

        Raises:
            UserError: one of them does not run.
        """
        for signature in self.signatures.values():
            try:
                signature.warm_up()
            except tf.errors.OpError as error:
                raise UserError(f"{self.folder}: signature {signature.name} fails: {_first_line(error)}") from error

    def signature_def(self) -> dict:
        """The signatures as TensorFlow Serving's metadata shows them: the `SignatureDef`s, as JSON."""
        stored = saved_model_pb2.SavedModel.FromString((self.folder / "saved_model.pb").read_bytes())
        graph = next(graph for graph in stored.meta_graphs if "serve" in graph.meta_info_def.tags)
        return {
            name: {
                "inputs": {key: _tensor_info(info) for key, info in definition.inputs.items()},
                "outputs": {key: _tensor_info(info) for key, info in definition.outputs.items()},
                "method_name": definition.method_name,
            }
            for name, definition in graph.signature_def.items()
        }


def _tensor_info(info) -> dict:
    """A `TensorInfo` as JSON, as TensorFlow Serving writes it: what is zero or empty too, and 64-bit numbers as strings."""
    shape = info.tensor_shape
    return {
        "dtype": types_pb2.DataType.Name(info.dtype),
        "tensor_shape": {
            "dim": [{"size": str(dimension.size), "name": dimension.name} for dimension in shape.dim],
            "unknown_rank": shape.unknown_rank,
        },
        "name": info.name,
    }


def _first_line(error: Exception) -> str:
    return str(getattr(error, "message", None) or error).strip().splitlines()[0][:300]
