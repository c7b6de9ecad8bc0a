"""From an encoder to one vector for each text: what every text-level builder begins with."""

from __future__ import annotations

from tl_keras._keras import keras
from tl_keras.errors import UserError
from tl_keras.hub.encoder import Encoder, EncoderLayer
from tl_keras.models.heads import POOLINGS, MaskedPooling

TRANSFERS = ("freeze", "fine-tune")


def is_trainable(transfer: str) -> bool:
    """Whether the encoder learns under this way of transfer.

    Raises:
        UserError: no such way.
    """
    if transfer not in TRANSFERS:
        raise UserError(f"transfer={transfer!r} is not known; choose one of: {', '.join(TRANSFERS)}.")
    return transfer == "fine-tune"


def pooled_features(encoder: Encoder, trainable: bool, pooling: str):
    """Build inputs, encoder layer and pooling.

    Args:
        encoder: from `load_encoder`.
        trainable: whether its weights learn.
        pooling: `"cls"` takes the encoder's `pooled_output` (for BERT a dense layer and tanh over `[CLS]`); `"mean"` and `"max"`
            pool its `sequence_output`. A text embedding module's vector is taken as it is.

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
    layer: EncoderLayer = encoder.layer(trainable=trainable)
    outputs = layer(inputs)
    if encoder.takes_text:
        features = outputs["default"] if isinstance(outputs, dict) else outputs
        return inputs, features
    needed = "pooled_output" if pooling == "cls" else "sequence_output"
    if not isinstance(outputs, dict) or needed not in outputs:
        has = ", ".join(outputs) if isinstance(outputs, dict) else "one tensor"
        raise UserError(f"pooling={pooling!r} needs the output {needed!r}, but {encoder.name} gives: {has}.")
    if pooling == "cls":
        return inputs, outputs["pooled_output"]
    return inputs, MaskedPooling(pooling, name="pooling")([outputs["sequence_output"], _mask(inputs)])


def _mask(inputs: dict) -> keras.KerasTensor:
    if "input_mask" not in inputs:
        raise UserError('this encoder has no input_mask, so padding cannot be told from text; choose pooling="cls".')
    return inputs["input_mask"]
