"""`KerasLayer`: a TF Hub module as a layer of whichever Keras is active.

Under Keras 2 it is a thin subclass of `tensorflow_hub.KerasLayer`, under Keras 3 its twin. Both take the same arguments
and give the same outputs and gradients.

Example:
    >>> import tensorflow as tf
    >>> layer = KerasLayer(tf.nn.l2_normalize, arguments={"axis": -1}, name="unit")
    >>> layer(tf.constant([[3.0, 4.0]])).numpy().round(2).tolist()
    [[0.6..., 0.8...]]
"""

from __future__ import annotations

from tl_keras._keras import IS_KERAS_3, register

if IS_KERAS_3:
    from tl_keras.encoders.layer_keras3 import KerasLayer
else:
    from tl_keras.encoders.layer_keras2 import KerasLayer

# Registered here, so that whoever imports the other file does not take its name away.
KerasLayer = register(KerasLayer)

__all__ = ["KerasLayer"]
