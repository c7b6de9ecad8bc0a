"""The head, loss and metric of question answering: where in its window an answer begins and ends, or that it is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

from tl_keras._keras import find_layer, keras, register
from tl_keras.errors import UserError
from tl_keras.text.windows import IMPOSSIBLE, WindowSettings

if TYPE_CHECKING:
    from tl_keras.encoders.base import Encoder


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
    head = find_layer(model, SpanLogProbabilities)
    if head is None:
        name = getattr(model, "name", model)
        raise UserError(f"the model {name!r} answers no questions: build it with question_answerer(...).")
    return head


def is_answerer(model) -> bool:
    """Whether a Keras model was built by `question_answerer`."""
    return find_layer(model, SpanLogProbabilities) is not None
