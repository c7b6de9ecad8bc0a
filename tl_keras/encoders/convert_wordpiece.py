"""Reading a Hugging Face folder's tokenizer, WordPiece or byte-level byte pairs: its vocabulary, and the rules it splits text by."""

from __future__ import annotations

import json
import logging
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tl_keras.encoders.tokenizers import byte_characters
from tl_keras.encoders.vocabularies import (
    BERT_TOKENS,
    ROBERTA_TOKENS,
    BytePairVocabulary,
    WordPieceRules,
    WordPieceVocabulary,
)
from tl_keras.errors import UserError

logger = logging.getLogger(__name__)

_BERT_TOKENIZERS = {"Bert", "DistilBert", "Electra", "PreTrained", "MPNet"}
_OTHER_KINDS = {
    "spm.model": "SentencePiece",
    "tokenizer_78b3253a26.model": "SentencePiece",
}
_UNUSED = re.compile(r"[\[<]unused_?\d+[\]>]")
_ROLES = {
    "unknown": "unk_token",
    "padding": "pad_token",
    "start": "cls_token",
    "end": "sep_token",
    "mask": "mask_token",
}


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        UserError: the file is not JSON.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} should hold a JSON object.")
    return content


def read_wordpiece(folder: Path) -> WordPieceVocabulary:
    """Read the vocabulary and the rules of a WordPiece tokenizer.

    `tokenizer_config.json` has the last word, as in transformers; then `tokenizer.json`, then BERT's defaults.

    Args:
        folder: holds `vocab.txt` or `tokenizer.json`, and perhaps `tokenizer_config.json`.

    Returns:
        The tokens by id, and the rules by which text is split into words.

    Raises:
        UserError: there is no vocabulary, or the tokenizer is of another kind.
    """
    config = _optional(folder / "tokenizer_config.json")
    fast = _optional(folder / "tokenizer.json")
    _refuse_other_kinds(folder, config, fast)
    normalizer = fast.get("normalizer") or {}

    def option(name: str, fast_name: str, default):
        return config[name] if name in config else normalizer.get(fast_name, default)

    vocabulary = _vocabulary(folder, fast)
    said = "do_lower_case" in config or "lowercase" in normalizer or (fast and "normalizer" not in fast)
    if not said:
        lower_case, strip_accents = _rules_by_look(vocabulary)
        config = {"do_lower_case": lower_case, "strip_accents": strip_accents} | config
        logger.warning(
            "%s does not say whether its vocabulary is uncased (no tokenizer_config.json); by its tokens it is taken to %s%s.",
            folder,
            "be uncased: texts are lower-cased" if lower_case else "tell upper from lower case",
            ", accents and Hangul left whole" if lower_case and strip_accents is False else "",
        )
    # A fast tokenizer without normaliser leaves the text as it is; without either file BERT's default is uncased.
    lower_case = bool(option("do_lower_case", "lowercase", not fast or "normalizer" not in fast))
    special = _optional(folder / "special_tokens_map.json") | config
    rules = WordPieceRules(
        lower_case=lower_case,
        strip_accents=option("strip_accents", "strip_accents", None),
        tokenize_chinese_chars=bool(option("tokenize_chinese_chars", "handle_chinese_chars", True)),
        max_chars_per_word=int(fast.get("model", {}).get("max_input_chars_per_word", 100)),
        special_tokens={role: _content(special[key]) for role, key in _ROLES.items() if special.get(key)},
    )
    warn_of_lost_tokens(vocabulary, rules, folder)
    return WordPieceVocabulary(vocabulary, rules)


def warn_of_lost_tokens(tokens: Sequence[str], rules: WordPieceRules, source) -> None:
    """Warn of a vocabulary whose words the rules change before they are looked up, so that they are never found.

    `source` says where both come from.
    """
    words = [token.removeprefix("##") for token in tokens if not (token.startswith("[") and token.endswith("]"))]
    lost = [word for word in words if _changed(word, rules) != word]
    if len(lost) > 0.01 * len(words):
        capitals = sum(word != word.lower() for word in lost)
        why = "lower-casing" if capitals > 0.5 * len(lost) else "taking accents off, which takes Hangul apart,"
        logger.warning(
            "%s: by its own settings (do_lower_case, strip_accents) %d of %d tokens can never be found, such as %r: %s changes them before "
            "they are looked up. If the encoder was trained otherwise, mend tokenizer_config.json and convert it again.",
            source, len(lost), len(words), lost[0], why,
        )  # fmt: skip


