"""`KerasLayer`: a TF Hub module as a layer of whichever Keras is active.

Under Keras 2 it is a thin subclass of `tensorflow_hub.KerasLayer`, under Keras 3 its twin. Both take the same arguments
and give the same outputs and gradients.
"""

from __future__ import annotations

from tl_keras._keras import IS_KERAS_3

if IS_KERAS_3:
    from tl_keras.hub.layer_keras3 import KerasLayer
else:
    from tl_keras.hub.layer_keras2 import KerasLayer

__all__ = ["KerasLayer"]
