"""A recurrent network over padded batches: what makes one word's vector know of its neighbours."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from tl_keras._keras import keras, register, tf_variable
from tl_keras.encoders.base import Encoder, require_encoder
from tl_keras.encoders.operations import lstm, over_time, reverse
from tl_keras.errors import UserError

KINDS = ("lstm", "gru")


@dataclasses.dataclass(frozen=True)
class Recurrence:
    """Which recurrent network stands between an encoder and its head.

    Args:
        kind: `"lstm"` or `"gru"`.
        units: width of the state, in each direction.
        bidirectional: whether a second network reads the text from its end.

    Raises:
        UserError: there is no such kind, or no unit.
    """

    kind: str = "lstm"
    units: int = 128
    bidirectional: bool = True

    def __post_init__(self):
        if self.kind not in KINDS:
            raise UserError(f"recurrent={self.kind!r} is not known; choose one of: {', '.join(KINDS)}, none, auto.")
        if not isinstance(self.units, int) or self.units < 1:
            raise UserError(f"units must be a number of at least 1, not {self.units!r}.")

    @classmethod
    def of(cls, value: str | Recurrence | None, encoder: Encoder) -> Recurrence | None:
        """What a builder's option `recurrent` means for an encoder.

        Args:
            value: a kind, such an object, `None` or `"none"`, or `"auto"`: what suits the encoder, which for word vectors is an LSTM
                in both directions, and none for encoders that read the whole text themselves.
            encoder: in front of it.

        Raises:
            UserError: there is no such kind, or the encoder gives one vector for a whole text.
        """
        require_encoder(encoder)
        if isinstance(value, str) and value == "auto":
            value = encoder.default_recurrent
        if value is None or value == "none":
            return None
        if encoder.takes_text:
            raise UserError(f"{encoder.name} gives one vector for a whole text, so there is nothing to read in order.")
        return value if isinstance(value, Recurrence) else cls(str(value))


@register
class RecurrentNetwork(keras.layers.Layer):
    """An LSTM or GRU over texts of different lengths, in one direction or both; padding never changes what it gives for a text.

    Texts begin at the first place and end at the last one whose mask is 1. Forward, padding comes after the text and is never seen by
    it; backward, each text is turned round by itself first, so that padding comes after it again.

    Both kinds are loops whose large products, those of all inputs, are taken before it and are oneDNN's; `tl_keras.encoders.operations` says
    what was measured, and what would lose the speed. Half precision is computed in float32.

    Inputs -> outputs: `[sequence, mask]`, float `[batch, length, width]` and int `[batch, length]`, -> float `[batch, length, states]`,
    zeros for padding; or float `[batch, states]`. `states` is `units`, or twice that for both directions.

    Args:
        kind: `"lstm"` or `"gru"` (with the reset gate behind the matrix product, as Keras and cuDNN have it).
        units: width of the state in each direction.
        bidirectional: whether a second network reads from the end.
        last: give the states behind the whole text, forward and backward, instead of those at each place.

    Source: Hochreiter and Schmidhuber, "Long short-term memory", 1997, with the forget gate's bias at 1; Cho et al.,
        https://arxiv.org/abs/1406.1078.
    """

    def __init__(self, kind: str = "lstm", units: int = 128, bidirectional: bool = True, last: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.kind = kind
        self.units = units
        self.bidirectional = bidirectional
        self.last = last

    def build(self, input_shape):
        """Make kernel, recurrent kernel and bias for each direction."""
        width, units = int(input_shape[0][-1]), self.units
        gates = 4 if self.kind == "lstm" else 3

        kinds = (
            ("kernel", (width, gates * units), "glorot_uniform"),
            ("recurrent_kernel", (units, gates * units), "orthogonal"),
            ("bias", (4 * units,) if self.kind == "lstm" else (2, 3 * units), "zeros"),
        )
        for direction in self._directions:
            for kind, shape, initializer in kinds:
                name = f"{direction}_{kind}"
                setattr(self, name, self.add_weight(name=name, shape=shape, initializer=initializer))
        super().build(input_shape)

    @property
    def _directions(self) -> tuple[str, ...]:
        return ("forward", "backward") if self.bidirectional else ("forward",)

    def call(self, inputs):
        """Read the texts."""
        sequence, mask = inputs
        lengths = text_lengths(mask)
        x = tf.cast(sequence, tf.float32)
        found = []
        for direction in self._directions:
            names = (f"{direction}_{kind}" for kind in ("kernel", "recurrent_kernel", "bias"))
            kernel, recurrent, bias = (tf.convert_to_tensor(tf_variable(getattr(self, name))) for name in names)
            turned = x if direction == "forward" else reverse(x, lengths)
            if self.kind == "lstm":
                states = lstm(turned, tf.concat([kernel, recurrent], axis=0), bias)
            else:
                states = gru(turned, kernel, recurrent, bias)
            if self.last:
                # Backward too, this is where the reading of a text ends.
                behind = tf.gather(states, tf.maximum(lengths - 1, 0), batch_dims=1)
                found.append(behind * tf.cast(lengths > 0, tf.float32)[:, tf.newaxis])
            else:
                found.append(states if direction == "forward" else reverse(states, lengths))
        states = tf.concat(found, axis=-1)
        if not self.last:
            states *= tf.sequence_mask(lengths, tf.shape(x)[1], tf.float32)[:, :, tf.newaxis]
        return tf.cast(states, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        """`[batch, length, states]` or `[batch, states]`."""
        batch, length = tuple(input_shape[0])[:2]
        states = self.units * (2 if self.bidirectional else 1)
        return (batch, states) if self.last else (batch, length, states)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        own = {"kind": self.kind, "units": self.units, "bidirectional": self.bidirectional, "last": self.last}
        return {**super().get_config(), **own}


def text_lengths(mask: tf.Tensor) -> tf.Tensor:
    """The place behind the last 1 of each mask: int `[batch, length]` to int32 `[batch]`.

    Example:
        >>> text_lengths(tf.constant([[1, 1, 0], [0, 0, 0]])).numpy().tolist()
        [2, 0]
    """
    places = tf.range(1, tf.shape(mask)[1] + 1)
    return tf.reduce_max(tf.where(tf.cast(mask, tf.int32) > 0, places, 0), axis=1)


def gru(x: tf.Tensor, kernel: tf.Tensor, recurrent_kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """The states of a GRU that begins at zero.

    Args:
        x: float32 `[batch, length, width]`.
        kernel: float32 `[width, 3 * units]`: update gate, reset gate and candidate, as in `keras.layers.GRU` with `reset_after`.
        recurrent_kernel: float32 `[units, 3 * units]`.
        bias: float32 `[2, 3 * units]`, of the inputs and of the states.

    Returns:
        Float32 `[batch, length, units]`.
    """
    units = recurrent_kernel.shape[0]

    def step(part, state):
        update, reset, candidate = tf.split(part, 3, axis=1)
        update_h, reset_h, candidate_h = tf.split(tf.matmul(state, recurrent_kernel) + bias[1], 3, axis=1)
        update, reset = tf.sigmoid(update + update_h), tf.sigmoid(reset + reset_h)
        return (update * state + (1.0 - update) * tf.tanh(candidate + reset * candidate_h),)

    return over_time(step, tf.tensordot(x, kernel, axes=1) + bias[0], (units,))
