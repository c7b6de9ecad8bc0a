"""An encoder pair as the start of further pre-training: its weights, its vocabulary, its heads."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import ops

from tl_keras.errors import UserError
from tl_keras.pretraining.model import ACTIVATIONS, BertPretrainer, build_backbone, set_activation
from tl_keras.pretraining.vocabulary import WordPiece, read_vocabulary

logger = logging.getLogger(__name__)

NSP_HEAD = "nsp_head.npz"
_MLM = "bert/cls/predictions"


@dataclass(frozen=True)
class PairStart:
    """An encoder pair as a start for pre-training.

    Attributes:
        model: The backbone with both heads; a head that the pair lacks is new.
        word_piece: Its tokenizer.
        new_heads: Names of the heads that are new.
        suggested: What its makers found to work when it is fine-tuned, as in `Encoder.suggested`.
    """

    model: BertPretrainer
    word_piece: WordPiece
    new_heads: tuple[str, ...]
    suggested: dict


def start_from_pair(
    handle: str, dropout: float = 0.0, precision: str = "float32", sample: Sequence[str] = ()
) -> PairStart:
    """Take an encoder pair's weights and vocabulary, to go on pre-training.

    Args:
        handle: As for `tl_keras.load_encoder`. Needs TensorFlow.
        dropout: Fraction of dropped units while training goes on.
        precision: As for `build_backbone`.
        sample: Texts on which our tokenizer must give the same ids as the pair's preprocessor.

    Returns:
        The start.

    Raises:
        UserError: It is not built like BERT, or tokenizes in a way that this command does not know.
    """
    try:
        import tensorflow as tf
        import tensorflow_text  # noqa: F401  (registers the ops of the preprocessor)
    except ImportError as error:
        raise UserError("--init reads a TensorFlow SavedModel: install tensorflow and tensorflow-text") from error
    from tl_keras.encoders.resolve import read_suggestions, resolve_pair

    encoder_folder, preprocess_folder = resolve_pair(handle)
    if preprocess_folder is None:
        raise UserError(
            f"--init {handle}: a text embedding has no WordPiece tokens to go on from; give an encoder pair"
        )
    encoder = tf.saved_model.load(str(encoder_folder))
    if not hasattr(encoder, "vocab_file"):
        raise UserError(
            f"--init {handle}: pre-training goes on with WordPiece vocabularies, and this encoder has another kind; `tl-keras "
            "compress --distil-on` trains such an encoder further"
        )
    arrays = {v.name.removesuffix(":0"): v.numpy() for v in encoder.variables}
    arrays |= {v.name.removesuffix(":0"): v.numpy() for v in getattr(getattr(encoder, "mlm", None), "variables", [])}
    vocabulary = read_vocabulary(encoder.vocab_file.asset_path.numpy().decode())
    activation = _fit_activation(_backbone_like(arrays, handle), encoder, handle)
    backbone = _backbone_like(arrays, handle, dropout, precision)
    set_activation(backbone, activation)
    model = BertPretrainer(backbone)
    new_heads = [] if _set_mlm_head(model, arrays) else ["mlm"]
    if not _set_nsp_head(model, Path(str(encoder_folder)).parent / NSP_HEAD):
        new_heads.append("nsp")
    if new_heads:
        logger.info("%s brings no %s head; a new one is made", handle, " and no ".join(new_heads))
    word_piece = _matching_tokenizer(
        vocabulary, bool(encoder.do_lower_case.numpy()), tf.saved_model.load(str(preprocess_folder)), sample, handle
    )
    return PairStart(model, word_piece, tuple(new_heads), read_suggestions(encoder_folder))


def _backbone_like(
    arrays: dict[str, np.ndarray], handle: str, dropout: float = 0.0, precision: str = "float32"
) -> keras.Model:
    """A KerasHub backbone of the same shape, with the pair's weights in it."""
    layers = sum(name.endswith("/self_attention/query/kernel") for name in arrays)
    try:
        query = arrays["transformer/layer_0/self_attention/query/kernel"]
        if len(query.shape) != 3:
            raise KeyError("a query kernel of shape width x heads x size")
        backbone = build_backbone(
            vocabulary_size=len(arrays["word_embeddings/embeddings"]),
            layers=layers,
            width=query.shape[0],
            heads=query.shape[1],
            intermediate=arrays["transformer/layer_0/intermediate/kernel"].shape[1],
            max_positions=len(arrays["position_embedding/embeddings"]),
            segments=len(arrays["type_embeddings/embeddings"]),
            dropout=dropout,
            precision=precision,
        )
        for name, variable in named_variables(backbone).items():
            variable.assign(arrays[name])
    except (KeyError, ValueError) as error:
        raise UserError(
            f"--init {handle}: its weights are not named and shaped as a TF Hub BERT encoder's ({error}); "
            "convert the checkpoint with `tl-keras convert` first"
        ) from error
    return backbone


