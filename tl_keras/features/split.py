"""Where does what learns begin? A model with a frozen encoder as two: its body, which never changes, and its head."""

from __future__ import annotations

import tensorflow as tf

from tl_keras._keras import IS_KERAS_3, find_layer, keras, register
from tl_keras.encoders.encoder_layer import EncoderLayer
from tl_keras.errors import UserError
from tl_keras.models.heads import MaskedPooling, ScalarMix
from tl_keras.models.transfer_model import TransferModel

_MIXES = ("mean", "cls")
_FIXED = (keras.layers.InputLayer, EncoderLayer, MaskedPooling)
_ADVICE = "only a head on one pooled vector for each text can learn from cached features, as in text_classifier and text_regressor"


class CannotSplit(UserError):
    """The head of a model takes more from the encoder than one pooled vector."""


def split(model: keras.Model) -> tuple[keras.Model, keras.Model, str]:
    """Cut a model behind its frozen encoder; both parts share their layers and weights with it.

    Args:
        model: compiled, of `text_classifier` or `text_regressor`, or one of your own whose head takes one pooled vector.

    Returns:
        `(body, head, pooling)`. The body goes from the model's inputs to the features, float `[batch, width]`, or
        `[batch, blocks, width]` for a learned mix. The head goes from there to the model's outputs, and is compiled like the model, with
        the model's own optimizer. `pooling` names what the features are.

    Raises:
        CannotSplit: the head takes something else.
        UserError: the encoder is not frozen, or the model is not compiled.
    """
    layer = find_layer(model, EncoderLayer)
    if layer is None:
        raise CannotSplit(f"the model {model.name!r} holds no tl_keras encoder beside its head: {_ADVICE}.")
    if layer.trainable:
        raise UserError(
            f"the encoder of {model.name!r} learns (transfer={layer.transfer.mode!r}), so its outputs change and cannot be computed once: "
            'build the model with transfer="freeze", or call set_transfer(model, "freeze").'
        )
    if getattr(model, "optimizer", None) is None:
        raise UserError(f"the model {model.name!r} is not compiled, so there is nothing to train its head with.")
    mixes = [layer for layer in model.layers if type(layer) is ScalarMix]
    mix = mixes[0] if len(mixes) == 1 and mixes[0].mode in _MIXES and not mixes[0].layer_norm else None
    name = f"{model.name}_head"
    with model.distribute_strategy.scope():
        try:
            if mix is None:
                features, pooling = _features(model)
                body, head = keras.Model(model.input, features), TransferModel(features, model.output, name=name)
            else:
                body, head = _split_mix(model, mix, name)
                pooling = "mix" if mix.mode == "mean" else f"mix-{mix.mode}"
        except UserError:
            raise
        except ValueError as error:
            # Keras's word for a path from the inputs to the outputs that goes around the features.
            raise _refusal(model) from error
        head.compile(**{**model._compile_config.config, "optimizer": model.optimizer})
    return body, head, pooling


def _features(model: keras.Model):
    """The one tensor that goes from what is fixed to what learns, and its name."""
    found, left, seen = [], tf.nest.flatten(model.output), set()
    while left:
        tensor = left.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        if isinstance(_maker(tensor), _FIXED):
            found.append(tensor)
        else:
            left += _made_from(tensor)
    if len(found) != 1 or len(found[0].shape) != 2 or isinstance(_maker(found[0]), keras.layers.InputLayer):
        raise _refusal(model)
    maker = _maker(found[0])
    if isinstance(maker, MaskedPooling):
        sequence, *_ = _made_from(found[0])
        if not isinstance(_maker(sequence), EncoderLayer):
            raise _refusal(model)
        return found[0], f"{maker.mode} of output {_place(sequence)}"
    return found[0], f"output {_place(found[0])}"


