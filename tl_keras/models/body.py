"""What builders share: from an encoder to one vector for each text, and from vectors to a compiled model."""

from __future__ import annotations

from collections.abc import Sequence

from tl_keras._keras import keras
from tl_keras.encoders.base import Encoder, require_encoder
from tl_keras.encoders.transfer_plan import Transfer
from tl_keras.errors import UserError
from tl_keras.models.heads import POOLINGS, MaskedPooling, ScalarMix
from tl_keras.models.recurrent import Recurrence, RecurrentNetwork
from tl_keras.models.transfer_control import let_head_learn_faster, prepare
from tl_keras.options import default_learning_rate
from tl_keras.training.optimizer import make_optimizer

RECURRENT_LEARNING_RATE = 2e-3
"""Peak learning rate of recurrent networks, and of word vectors that learn with them."""


def choose_pooling(
    encoder: Encoder, pooling: str | None, recurrence: Recurrence | None = None, usual: str = "cls"
) -> str:
    """The pooling that was asked for, else the one that the encoder was made for, else the usual one: `"cls"` as in BERT.

    Behind a recurrent network it is `"max"` where nobody asked for another. For vectors that are compared the mean is usual.

    Raises:
        UserError: no such pooling.
    """
    require_encoder(encoder)
    pooling = pooling or ("max" if recurrence else encoder.suggested.get("pooling", usual))
    if pooling not in POOLINGS:
        raise UserError(f"pooling={pooling!r} is not known; choose one of: {', '.join(POOLINGS)}.")
    return pooling


def peak_learning_rate(
    encoder: Encoder,
    width: int | None,
    transfer: Transfer,
    recurrence: Recurrence | None = None,
    linear: bool = True,
) -> float:
    """The peak learning rate where the user names none: what the encoder's makers suggest, else one that suits its width.

    A recurrent network starts from nothing and takes a high rate; on a pre-trained network that learns too, that one's rate goes before.
    On a frozen encoder a linear head (`linear`) takes a higher rate than a deeper one.
    """
    if recurrence is not None and (encoder.default_recurrent or not transfer.trains_encoder):
        return RECURRENT_LEARNING_RATE
    suggested = encoder.suggested.get("learning_rate")
    return default_learning_rate(width, transfer.trains_encoder, suggested, new_linear=linear)


def pooled_features(
    encoder: Encoder,
    transfer: bool | str | Transfer,
    pooling: str | None,
    recurrence: Recurrence | None = None,
    dropout: float = 0.0,
):
    """Build inputs, encoder layer and pooling.

    Args:
        encoder: from `load_encoder`.
        transfer: which of its weights learn: a way of transfer, or all or none as a bool.
        pooling: `"cls"` takes the encoder's `pooled_output` (for BERT a dense layer and tanh over `[CLS]`; of word vectors the mean), or
            behind a recurrent network its states after the whole text; `"mean"` and `"max"` pool the `sequence_output`; `"mix"` and
            `"mix-cls"` learn how much of each block's mean, or `[CLS]`, to take (see `tl_keras.models.heads.ScalarMix`). A text
            embedding module's vector is taken as it is. None: see `choose_pooling`.
        recurrence: the recurrent network between encoder and pooling.
        dropout: fraction of its inputs dropped while training.

    Returns:
        `(inputs, features)`: symbolic inputs, and float `[batch, width]`.

    Raises:
        UserError: no such pooling, or the encoder lacks the output it needs.
    """
    require_encoder(encoder)
    pooling = choose_pooling(encoder, pooling, recurrence)
    inputs, outputs = encoder_outputs(encoder, transfer)
    if encoder.takes_text:
        features = outputs["default"] if isinstance(outputs, dict) else outputs
        return inputs, features
    if recurrence is not None:
        if pooling in ("mix", "mix-cls"):
            raise UserError(
                f"pooling={pooling!r} mixes the encoder's blocks; behind a recurrent network choose another."
            )
        outputs = in_context(encoder, inputs, outputs, recurrence, dropout, last=pooling == "cls")
    elif isinstance(outputs, dict) and "contextual_output" in outputs:
        raise UserError(
            'ELMo vectors at the output join what a recurrent network gives, and there is none: choose "lstm" or "gru", or the input.'
        )
    elif pooling == "cls" and "pooled_output" not in outputs and encoder.default_pooling:
        pooling = encoder.default_pooling
    needed = {"cls": "pooled_output", "mix": "encoder_outputs", "mix-cls": "encoder_outputs"}.get(
        pooling, "sequence_output"
    )
    _require(encoder, outputs, needed, f"pooling={pooling!r}")
    if pooling == "cls":
        return inputs, outputs["pooled_output"]
    if needed == "encoder_outputs":
        mix = ScalarMix("cls" if pooling == "mix-cls" else "mean", name="pooling")
        return inputs, mix([*outputs["encoder_outputs"], _mask(inputs)])
    return inputs, MaskedPooling(pooling, name="pooling")([outputs["sequence_output"], _mask(inputs)])