def named_variables(backbone: keras.Model) -> dict[str, keras.Variable]:
    """The backbone's variables by the names that TF Hub's BERT encoders use."""
    named = {
        "word_embeddings/embeddings": backbone.token_embedding.embeddings,
        "position_embedding/embeddings": backbone.position_embedding.position_embeddings,
        "type_embeddings/embeddings": backbone.segment_embedding.embeddings,
        **_pair_of("embeddings/layer_norm", backbone.embeddings_layer_norm, "gamma", "beta"),
        **_pair_of("pooler_transform", backbone.pooled_dense, "kernel", "bias"),
    }
    for index, block in enumerate(backbone.transformer_layers):
        name, attention = f"transformer/layer_{index}", block._self_attention_layer
        for part in ("query", "key", "value"):
            named |= _pair_of(f"{name}/self_attention/{part}", getattr(attention, f"{part}_dense"), "kernel", "bias")
        named |= _pair_of(f"{name}/self_attention/attention_output", attention.output_dense, "kernel", "bias")
        named |= _pair_of(f"{name}/self_attention_layer_norm", block._self_attention_layer_norm, "gamma", "beta")
        named |= _pair_of(f"{name}/intermediate", block._feedforward_intermediate_dense, "kernel", "bias")
        named |= _pair_of(f"{name}/output", block._feedforward_output_dense, "kernel", "bias")
        named |= _pair_of(f"{name}/output_layer_norm", block._feedforward_layer_norm, "gamma", "beta")
    return named


def _pair_of(name: str, layer, *parts: str) -> dict:
    return {f"{name}/{part}": getattr(layer, part) for part in parts}


def _fit_activation(backbone: keras.Model, encoder, handle: str) -> str:
    """Find the feed-forward activation by trial: a SavedModel does not say which it has."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    ids = rng.integers(0, backbone.vocabulary_size, (2, min(8, backbone.max_sequence_length))).astype("int32")
    ones, zeros = np.ones_like(ids), np.zeros_like(ids)
    feed = {"input_word_ids": ids, "input_mask": ones, "input_type_ids": zeros}
    wanted = encoder({key: tf.constant(value) for key, value in feed.items()}, training=False)[
        "sequence_output"
    ].numpy()
    gaps = {}
    for activation in ACTIVATIONS:
        set_activation(backbone, activation)
        outputs = backbone({"token_ids": ids, "padding_mask": ones, "segment_ids": zeros})["sequence_output"]
        gaps[activation] = float(np.abs(ops.convert_to_numpy(outputs) - wanted).max())
    best = min(gaps, key=gaps.get)
    # gelu's two forms differ by some thousandths; another architecture is off by whole units.
    if not gaps[best] < 1e-3:
        raise UserError(
            f"--init {handle}: rebuilt as BERT its outputs differ by {gaps[best]:.2g}, so it is another architecture"
        )
    return best


def _set_mlm_head(model: BertPretrainer, arrays: dict[str, np.ndarray]) -> bool:
    if f"{_MLM}/output_bias/bias" not in arrays:
        return False
    head = model.mlm_head
    head._intermediate_dense.kernel.assign(arrays[f"{_MLM}/transform/dense/kernel"])
    head._intermediate_dense.bias.assign(arrays[f"{_MLM}/transform/dense/bias"])
    head._intermediate_layer_norm.gamma.assign(arrays[f"{_MLM}/transform/LayerNorm/gamma"])
    head._intermediate_layer_norm.beta.assign(arrays[f"{_MLM}/transform/LayerNorm/beta"])
    head._bias.assign(arrays[f"{_MLM}/output_bias/bias"])
    return True


def _set_nsp_head(model: BertPretrainer, path: Path) -> bool:
    if not path.is_file():
        return False
    with np.load(path) as data:
        model.nsp_head.kernel.assign(data["kernel"])
        model.nsp_head.bias.assign(data["bias"])
    return True


def _matching_tokenizer(vocabulary, lower_case: bool, preprocess, sample: Sequence[str], handle: str) -> WordPiece:
    """Our tokenizer with the accent rule under which it gives the preprocessor's ids."""
    import tensorflow as tf

    probes = ["Été café naïve", "한국어 영화 ㅋㅋ", "Good films!", *list(sample)[:200]]
    wanted = preprocess.tokenize(tf.constant(probes))
    wanted = (wanted.merge_dims(1, 2) if wanted.shape.rank == 3 else wanted).to_list()
    candidates = [WordPiece(vocabulary, lower_case, strip) for strip in (lower_case, not lower_case)]
    agreement = [sum(ours == theirs for ours, theirs in zip(c.encode(probes), wanted, strict=True)) for c in candidates]
    best = int(np.argmax(agreement))
    if agreement[best] < 0.98 * len(probes):
        raise UserError(
            f"--init {handle}: its preprocessor splits {len(probes) - agreement[best]} of {len(probes)} texts in another "
            "way than BERT's WordPiece rules do, so training text would not look like its input later"
        )
    return candidates[best]
