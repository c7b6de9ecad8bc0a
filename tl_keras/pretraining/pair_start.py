"""An encoder pair as the start of further pre-training: its weights, its vocabulary, its heads."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from tl_keras.encoders.encoder_weights import MLM_HEAD, RELATIVE, EncoderWeights, MlmWeights
from tl_keras.encoders.vocabularies import BERT_PACKING, BERT_TOKENS, Vocabulary, WordPieceRules, WordPieceVocabulary
from tl_keras.errors import UserError
from tl_keras.pretraining.model import BertPretrainer, build_backbone
from tl_keras.pretraining.pair_tokenizer import PairTokenizer
from tl_keras.pretraining.vocabulary import WordPiece, read_vocabulary

logger = logging.getLogger(__name__)

NSP_HEAD = "nsp_head.npz"
MLM, NSP, POOLER = "masked-LM head", "next-sentence head", "pooler"


@dataclass(frozen=True)
class PairStart:
    """An encoder pair as a start for pre-training.

    Attributes:
        model: The backbone with both heads; a part that the pair lacks is new.
        tokenizer: Its tokenizer.
        new_parts: Which of `MLM`, `NSP` and `POOLER` are new.
        suggested: What its makers found to work when it is fine-tuned, as in `Encoder.suggested`.
    """

    model: BertPretrainer
    tokenizer: WordPiece | PairTokenizer
    new_parts: tuple[str, ...]
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
        import tensorflow  # noqa: F401
        import tensorflow_text  # noqa: F401  (registers the ops of the preprocessor)
    except ImportError as error:
        raise UserError("--init reads a TensorFlow SavedModel: install tensorflow and tensorflow-text") from error
    from tl_keras.encoders.pair_encoder import read_pair_weights
    from tl_keras.encoders.resolve import read_suggestions, resolve_pair

    encoder_folder, preprocess_folder = (found and Path(str(found)) for found in resolve_pair(handle))
    if preprocess_folder is None:
        raise UserError(f"--init {handle}: a text embedding has no tokens to go on from; give an encoder pair")
    tokenizer = _tokenizer(encoder_folder, preprocess_folder, sample, handle)
    try:
        weights, activation, mlm = read_pair_weights(encoder_folder)
    except UserError as error:
        raise UserError(f"--init {handle}: {error}") from error
    backbone = _backbone(weights, activation, tokenizer.packing.segments, handle, dropout, precision)
    model = BertPretrainer(backbone)
    new_parts = [] if "pooler_transform/kernel" in weights.arrays else [POOLER]
    if mlm is None:
        new_parts.append(MLM)
    else:
        _set_mlm_head(model, mlm)
    if not _set_nsp_head(model, encoder_folder.parent / NSP_HEAD):
        new_parts.append(NSP)
    if new_parts:
        logger.info("%s brings no %s; what is missing is made new", handle, " and no ".join(new_parts))
    return PairStart(model, tokenizer, tuple(new_parts), read_suggestions(encoder_folder))


def _backbone(
    weights: EncoderWeights, activation: str, segments: bool, handle: str, dropout: float, precision: str
) -> keras.Model:
    """A KerasHub backbone of the same shape, with the pair's weights in it."""
    arrays = weights.arrays
    for name, what in (
        ("embedding_projection/kernel", "its embeddings are narrower than its blocks, as ALBERT's and ELECTRA's are"),
        (RELATIVE, "it has relative positions, as MPNet has"),
    ):
        if name in arrays:
            raise UserError(
                f"--init {handle}: {what}; pre-training goes on with networks like BERT's, RoBERTa's and XLM-R's. `tl-keras compress "
                "--distil-on` trains this one further"
            )
    # What a pair lacks adds nothing at first; a network that takes no notice of segments needs only one kind.
    missing = np.zeros((2 if segments else 1, weights.width), np.float32)
    arrays = {"type_embeddings/embeddings": missing, **arrays}
    try:
        backbone = build_backbone(
            vocabulary_size=weights.vocabulary_size,
            layers=weights.num_layers,
            width=weights.width,
            heads=weights.num_heads,
            intermediate=arrays["transformer/layer_0/intermediate/kernel"].shape[1],
            max_positions=weights.max_length,
            segments=len(arrays["type_embeddings/embeddings"]),
            dropout=dropout,
            activation=activation,
            precision=precision,
            epsilon=weights.epsilon,
        )
        for name, variable in named_variables(backbone).items():
            if name in arrays or not name.startswith("pooler_transform"):
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


