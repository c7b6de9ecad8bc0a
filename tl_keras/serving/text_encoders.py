"""Find what turns texts into vectors, by the handle a user gives."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from tl_keras.encoders.load import load_encoder
from tl_keras.errors import UserError
from tl_keras.models.sentence_encoder import sentence_encoder
from tl_keras.serving.exported import load_exported
from tl_keras.serving.exported_similarity import TextEncoder
from tl_keras.serving.similarity import keras_text_encoder
from tl_keras.serving.versions import find_saved_model

logger = logging.getLogger(__name__)

_OURS = (b"embedding_width", b"score_range", b"class_names", b"span_labels", b"answer_settings")


def load_text_encoder(
    handle: str | os.PathLike,
    *,
    seq_length: int = 256,
    pooling: str = "mean",
    preprocessor: str | None = None,
    lexical_weight: float | None = None,
    lexical_texts: Sequence[str] = (),
) -> TextEncoder:
    """Load what a run trained or `export` wrote, or a pre-trained encoder as it is.

    Args:
        handle: a run folder, an export, or whatever `load_encoder` takes.
        seq_length: for a pre-trained encoder: longest text in tokens.
        pooling: for a pre-trained encoder: how a text's vector is made.
        preprocessor: for a pre-trained encoder: handle of its preprocessing module, where it is not known.
        lexical_weight: for a pre-trained encoder: how much of the similarity is shared words and characters; by default what its makers
            suggest, else 0.
        lexical_texts: those that say how rare each word is. Without them nothing is shared by default.

    Returns:
        The encoder; `keep` is the Keras model of a pre-trained one.

    Raises:
        UserError: nothing of the kind is there, or it gives no vectors, or it cannot be given a lexical weight.
    """
    if Path(handle).is_dir() and _is_ours(Path(handle)):
        if lexical_weight is not None:
            raise UserError(
                f"how much shared words count in {handle} was decided when it was trained; leave --lexical-weight out."
            )
        encoder = load_exported(handle)
        if not isinstance(encoder, TextEncoder):
            raise UserError(
                f"{handle} gives no vectors for texts (it is for {encoder.task}); train sentence-similarity with a bi-encoder, "
                "train retrieval, or give a pre-trained encoder."
            )
    else:
        pretrained = load_encoder(os.fspath(handle), seq_length, preprocessor)
        if lexical_weight is None and len(lexical_texts):
            lexical_weight = pretrained.suggested.get("lexical_weight", 0.0)
            if lexical_weight:
                logger.info(
                    "%s compares texts poorly by itself, so shared words and characters count %g and meaning %g; "
                    "--lexical-weight 0 leaves them out.",
                    pretrained.name, lexical_weight, 1 - lexical_weight,
                )  # fmt: skip
        model = sentence_encoder(
            pretrained, "freeze", pooling=pooling, lexical_weight=lexical_weight or 0.0, lexical_texts=lexical_texts
        )
        made = keras_text_encoder(model)
        encoder = TextEncoder(made.function, made.width, made.name, keep=model, passages=made.passages)
    encoder.name = os.fspath(handle)
    return encoder


def _is_ours(folder: Path) -> bool:
    """Whether a folder is a run or an export of this package."""
    try:
        content = (find_saved_model(folder) / "saved_model.pb").read_bytes()
    except UserError:
        return False
    # A bare encoder is a SavedModel too. The names of what only our exports have stand in the file as they are; loading it to see
    # would cost as much as using it.
    return any(name in content for name in _OURS)
