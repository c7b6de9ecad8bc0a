"""A serialized SentencePiece model, read and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tl_keras.errors import UserError

if TYPE_CHECKING:
    from sentencepiece.sentencepiece_model_pb2 import ModelProto


def parse_model(model: bytes, source: str = "the SentencePiece model") -> ModelProto:
    """Read a serialized SentencePiece model.

    Args:
        model: the file's content.
        source: what to call it in a message.

    Raises:
        UserError: it is damaged, or no unigram model.
    """
    from google.protobuf.message import DecodeError
    from sentencepiece import SentencePieceProcessor
    from sentencepiece.sentencepiece_model_pb2 import ModelProto, TrainerSpec

    try:
        proto = ModelProto.FromString(model)
    except DecodeError as error:
        raise UserError(f"{source} is damaged or no SentencePiece model.") from error
    if not proto.pieces:
        raise UserError(f"{source} is damaged or no SentencePiece model: it holds no tokens.")
    kind = proto.trainer_spec.model_type
    if kind != TrainerSpec.UNIGRAM:
        raise UserError(
            f"{source} is a SentencePiece model of kind {TrainerSpec.ModelType.Name(kind)}; only UNIGRAM models can be converted."
        )
    try:
        # Half a file can be a message all the same; the library itself has the last word.
        SentencePieceProcessor(model_proto=model)
    except RuntimeError as error:
        raise UserError(f"{source} is damaged or no SentencePiece model: {str(error).splitlines()[-1]}") from error
    return proto