def encoder_outputs(encoder: Encoder, transfer: bool | str | Transfer) -> tuple:
    """Build inputs and encoder layer, and join an ELMo model's vectors if the encoder has one.

    Returns:
        `(inputs, outputs)`: symbolic inputs, and what the encoder gives, by name; `contextual_output` among it is for behind a recurrent
        network (see `in_context`).

    Raises:
        UserError: this is no encoder.
    """
    require_encoder(encoder)
    inputs, outputs = encoder.outputs(transfer)
    if encoder.contextual is None:
        return inputs, outputs
    from tl_keras.models.elmo import contextual_vectors, load_elmo

    elmo = load_elmo(encoder.contextual) if isinstance(encoder.contextual, str) else encoder.contextual
    found = contextual_vectors(inputs["input_words"], inputs["input_mask"], elmo, encoder.contextual_at)
    outputs = dict(outputs)
    if "input" in found:
        joined = [outputs["sequence_output"], found["input"]]
        outputs["sequence_output"] = keras.layers.Concatenate(name="joined_input")(joined)
    if "output" in found:
        outputs["contextual_output"] = found["output"]
    return inputs, outputs


def in_context(
    encoder: Encoder, inputs: dict, outputs: dict, recurrence: Recurrence | None, dropout: float, last: bool = False
) -> dict:
    """Let a recurrent network read what the encoder gives for each token, and join what is to be joined behind it.

    Args:
        encoder: for messages.
        inputs: symbolic inputs.
        outputs: of the encoder, by name.
        recurrence: None for no such network.
        dropout: fraction of its inputs dropped while training.
        last: whether its states behind the whole text are wanted, as `pooled_output`.

    Returns:
        `sequence_output`, float `[batch, length, width]`, and with `last` also `pooled_output`, float `[batch, width]`.

    Raises:
        UserError: the encoder has no vector for each token.
    """
    _require(encoder, outputs, "sequence_output", "a recurrent network" if recurrence else "tagging")
    sequence, mask = outputs["sequence_output"], None
    found = {}
    if recurrence is not None:
        mask = _mask(inputs)
        network = RecurrentNetwork(
            recurrence.kind, recurrence.units, recurrence.bidirectional, last=last, name="recurrent"
        )
        states = network([keras.layers.Dropout(dropout, name="input_dropout")(sequence), mask])
        found["pooled_output" if last else "sequence_output"] = states
    else:
        found["sequence_output"] = sequence
    behind = outputs.get("contextual_output")
    if behind is not None:
        if last:
            behind = MaskedPooling("mean", name="contextual_pooling")([behind, mask])
        name = "pooled_output" if last else "sequence_output"
        found[name] = keras.layers.Concatenate(name="joined_output")([found[name], behind])
    return found


def _require(encoder: Encoder, outputs, name: str, who: str) -> None:
    if not isinstance(outputs, dict) or name not in outputs:
        has = ", ".join(outputs) if isinstance(outputs, dict) else "one tensor"
        raise UserError(f"{who} needs the output {name!r}, but {encoder.name} gives: {has}.")


def hidden_layers(x, hidden: int | Sequence[int | keras.layers.Layer], dropout: float):
    """Layers between the features and the last one: none by default, so that the head is linear.

    Args:
        x: symbolic features, float `[..., width]`.
        hidden: widths, each for a dense layer with GELU and dropout after it; or layers of the user's own, used as they are; in
            order. An int stands for one layer.
        dropout: fraction of each such layer's outputs dropped while training.

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


def linear_logits(features, size: int, hidden: int | Sequence[int | keras.layers.Layer], dropout: float):
    """The head of every builder: dropout, `hidden_layers`, and a linear layer that begins near zero.

    Returns:
        Symbolic logits, float `[..., size]`.
    """
    x = hidden_layers(keras.layers.Dropout(dropout, name="dropout")(features), hidden, dropout)
    start = keras.initializers.TruncatedNormal(stddev=0.02)
    return keras.layers.Dense(size, kernel_initializer=start, name="logits")(x)


def compile_model(
    model: keras.Model,
    loss,
    metrics: Sequence,
    *,
    encoder: Encoder,
    transfer: Transfer,
    width: int,
    learning_rate: float | None,
    hidden: int | Sequence = (),
    recurrence: Recurrence | None = None,
) -> keras.Model:
    """Compile with AdamW (warm-up, linear decay, weight decay on matrices, gradient clipping), and tell it what learns at which rate.

    Args:
        model: of a builder.
        loss: as Keras takes it.
        metrics: as Keras takes them.
        encoder: that it is built on.
        transfer: what of that learns.
        width: of what the head stands on.
        learning_rate: the peak rate of the encoder; None for one that suits it.
        hidden: layers of the head; without any, and without a recurrent network, it learns faster than an encoder that learns: see
            `let_head_learn_faster`.
        recurrence: the recurrent network behind the encoder.

    Returns:
        The same model.
    """
    rate = learning_rate or peak_learning_rate(encoder, width, transfer, recurrence, linear=not hidden)
    if transfer.trains_encoder and recurrence is None and not hidden:
        let_head_learn_faster(model)
    # XLA is slower on CPU for these steps, and would compile anew for each batch length.
    model.compile(optimizer=make_optimizer(rate), loss=loss, metrics=list(metrics), jit_compile=False)
    return prepare(model)


def _mask(inputs: dict) -> keras.KerasTensor:
    if "input_mask" not in inputs:
        raise UserError('this encoder has no input_mask, so padding cannot be told from text; choose pooling="cls".')
    return inputs["input_mask"]
