"""What stands on an encoder to classify texts or their tokens."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tl_keras._keras import find_layer, keras, register
from tl_keras.data.tagging import TagSet
from tl_keras.errors import UserError
from tl_keras.training.step import mean_over_replicas

POOLINGS = ("cls", "mean", "max", "mix", "mix-cls")


@register
class MaskedPooling(keras.layers.Layer):
    """One vector for a text from the vectors of its tokens, padding left out.

    Args:
        mode: `"mean"` or `"max"` over the tokens (`[CLS]` and `[SEP]` among them, as sentence encoders are trained).

    Call arguments: `sequence_output` float `[batch, length, width]` and `mask` int `[batch, length]`; returns `[batch, width]`.

    Example:
        >>> pooling = MaskedPooling("mean")
        >>> pooling([tf.constant([[[1.0], [3.0], [9.0]]]), tf.constant([[1, 1, 0]])]).numpy().tolist()
        [[2.0]]
    """

    def __init__(self, mode: str = "mean", **kwargs):
        super().__init__(**kwargs)
        self.mode = mode

    def call(self, inputs):
        """Pool over axis 1."""
        sequence, mask = inputs
        weights = tf.cast(mask, sequence.dtype)[:, :, tf.newaxis]
        if self.mode == "max":
            highest = tf.reduce_max(tf.where(weights > 0, sequence, sequence.dtype.min), axis=1)
            # Of a text without tokens it would be the lowest number there is, and all that is made of it NaN.
            return tf.where(tf.reduce_any(weights > 0, axis=1), highest, tf.zeros_like(highest))
        return tf.reduce_sum(sequence * weights, axis=1) / tf.maximum(tf.reduce_sum(weights, axis=1), 1.0)

    def compute_output_shape(self, input_shape):
        """`[batch, width]`."""
        return (input_shape[0][0], input_shape[0][2])

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "mode": self.mode}


@register
class ScalarMix(keras.layers.Layer):
    """The layers of an encoder as one: `scale * sum_j softmax(weights)_j h_j`, the weights and the scale learned.

    Lower layers know more of words, upper ones more of what pre-training asked for; which help, the labels tell.

    Args:
        mode: of what is mixed, `h_j`: `"mean"` over the tokens, padding left out; `"cls"`, the vector at the first place; or
            `"sequence"`, all vectors, as ELMo is used.
        layer_norm: bring each layer to mean 0 and variance 1 before it is mixed, over all numbers of a text, padding left out. (The
            published code's `do_layer_norm` takes them over the whole batch; then a text's vectors depend on its neighbours.)

    Call arguments: the layers' outputs, each float `[batch, length, width]`, and `mask` int `[batch, length]` behind them; returns
    `[batch, width]`, or `[batch, length, width]` in the mode `"sequence"`, with zeros in the padding. It begins as the plain average.

    Source: Peters et al., "Deep contextualized word representations", https://arxiv.org/abs/1802.05365, equation 1.

    Example:
        >>> mix = ScalarMix("mean")
        >>> mix([tf.constant([[[1.0], [3.0]]]), tf.constant([[[4.0], [4.0]]]), tf.constant([[1, 1]])]).numpy().tolist()
        [[3.0]]
    """

    def __init__(self, mode: str = "mean", layer_norm: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.mode = mode
        self.layer_norm = bool(layer_norm)

    def build(self, input_shape):
        """Make one weight for each layer, and the scale."""
        self.mix_weights = self.add_weight(name="mix_weights", shape=(len(input_shape) - 1,), initializer="zeros")
        self.scale = self.add_weight(name="scale", shape=(), initializer="ones")
        super().build(input_shape)

    def call(self, inputs):
        """Pool and mix."""
        *blocks, mask = inputs
        weights = tf.cast(mask, blocks[0].dtype)[:, :, tf.newaxis]
        if self.layer_norm:
            blocks = [_normalized(block, weights) for block in blocks]
        if self.mode == "cls":
            pooled = tf.stack([block[:, 0] for block in blocks])
        elif self.mode == "sequence":
            pooled = tf.stack([block * weights for block in blocks])
        else:
            count = tf.maximum(tf.reduce_sum(weights, axis=1), 1.0)
            pooled = tf.stack([tf.reduce_sum(block * weights, axis=1) / count for block in blocks])
        weights = tf.cast(tf.nn.softmax(tf.convert_to_tensor(self.mix_weights)), pooled.dtype)
        return tf.cast(tf.convert_to_tensor(self.scale), pooled.dtype) * tf.einsum("j,j...->...", weights, pooled)

    def compute_output_shape(self, input_shape):
        """`[batch, width]`, or `[batch, length, width]`."""
        return tuple(input_shape[0]) if self.mode == "sequence" else (input_shape[0][0], input_shape[0][2])

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "mode": self.mode, "layer_norm": self.layer_norm}


def _normalized(block: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Each text's numbers `[length, width]` at mean 0 and variance 1; `weights` `[batch, length, 1]` are 0 in the padding."""
    count = tf.maximum(
        tf.reduce_sum(weights, axis=[1, 2], keepdims=True) * tf.cast(tf.shape(block)[2], block.dtype), 1.0
    )
    mean = tf.reduce_sum(block * weights, axis=[1, 2], keepdims=True) / count
    variance = tf.reduce_sum(tf.square((block - mean) * weights), axis=[1, 2], keepdims=True) / count
    return (block - mean) * tf.math.rsqrt(variance + 1e-6)


@register
class ClassProbabilities(keras.layers.Layer):
    """Logits to probabilities: softmax, or a sigmoid for each class where a text may have several; knows the classes' names.

    Args:
        classes: label names, in the order of the logits.
        multi_label: sigmoid instead of softmax.
    """

    def __init__(self, classes: Sequence[str], multi_label: bool = False, **kwargs):
        # Probabilities stay float32 under mixed precision: small ones would vanish in half precision.
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.classes = [str(name) for name in classes]
        self.multi_label = bool(multi_label)

    def call(self, logits):
        """Float `[batch, classes]` to float32 `[batch, classes]`."""
        logits = tf.cast(logits, tf.float32)
        return tf.nn.sigmoid(logits) if self.multi_label else tf.nn.softmax(logits)

    def compute_output_shape(self, input_shape):
        """The same shape."""
        return tuple(input_shape)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "classes": list(self.classes), "multi_label": self.multi_label}


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
    head = find_layer(model, TagProbabilities)
    if head is None:
        name = getattr(model, "name", model)
        raise UserError(f"the model {name!r} is no tagger: build it with token_classifier(...).")
    return head


def is_tagger(model) -> bool:
    """Whether a Keras model was built by `token_classifier`."""
    return find_layer(model, TagProbabilities) is not None
