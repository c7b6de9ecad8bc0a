"""The last layers of models that compare texts: a score in its range, a vector for a text, the cosine of two vectors."""

from __future__ import annotations

import tensorflow as tf

from tl_keras._keras import find_layer, keras, register
from tl_keras.encoders.encoder_layer import require_model
from tl_keras.errors import UserError
from tl_keras.training.step import gather_replicas


@register
class ScoreInRange(keras.layers.Layer):
    """A logit to a score: `low + (high - low) sigmoid(x)`; knows the range.

    Args:
        low: the lowest score.
        high: the highest score.

    Call arguments: float `[batch, 1]`; returns float32 `[batch]`.

    Example:
        >>> ScoreInRange(0, 5)(tf.constant([[0.0], [100.0]])).numpy().tolist()
        [2.5, 5.0]
    """

    def __init__(self, low: float, high: float, **kwargs):
        # As in ClassProbabilities: half precision is too coarse for what is handed out.
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.low = float(low)
        self.high = float(high)

    @property
    def score_range(self) -> tuple[float, float]:
        """`(low, high)`."""
        return self.low, self.high

    def call(self, logits):
        """Squash and stretch."""
        return self.low + (self.high - self.low) * tf.nn.sigmoid(tf.cast(logits, tf.float32)[:, 0])

    def compute_output_shape(self, input_shape):
        """`[batch]`."""
        return (input_shape[0],)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "low": self.low, "high": self.high}


@register
class SentenceVector(keras.layers.Layer):
    """The vector of a text as it is handed out: float32, and of length 1 if `normalize`.

    Args:
        normalize: divide by the length, so that the dot product of two vectors is their cosine.

    Example:
        >>> SentenceVector()(tf.constant([[3.0, 4.0]])).numpy().round(4).tolist()
        [[0.6..., 0.8...]]
    """

    def __init__(self, normalize: bool = True, **kwargs):
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.normalize = bool(normalize)

    def call(self, vectors):
        """Float `[batch, width]` to float32 `[batch, width]`."""
        vectors = tf.cast(vectors, tf.float32)
        return tf.math.l2_normalize(vectors, axis=-1) if self.normalize else vectors

    def compute_output_shape(self, input_shape):
        """The same shape."""
        return tuple(input_shape)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "normalize": self.normalize}


@register
class CosineSimilarity(keras.layers.Layer):
    """The cosine of two texts' vectors.

    Args:
        all_pairs: the cosine of every query with every document of the batch, instead of each query with its own. Where several
            replicas share a batch, those of all replicas.

    Call arguments: `[queries, documents]`, float `[batch, width]` each; returns float32 `[batch]`, or `[batch, batch]`, queries in
    rows.

    Example:
        >>> vectors = tf.constant([[2.0, 0.0], [0.0, 1.0]])
        >>> CosineSimilarity(all_pairs=True)([vectors, vectors]).numpy().tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """

    def __init__(self, all_pairs: bool = False, **kwargs):
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.all_pairs = bool(all_pairs)

    def call(self, inputs):
        """Normalize and multiply."""
        queries, documents = (tf.math.l2_normalize(tf.cast(value, tf.float32), axis=-1) for value in inputs)
        if self.all_pairs:
            return tf.matmul(queries, gather_replicas(documents), transpose_b=True)
        return tf.reduce_sum(queries * documents, axis=-1)

    def compute_output_shape(self, input_shape):
        """`[batch]` or `[batch, batch]`."""
        batch = input_shape[0][0]
        return (batch, batch) if self.all_pairs else (batch,)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "all_pairs": self.all_pairs}


def score_head_of(model: keras.Model) -> ScoreInRange:
    """The layer that knows a regressor's range.

    Raises:
        UserError: the model is no regressor of this package.
    """
    require_model(model)
    head = find_layer(model, ScoreInRange)
    if head is None:
        raise UserError(f"the model {model.name!r} gives no score: build it with text_regressor(...).")
    return head


def is_regressor(model) -> bool:
    """Whether a Keras model was built by `text_regressor`."""
    return find_layer(model, ScoreInRange) is not None


def is_sentence_encoder(model) -> bool:
    """Whether a Keras model was built by `sentence_encoder`, or is a pair of towers around one."""
    return _sentence_encoder_in(model) is not None


def sentence_encoder_of(model: keras.Model) -> keras.Model:
    """The sentence encoder itself: the model, or the one that both of its towers are.

    Raises:
        UserError: there is none.
    """
    require_model(model)
    found = _sentence_encoder_in(model)
    if found is None:
        raise UserError(f"the model {model.name!r} gives no vectors for texts: build it with sentence_encoder(...).")
    return found


def _sentence_encoder_in(model: keras.Model) -> keras.Model | None:
    if find_layer(model, SentenceVector) is not None:
        return model
    if find_layer(model, CosineSimilarity) is None:
        return None
    inner = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    return next((layer for layer in inner if find_layer(layer, SentenceVector) is not None), None)
