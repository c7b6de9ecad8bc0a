"""The vocabulary that an encoder pair was written with, read again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tl_keras.encoders.vocabularies import (
    BYTE_PAIR_FILE,
    BytePairVocabulary,
    Packing,
    SentencePieceRules,
    SentencePieceVocabulary,
    Vocabulary,
    WordPieceRules,
    WordPieceVocabulary,
)
from tl_keras.errors import UserError


def read_pair_vocabulary(folder: str | os.PathLike) -> Vocabulary:
    """Read the vocabulary that an encoder pair was written with.

    Args:
        folder: holds `encoder/`, `preprocess/` and the `info.json` of `write_encoder_pair`.

    Raises:
        UserError: the pair was made by something else, so that the rules of its tokenizer are not known.
    """
    folder = Path(folder)
    try:
        facts = json.loads((folder / "info.json").read_text(encoding="utf-8"))["tokenizer"]
        return read_vocabulary_file(folder / "encoder" / "assets", facts)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{folder} has no info.json that describes its tokenizer ({error}): make the pair again with `tl-keras convert`."
        ) from error


def read_vocabulary_file(folder: Path, facts: Mapping[str, Any]) -> Vocabulary:
    """Read what a vocabulary's `write` wrote.

    Args:
        folder: holds the file.
        facts: what its `info` said under "tokenizer".
    """
    packing = Packing(facts["separators"], facts["segments"])
    if facts["kind"] == "SentencePiece":
        # Pairs made before there were rules have none.
        text_rules = SentencePieceRules(**facts.get("rules", {}))
        model = (folder / "sentencepiece.model").read_bytes()
        return SentencePieceVocabulary(model, facts["special_tokens"], packing, text_rules)
    if facts["kind"] == "BytePair":
        content = json.loads((folder / BYTE_PAIR_FILE).read_text(encoding="utf-8"))
        merges = [tuple(pair) for pair in content["merges"]]
        return BytePairVocabulary(
            content["tokens"], merges, facts["add_prefix_space"], facts["special_tokens"], packing
        )
    rules = WordPieceRules(**facts["rules"])
    name = "vocab_uncased.txt" if rules.lower_case else "vocab_cased.txt"
    return WordPieceVocabulary((folder / name).read_text(encoding="utf-8").split("\n")[:-1], rules, packing)
