"""Reading a Hugging Face folder's byte-level byte pairs, as RoBERTa has them."""

from __future__ import annotations

from pathlib import Path

from tl_keras.encoders.byte_pair_tokenizer import byte_characters
from tl_keras.encoders.convert_wordpiece import read_json
from tl_keras.encoders.vocabularies import ROBERTA_TOKENS, BytePairVocabulary
from tl_keras.errors import UserError

_CAN = "what can be read is RoBERTa's, byte-level and split as by GPT-2"


def has_byte_pairs(folder: Path) -> bool:
    """Whether a checkpoint's tokenizer is of this kind: `tokenizer.json` says BPE, or there is a `merges.txt`."""
    fast = folder / "tokenizer.json"
    if fast.is_file():
        return (read_json(fast).get("model") or {}).get("type") == "BPE"
    return (folder / "merges.txt").is_file() and not (folder / "vocab.txt").is_file()


def read_byte_pairs(folder: Path) -> BytePairVocabulary:
    """Read a byte-level byte-pair tokenizer.

    Args:
        folder: holds `tokenizer.json`, or `vocab.json` and `merges.txt`, and then perhaps `tokenizer_config.json`.

    Raises:
        UserError: a file is missing or damaged, or the tokenizer splits texts otherwise than RoBERTa's does.
    """
    fast = folder / "tokenizer.json"
    if fast.is_file():
        path, content = fast, read_json(fast)
        add_prefix_space = _checked(content, path)
        ids, merges = content["model"].get("vocab"), content["model"].get("merges")
        added = {token["content"]: token["id"] for token in content.get("added_tokens") or []}
    else:
        path, added = folder / "merges.txt", {}
        if not (folder / "vocab.json").is_file():
            raise UserError(f"{folder} has merges.txt but no vocab.json, which holds the tokens' ids.")
        ids, merges = read_json(folder / "vocab.json"), _read_merges(path)
        config = folder / "tokenizer_config.json"
        add_prefix_space = bool(config.is_file() and read_json(config).get("add_prefix_space"))
    if not isinstance(ids, dict) or not isinstance(merges, list):
        raise UserError(f"{path} is damaged or no byte-pair tokenizer: it has no vocab and merges.")
    # Older files have a pair as one string; no byte-level token holds a blank.
    pairs = [tuple(pair.split(" ")) if isinstance(pair, str) else tuple(pair) for pair in merges]
    ids = {**added, **ids}
    by_id = {number: token for token, number in ids.items()}
    tokens = [by_id.get(number, f"[line {number}]") for number in range(max(by_id, default=-1) + 1)]
    for number, pair in enumerate(pairs):
        if len(pair) != 2 or any(part not in ids for part in (*pair, "".join(pair))):
            raise UserError(
                f"Merge {number + 1} of {path}, {' '.join(pair)!r}, is not made of two of the vocabulary's tokens."
            )
    missing = [token for token in (*byte_characters(), *ROBERTA_TOKENS.values()) if token not in ids]
    if missing:
        raise UserError(f"The vocabulary beside {path} has no {missing[0]!r}; {_CAN}, with all 256 bytes.")
    return BytePairVocabulary(tokens, list(dict.fromkeys(pairs)), add_prefix_space)


def _read_merges(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start}).") from error
    return [line for number, line in enumerate(lines) if line and not (number == 0 and line.startswith("#version"))]


def _checked(content: dict, path: Path) -> bool:
    """Whether a blank is put before a text, by a `tokenizer.json` whose splitting is RoBERTa's."""
    model, splitter = content["model"], content.get("pre_tokenizer") or {}
    others = {
        "normalizer": (content.get("normalizer") or {}).get("type"),
        "continuing_subword_prefix": model.get("continuing_subword_prefix"),
        "end_of_word_suffix": model.get("end_of_word_suffix"),
        "ignore_merges": model.get("ignore_merges"),
        "byte_fallback": model.get("byte_fallback"),
        "dropout": model.get("dropout"),
    }
    odd = [f"{name} {value!r}" for name, value in others.items() if value]
    if splitter.get("type") != "ByteLevel" or not splitter.get("use_regex", True):
        odd.append(f"pre_tokenizer {splitter.get('type')}")
    if odd:
        raise UserError(f"{path} has a byte-pair tokenizer of another kind ({', '.join(odd)}); {_CAN}.")
    return bool(splitter.get("add_prefix_space", True))