def _split_mix(model: keras.Model, mix: ScalarMix, name: str) -> tuple[keras.Model, keras.Model]:
    """Body and head where the head learns how much of each block to take: the features are all blocks' pooled vectors."""
    *blocks, mask = _made_from(mix.output)
    if not all(isinstance(_maker(tensor), _FIXED) for tensor in (*blocks, mask)):
        raise _refusal(model)
    stacked = StackedBlocks(mix.mode, name="block_vectors")([*blocks, mask])
    vectors = keras.Input(shape=stacked.shape[1:], dtype=stacked.dtype, name="block_vectors")
    rest = keras.Model(mix.output, model.output)
    # The very same layer, on texts of one place each: its own pooling then changes nothing.
    head = TransferModel(vectors, rest(mix(OnePlaceEach(name="blocks")(vectors))), name=name)
    return keras.Model(model.input, stacked), head


def _maker(tensor):
    """The layer that a symbolic tensor comes from: the first entry of its history in both Kerases."""
    return tensor._keras_history[0]


def _made_from(tensor) -> list:
    """The symbolic tensors that the layer behind a symbolic tensor was called with."""
    layer, node_index, _ = tensor._keras_history
    node = layer._inbound_nodes[node_index]
    # All of them: Keras 2's `input_tensors` holds the first argument only.
    return tf.nest.flatten(node.input_tensors if IS_KERAS_3 else node.keras_inputs)


def _place(tensor) -> int:
    """Which output of its layer a symbolic tensor is."""
    return int(tensor._keras_history.tensor_index)


def _refusal(model: keras.Model) -> CannotSplit:
    return CannotSplit(f"the head of {model.name!r} takes more than that, every token perhaps: {_ADVICE}.")


@register
class StackedBlocks(keras.layers.Layer):
    """The pooled vectors of all blocks, for `ScalarMix` to mix later.

    Args:
        mode: `"mean"` over the tokens, padding left out, or `"cls"`, the vector at the first place.

    Call arguments: those of `ScalarMix`; returns `[batch, blocks, width]`.

    Example:
        >>> blocks = [tf.constant([[[1.0], [3.0]]]), tf.constant([[[4.0], [9.0]]])]
        >>> StackedBlocks("mean")([*blocks, tf.constant([[1, 0]])]).numpy().tolist()
        [[[1.0], [4.0]]]
    """

    def __init__(self, mode: str = "mean", **kwargs):
        super().__init__(**kwargs)
        self.mode = mode

    def call(self, inputs):
        """Pool and stack."""
        *blocks, mask = inputs
        if self.mode == "cls":
            return tf.stack([block[:, 0] for block in blocks], axis=1)
        weights = tf.cast(mask, blocks[0].dtype)[:, :, tf.newaxis]
        count = tf.maximum(tf.reduce_sum(weights, axis=1), 1.0)
        return tf.stack([tf.reduce_sum(block * weights, axis=1) / count for block in blocks], axis=1)

    def compute_output_shape(self, input_shape):
        """`[batch, blocks, width]`."""
        return (input_shape[0][0], len(input_shape) - 1, input_shape[0][2])

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "mode": self.mode}


@register
class OnePlaceEach(keras.layers.Layer):
    """Stacked vectors `[batch, blocks, width]` as the inputs of `ScalarMix`: a text of one place for each block, and a mask of ones.

    Example:
        >>> *blocks, mask = OnePlaceEach()(tf.constant([[[1.0], [4.0]]]))
        >>> [block.numpy().tolist() for block in blocks], mask.numpy().tolist()
        ([[[[1.0]]], [[[4.0]]]], [[1]])
    """

    def call(self, stacked):
        """Take apart."""
        blocks = [block[:, tf.newaxis] for block in tf.unstack(stacked, num=stacked.shape[1], axis=1)]
        return [*blocks, tf.ones_like(stacked[:, :1, 0], tf.int32)]

    def compute_output_spec(self, stacked):
        """For Keras 3, which cannot tell the mask's dtype from shapes alone."""
        batch, count, width = stacked.shape
        blocks = [keras.KerasTensor((batch, 1, width), stacked.dtype) for _ in range(count)]
        return [*blocks, keras.KerasTensor((batch, 1), "int32")]
