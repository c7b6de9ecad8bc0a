"""A masked-LM head that learns beside a distillation: which word stood where the student read a mask?"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tl_keras.encoders.encoder_weights import EncoderWeights, MlmWeights
from tl_keras.encoders.pair_encoder import Network

_HEAD = "bert/cls/predictions"


class MaskedWordsHead:
    """A dense layer, a layer normalisation and a bias over the vocabulary, which score with the word embeddings.

    Args:
        encoder: the weights that it stands on: their width, their embeddings' width, their activation.
        frequencies: how often each token occurs, int `[vocabulary]`. The bias begins at the logarithm, so that the head
            need not first learn which tokens are frequent.
        seed: of the dense layer's first values.
    """

    def __init__(self, encoder: EncoderWeights, frequencies: np.ndarray, seed: int = 0):
        size, width = encoder.arrays["word_embeddings/embeddings"].shape[1], encoder.width
        self._weights, self.epsilon = encoder, encoder.epsilon
        kernel = np.random.default_rng(seed).normal(size=(width, size)) * width**-0.5
        arrays = {
            "transform/dense/kernel": kernel,
            "transform/dense/bias": np.zeros(size),
            "transform/LayerNorm/gamma": np.ones(size),
            "transform/LayerNorm/beta": np.zeros(size),
            "output_bias/bias": np.log((frequencies + 1) / (frequencies + 1).sum()),
        }
        self._arrays = {
            f"{_HEAD}/{name}": tf.Variable(array, dtype=tf.float32, name=name) for name, array in arrays.items()
        }

    @property
    def variables(self) -> list[tf.Variable]:
        """What learns."""
        return list(self._arrays.values())

    def losses(self, network: Network, outputs: tf.Tensor, wanted: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean cross-entropy in nats, and the fraction that is right; both 0 without any mask.

        Args:
            network: what gave the outputs; its embeddings score.
            outputs: float32 `[masks, width]`.
            wanted: int32 `[masks]`, the tokens that were masked.

        Source: Devlin et al. 2019, https://arxiv.org/abs/1810.04805, section 3.1.
        """
        logits = self._logits(network, outputs)
        entropies = tf.nn.sparse_softmax_cross_entropy_with_logits(wanted, logits)
        right = tf.cast(tf.equal(tf.argmax(logits, axis=1, output_type=tf.int32), wanted), tf.float32)
        count = tf.cast(tf.size(wanted), tf.float32)
        return (
            tf.math.divide_no_nan(tf.reduce_sum(entropies), count),
            tf.math.divide_no_nan(tf.reduce_sum(right), count),
        )

    def weights(self) -> MlmWeights:
        """The head as it is now."""
        arrays = {name: np.asarray(variable) for name, variable in self._arrays.items()}
        return MlmWeights(arrays, self.epsilon, self._weights.activation)

    def _logits(self, network: Network, outputs: tf.Tensor) -> tf.Tensor:
        part = self._arrays
        x = tf.matmul(outputs, part[f"{_HEAD}/transform/dense/kernel"]) + part[f"{_HEAD}/transform/dense/bias"]
        x = self._weights.activation(x)
        mean, variance = tf.nn.moments(x, axes=[1], keepdims=True)
        x = (x - mean) * tf.math.rsqrt(variance + self.epsilon)
        x = x * part[f"{_HEAD}/transform/LayerNorm/gamma"] + part[f"{_HEAD}/transform/LayerNorm/beta"]
        table = network.arrays["word_embeddings/embeddings"]
        return tf.matmul(x, table, transpose_b=True) + part[f"{_HEAD}/output_bias/bias"]
