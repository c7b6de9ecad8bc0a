"""Call a function so that its variables get dense gradients."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import tensorflow as tf


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
    returned = []

    @tf.custom_gradient
    def run(*flat):
        floats = [x for x in flat if x.dtype.is_floating]
        # In a graph, a second tape would make TensorFlow prepare gradients of gradients, which triples the time to trace.
        tape = tf.GradientTape() if tf.executing_eagerly() else contextlib.nullcontext()
        with tape:
            if tf.executing_eagerly():
                tape.watch(floats)
            outputs = function(tf.nest.pack_sequence_as(inputs, flat, expand_composites=True))
        returned.append(outputs)
        flat_outputs = tf.nest.flatten(outputs, expand_composites=True)

        def gradient(*upstream, variables=()):
            sources = [*floats, *variables]
            if tf.executing_eagerly():
                found = tape.gradient(flat_outputs, sources, output_gradients=list(upstream))
            else:
                found = tf.gradients(flat_outputs, sources, grad_ys=list(upstream))
            dense = [None if value is None else tf.convert_to_tensor(value) for value in found]
            of_floats = iter(dense[: len(floats)])
            return [next(of_floats) if x.dtype.is_floating else None for x in flat], dense[len(floats) :]

        return flat_outputs, gradient

    flat_outputs = run(*tf.nest.flatten(inputs, expand_composites=True))
    return tf.nest.pack_sequence_as(returned[-1], flat_outputs, expand_composites=True)
