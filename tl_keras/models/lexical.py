"""A vector of which characters and tokens a text has, beside the one of what it means: for encoders that compare poorly."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from scipy import sparse

from tl_keras._keras import find_layer, keras, register
from tl_keras.encoders.base import Encoder
from tl_keras.encoders.offset_tokenizer import vocabulary_tokens
from tl_keras.errors import UserError
from tl_keras.text.preprocessor import token_counts
from tl_keras.text.word_rules import is_wide

TEXTS_AT_ONCE = 1024


@register
class LexicalVector(keras.layers.Layer):
    """The sum of fixed vectors of a text's tokens.

    Args:
        vocabulary_size: tokens in the vocabulary.
        dimensions: numbers in a vector.

    Call arguments: ids int `[batch, length]`; returns float32 `[batch, dimensions]`, not normalised. Weights, not trained, zeros until
    `set_vectors`: `table` int8 `[vocabulary, dimensions]`, and `scale` float32 `[vocabulary]`, by which its rows are multiplied.
    """

    def __init__(self, vocabulary_size: int, dimensions: int = 768, **kwargs):
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.vocabulary_size = int(vocabulary_size)
        self.dimensions = int(dimensions)

    def build(self, input_shape=None):
        """Make the weights."""
        rows, fixed = self.vocabulary_size, {"initializer": "zeros", "trainable": False}
        self.table = self.add_weight(shape=(rows, self.dimensions), dtype="int8", name="table", **fixed)
        self.scale = self.add_weight(shape=(rows,), name="scale", **fixed)
        super().build(input_shape)

    def set_vectors(self, vectors: np.ndarray) -> None:
        """Set the tokens' vectors, float `[vocabulary, dimensions]`; they are rounded to 127 steps of each one's largest number."""
        scale = np.maximum(np.abs(vectors).max(axis=1), 1e-12) / 127
        self.table.assign(np.rint(vectors / scale[:, np.newaxis]).astype("int8"))
        self.scale.assign(scale.astype("float32"))

    def call(self, ids):
        """Look up and add."""
        ids = tf.cast(ids, tf.int32)
        scale = tf.gather(tf.convert_to_tensor(self.scale), ids)[:, :, tf.newaxis]
        vectors = tf.cast(tf.gather(tf.convert_to_tensor(self.table), ids), tf.float32)
        return tf.reduce_sum(vectors * scale, axis=1)

    def compute_output_shape(self, input_shape):
        """`[batch, dimensions]`."""
        return (input_shape[0], self.dimensions)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "vocabulary_size": self.vocabulary_size, "dimensions": self.dimensions}


@register
class JoinVectors(keras.layers.Layer):
    """Two vectors beside each other, so that the cosine of two texts is `(1 - weight) cos_1 + weight cos_2`.

    Each is divided by its length and multiplied by the root of its part.

    Args:
        weight: of the second vector, from 0 to 1. It is a weight that is not trained: `layer.weight.assign(0.3)` changes it at any time.

    Call arguments: `[first, second]`, float `[batch, widths]`; returns float32 `[batch, sum of the widths]`, of length 1.

    Example:
        >>> joined = JoinVectors(0.36)([tf.constant([[2.0, 0.0]]), tf.constant([[0.0, 5.0]])])
        >>> joined.numpy().round(3).tolist()
        [[0.8..., 0.0, 0.0, 0.6...]]
    """

    def __init__(self, weight: float = 0.5, **kwargs):
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.initial_weight = float(weight)

    def build(self, input_shape=None):
        """Make the weight, and remember where the second vector begins."""
        self.first_width = int(input_shape[0][-1])
        self.weight = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(self.initial_weight), trainable=False, name="weight"
        )
        super().build(input_shape)

    def call(self, inputs):
        """Normalize, weigh, concatenate."""
        weight = tf.convert_to_tensor(self.weight)
        parts = [tf.math.l2_normalize(tf.cast(value, tf.float32), axis=-1) for value in inputs]
        return tf.concat([tf.sqrt(1.0 - weight) * parts[0], tf.sqrt(weight) * parts[1]], axis=-1)

    def compute_output_shape(self, input_shape):
        """`[batch, sum of the widths]`."""
        return (input_shape[0][0], input_shape[0][1] + input_shape[1][1])

    def get_config(self) -> dict:
        """The constructor's arguments; the weight that was set later is among the weights."""
        return {**super().get_config(), "weight": self.initial_weight}


