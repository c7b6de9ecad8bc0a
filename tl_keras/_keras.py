"""The one place that knows which Keras is active.

`tf.keras` is Keras 3, unless `TF_USE_LEGACY_KERAS=1` was set before TensorFlow was imported: then it is Keras 2, from the
package `tf_keras`. We follow whatever it is and never set the variable ourselves: that would change the Keras of
everything else in the user's process.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import TypeVar

import tensorflow as tf

from tl_keras.errors import UserError


def _active_keras():
    if not getattr(tf.keras, "__version__", "2").startswith("3"):
        import tf_keras

        return tf_keras
    import keras

    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise UserError(
            f"Keras runs on the backend {backend!r}, but TF Hub modules are TensorFlow programs. "
            "Set KERAS_BACKEND=tensorflow before Python starts, or unset it."
        )
    return keras


keras = _active_keras()
IS_KERAS_3: bool = not keras.__version__.startswith("2.")
KERAS_NAME: str = f"{'keras' if IS_KERAS_3 else 'tf_keras'} {keras.__version__}"
WAY_TO_KERAS_2 = "Keras 2: `tl-keras --keras 2 ...`, or set TF_USE_LEGACY_KERAS=1 before TensorFlow is imported."


def require_keras_3(what: str) -> None:
    """Refuse, in Keras 2, what is built on KerasHub's models.

    Args:
        what: begins the message, for instance "text generation".

    Raises:
        UserError: Keras 2 is active.
    """
    if not IS_KERAS_3:
        raise UserError(
            f"{what} is built on KerasHub, which knows Keras 3 only: start Python without TF_USE_LEGACY_KERAS=1 (on the command line: "
            "tl-keras --keras 3 ...)."
        )


def register(cls):
    """Register a layer, model or optimizer under `tl_keras>Name`, so that `.keras` files can be loaded again."""
    return keras.saving.register_keras_serializable(package="tl_keras")(cls)


Made = TypeVar("Made")


def kept_with(make: Callable[[keras.Model], Made]) -> Callable[[keras.Model], Made]:
    """Remember what `make` gave for a model as long as the model lives.

    Args:
        make: gives what must not keep the model itself, or it lives for ever.
    """
    kept: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()

    @functools.wraps(make, updated=())
    def get(model):
        if not isinstance(model, keras.Model):
            return make(model)  # which says what is wrong with it
        if model not in kept:
            kept[model] = make(model)
        return kept[model]

    return get


def find_layer(model, kind: type):
    """The first layer of a kind in a model; None where there is none, or where it is no Keras model at all."""
    layers = model.layers if isinstance(model, keras.Model) else ()
    return next((layer for layer in layers if isinstance(layer, kind)), None)


def tf_variable(variable) -> tf.Variable:
    """The `tf.Variable` behind a Keras variable: itself in Keras 2, the wrapped one in Keras 3."""
    return variable.value if IS_KERAS_3 and not isinstance(variable, tf.Variable) else variable
