"""The regularization losses that a module brings, as Keras 3 counts them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import tensorflow as tf

from tl_keras._keras import keras
from tl_keras.errors import UserError


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