def _set_mlm_head(model: BertPretrainer, weights: MlmWeights) -> None:
    arrays, head = weights.arrays, model.mlm_head
    head._intermediate_dense.kernel.assign(arrays[f"{MLM_HEAD}/transform/dense/kernel"])
    head._intermediate_dense.bias.assign(arrays[f"{MLM_HEAD}/transform/dense/bias"])
    head._intermediate_layer_norm.gamma.assign(arrays[f"{MLM_HEAD}/transform/LayerNorm/gamma"])
    head._intermediate_layer_norm.beta.assign(arrays[f"{MLM_HEAD}/transform/LayerNorm/beta"])
    head._bias.assign(arrays[f"{MLM_HEAD}/output_bias/bias"])


def _set_nsp_head(model: BertPretrainer, path: Path) -> bool:
    if not path.is_file():
        return False
    with np.load(path) as data:
        model.nsp_head.kernel.assign(data["kernel"])
        model.nsp_head.bias.assign(data["bias"])
    return True


def _tokenizer(
    encoder_folder: Path, preprocess_folder: Path, sample: Sequence[str], handle: str
) -> WordPiece | PairTokenizer:
    """The pair's tokenizer, which gives the ids of its preprocessor on some texts.

    BERT's own WordPiece rules need no TensorFlow and are quicker without; a vocabulary of another kind, or with rules of its own, is known
    of pairs that this package wrote.
    """
    import tensorflow as tf

    candidates: list[WordPiece | PairTokenizer]
    known = _known_vocabulary(encoder_folder, preprocess_folder)
    if known is not None and not _is_plain_wordpiece(known):
        candidates = [PairTokenizer(known)]
    else:
        encoder = tf.saved_model.load(str(encoder_folder))
        if not hasattr(encoder, "vocab_file"):
            raise UserError(
                f"--init {handle}: it holds no WordPiece vocabulary, and no info.json describes another; make the pair again with "
                "`tl-keras convert`"
            )
        vocabulary = read_vocabulary(encoder.vocab_file.asset_path.numpy().decode())
        lower_case = bool(encoder.do_lower_case.numpy())
        candidates = [WordPiece(vocabulary, lower_case, strip) for strip in (lower_case, not lower_case)]
    preprocess = tf.saved_model.load(str(preprocess_folder))
    probes = ["Été café naïve", "한국어 영화 ㅋㅋ", "Good films!", *list(sample)[:200]]
    wanted = preprocess.tokenize(tf.constant(probes))
    wanted = (wanted.merge_dims(1, 2) if wanted.shape.rank == 3 else wanted).to_list()
    agreement = [sum(ours == theirs for ours, theirs in zip(c.encode(probes), wanted, strict=True)) for c in candidates]
    best = int(np.argmax(agreement))
    if agreement[best] < 0.98 * len(probes):
        raise UserError(
            f"--init {handle}: its preprocessor splits {len(probes) - agreement[best]} of {len(probes)} texts in another "
            "way than its vocabulary's rules do, so training text would not look like its input later"
        )
    return candidates[best]


def _known_vocabulary(encoder_folder: Path, preprocess_folder: Path) -> Vocabulary | None:
    from tl_keras.encoders.vocabulary_trim import read_pair_vocabulary

    folder = encoder_folder.parent
    if preprocess_folder.parent != folder or not (folder / "info.json").is_file():
        return None
    try:
        return read_pair_vocabulary(folder)
    except UserError:  # an earlier version wrote no rules, for vocabularies of BERT's kind
        return None


def _is_plain_wordpiece(vocabulary: Vocabulary) -> bool:
    if not isinstance(vocabulary, WordPieceVocabulary) or vocabulary.packing != BERT_PACKING:
        return False
    rules = vocabulary.rules
    return (
        rules == WordPieceRules(rules.lower_case, rules.strip_accents, special_tokens=rules.special_tokens)
        and {**BERT_TOKENS, **rules.special_tokens} == BERT_TOKENS
    )