def warn_of_added_tokens(folder: Path) -> None:
    """Warn of tokens that were added to a tokenizer, which transformers finds in a text before it splits it; here they are text."""
    added = set(_optional(folder / "added_tokens.json"))
    added |= {token["content"] for token in _optional(folder / "tokenizer.json").get("added_tokens") or []}
    decoder = _optional(folder / "tokenizer_config.json").get("added_tokens_decoder") or {}
    added |= {token["content"] for token in decoder.values()}
    usual = {*BERT_TOKENS.values(), *ROBERTA_TOKENS.values(), "<s>NOTUSED", "</s>NOTUSED", "<|endoftext|>"}
    special = _optional(folder / "special_tokens_map.json") | _optional(folder / "tokenizer_config.json")
    usual |= {_content(special[key]) for key in _ROLES.values() if special.get(key)}
    added = {token for token in added - usual if not _UNUSED.fullmatch(token)}
    if added:
        logger.warning(
            "%s: its tokenizer has %d tokens that were added to the vocabulary, such as %r. Here they are split like other text, so texts "
            "in which they stand get other ids than in training.",
            folder,
            len(added),
            min(added),
        )


def _changed(word: str, rules: WordPieceRules) -> str:
    """What the rules make of a word.

    Example:
        >>> _changed("Café", WordPieceRules(True)), _changed("Café", WordPieceRules(True, strip_accents=False))
        ('cafe', 'café')
    """
    word = word.lower() if rules.lower_case else word
    if rules.lower_case if rules.strip_accents is None else rules.strip_accents:
        word = "".join(c for c in unicodedata.normalize("NFD", word) if unicodedata.category(c) != "Mn")
    return word


def _rules_by_look(vocabulary: list[str]) -> tuple[bool, bool | None]:
    """Whether a vocabulary is uncased, and whether accents are taken off, by its tokens: `(lower_case, strip_accents)`.

    Example:
        >>> _rules_by_look(["[UNK]", "the", "##s"]), _rules_by_look(["[UNK]", "The", "the"]), _rules_by_look(["[UNK]", "영화", "a"])
        ((True, None), (False, None), (True, False))
    """
    words = [token for token in vocabulary if not (token.startswith("[") and token.endswith("]"))]
    if any(token != token.lower() for token in words):
        return False, None
    # Taking accents off takes Hangul apart, and then whole syllables are never found.
    return True, False if any("\uac00" <= letter <= "\ud7a3" for token in words for letter in token) else None


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _content(token) -> str:
    return token["content"] if isinstance(token, dict) else token


def _refuse_other_kinds(folder: Path, config: dict, fast: dict) -> None:
    def refuse(kind: str) -> None:
        raise UserError(
            f"{folder} has a {kind} tokenizer; what can be read is WordPiece, SentencePiece as XLM-R and ALBERT have it, and RoBERTa's byte pairs."
        )

    name = config.get("tokenizer_class") or ""
    model = fast.get("model", {})
    if model:
        if model.get("type", "WordPiece") != "WordPiece":
            refuse({"Unigram": "SentencePiece (Unigram)", "BPE": "byte-pair (BPE)"}.get(model["type"], model["type"]))
        if model.get("continuing_subword_prefix", "##") != "##":
            refuse(f"WordPiece ({model['continuing_subword_prefix']!r} instead of '##')")
        for part, expected in (("normalizer", "BertNormalizer"), ("pre_tokenizer", "BertPreTokenizer")):
            kind = (fast.get(part) or {}).get("type", expected)
            if kind != expected:
                refuse(f"WordPiece tokenizer with another {part} ({kind}) than BERT's; its")
    elif not (folder / "vocab.txt").is_file():
        for file, kind in _OTHER_KINDS.items():
            if (folder / file).is_file():
                refuse(kind)
        raise UserError(f"{folder} has neither vocab.txt nor tokenizer.json, so there is no vocabulary to convert.")
    # "BertJapaneseTokenizer", "KoBertTokenizer" and kin run a program of their own before the WordPiece tokens.
    known = {f"{kind}Tokenizer{fast}" for kind in _BERT_TOKENIZERS for fast in ("", "Fast")} | {"TokenizersBackend", ""}
    if name not in known:
        refuse(name)


def _vocabulary(folder: Path, fast: dict) -> list[str]:
    listed = (fast.get("model") or {}).get("vocab") or {}
    if (folder / "vocab.txt").is_file():
        try:
            lines = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
        except UnicodeDecodeError as error:
            raise UserError(f"{folder / 'vocab.txt'} is not UTF-8 (byte {error.start}).") from error
        vocabulary = dict(enumerate(lines[:-1] if lines[-1] == "" else lines))
        if listed and listed != {token: i for i, token in vocabulary.items()}:
            logger.warning(
                "%s: vocab.txt and tokenizer.json hold different tokens; those of tokenizer.json are taken, as transformers does.",
                folder,
            )
            vocabulary = {i: token for token, i in listed.items()}
    else:
        vocabulary = {i: token for token, i in listed.items()}
    for token in fast.get("added_tokens", []):
        vocabulary.setdefault(token["id"], token["content"])
    return [vocabulary.get(i, "") for i in range(max(vocabulary, default=-1) + 1)]


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