def join_layer_of(model: keras.Model) -> JoinVectors | None:
    """The layer that joins a lexical part to a sentence encoder's vectors; None if it has no such part."""
    return find_layer(model, JoinVectors)


def units(token: str) -> list[str]:
    """What a WordPiece token counts as: its characters where each says something by itself (Hangul, Han, Kana), else the token.

    A Korean word's ending is seldom a token of its own, and one letter of an alphabet says nothing.

    Example:
        >>> units("##있다"), units("film"), units("3월"), units("##ing"), units("▁서울")
        (['있', '다'], ['film'], ['3', '월'], ['##ing'], ['서', '울'])
    """
    found: list[str] = []
    text = token.removeprefix("##").removeprefix("▁")
    if not any(map(is_wide, text)):
        return [token] if text else []
    for wide, run in itertools.groupby(text, is_wide):
        characters = list(run)
        found += characters if wide else ["".join(characters)]
    return found


def can_join_letters(encoder: Encoder) -> bool:
    """Whether it is known which tokens the encoder's ids stand for, so that a lexical part can be joined."""
    return not encoder.takes_text and "vocab_size" in getattr(encoder.preprocessor, "special_tokens", {})


def lexical_table(encoder: Encoder, texts: Sequence[str], dimensions: int, seed: int = 0) -> np.ndarray:
    """A vector for each token, so that the cosine of two texts' sums is about that of their TF-IDF vectors.

    A token's vector is the sum, over its `units`, of a random vector of -1 and 1 times the unit's rarity,
    `log((1 + n) / (1 + df)) + 1`. Such vectors are nearly at right angles: two texts' dot product is about the sum over the units that
    both have. It is off by about `1 / sqrt(dimensions)`. Where the encoder comes without its vocabulary, tokens count as a whole.

    Args:
        encoder: a BERT-like encoder.
        texts: `n` texts; `df` of them have the unit.
        dimensions: numbers in a vector.
        seed: of the random vectors.

    Returns:
        Float32 `[vocabulary, dimensions]`; zeros for special tokens, that for unknown tokens among them.

    Raises:
        UserError: it is not known which tokens the encoder's ids stand for.

    Source: the weights as in https://scikit-learn.org/stable/modules/feature_extraction.html#tfidf-term-weighting; Achlioptas,
        "Database-friendly random projections", https://doi.org/10.1016/S0022-0000(03)00025-4
    """
    if not can_join_letters(encoder):
        raise UserError(
            f"{encoder.name} does not tell which tokens its ids stand for, so a lexical part cannot be joined; leave lexical_weight out."
        )
    special = encoder.preprocessor.special_tokens
    counts = _unit_counts(encoder, special)
    frequency = np.zeros(counts.shape[1], "int64")
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        tokens = encoder.preprocessor.tokenize(tf.constant(list(texts[start : start + TEXTS_AT_ONCE])))
        ids = tokens.flat_values.numpy()
        rows = np.repeat(np.arange(len(token_counts(tokens))), token_counts(tokens).numpy())
        counted = sparse.csr_matrix((np.ones(len(ids)), (rows, ids)), (len(token_counts(tokens)), counts.shape[0]))
        frequency += np.bincount((counted @ counts).indices, minlength=counts.shape[1])
    rarity = np.log((1.0 + len(texts)) / (1.0 + frequency)) + 1.0
    signs = np.random.default_rng(seed).integers(0, 2, size=(counts.shape[1], dimensions)).astype("float32") * 2 - 1
    return ((counts @ sparse.diags(rarity)) @ signs / dimensions**0.5).astype("float32")


def _unit_counts(encoder: Encoder, special: dict[str, int]) -> sparse.csr_matrix:
    """How often each unit is in each token, `[vocabulary, units]`."""
    size = special["vocab_size"]
    lines = vocabulary_tokens(encoder.folder)[:size]
    left_out = {place for name, place in special.items() if name.endswith("_id")} | {encoder.preprocessor.unknown_id}
    left_out |= encoder.preprocessor.prompt_ids  # in every text
    numbers: dict[str, int] = {}
    rows, columns = [], []
    for token in range(size):
        if token not in left_out:
            found = units(lines[token]) if len(lines) == size else [str(token)]
            rows += [token] * len(found)
            columns += [numbers.setdefault(text, len(numbers)) for text in found]
    return sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), (size, max(len(numbers), 1)))
