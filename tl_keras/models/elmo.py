"""ELMo vectors in a task's network: the frozen layers of a biLM, mixed by weights that the task learns."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

from tl_keras._keras import keras, register
from tl_keras.encoders.encoder_layer import KerasLayer
from tl_keras.encoders.resolve import resolve
from tl_keras.encoders.saved_model_files import _read
from tl_keras.encoders.word_vectors.encoder import WordVectorEncoder, word_vector_encoder
from tl_keras.encoders.word_vectors.word_vectors import WordVectors
from tl_keras.errors import UserError
from tl_keras.models.heads import ScalarMix

PLACES = {"input": ("input",), "output": ("output",), "both": ("input", "output")}
"""Where the vectors join the task's network: for each value of `at`, the places."""


@dataclass(frozen=True)
class Elmo:
    """A biLM in the interface of TF Hub's `elmo/3`. Make it with `load_elmo`; it is loaded when a model is built.

    Args:
        handle: the folder of its SavedModel.
        layers: LSTM layers; with the words' own vectors, one more is mixed.
        width: of the vectors; None if the module does not say.
        lower_case: whether it was trained on small letters.
    """

    handle: str
    layers: int
    width: int | None
    lower_case: bool = False

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what is mixed."""
        return ("word_emb", *(f"lstm_outputs{number}" for number in range(1, self.layers + 1)))

    def layer(self, name: str = "elmo") -> KerasLayer:
        """The module as a frozen layer: `{"tokens": string [batch, length], "sequence_len": int32 [batch]}` to a dict of vectors."""
        return KerasLayer(self.handle, signature="tokens", signature_outputs_as_dict=True, trainable=False, name=name)


def load_elmo(handle: str | os.PathLike) -> Elmo:
    """Find a biLM and look at what it gives; nothing heavy is loaded.

    Args:
        handle: folder of `tl-keras pretrain bilm`, or a folder, `.tar.gz` or URL of a TF Hub module like `elmo/3`.

    Raises:
        UserError: nothing is there, or it is no biLM.

    Example:
        >>> elmo = tlk.load_elmo(bilm)  # the folder of `tl-keras pretrain bilm`
        >>> elmo.layers, elmo.width
        (2, 6)
        >>> model = tlk.text_classifier(tlk.elmo_encoder(elmo), ["negative", "positive"])
    """
    folder = resolve(handle)
    inputs, outputs = _tokens_signature(folder)
    layers = 0
    while f"lstm_outputs{layers + 1}" in outputs:
        layers += 1
    if not {"tokens", "sequence_len"} <= set(inputs) or "word_emb" not in outputs or not layers:
        raise UserError(
            f"{handle} is no biLM: it has no signature 'tokens' that takes tokens and sequence_len and gives word_emb and "
            "lstm_outputs1; make one with tl-keras pretrain bilm, or give TF Hub's elmo/3."
        )
    return Elmo(str(folder), layers, outputs["lstm_outputs1"], bool(_facts(folder).get("lower_case", False)))


def elmo_encoder(
    elmo: Elmo | str | os.PathLike,
    at: str = "input",
    *,
    vectors: WordVectors | str | os.PathLike | None = None,
    texts: Sequence[str] | None = None,
    seq_length: int = 128,
) -> WordVectorEncoder:
    """Word vectors, or none, with ELMo vectors to be joined: an encoder for `text_classifier` and `token_classifier`.

    Args:
        elmo: from `load_elmo`, or the handle of one.
        at: what the ELMo vectors are joined to, the `"input"` of the recurrent network (beside the word vectors, if
            there are any), its `"output"`, or `"both"`; each with a mix of its own.
        vectors: word vectors beside them, from `read_vectors` or a file.
        texts: those to train on. With `vectors` it is their words that learn; without, their words get random vectors that learn.
        seq_length: longest text in words.

    Raises:
        UserError: no biLM, no such place, or nothing to read where the vectors join behind the recurrent network.

    Source: Peters et al. 2018, https://arxiv.org/abs/1802.05365, section 3.3.
    """
    if at not in PLACES:
        raise UserError(f"ELMo vectors join at {', '.join(PLACES)}, not at {at!r}.")
    if at == "output" and vectors is None and texts is None:
        raise UserError(
            'at="output" leaves the recurrent network nothing to read: give vectors=, or texts= for random ones, or at="both".'
        )
    elmo = elmo if isinstance(elmo, Elmo) else load_elmo(elmo)
    return word_vector_encoder(vectors, texts, seq_length=seq_length, contextual=elmo, contextual_at=at)


def contextual_vectors(
    tokens, mask, elmo: Elmo, at: str = "input", *, dropout: float = 0.0, layer_norm: bool = False
) -> dict[str, keras.KerasTensor]:
    """ELMo vectors for a functional model, mixed anew for each place where they join it.

    Args:
        tokens: symbolic string `[batch, length]`, words as they were written.
        mask: symbolic int32 `[batch, length]`, 1 for words, 0 for the padding behind them.
        elmo: from `load_elmo`.
        at: `"input"`, `"output"` or `"both"`: what the vectors will be joined to.
        dropout: fraction of their numbers dropped while training.
        layer_norm: see `ScalarMix`.

    Returns:
        For `"input"` and `"output"`, as `at` says, float32 `[batch, length, width]`, zeros behind the end of a text.

    Raises:
        UserError: no such place.

    Source: Peters et al. 2018, https://arxiv.org/abs/1802.05365, sections 3.2 and 3.3.
    """
    if at not in PLACES:
        raise UserError(f"ELMo vectors join at {', '.join(PLACES)}, not at {at!r}.")
    if not isinstance(elmo, Elmo):
        raise UserError(f"the biLM must come from load_elmo(...), not be a {type(elmo).__name__}.")
    states = elmo.layer()({"tokens": tokens, "sequence_len": WordCount(name="word_count")(mask)})
    joined = {}
    for place in PLACES[at]:
        mix = ElmoMix(layer_norm=layer_norm, name=f"elmo_{place}")
        joined[place] = mix([*(states[name] for name in elmo.outputs), mask])
        if dropout:
            joined[place] = keras.layers.Dropout(dropout, name=f"elmo_{place}_dropout")(joined[place])
    return joined


@register
class WordCount(keras.layers.Layer):
    """How many words each text has: a mask, int `[batch, length]`, to int32 `[batch]`."""

    def call(self, mask):
        """Count the ones."""
        return tf.reduce_sum(tf.cast(mask, tf.int32), axis=1)

    def compute_output_spec(self, mask):
        """Int32 `[batch]`, whatever the layer's dtype for floats."""
        return keras.KerasTensor((mask.shape[0],), "int32")

    def compute_output_shape(self, input_shape):
        """`[batch]`."""
        return (input_shape[0],)


