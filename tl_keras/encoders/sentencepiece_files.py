"""Reading SentencePiece models, and giving their tokens the ids that the network knows them by."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tl_keras.encoders.convert_wordpiece import read_json
from tl_keras.encoders.vocabularies import (
    BERT_PACKING,
    BERT_TOKENS,
    ROBERTA_PACKING,
    ROBERTA_TOKENS,
    SentencePieceRules,
    SentencePieceVocabulary,
    parse_model,
)
from tl_keras.errors import UserError

if TYPE_CHECKING:
    from sentencepiece.sentencepiece_model_pb2 import ModelProto

MODEL_FILES = ("sentencepiece.bpe.model", "spiece.model", "tokenizer.model")
# Ids 0 to 3 as fairseq orders them, which trained XLM-R and its kin, and as SentencePiece itself does.
_FAIRSEQ_ORDER = ("<s>", "<pad>", "</s>", "<unk>")
_QUOTES = {"``", "''"}
_OWN_ORDER = ("<unk>", "<s>", "</s>")


def read_sentencepiece(path: Path, settings: Mapping[str, Any], kind: str | None) -> SentencePieceVocabulary:
    """Read a SentencePiece file, whichever family's it is: ALBERT's has BERT's special tokens among its own.

    Args:
        path: of the file.
        settings: what `tokenizer_config.json` says; empty where there is none.
        kind: of network; ALBERT's tokenizer lowers the case unless told otherwise.

    Raises:
        UserError: as of `read_xlm_roberta`.
    """
    proto = parse_model(path.read_bytes(), str(path))
    tokens = {piece.piece for piece in proto.pieces}
    if not {"[CLS]", "[SEP]"} <= tokens:
        return read_xlm_roberta(path)
    special = _bert_tokens(tokens, path)
    # As control tokens they are never found in a text: "[MASK]" typed there stays text.
    for piece in proto.pieces:
        if piece.piece in special.values() and piece.type != piece.UNKNOWN:
            piece.type = piece.CONTROL
    albert = kind == "albert"
    rules = SentencePieceRules(
        lower_case=bool(settings.get("do_lower_case", albert)),
        strip_accents=albert and not settings.get("keep_accents", False),
        straighten_quotes=albert,
    )
    return SentencePieceVocabulary(proto.SerializeToString(), special, BERT_PACKING, rules)


def same_tokens(vocabulary: SentencePieceVocabulary, model: Mapping[str, Any]) -> bool:
    """Whether a SentencePiece file and the `model` of a `tokenizer.json` know the same tokens by the same ids, special ones aside."""
    special = {*BERT_TOKENS.values(), *ROBERTA_TOKENS.values(), *vocabulary.special_tokens.values()}

    def own(tokens) -> dict[str, int]:
        return {token: number for number, token in enumerate(tokens) if token not in special}

    return own(vocabulary.tokens) == own(entry[0] for entry in model.get("vocab") or [])


def read_xlm_roberta(path: Path) -> SentencePieceVocabulary:
    """Read `sentencepiece.bpe.model` of XLM-R and the networks that share its vocabulary.

    fairseq, which trained XLM-R, put its own special tokens first: the network's ids are those of the published file plus one,
    with `<s>`, `<pad>`, `</s>`, `<unk>` before and `<mask>` behind. A file whose own ids are in that order is taken as it is.

    Args:
        path: of the file.

    Returns:
        A vocabulary whose ids are the network's.

    Raises:
        UserError: it is damaged, no unigram model, or its first tokens are in neither order.
    """
    model = path.read_bytes()
    proto = parse_model(model, str(path))
    first = tuple(piece.piece for piece in proto.pieces[:4])
    if first != _FAIRSEQ_ORDER:
        if first[:3] != _OWN_ORDER:
            raise UserError(
                f"The first tokens of {path} are {', '.join(map(repr, first))}; an XLM-R vocabulary begins with "
                f"{', '.join(_OWN_ORDER)} or with {', '.join(_FAIRSEQ_ORDER)}."
            )
        model = _in_fairseq_order(proto)
    return SentencePieceVocabulary(model, dict(ROBERTA_TOKENS))


def read_unigram_json(path: Path) -> SentencePieceVocabulary:
    """Read the `tokenizer.json` of a fast tokenizer of kind Unigram, as XLM-R's and ALBERT's are; its ids are the network's.

    Args:
        path: of the file.

    Raises:
        UserError: its normalising, splitting or special tokens are others than theirs, or it is damaged.
    """
    from sentencepiece.sentencepiece_model_pb2 import ModelProto, TrainerSpec

    content = read_json(path)
    try:
        charsmap, rules = _normalizing(content, path)
        entries = [(str(token), float(score)) for token, score in content["model"]["vocab"]]
        unknown = int(content["model"]["unk_id"])
        added = {int(token["id"]): token for token in content.get("added_tokens", [])}
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged or no Unigram tokenizer ({error}).") from error
    # Special tokens are listed behind the vocabulary, some of them, such as <mask>, only there.
    entries += [("", 0.0)] * (max(added, default=-1) + 1 - len(entries))
    proto = ModelProto()
    kinds = ModelProto.SentencePiece
    for number, (token, score) in enumerate(entries):
        special = number in added and added[number].get("special")
        kind = kinds.UNKNOWN if number == unknown else kinds.CONTROL if special else kinds.NORMAL
        name = added[number]["content"] if number in added else token
        proto.pieces.add(piece=name or f"<unused {number}>", score=score, type=kind if name else kinds.UNUSED)
    tokens = [piece.piece for piece in proto.pieces]
    bert_like = {"[CLS]", "[SEP]"} <= set(tokens)
    special_tokens = _bert_tokens(set(tokens), path) if bert_like else dict(ROBERTA_TOKENS)
    missing = sorted(set(special_tokens.values()) - set(tokens))
    if missing:
        raise UserError(f"{path} has no {missing[0]!r} among its tokens, as an XLM-R vocabulary has.")
    spec = proto.trainer_spec
    spec.model_type, spec.vocab_size = TrainerSpec.UNIGRAM, len(tokens)
    ids = (tokens.index(special_tokens[role]) for role in ("start", "padding", "end"))
    spec.bos_id, spec.pad_id, spec.eos_id = ids
    spec.unk_id, spec.unk_piece = unknown, tokens[unknown]
    proto.normalizer_spec.precompiled_charsmap = charsmap
    proto.normalizer_spec.add_dummy_prefix = True
    proto.normalizer_spec.remove_extra_whitespaces = True
    proto.normalizer_spec.escape_whitespaces = True
    model = proto.SerializeToString()
    parse_model(model, str(path))
    packing = BERT_PACKING if bert_like else ROBERTA_PACKING
    return SentencePieceVocabulary(model, special_tokens, packing, rules)


def _bert_tokens(tokens: Set[str], path: Path) -> dict[str, str]:
    """BERT's special tokens, the unknown one and the padding by either family's name."""
    special = dict(BERT_TOKENS)
    for role in ("unknown", "padding"):
        if special[role] not in tokens:
            special[role] = ROBERTA_TOKENS[role]
    missing = [token for token in special.values() if token not in tokens]
    if missing:
        raise UserError(f"{path} has no {missing[0]!r} among its tokens, as a vocabulary with [CLS] and [SEP] has.")
    return special


def _normalizing(content: dict, path: Path) -> tuple[bytes, SentencePieceRules]:
    """SentencePiece's own table of normalising, which a fast tokenizer carries along, and what is done before."""
    normalizer, splitter = content.get("normalizer") or {}, content.get("pre_tokenizer") or {}
    steps = normalizer.get("normalizers", [normalizer])
    table = [step for step in steps if step.get("type") == "Precompiled"]
    # Blanks set together are one blank, which SentencePiece does by itself.
    replaced = [(step.get("pattern") or {}).get("String") for step in steps if step.get("type") == "Replace"]
    quotes = {text for text in replaced if text in _QUOTES}
    names = [step.get("type") for step in steps if step.get("type") not in ("Replace", "Strip")]
    names += [f"Replace {text!r}" for text in replaced if text not in (*_QUOTES, None)]
    rules = SentencePieceRules("Lowercase" in names, "StripAccents" in names, quotes == _QUOTES)
    expected = ["NFKD", "StripAccents"] * rules.strip_accents + ["Lowercase"] * rules.lower_case + ["Precompiled"]
    others = [] if names == expected else [name for name in names if name != "Precompiled"]
    splitters = splitter.get("pretokenizers", [splitter])
    splits = [_splitting(step, len(splitters) == 1) for step in splitters]
    if len(table) != 1 or others or not {"Metaspace"} <= set(splits) <= {"WhitespaceSplit", "Metaspace"}:
        raise UserError(
            f"{path} normalises or splits texts otherwise than XLM-R or ALBERT does ({', '.join(map(str, [*others, *splits]))})."
        )
    return base64.b64decode(table[0]["precompiled_charsmap"]), rules


