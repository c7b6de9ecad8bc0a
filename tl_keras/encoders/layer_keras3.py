"""The hub layer for Keras 3: what `tensorflow_hub.KerasLayer` is for Keras 2, as a native `keras.layers.Layer`."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import types
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from tl_keras._keras import keras
from tl_keras.encoders.layer_common import (
    find_callable,
    load_module,
    load_options_config,
    load_options_from,
    match_input_dtypes,
    refuse_outside_strategy,
    refuse_training,
    require_handle,
    saved_signatures,
    set_output_shapes,
    shapes_from_config,
    takes_argument,
    unique_path,
)
from tl_keras.encoders.layer_gradients import attach_losses, call_with_dense_gradients
from tl_keras.errors import UserError

logger = logging.getLogger(__name__)


class KerasLayer(keras.layers.Layer):
    """Call a TF Hub module, or any TF2 SavedModel, as a Keras layer.

    The module is called with one tensor or nest of tensors. If it takes an argument `training`, it gets a Python bool:
    true only if the layer is trainable *and* the model is training, so a frozen module runs without dropout.

    A SavedModel computes in the dtypes it was saved with, whatever the dtype policy. Inputs are cast to what it takes;
    outputs are handed on as they come, and under mixed precision the next Keras layer casts them for itself.

    Args:
        handle: a TF Hub URL, a preset name, a folder or a tarball with a SavedModel; or an object that was already
            loaded, or one of its callables. Only a string can be written to a model file.
        trainable: whether the module's trainable variables learn, and its regularization losses count. It can be set at
            any time; compile the model again afterwards. Signatures and TF1 Hub modules cannot be trained.
        arguments: more keyword arguments for the module.
        tags: which graph of a TF1 SavedModel.
        signature: call this signature instead of the module itself; needs `output_key` or
            `signature_outputs_as_dict=True`.
        signature_outputs_as_dict: return all of the signature's outputs.
        output_key: return this entry of the output dict.
        output_shape: shapes of the outputs without the batch dimension, in the outputs' nest; needed only if TensorFlow
            cannot tell.
        load_options: `tf.saved_model.LoadOptions`, for instance `experimental_io_device="/job:localhost"` on a TPU.
        **kwargs: `name`, `dtype` and whatever else `keras.layers.Layer` takes.

    Raises:
        UserError: the handle, signature or output key does not exist, or two arguments contradict each other.

    Example:
        >>> layer = KerasLayer(tf.nn.l2_normalize, arguments={"axis": -1}, name="unit")
        >>> layer(tf.constant([[3.0, 4.0]])).numpy().round(2).tolist()
        [[0.6..., 0.8...]]
    """

    def __init__(
        self,
        handle: Any,
        trainable: bool = False,
        arguments: dict | None = None,
        *,
        tags: Iterable[str] | None = None,
        signature: str | None = None,
        signature_outputs_as_dict: bool | None = None,
        output_key: str | None = None,
        output_shape: Any = None,
        load_options: tf.saved_model.LoadOptions | dict | None = None,
        **kwargs,
    ):
        # `Sequential` makes a float input from `input_shape`, whatever the dtype. Without it, it waits for the first
        # batch of strings, and then makes a string input.
        if keras.dtype_policies.get(kwargs.get("dtype")).compute_dtype == "string":
            kwargs.pop("input_shape", None)
        # Casting floats to the policy's dtype would leave no signature that takes them; see `match_input_dtypes`.
        kwargs.setdefault("autocast", False)
        super().__init__(trainable=trainable, **kwargs)
        self._handle = os.fspath(handle) if isinstance(handle, os.PathLike) else handle
        self._load_options = load_options_from(load_options)
        self._func = load_module(self._handle, tags, self._load_options)
        self._is_tf1_hub = getattr(self._func, "_is_hub_module_v1", False)
        if self._is_tf1_hub:
            signature = signature or "default"
            if not signature_outputs_as_dict:
                output_key = output_key or "default"
        if signature and (output_key is not None) == bool(signature_outputs_as_dict):
            raise UserError("with signature=, give either output_key= or signature_outputs_as_dict=True.")
        if signature_outputs_as_dict and not signature:
            raise UserError("signature_outputs_as_dict=True needs signature=, or a module in the TF1 Hub format.")
        self._signature = signature
        self._outputs_as_dict = signature_outputs_as_dict
        self._output_key = output_key
        # Kept out of reach of Keras, which would track the variables a second time and wrap lists so that JSON refuses
        # them.
        self._plain = types.SimpleNamespace(
            arguments=dict(arguments or {}),
            tags=None if tags is None else sorted(tags),
            output_shape=None if output_shape is None else shapes_from_config(output_shape),
            weights={},
        )
        self._callable = find_callable(self._func, signature, self._handle)
        self._takes_training = takes_argument(self._callable, "training")
        self._warned_no_weights = False
        self._adopt_variables()
        attach_losses(self._trainable_variables, getattr(self._func, "regularization_losses", ()))

    @property
    def resolved_object(self) -> Any:
        """The object that the handle stood for: what `tf.saved_model.load` gave."""
        return self._func

    def __call__(self, *args, **kwargs):
        """Run the module; see `call`.

        Raises:
            UserError: the layer is trainable and cannot be trained.
        """
        # Here and not in `call`, whose errors Keras buries under a list of all arguments.
        if self.trainable:
            refuse_training(self.name, self._is_tf1_hub, self._signature)
            refuse_outside_strategy(self.name, [v.value for v in self.trainable_weights])
            if not self.trainable_weights and not self._warned_no_weights:
                self._warned_no_weights = True
                logger.warning("hub layer %r is trainable but has no trainable weights.", self.name)
        return super().__call__(*args, **kwargs)

    def call(self, inputs, training=None):
        """Run the module.

        Args:
            inputs: tensor or nest of tensors; a dict becomes keyword arguments of a signature.
            training: whether the model is training; has no effect on a frozen layer.

        Returns:
            What the module returns.

        Raises:
            UserError: there is no output `output_key`.
        """
        if self.trainable:
            if tf.is_tensor(training):
                return tf.cond(training, lambda: self._run(inputs, True), lambda: self._run(inputs, False))
            if training:
                return call_with_dense_gradients(lambda x: self._run(x, True), inputs)
        return self._run(inputs, False)

    def _run(self, inputs, training: bool):
        kwargs = dict(self._plain.arguments)
        if self._takes_training:
            kwargs["training"] = training
        inputs = match_input_dtypes(self._callable, inputs)
        if self._signature and isinstance(inputs, dict):
            result = self._callable(**inputs, **kwargs)
        else:
            result = self._callable(inputs, **kwargs)
        if self._output_key:
            if not isinstance(result, dict):
                raise UserError(
                    f"output_key={self._output_key!r}, but the module returns a {type(result).__name__}, not a dict."
                )
            if self._output_key not in result:
                raise UserError(f"the module has no output {self._output_key!r}; it has: {', '.join(sorted(result))}.")
            result = result[self._output_key]
        if self._plain.output_shape is not None:
            set_output_shapes(inputs, result, self._plain.output_shape)
        return result

    def compute_output_spec(self, inputs, training=None):
        """Symbolic outputs, found by tracing the module on the inputs' shapes, so that `None` stays `None`.

        Raises:
            UserError: TensorFlow cannot tell the number of dimensions, or an output is ragged.
        """
        specs = tf.nest.map_structure(lambda tensor: tf.TensorSpec(tensor.shape, tensor.dtype), inputs)
        run = tf.function(lambda x: self._run(x, False), autograph=False)
        return tf.nest.map_structure(self._keras_tensor, run.get_concrete_function(specs).structured_outputs)

    def compute_output_shape(self, input_shape):
        """Shapes of the outputs for shapes of the inputs, as far as the dtypes of the inputs can be told.

        Args:
            input_shape: tuple of int or None, batch included; or a nest of them.

        Raises:
            NotImplementedError: the module has not said which dtypes it takes.
        """
        args = next((args for args in saved_signatures(self._callable) if args), None)
        if args is None:
            raise NotImplementedError(f"layer {self.name!r} does not know its input dtypes; call it on a keras.Input.")
        inputs = tf.nest.map_structure(
            lambda spec, shape: keras.KerasTensor(tuple(shape), spec.dtype.name),
            args[0],
            shapes_from_config(input_shape),
        )
        outputs = self.compute_output_spec(inputs)
        return tf.nest.map_structure(lambda tensor: tuple(tensor.shape), outputs)

    def _keras_tensor(self, tensor):
        if isinstance(tensor, tf.RaggedTensor):
            raise UserError(
                f"layer {self.name!r} returns ragged tensors, which a Keras 3 model cannot pass on; call it in tf.data."
            )
        if tensor.shape.rank is None:
            raise UserError(
                f"the shape of an output of layer {self.name!r} is unknown; give output_shape= (without the batch)."
            )
        return keras.KerasTensor(tuple(tensor.shape), tensor.dtype.name, sparse=isinstance(tensor, tf.SparseTensor))

    def _adopt_variables(self) -> None:
        """Make the module's variables this layer's weights: the same memory, under the module's own names."""
        if isinstance(self._func, keras.layers.Layer):
            return  # Keras tracks the weights of a sub-layer already.
        trainable = list(getattr(self._func, "trainable_variables", ()))
        ids = {id(v) for v in trainable}
        others = [v for v in getattr(self._func, "variables", ()) if id(v) not in ids]
        for variable in trainable + others:
            path = unique_path(variable.name, taken=self._plain.weights)
            *scopes, name = [self.name, *path.split("/")]
            with contextlib.ExitStack() as stack:
                for scope in scopes:
                    stack.enter_context(keras.name_scope(scope))
                own = keras.Variable(
                    variable, dtype=variable.dtype.name, trainable=id(variable) in ids, autocast=False, name=name
                )
            # Newer versions of Keras adopt a tf.Variable that they are given; 3.5 copies it, and the copy would train
            # while the module went on with the original.
            if own.value is not variable:
                own._value = variable
            self._track_variable(own)
            self._plain.weights[path] = own

    def save_own_variables(self, store) -> None:
        """Write the weights under their names."""
        for name, variable in self._named_weights().items():
            store[name] = variable

    def load_own_variables(self, store) -> None:
        """Read the weights by name, so that a file written for another module is noticed.

        Raises:
            UserError: the file holds other weights than this module.
        """
        weights = self._named_weights()
        stored = set(store.keys())
        if all(key.isdigit() for key in stored) and len(stored) == len(weights):
            super().load_own_variables(store)  # by position, as Keras's own layers write them
            return
        missing, extra = sorted(weights.keys() - stored), sorted(stored - weights.keys())
        if missing or extra:
            raise UserError(
                f"the weights file was written for another module than layer {self.name!r} holds: it lacks "
                f"{len(missing)} of its weights ({', '.join(missing[:3]) or 'none'}) and has {len(extra)} others "
                f"({', '.join(extra[:3]) or 'none'})."
            )
        for name, variable in weights.items():
            variable.assign(store[name])

    def _named_weights(self) -> dict[str, keras.Variable]:
        # A slash would make a group in the HDF5 file.
        return {path.replace("/", "."): variable for path, variable in self._plain.weights.items()}

    def get_config(self) -> dict:
        """The constructor's arguments.

        Raises:
            NotImplementedError: the handle is an object, not a string.
            UserError: an argument cannot be written as JSON.
        """
        config = {**super().get_config(), "handle": require_handle(self._handle)}
        try:
            json.dumps(self._plain.arguments)
        except TypeError as error:
            raise UserError(f"arguments= of the hub layer cannot be written to a model file: {error}.") from error
        shapes = self._plain.output_shape
        entries = {
            "arguments": self._plain.arguments or None,
            "tags": self._plain.tags,
            "signature": self._signature,
            "signature_outputs_as_dict": self._outputs_as_dict,
            "output_key": self._output_key,
            "output_shape": None if shapes is None else tf.nest.map_structure(lambda x: tuple(x.as_list()), shapes),
            "load_options": load_options_config(self._load_options),
        }
        return {**config, **{name: value for name, value in entries.items() if value is not None}}
