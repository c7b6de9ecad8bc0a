"""A vector of which pieces a text has, beside the one of what it means: for encoders that compare poorly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tl_keras._keras import keras, register
from tl_keras.errors import UserError
from tl_keras.hub.encoder import Encoder
from tl_keras.text.preprocessor import piece_counts

TEXTS_AT_ONCE = 1024


@register
class LexicalVector(keras.layers.Layer):
    """The sum of fixed random vectors of a text's pieces, each times its weight: TF-IDF in few numbers.

    The dot product of two such vectors is about the sum, over the pieces that both texts have, of the squared weights: random
    vectors are nearly at right angles. Of the cosine of TF-IDF vectors it is off by about `1 / sqrt(dimensions)`.

    Args:
        vocabulary_size: pieces in the vocabulary.
        dimensions: numbers in a vector.
        seed: of the random vectors.

    Call arguments: ids int `[batch, length]`; returns float32 `[batch, dimensions]`, not normalised. Weights: `piece_weight`
    float32 `[vocabulary]`, 0 for special tokens, not trained; `signs` int8 `[vocabulary, dimensions]`, -1 and 1.

    Source: Achlioptas, "Database-friendly random projections", https://doi.org/10.1016/S0022-0000(03)00025-4
    """

    def __init__(self, vocabulary_size: int, dimensions: int = 512, seed: int = 0, **kwargs):
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.vocabulary_size = int(vocabulary_size)
        self.dimensions = int(dimensions)
        self.seed = int(seed)

    def build(self, input_shape=None):
        """Make the weights; `piece_weight` is 1 until it is set."""
        self.piece_weight = self.add_weight(
            shape=(self.vocabulary_size,), initializer="ones", trainable=False, name="piece_weight"
        )
        self.signs = self.add_weight(
            shape=(self.vocabulary_size, self.dimensions),
            dtype="int8",
            initializer="zeros",
            trainable=False,
            name="signs",
        )
        bits = np.random.default_rng(self.seed).integers(0, 2, size=(self.vocabulary_size, self.dimensions))
        self.signs.assign((2 * bits - 1).astype("int8"))
        super().build(input_shape)

    def call(self, ids):
        """Look up, weigh, add."""
        ids = tf.cast(ids, tf.int32)
        weights = tf.gather(tf.convert_to_tensor(self.piece_weight), ids)[:, :, tf.newaxis]
        vectors = tf.cast(tf.gather(tf.convert_to_tensor(self.signs), ids), tf.float32)
        return tf.reduce_sum(vectors * weights, axis=1) / self.dimensions**0.5

    def compute_output_shape(self, input_shape):
        """`[batch, dimensions]`."""
        return (input_shape[0], self.dimensions)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "dimensions": self.dimensions,
            "seed": self.seed,
        }


@register
class JoinVectors(keras.layers.Layer):
    """Two vectors beside each other, so that the cosine of two texts is `(1 - share) cos_1 + share cos_2`.

    Each is divided by its length and multiplied by the root of its part.

    Args:
        share: of the second vector, between 0 and 1.

    Call arguments: `[first, second]`, float `[batch, widths]`; returns float32 `[batch, sum of the widths]`, of length 1.

    Example:
        >>> joined = JoinVectors(0.36)([tf.constant([[2.0, 0.0]]), tf.constant([[0.0, 5.0]])])
        >>> joined.numpy().round(3).tolist()
        [[0.8..., 0.0, 0.0, 0.6...]]
    """

    def __init__(self, share: float = 0.5, **kwargs):
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.share = float(share)

    def call(self, inputs):
        """Normalize, weigh, concatenate."""
        parts = [tf.math.l2_normalize(tf.cast(value, tf.float32), axis=-1) for value in inputs]
        return tf.concat([(1.0 - self.share) ** 0.5 * parts[0], self.share**0.5 * parts[1]], axis=-1)

    def compute_output_shape(self, input_shape):
        """`[batch, sum of the widths]`."""
        return (input_shape[0][0], input_shape[0][1] + input_shape[1][1])

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "share": self.share}


def inverse_document_frequency(encoder: Encoder, texts: Sequence[str]) -> np.ndarray:
    """How rare each piece of the vocabulary is: `log((1 + n) / (1 + df)) + 1`, and 0 for special tokens.

    Args:
        encoder: a BERT-like encoder.
        texts: `n` texts; `df` of them have the piece.

    Returns:
        Float32 `[vocabulary]`.

    Raises:
        UserError: the size of the vocabulary is not known.

    Source: Sparck Jones, "A statistical interpretation of term specificity and its application in retrieval", 1972, smoothed as in
        https://scikit-learn.org/stable/modules/feature_extraction.html#tfidf-term-weighting
    """
    special = encoder.preprocessor.special_tokens
    if "vocab_size" not in special:
        raise UserError(f"{encoder.name} does not tell the size of its vocabulary, so a lexical part cannot be joined.")
    frequency = np.zeros(special["vocab_size"], "int64")
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        tokens = encoder.preprocessor.tokenize(tf.constant(list(texts[start : start + TEXTS_AT_ONCE])))
        rows = np.repeat(np.arange(len(piece_counts(tokens))), piece_counts(tokens).numpy())
        once = np.unique(np.stack([rows, tokens.flat_values.numpy()]), axis=1)[1]
        frequency += np.bincount(once, minlength=len(frequency))
    weights = np.log((1.0 + len(texts)) / (1.0 + frequency)) + 1.0
    weights[[place for name, place in special.items() if name.endswith("_id")]] = 0.0
    return weights.astype("float32")
