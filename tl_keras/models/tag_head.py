"""The head, loss and metric of taggers: a softmax over the tags for each token, masked tokens left out."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tl_keras._keras import keras, register
from tl_keras.data.tagging import TagSet
from tl_keras.errors import UserError
from tl_keras.training.replicas import mean_over_replicas


@register
class TagProbabilities(keras.layers.Layer):
    """Logits to probabilities of tags; knows what the tags mean.

    Args:
        labels: names of the kinds of spans.
        scheme: `"bio"` or `"plain"`; see `TagSet`.
        tokens: `"first"` or `"all"`; see `TagSet`.
    """

    def __init__(self, labels: Sequence[str], scheme: str = "bio", tokens: str = "first", **kwargs):
        # As in ClassProbabilities: small probabilities would vanish in half precision.
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.labels = [str(name) for name in labels]
        self.scheme = scheme
        self.tokens = tokens

    @property
    def tag_set(self) -> TagSet:
        """The tags, and which tokens carry them."""
        return TagSet(tuple(self.labels), self.scheme, self.tokens)

    def call(self, logits):
        """Float `[batch, length, tags]` to float32 `[batch, length, tags]`."""
        return tf.nn.softmax(tf.cast(logits, tf.float32))

    def compute_output_shape(self, input_shape):
        """The same shape."""
        return tuple(input_shape)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "labels": list(self.labels), "scheme": self.scheme, "tokens": self.tokens}


@register
def masked_crossentropy(y_true, y_pred):
    """The mean of `-log p(tag)` over the tokens that have a tag, those of all replicas counted where several share a batch.

    Args:
        y_true: tag numbers `[batch, length]`, negative where there is no tag.
        y_pred: float `[batch, length, tags]` probabilities.

    Returns:
        float32 `[batch]`, in nats, whose mean it is; 0 for a batch without any tag.

    Example:
        >>> p = tf.constant([[[0.5, 0.5], [0.25, 0.75], [0.9, 0.1]]])
        >>> loss = masked_crossentropy(tf.constant([[0, 1, -1]]), p)
        >>> float(loss[0]) == float(-(tf.math.log(0.5) + tf.math.log(0.75)) / 2)
        True
    """
    tags = _tags(y_true, y_pred)
    has_tag = tf.cast(tags >= 0, tf.float32)
    chosen = tf.gather(tf.cast(y_pred, tf.float32), tf.maximum(tags, 0), batch_dims=2)
    losses = -tf.math.log(tf.maximum(chosen, 1e-9)) * has_tag
    # A number for each row, because Keras takes the mean over a replica's rows, and then that over the replicas.
    rows = mean_over_replicas(tf.cast(tf.shape(tags)[0], tf.float32))
    count = mean_over_replicas(tf.reduce_sum(has_tag))
    return tf.reduce_sum(losses, axis=1) * rows / tf.maximum(count, 1e-9)


@register
class MaskedAccuracy(keras.metrics.Mean):
    """The fraction of the tokens with a tag whose likeliest tag is right.

    Mind that most tokens are `O`: entity F1 (`tl_keras.evaluate`) says how good a tagger is.
    """

    def __init__(self, name: str = "accuracy", **kwargs):
        super().__init__(name=name, **kwargs)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Count a batch: tag numbers `[batch, length]` (negative: none), probabilities `[batch, length, tags]`."""
        tags = _tags(y_true, y_pred)
        right = tf.argmax(y_pred, axis=-1, output_type=tf.int32) == tags
        return super().update_state(tf.cast(right, tf.float32), sample_weight=tf.cast(tags >= 0, tf.float32))


def _tags(y_true, y_pred) -> tf.Tensor:
    # Replicas get labels of unknown rank where a batch has to be cut for them.
    return tf.reshape(tf.cast(y_true, tf.int32), tf.shape(y_pred)[:2])


def tag_head_of(model: keras.Model) -> TagProbabilities:
    """The layer that knows a tagger's tags.

    Raises:
        UserError: the model is no tagger of this package.
    """
    for layer in getattr(model, "layers", ()):
        if isinstance(layer, TagProbabilities):
            return layer
    raise UserError(f"the model {getattr(model, 'name', model)!r} is no tagger: build it with token_classifier(...).")


def is_tagger(model) -> bool:
    """Whether a Keras model was built by `token_classifier`."""
    return isinstance(model, keras.Model) and any(isinstance(layer, TagProbabilities) for layer in model.layers)
