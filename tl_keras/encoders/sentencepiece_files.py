"""Reading SentencePiece models, and giving their tokens the ids that the network knows them by."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tl_keras.encoders.sentencepiece_model import parse_model
from tl_keras.encoders.vocabularies import ROBERTA_TOKENS, SentencePieceVocabulary
from tl_keras.errors import UserError

if TYPE_CHECKING:
    from sentencepiece.sentencepiece_model_pb2 import ModelProto

MODEL_FILES = ("sentencepiece.bpe.model",)
# Ids 0 to 3 as fairseq orders them, which trained XLM-R and its kin, and as SentencePiece itself does.
_FAIRSEQ_ORDER = ("<s>", "<pad>", "</s>", "<unk>")
_OWN_ORDER = ("<unk>", "<s>", "</s>")


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
