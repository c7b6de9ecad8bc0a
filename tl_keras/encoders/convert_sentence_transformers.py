"""What a sentence-transformers folder says about the texts and vectors of its network.

`modules.json` lists what a text goes through: the network, a pooling, and perhaps layers behind it. An encoder pair holds the
network; the pooling, the prompts and the lowering of the case are kept with it, and what has no place in it is said.

Source: https://sbert.net/docs/sentence_transformer/usage/custom_models.html
"""

from __future__ import annotations

import dataclasses
import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tl_keras.encoders.convert_tensors import read_weights
from tl_keras.encoders.convert_wordpiece import read_json
from tl_keras.encoders.encoder_weights import EncoderWeights
from tl_keras.encoders.vocabularies import BytePairVocabulary, Vocabulary, WordPieceVocabulary
from tl_keras.errors import UserError

logger = logging.getLogger(__name__)

# Divided by the root of the length instead of the length, the mean points the same way.
_POOLINGS = {
    "mean_tokens": "mean",
    "mean_sqrt_len_tokens": "mean",
    "max_tokens": "max",
    "cls_token": "cls",
    "mean": "mean",
    "mean_sqrt_len": "mean",
    "max": "max",
    "cls": "cls",
}
# Scaling to length 1 leaves the cosines as they are; dropout is for training.
_HARMLESS = {"Transformer", "Pooling", "Normalize", "Dropout"}


def network_folder(folder: Path) -> Path:
    """Where the network and its tokenizer stand: the folder itself, or the one in it that `modules.json` names first."""
    first = next(iter(_modules(folder)), ("", ""))[1]
    return folder / first if (folder / first / "config.json").is_file() else folder


@dataclass(frozen=True)
class Head:
    """What makes a vector of the network's outputs.

    Attributes:
        pooling: `"mean"`, `"max"` or `"cls"`; None where the folder does not say.
        dense: kernel and bias of a layer with tanh behind `"cls"`, under the names of BERT's pooler, which is just that.
    """

    pooling: str | None
    dense: dict[str, np.ndarray] = field(default_factory=dict)

    def put_on(self, weights: EncoderWeights) -> EncoderWeights:
        """The network whose `pooled_output` is what `"cls"` means in this folder.

        BERT's pooler, a dense layer and tanh over the last block's output at `[CLS]`, is in many checkpoints, and is not used by
        sentence-transformers, which takes that output itself, or puts a layer of its own there (LaBSE).
        """
        if self.pooling != "cls":
            return weights
        arrays = {name: array for name, array in weights.arrays.items() if not name.startswith("pooler_transform")}
        return dataclasses.replace(weights, arrays=arrays | self.dense)


def read_head(folder: Path) -> Head:
    """The pooling of a folder's vectors, and the layer behind it where a pair has a place for one. A warning says what is lost.

    Args:
        folder: of the model, with `modules.json` or without.
    """
    pooling, modules = _pooling(folder), _modules(folder)
    behind = [(kind, path) for kind, path in modules if kind not in _HARMLESS]
    if pooling == "cls" and len(behind) == 1 and (dense := _dense(folder / behind[0][1])):
        return Head(pooling, dense)
    others = [path or kind for kind, path in behind]
    if others:
        logger.warning(
            "%s puts more behind its network than a pooling (%s), for which an encoder pair has no place: "
            "its vectors will be those before it, not sentence-transformers'.",
            folder,
            ", ".join(others),
        )
    return Head(pooling)


def _dense(folder: Path) -> dict[str, np.ndarray]:
    """The weights of a dense layer that is made as BERT's pooler is; empty where it is not, or can't be read."""
    if not all((folder / name).is_file() for name in ("config.json", "model.safetensors")):
        return {}
    config, arrays = read_json(folder / "config.json"), read_weights(folder)
    weight, bias = (arrays.get(f"linear.{name}") for name in ("weight", "bias"))
    square = weight is not None and bias is not None and weight.shape[0] == weight.shape[1]
    if not square or not str(config.get("activation_function")).endswith(".Tanh"):
        return {}
    return {"pooler_transform/kernel": weight.T, "pooler_transform/bias": bias}


def _pooling(folder: Path) -> str | None:
    path = folder / next((path for kind, path in _modules(folder) if kind == "Pooling"), "1_Pooling") / "config.json"
    if not path.is_file():
        return None
    config = read_json(path)
    chosen = [
        name.removeprefix("pooling_mode_") for name, value in config.items() if value is True and "_mode_" in name
    ]
    if not chosen and config.get("pooling_mode"):
        named = config["pooling_mode"]
        chosen = [named] if isinstance(named, str) else list(named)
    pooling = _POOLINGS.get(chosen[0]) if len(chosen) == 1 else None
    if chosen and pooling is None:
        logger.warning(
            "%s pools by %s, which there is no like of here: vectors will be others than sentence-transformers', whichever --pooling is chosen.",
            folder,
            " and ".join(chosen),
        )
    return pooling


def read_prompts(folder: Path) -> dict[str, str]:
    """The prompts for a `query` and a `passage`, as sentence-transformers keeps them with a model.

    Source: https://sbert.net/examples/sentence_transformer/applications/computing-embeddings/README.html#prompt-templates
    """
    path = folder / "config_sentence_transformers.json"
    config = read_json(path) if path.is_file() else {}
    known = config.get("prompts") or {}
    # Put before every text for which there is none of its own.
    default = known.get(config.get("default_prompt_name"))
    names = {"query": ("query",), "passage": ("document", "passage", "corpus")}
    found = {role: next((known[name] for name in keys if known.get(name)), default) for role, keys in names.items()}
    return {role: prompt for role, prompt in found.items() if isinstance(prompt, str) and prompt}


def with_its_case(vocabulary: Vocabulary, folder: Path) -> Vocabulary:
    """The vocabulary, which lowers the case of texts where the folder says that they are lowered before the tokenizer sees them.

    Args:
        vocabulary: as the tokenizer's own files have it.
        folder: of the network.

    Raises:
        UserError: it is a byte-pair vocabulary, which has no such rule.
    """
    path = folder / "sentence_bert_config.json"
    if vocabulary.lower_case or not path.is_file() or read_json(path).get("do_lower_case") is not True:
        return vocabulary
    if isinstance(vocabulary, BytePairVocabulary):
        raise UserError(f"{path} lowers the case of texts (do_lower_case), which byte pairs can't do here.")
    rules: dict[str, Any] = {"lower_case": True}
    if isinstance(vocabulary, WordPieceVocabulary):
        # Only the case: taking accents off would follow it where nothing is said.
        rules["strip_accents"] = bool(vocabulary.rules.strip_accents)
    return dataclasses.replace(vocabulary, rules=dataclasses.replace(vocabulary.rules, **rules))


def _modules(folder: Path) -> list[tuple[str, str]]:
    """The kind of each module, such as `Pooling`, and its folder within this one."""
    path = folder / "modules.json"
    if not path.is_file():
        return []
    try:
        modules = json.loads(path.read_text(encoding="utf-8"))
        return [(str(module["type"]).rpartition(".")[2], str(module.get("path") or "")) for module in modules]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UserError(f"{path} is damaged or no list of modules ({error}).") from error