def _splitting(step: Mapping[str, Any], alone: bool) -> str:
    """A pre-tokenizer's kind, with what SentencePiece does otherwise: it puts a blank before every text, and "▁" for each blank."""
    kind = str(step.get("type"))
    if kind != "Metaspace":
        return kind
    scheme = step.get("prepend_scheme", "always" if step.get("add_prefix_space", True) else "never")
    mark = step.get("replacement", "▁")
    # Split at blanks before, only a text's first word would get its mark.
    usual = scheme == "always" or (scheme == "first" and alone)
    return kind if usual and mark == "▁" else f"{kind} ({scheme}, {mark!r})"


def _in_fairseq_order(proto: ModelProto) -> bytes:
    kinds = type(proto).SentencePiece
    rest = list(proto.pieces)[3:]
    unknown = proto.pieces[0]
    shifted = type(proto)()
    shifted.CopyFrom(proto)
    del shifted.pieces[:]
    for token in _FAIRSEQ_ORDER[:3]:
        shifted.pieces.add(piece=token, score=0.0, type=kinds.CONTROL)
    shifted.pieces.add().CopyFrom(unknown)
    shifted.pieces.extend(rest)
    # As a control token it is never found in a text: "<mask>" typed there stays text.
    shifted.pieces.add(piece="<mask>", score=0.0, type=kinds.CONTROL)
    spec = shifted.trainer_spec
    spec.bos_id, spec.pad_id, spec.eos_id, spec.unk_id = range(4)
    spec.vocab_size = len(shifted.pieces)
    return shifted.SerializeToString()
