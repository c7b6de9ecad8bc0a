"""The forward pass that a pair's encoder has, for use in this process: to train it, to measure it, to try it."""

from __future__ import annotations

import tensorflow as tf

from tl_keras.encoders.encoder_weights import EncoderWeights
from tl_keras.encoders.pair_encoder import EncoderModule


class Network(EncoderModule):
    """An `EncoderModule` without what makes it a SavedModel of TF Hub's form.

    Args:
        weights: its values to begin with.

    Attributes:
        arrays: its variables by the names of `EncoderWeights.arrays`.
    """

    def __init__(self, weights: EncoderWeights):
        tf.Module.__init__(self, name="network")
        self._config = weights
        self._v = {name: tf.Variable(array, name=name) for name, array in weights.arrays.items()}

    @property
    def arrays(self) -> dict[str, tf.Variable]:
        """Its variables by name."""
        return self._v

    def forward(self, inputs: dict[str, tf.Tensor]) -> dict:
        """Run it without dropout; inputs and outputs as of `EncoderModule`."""
        return self._forward(inputs, False)
