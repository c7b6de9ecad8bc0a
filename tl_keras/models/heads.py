"""Layers between the encoder and the loss: pooling over the text, probabilities with names."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tl_keras._keras import keras, register

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
