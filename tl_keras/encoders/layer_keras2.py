"""The hub layer for Keras 2: `tensorflow_hub.KerasLayer` with our resolving, clearer refusals and a complete config."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from tl_keras._keras import keras
from tl_keras.encoders.download import tensorflow_hub
from tl_keras.encoders.layer_common import (
    load_options_config,
    load_options_from,
    load_options_here,
    match_input_dtypes,
    refuse_load_arguments,
    refuse_outside_strategy,
    refuse_training,
    require_handle,
    set_output_shapes,
    with_text_ops,
)
from tl_keras.encoders.layer_gradients import call_with_dense_gradients
from tl_keras.encoders.resolve import resolve
from tl_keras.random_operations import seeded_loading

hub = tensorflow_hub()


class KerasLayer(hub.KerasLayer):
    """Call a TF Hub module as a Keras layer; the Keras 2 form of `tl_keras.KerasLayer`.

    See `tl_keras.encoders.layer_keras3.KerasLayer` for the arguments, which are the same.
    """

    def __init__(
        self,
        handle: Any,
        trainable: bool = False,
        arguments: dict | None = None,
        *,
        tags: Iterable[str] | None = None,
        load_options: tf.saved_model.LoadOptions | dict | None = None,
        **kwargs,
    ):
        handle = os.fspath(handle) if isinstance(handle, os.PathLike) else handle
        load_options = load_options_from(load_options)
        # A mixed-precision policy would cast float inputs to float16, which no signature of the saved function takes.
        kwargs.setdefault("autocast", False)
        if callable(handle):
            refuse_load_arguments(tags, load_options)
        initialize = functools.partial(
            super().__init__,
            handle if callable(handle) else os.fspath(resolve(handle)),
            trainable=trainable,
            arguments=arguments,
            tags=tags,
            load_options=load_options if callable(handle) else load_options or load_options_here(),
            **kwargs,
        )
        with seeded_loading():
            with_text_ops(initialize)
        self._handle = handle
        # A tuple, because Keras 2 wraps a list in an object that JSON does not know.
        self._tags = None if tags is None else tuple(sorted(tags))
        self._load_options = load_options

    def __call__(self, *args, **kwargs):
        """Run the module; see `call`.

        Raises:
            UserError: the layer is trainable and cannot be trained.
        """
        # Here and not in `call`, whose errors Keras buries under a list of all arguments.
        if self.trainable:
            refuse_training(self.name, self._is_hub_module_v1, self._signature)
            refuse_outside_strategy(self.name, self.trainable_weights)
        return super().__call__(*args, **kwargs)

    def call(self, inputs, training=None):
        """Run the module on a tensor or nest of tensors; see `hub.KerasLayer`."""
        # Neither here nor in hub.KerasLayer a Python `if` asks a tensor. Keras 2 would convert both, and all that they call, which takes
        # a second or two before the first step.
        return tf.autograph.experimental.do_not_convert(self._run)(inputs, training)

    def _run(self, inputs, training):
        inputs = match_input_dtypes(self._callable, inputs)
        if training is None:
            training = keras.backend.learning_phase()
        call = functools.partial(super().call, training=training)
        if self.trainable and isinstance(training, (bool, int)) and training:
            outputs = call_with_dense_gradients(call, inputs)
        else:
            outputs = call(inputs)
        # hub.KerasLayer does so too, but gives up where the batch is unknown, as it is in a functional model.
        if hasattr(self, "_output_shape"):
            set_output_shapes(inputs, outputs, self._output_shape)
        return outputs

    def get_config(self) -> dict:
        """The constructor's arguments, `tags` and `load_options` included, which `hub.KerasLayer` leaves out."""
        require_handle(self._handle)
        config = super().get_config()
        if self._tags is not None:
            config["tags"] = list(self._tags)
        options = load_options_config(self._load_options)
        if options:
            config["load_options"] = options
        return config