@register
class ElmoMix(ScalarMix):
    """`ScalarMix` over the words' own vectors and the layers of a frozen biLM.

    The words' vectors are half as wide as the layers, which hold both directions, and are taken twice, side by side.

    Args:
        layer_norm: see `ScalarMix`.

    Call arguments: `[word_emb, lstm_outputs1, ..., mask]`, float `[batch, length, width or 2 * width]` and int `[batch, length]`;
    returns `[batch, length, 2 * width]`, zeros where the mask is 0.

    Example:
        >>> words, layer = tf.constant([[[2.0], [9.0]]]), tf.constant([[[4.0, 6.0], [9.0, 9.0]]])
        >>> ElmoMix()([words, layer, tf.constant([[1, 0]])]).numpy().tolist()
        [[[3.0, 4.0], [0.0, 0.0]]]
    """

    def __init__(self, layer_norm: bool = False, **kwargs):
        kwargs["mode"] = "sequence"
        super().__init__(layer_norm=layer_norm, **kwargs)

    def call(self, inputs):
        """Double the words' vectors, and mix."""
        *states, mask = inputs
        # The biLM is frozen: said here, so that nobody works out what its gradients would be.
        words, *layers = (tf.stop_gradient(state) for state in states)
        if words.shape[-1] != layers[0].shape[-1]:
            words = tf.concat([words, words], axis=-1)
        return super().call([words, *layers, mask])

    def compute_output_shape(self, input_shape):
        """`[batch, length, 2 * width]`."""
        return tuple(input_shape[1])


def _facts(folder: Path | str) -> dict:
    """What a biLM of ours says about itself; empty for others."""
    path = Path(folder) / "assets.extra" / "bilm.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _tokens_signature(folder: Path | str) -> tuple[list[str], dict[str, int | None]]:
    """Inputs of a SavedModel's signature `tokens`, and its outputs with their widths, read without loading it."""
    model = _read(Path(folder)) if not str(folder).startswith("gs://") else None
    for graph in model.meta_graphs if model is not None else ():
        if "tokens" in graph.signature_def:
            signature = graph.signature_def["tokens"]
            widths = {}
            for name, tensor in signature.outputs.items():
                sizes = [dim.size for dim in tensor.tensor_shape.dim]
                widths[name] = sizes[-1] if sizes and sizes[-1] > 0 else None
            return list(signature.inputs), widths
    return [], {}
