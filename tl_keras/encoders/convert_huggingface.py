"""Reading a Hugging Face folder's weights, by KerasHub's readers.

KerasHub reads the blocks; what its readers leave out or expect otherwise (the kind of gelu, the dropout rates, a
missing pooler, RoBERTa's one token type, ELECTRA's narrow embeddings) is settled here, from the same folder.

An encoder pair holds each block by itself, so that the blocks can be cut and fine-tuned one by one. It is larger than the
checkpoint by as much, and gives the same outputs.

Source: Lan et al. 2020, https://arxiv.org/abs/1909.11942; the names are those of Hugging Face's checkpoints.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tl_keras.encoders.convert_mpnet import RELATIVE as MPNETS_RELATIVE
from tl_keras.encoders.convert_mpnet import mpnet_as_roberta
from tl_keras.encoders.convert_tensors import read_tensors
from tl_keras.encoders.convert_wordpiece import read_json
from tl_keras.encoders.encoder_weights import MLM_HEAD, RELATIVE, EncoderWeights, MlmWeights, gelu, read_backbone
from tl_keras.errors import UserError

READABLE = ("albert", "bert", "distilbert", "electra", "mpnet", "roberta", "xlm-roberta")
_ROBERTAS = ("mpnet", "roberta", "xlm-roberta")
# Hugging Face's "gelu" is the exact one, with erf; KerasHub's BERT computes the tanh approximation.
_APPROXIMATE_GELU = {"gelu_new", "gelu_pytorch_tanh", "gelu_fast", "gelu_accurate"}
_EXACT_GELU = {"gelu", "gelu_python"}
_NEEDED = {"bert": "hidden_size", "distilbert": "dim", "electra": "embedding_size", "roberta": "hidden_size"}
_NEEDED |= {"xlm-roberta": "hidden_size", "mpnet": "hidden_size", "albert": "embedding_size"}
_NAMES_OF_EMBEDDINGS = {
    "word_embeddings/embeddings": "embeddings.word_embeddings.weight",
    "position_embedding/embeddings": "embeddings.position_embeddings.weight",
    "type_embeddings/embeddings": "embeddings.token_type_embeddings.weight",
}
# Names of the masked-LM head's dense layer, of its layer normalisation, and of its bias over the vocabulary.
_MLM_NAMES = {
    "albert": ("predictions.dense", "predictions.LayerNorm", "predictions.bias"),
    "bert": ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.bias"),
    "distilbert": ("vocab_transform", "vocab_layer_norm", "vocab_projector.bias"),
    **dict.fromkeys(_ROBERTAS, ("lm_head.dense", "lm_head.layer_norm", "lm_head.bias")),
}


def read_huggingface(folder: Path) -> tuple[EncoderWeights, MlmWeights | None]:
    """Read the network in a folder written by transformers' `save_pretrained`.

    Args:
        folder: holds `config.json` and `model.safetensors` (or its shards and index).

    Returns:
        The encoder's weights, and those of its masked-LM head if the checkpoint has one. Without a pooler in the
        checkpoint there is none in the weights either: `pooled_output` is then the last block's output at `[CLS]`.

    Raises:
        UserError: the architecture can't be read, or a file is missing or damaged.
    """
    config = read_json(folder / "config.json")
    kind = checked_kind(folder)
    tensors = read_tensors(folder, kind)
    try:
        if kind == "albert":
            config, tensors = albert_as_bert(config, tensors)
        if kind == "mpnet":
            config, tensors = mpnet_as_roberta(config, tensors)
        with _readable_folder(kind, config, tensors) as readable:
            weights = _read_by_keras_hub(readable)
        weights = _complete(weights, kind, config, tensors)
        return weights, _mlm_head(kind, config, tensors)
    except KeyError as error:
        raise UserError(f"{folder} lacks {error.args[0]!r}, which a {kind} checkpoint has.") from error


def checked_kind(folder: Path) -> str:
    """The kind of network in a folder, by its `config.json`.

    Raises:
        UserError: it is none that can be read; the message says which can.
    """
    config = read_json(folder / "config.json")
    kind = config.get("model_type")
    can = (
        "what can be read is BERT, DistilBERT, ELECTRA, MPNet and RoBERTa with a WordPiece vocabulary, BERT and XLM-R with "
        "XLM-R's SentencePiece model, ALBERT with its own, and RoBERTa with byte pairs"
    )
    if kind not in READABLE:
        name = ", ".join(config.get("architectures") or []) or kind or "no model_type"
        raise UserError(f"{folder} holds another architecture ({name}); {can}.")
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise UserError(f"{folder} uses {config['position_embedding_type']} positions instead of absolute ones; {can}.")
    if config.get("is_decoder") or config.get("add_cross_attention"):
        raise UserError(f"{folder} holds a decoder, not an encoder; {can}.")
    if _NEEDED[kind] not in config:
        raise UserError(f"{folder / 'config.json'} has no {_NEEDED[kind]!r}, so it doesn't describe a {kind} network.")
    _activation(config)
    return kind


def _activation(config: dict):
    import keras  # Keras 3, whatever tf.keras is: KerasHub is always built on it

    usual = "gelu_new" if config.get("model_type") == "albert" else "gelu"
    name = config.get("hidden_act", config.get("activation", usual))
    if name in _EXACT_GELU:
        return gelu
    if name in _APPROXIMATE_GELU:
        return lambda x: keras.activations.gelu(x, approximate=True)
    if name in {"relu", "silu", "swish", "tanh", "mish"}:
        return keras.activations.get("silu" if name == "swish" else name)
    raise UserError(
        f"The checkpoint's activation {name!r} is not known here; gelu, gelu_new, relu, silu, tanh and mish are."
    )


@contextmanager
def _readable_folder(kind: str, config: dict, tensors: dict[str, np.ndarray]) -> Iterator[Path]:
    """Write the checkpoint as KerasHub's reader wants it.

    The blocks of ELECTRA and RoBERTa have BERT's names and are read as a BERT's; what differs in the embeddings is made
    to fit here, and put right in `_complete`.
    """
    from safetensors.numpy import save_file

    config, tensors = dict(config), dict(tensors)
    if kind != "distilbert":
        width = config["hidden_size"]
        config["model_type"] = "bert"
        if kind != "bert":
            for name in _NAMES_OF_EMBEDDINGS.values():
                tensors[name] = np.zeros((tensors[name].shape[0], width), np.float32)
            for name in _norm_names(tensors, "embeddings.LayerNorm"):
                tensors[name] = np.zeros(width, np.float32)
        if "pooler.dense.weight" not in tensors:
            tensors["pooler.dense.weight"] = np.zeros((width, width), np.float32)
            tensors["pooler.dense.bias"] = np.zeros(width, np.float32)
        # The names of the first BERT checkpoints: KerasHub before 0.26 reads no others, later ones read these too.
        tensors = {_with_gamma_and_beta(name): array for name, array in tensors.items()}
    prefix = "distilbert." if kind == "distilbert" else "bert."
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "config.json").write_text(json.dumps(config))
        contiguous = {prefix + name: np.ascontiguousarray(array) for name, array in tensors.items()}
        save_file(contiguous, str(Path(directory) / "model.safetensors"))
        yield Path(directory)


def _with_gamma_and_beta(name: str) -> str:
    return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")


def _norm_names(tensors: dict, name: str) -> list[str]:
    """The names of a layer normalisation's scale and shift; old checkpoints call them gamma and beta."""
    return [f"{name}.gamma", f"{name}.beta"] if f"{name}.gamma" in tensors else [f"{name}.weight", f"{name}.bias"]


