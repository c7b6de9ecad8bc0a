"""Gradients and losses of a hub module under Keras 3: dense gradients, and regularization losses that count once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import record
from tensorflow.python.ops import handle_data_util

from tl_keras._keras import keras
from tl_keras.errors import UserError


def call_with_dense_gradients(function: Callable, inputs: Any) -> Any:
    """Return `function(inputs)`; the gradients of the variables it reads are tensors, never `tf.IndexedSlices`.

    The gradient of an embedding comes as slices, one for each token, the same row many times over. Keras 3's optimizers
    square such slices before they add up the repeated rows (Keras 2 adds them up first), so that Adam moves the vectors of
    frequent tokens by a step that is too large by up to the square root of their count; and both measure the norm for
    clipping on rows that are not added up. Dense gradients leave nothing to add up, and make both train alike.

    Args:
        function: takes `inputs` and returns a tensor or nest of tensors.
        inputs: tensor or nest of tensors.
    """
    flat = [tf.convert_to_tensor(x) for x in tf.nest.flatten(inputs, expand_composites=True)]
    call = _call_eagerly if tf.executing_eagerly() else _call_in_graph
    return call(lambda flat: function(tf.nest.pack_sequence_as(inputs, flat, expand_composites=True)), flat)


def _call_eagerly(function: Callable, flat: list[tf.Tensor]) -> Any:
    returned = []

    @tf.custom_gradient
    def run(*flat):
        floats = [x for x in flat if x.dtype.is_floating]
        with tf.GradientTape() as tape:
            tape.watch(floats)
            outputs = function(flat)
        returned.append(outputs)
        flat_outputs = tf.nest.flatten(outputs, expand_composites=True)

        def gradient(*upstream, variables=()):
            found = _dense(tape.gradient(flat_outputs, [*floats, *variables], output_gradients=list(upstream)))
            of_floats = iter(found[: len(floats)])
            return [next(of_floats) if x.dtype.is_floating else None for x in flat], found[len(floats) :]

        return flat_outputs, gradient

    flat_outputs = run(*flat)
    return tf.nest.pack_sequence_as(returned[-1], flat_outputs, expand_composites=True)


def _call_in_graph(function: Callable, flat: list[tf.Tensor]) -> Any:
    """The same while a graph is built; what `tf.custom_gradient` does there, but for what it leaves behind.

    TensorFlow never forgets a gradient that was registered (https://github.com/tensorflow/tensorflow/issues/80895), and that of
    `tf.custom_gradient` holds the tensors of its graph, and with them the graph, its variables and the layer: every model trained
    would stay in memory until the process ends. Ours hangs on its operation, and finds there all it needs.
    """
    with record.VariableWatcher() as watcher:
        outputs = function(flat)
    flat_outputs = tf.nest.flatten(outputs, expand_composites=True)
    variables = sorted((v.deref() for v in {v.ref() for v in watcher.watched_variables()}), key=lambda v: v.name)
    floats = [x for x in flat if x.dtype.is_floating]
    tensors = [*flat_outputs, *floats, *(tf.convert_to_tensor(v.handle) for v in variables)]
    gradient = functools.partial(_gradients_at, len(flat_outputs))
    with tensors[0].graph._override_gradient_function({"IdentityN": gradient}):
        same = tf.raw_ops.IdentityN(input=tensors)
    for tensor, copy in zip(tensors, same, strict=True):
        handle_data_util.copy_handle_data(tensor, copy)
    # A tape is told what `tf.gradients` finds at the operation. It goes when the step is traced.
    flat_same, operation = same[: len(flat_outputs)], same[0].op
    record.record_operation("DenseGradients", flat_same, tensors, functools.partial(gradient, operation))
    return tf.nest.pack_sequence_as(outputs, flat_same, expand_composites=True)


def _gradients_at(count: int, operation: tf.Operation, *upstream: tf.Tensor) -> list[tf.Tensor | None]:
    """Gradients of an operation's inputs: first the `count` outputs of a function, then what they may depend on."""
    inputs = list(operation.inputs)
    return [None] * count + _dense(tf.gradients(inputs[:count], inputs[count:], grad_ys=list(upstream[:count])))


def _dense(gradients) -> list:
    return [None if value is None else tf.convert_to_tensor(value) for value in gradients]


def attach_losses(weights: Sequence[keras.Variable], losses: Iterable[Callable]) -> None:
    """Hand each regularization loss to the weight it reads, as that weight's regularizer.

    Keras adds up the regularizers of trainable weights only, once for each weight however often the layer is called, which is what
    `hub.KerasLayer` does with its list of losses.

    Args:
        weights: of the layer, those that may learn.
        losses: each returns a scalar.

    Raises:
        UserError: one of the losses cannot be called.
    """
    # A mirrored variable is read through its copy on the replica.
    own = {id(copy): v for v in weights for copy in (v.value, *getattr(v.value, "values", ()))}
    by_weight: dict[str, list[Callable]] = {}
    for loss in losses:
        if not callable(loss):
            raise UserError("regularization_losses of the module must be callables, each of which returns a scalar.")
        if not own:
            return
        with tf.GradientTape() as tape:
            loss()
        read = [own[id(v)] for v in tape.watched_variables() if id(v) in own] or list(own.values())
        by_weight.setdefault(read[0].path, []).append(loss)
    for variable in weights:
        if variable.path in by_weight:
            variable.regularizer = _ModuleLosses(by_weight[variable.path])


class _ModuleLosses(keras.regularizers.Regularizer):
    """The losses that read one weight; they hold that weight themselves."""

    def __init__(self, functions: list[Callable]):
        self.functions = functions

    def __call__(self, weight):
        return tf.add_n([function() for function in self.functions])
