"""The last layers of models of two texts: a score in its range, the cosine of two vectors, the place of an answer; with its loss and metric."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

from tl_keras._keras import find_layer, keras, register
from tl_keras.encoders.encoder_layer import require_layer, require_model
from tl_keras.errors import UserError
from tl_keras.text.windows import IMPOSSIBLE, WindowSettings
from tl_keras.training.step import gather_replicas

if TYPE_CHECKING:
    from tl_keras.encoders.base import Encoder


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
    return require_layer(model, ScoreInRange, "gives no score: build it with text_regressor(...)")


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


@register
class SpanLogProbabilities(keras.layers.Layer):
    """Two logits for each token to the log-probabilities that the answer begins and ends there.

    Both are distributions over the tokens of the context and `[CLS]`, which stands for "not in this window". Knows how questions
    and contexts are laid into windows, and what counts as an answer, so that training, `predict` and export agree.

    Args:
        null_answers: whether the answer to a question may be that the context does not answer it (SQuAD v2).
        null_threshold: in nats: no answer is given where `[CLS]` beats the best answer by more than this.
        max_answer_length: in tokens.
        max_question_length: in tokens; longer questions are cut.
        overlap: of neighbouring windows, in tokens; see `WindowSettings`.

    Call arguments: `[logits, input_mask, input_type_ids]`, float `[batch, length, 2]` and int `[batch, length]` twice; returns
        float32 `[batch, length, 2]`.

    Example:
        >>> head = SpanLogProbabilities()
        >>> mask, types = tf.constant([[1, 1, 1, 1, 1, 1, 0]]), tf.constant([[0, 0, 0, 1, 1, 1, 0]])
        >>> p = tf.exp(head([tf.zeros([1, 7, 2]), mask, types]))  # [CLS] question [SEP] context context [SEP] padding
        >>> [round(float(x), 2) for x in p[0, :, 0]]
        [0.33, 0.0, 0.0, 0.33, 0.33, 0.0, 0.0]
    """

    def __init__(
        self,
        null_answers: bool = False,
        null_threshold: float = 0.0,
        max_answer_length: int = 30,
        max_question_length: int | None = None,
        overlap: int | None = None,
        **kwargs,
    ):
        # As in ClassProbabilities: small probabilities would vanish in half precision.
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.null_answers = bool(null_answers)
        self.null_threshold = float(null_threshold)
        self.max_answer_length = int(max_answer_length)
        self.max_question_length = max_question_length
        self.overlap = overlap

    def windows(self, encoder: Encoder) -> WindowSettings:
        """How windows are laid for an encoder."""
        separators = encoder.preprocessor.separators
        return WindowSettings(encoder.seq_length, self.max_question_length, self.overlap, separators)

    def call(self, inputs):
        """Float `[batch, length, 2]` to float32 `[batch, length, 2]`."""
        logits, mask, types = inputs
        logits = tf.cast(logits, tf.float32)
        in_second = (types > 0) & (mask > 0)
        # The [SEP] behind the context is of its segment too: the last place that is no padding.
        behind = tf.pad(mask[:, 1:], [[0, 0], [0, 1]]) == 0
        first = tf.range(tf.shape(mask)[1])[tf.newaxis] == 0
        allowed = ((in_second & ~behind) | first)[:, :, tf.newaxis]
        scores = tf.nn.log_softmax(tf.where(allowed, logits, IMPOSSIBLE), axis=1)
        return tf.where(allowed, scores, IMPOSSIBLE)

    def compute_output_shape(self, input_shape):
        """That of the logits."""
        return tuple(input_shape[0])

    def get_config(self) -> dict:
        """The constructor's arguments."""
        names = ("null_answers", "null_threshold", "max_answer_length", "max_question_length", "overlap")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@register
def span_crossentropy(y_true, y_pred):
    """The mean of `-log p(start)` and `-log p(end)`.

    Args:
        y_true: places of the answer's first and last token, `[batch, 2]`.
        y_pred: log-probabilities, float `[batch, length, 2]`.

    Returns:
        float32 `[batch]`, in nats.

    Source: Devlin et al., "BERT", https://arxiv.org/abs/1810.04805, section 4.2.

    Example:
        >>> p = tf.constant([[[0.5, 0.25], [0.5, 0.75]]])
        >>> loss = span_crossentropy(tf.constant([[0, 1]]), tf.math.log(p))
        >>> float(loss[0]) == float(-(tf.math.log(0.5) + tf.math.log(0.75)) / 2)
        True
    """
    chosen = tf.gather(tf.transpose(y_pred, [0, 2, 1]), _places(y_true)[:, :, tf.newaxis], batch_dims=2)
    return -tf.reduce_mean(tf.cast(chosen, tf.float32), axis=[1, 2])


@register
class SpanAccuracy(keras.metrics.Mean):
    """The fraction of windows whose likeliest start and likeliest end are both right.

    Windows without the answer count too; exact match and F1 (`tl_keras.evaluate`) say how good the answers are.
    """

    def __init__(self, name: str = "accuracy", **kwargs):
        super().__init__(name=name, **kwargs)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Count a batch: places `[batch, 2]`, log-probabilities `[batch, length, 2]`."""
        # Not `==`, of which TensorFlow does not know the rank where it does not know the sizes.
        right = tf.equal(tf.argmax(y_pred, axis=1, output_type=tf.int32), _places(y_true))
        return super().update_state(tf.cast(tf.reduce_all(right, axis=1), tf.float32), sample_weight=sample_weight)


def _places(y_true) -> tf.Tensor:
    # Replicas get labels of unknown rank where a batch has to be cut for them.
    return tf.reshape(tf.cast(y_true, tf.int32), [-1, 2])


def span_head_of(model: keras.Model) -> SpanLogProbabilities:
    """The layer that knows what an answerer takes for an answer.

    Raises:
        UserError: the model is no answerer of this package.
    """
    return require_layer(model, SpanLogProbabilities, "answers no questions: build it with question_answerer(...)")


def is_answerer(model) -> bool:
    """Whether a Keras model was built by `question_answerer`."""
    return find_layer(model, SpanLogProbabilities) is not None