def _read_by_keras_hub(folder: Path) -> EncoderWeights:
    import keras_hub
    from safetensors import SafetensorError

    config = read_json(folder / "config.json")
    # KerasHub's readers take two segments for granted, before 0.26 also 512 positions.
    settings = {"max_sequence_length": config["max_position_embeddings"]}
    if "type_vocab_size" in config and config["model_type"] == "bert":
        settings["num_segments"] = config["type_vocab_size"]
    try:
        return read_backbone(keras_hub.models.Backbone.from_preset(str(folder), **settings))
    except (SafetensorError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"KerasHub {keras_hub.__version__} can't read the checkpoint: {reason}") from error


def _complete(weights: EncoderWeights, kind: str, config: dict, tensors: dict[str, np.ndarray]) -> EncoderWeights:
    arrays = dict(weights.arrays)
    if kind != "distilbert" and "pooler.dense.weight" not in tensors:
        arrays = {name: array for name, array in arrays.items() if not name.startswith("pooler_transform")}
    if kind in ("albert", "electra", *_ROBERTAS):
        arrays |= {ours: tensors[theirs] for ours, theirs in _NAMES_OF_EMBEDDINGS.items()}
        gamma, beta = _norm_names(tensors, "embeddings.LayerNorm")
        arrays |= {"embeddings/layer_norm/gamma": tensors[gamma], "embeddings/layer_norm/beta": tensors[beta]}
    if "embeddings_project.weight" in tensors:
        arrays["embedding_projection/kernel"] = tensors["embeddings_project.weight"].T
        arrays["embedding_projection/bias"] = tensors["embeddings_project.bias"]
    if kind in _ROBERTAS:
        # RoBERTa counts positions from the padding's id + 1.
        position = arrays["position_embedding/embeddings"][config.get("pad_token_id", 1) + 1 :]
        if arrays["type_embeddings/embeddings"].shape[0] == 1:
            # One token type, added to every token: a constant, which must not be looked up by a second segment's 1.
            position = position + arrays.pop("type_embeddings/embeddings")
        arrays["position_embedding/embeddings"] = position
    if MPNETS_RELATIVE in tensors:
        arrays[RELATIVE] = tensors[MPNETS_RELATIVE]
    return dataclasses.replace(
        weights,
        arrays=arrays,
        activation=_activation(config),
        dropout=float(config.get("hidden_dropout_prob", config.get("dropout", 0.1))),
        attention_dropout=float(config.get("attention_probs_dropout_prob", config.get("attention_dropout", 0.1))),
        epsilon=float(config.get("layer_norm_eps", 1e-12)),
    )


