"""From an encoder to one vector for each text: what every text-level builder begins with."""

from __future__ import annotations

from collections.abc import Sequence

from tl_keras._keras import keras
from tl_keras.errors import UserError
from tl_keras.hub.encoder import Encoder, EncoderLayer
from tl_keras.models.heads import POOLINGS, MaskedPooling, ScalarMix
from tl_keras.transfer.plan import Transfer


def pooled_features(encoder: Encoder, transfer: bool | str | Transfer, pooling: str):
    """Build inputs, encoder layer and pooling.

    Args:
        encoder: from `load_encoder`.
        transfer: which of its weights learn: a way of transfer, or all or none as a bool.
        pooling: `"cls"` takes the encoder's `pooled_output` (for BERT a dense layer and tanh over `[CLS]`); `"mean"` and `"max"`
            pool its `sequence_output`; `"mix"` and `"mix-cls"` learn how much of each block's mean, or `[CLS]`, to take (see
            `tl_keras.models.heads.ScalarMix`). A text embedding module's vector is taken as it is.

    Returns:
        `(inputs, features)`: symbolic inputs, and float `[batch, width]`.

    Raises:
        UserError: no such pooling, or the encoder lacks the output it needs.
    """
    if pooling not in POOLINGS:
        raise UserError(f"pooling={pooling!r} is not known; choose one of: {', '.join(POOLINGS)}.")
    if not isinstance(encoder, Encoder):
        raise UserError(f"encoder must come from load_encoder(...), not be a {type(encoder).__name__}.")
    inputs = encoder.inputs()
    layer: EncoderLayer = encoder.layer(transfer)
    outputs = layer(inputs)
    if encoder.takes_text:
        features = outputs["default"] if isinstance(outputs, dict) else outputs
        return inputs, features
    needed = {"cls": "pooled_output", "mix": "encoder_outputs", "mix-cls": "encoder_outputs"}.get(
        pooling, "sequence_output"
    )
    if not isinstance(outputs, dict) or needed not in outputs:
        has = ", ".join(outputs) if isinstance(outputs, dict) else "one tensor"
        raise UserError(f"pooling={pooling!r} needs the output {needed!r}, but {encoder.name} gives: {has}.")
    if pooling == "cls":
        return inputs, outputs["pooled_output"]
    if needed == "encoder_outputs":
        mix = ScalarMix("cls" if pooling == "mix-cls" else "mean", name="pooling")
        return inputs, mix([*outputs["encoder_outputs"], _mask(inputs)])
    return inputs, MaskedPooling(pooling, name="pooling")([outputs["sequence_output"], _mask(inputs)])


def hidden_layers(x, hidden: int | Sequence[int | keras.layers.Layer], dropout: float):
    """Layers between the features and the last one: none by default, so that the head is linear.

    Args:
        x: symbolic features, float `[..., width]`.
        hidden: widths, each for a dense layer with GELU and dropout after it; or layers of the user's own, used as they are; in
            order. An int stands for one layer.
        dropout: share of each such layer's outputs dropped while training.

    Returns:
        Symbolic features.

    Raises:
        UserError: an entry is neither a width nor a layer.
    """
    entries = [hidden] if isinstance(hidden, (int, keras.layers.Layer)) else list(hidden or ())
    for i, entry in enumerate(entries):
        if isinstance(entry, keras.layers.Layer):
            x = entry(x)
        elif isinstance(entry, int) and not isinstance(entry, bool) and entry > 0:
            x = keras.layers.Dense(entry, activation="gelu", name=f"hidden_{i}")(x)
            x = keras.layers.Dropout(dropout, name=f"hidden_dropout_{i}")(x)
        else:
            raise UserError(f"hidden must hold widths of at least 1, or Keras layers, not {entry!r}.")
    return x


def _mask(inputs: dict) -> keras.KerasTensor:
    if "input_mask" not in inputs:
        raise UserError('this encoder has no input_mask, so padding cannot be told from text; choose pooling="cls".')
    return inputs["input_mask"]