def _mlm_head(kind: str, config: dict, tensors: dict[str, np.ndarray]) -> MlmWeights | None:
    """The masked-LM head, if there is one and it scores with the word embeddings."""
    if kind not in _MLM_NAMES or not config.get("tie_word_embeddings", True):
        return None
    dense, norm, bias = _MLM_NAMES[kind]
    if f"{dense}.weight" not in tensors or bias not in tensors:
        return None
    gamma, beta = _norm_names(tensors, norm)
    return MlmWeights(
        arrays={
            f"{MLM_HEAD}/transform/dense/kernel": tensors[f"{dense}.weight"].T,
            f"{MLM_HEAD}/transform/dense/bias": tensors[f"{dense}.bias"],
            f"{MLM_HEAD}/transform/LayerNorm/gamma": tensors[gamma],
            f"{MLM_HEAD}/transform/LayerNorm/beta": tensors[beta],
            f"{MLM_HEAD}/output_bias/bias": tensors[bias],
        },
        epsilon=float(config.get("layer_norm_eps", 1e-12)),
        activation=_activation(config),
    )


_PARTS = {
    "attention.query": "attention.self.query",
    "attention.key": "attention.self.key",
    "attention.value": "attention.self.value",
    "attention.dense": "attention.output.dense",
    "attention.LayerNorm": "attention.output.LayerNorm",
    "ffn": "intermediate.dense",
    "ffn_output": "output.dense",
    "full_layer_layer_norm": "output.LayerNorm",
}


def albert_as_bert(config: dict, tensors: dict[str, np.ndarray]) -> tuple[dict, dict[str, np.ndarray]]:
    """A checkpoint's settings and tensors under the names that BERT's (and, for the narrow embeddings, ELECTRA's) have.

    Args:
        config: of `config.json`.
        tensors: by name, without `albert.` before it.

    Returns:
        `config` with the number of blocks that are run through, and the tensors, shared blocks as the same arrays.

    Raises:
        KeyError: a tensor is missing.
        UserError: the groups don't divide the layers.
    """
    layers, groups = config["num_hidden_layers"], config.get("num_hidden_groups", 1)
    inner = config.get("inner_group_num", 1)
    if groups < 1 or layers % groups:
        raise UserError(f"config.json has {layers} layers in {groups} groups, which doesn't come out even.")
    found = {name: array for name, array in tensors.items() if not name.startswith(("encoder.", "pooler."))}
    for part in ("weight", "bias"):
        found[f"embeddings_project.{part}"] = tensors[f"encoder.embedding_hidden_mapping_in.{part}"]
        if f"pooler.{part}" in tensors:
            found[f"pooler.dense.{part}"] = tensors[f"pooler.{part}"]
        for block in range(layers * inner):
            group = block // inner // (layers // groups)
            shared = f"encoder.albert_layer_groups.{group}.albert_layers.{block % inner}"
            for theirs, berts in _PARTS.items():
                found[f"encoder.layer.{block}.{berts}.{part}"] = tensors[f"{shared}.{theirs}.{part}"]
    return config | {"num_hidden_layers": layers * inner}, found
