"""Find what turns texts into vectors, by the handle a user gives."""

from __future__ import annotations

import os
from pathlib import Path

from tl_keras.encoders.load import load_encoder
from tl_keras.errors import UserError
from tl_keras.models.sentence_encoder import sentence_encoder
from tl_keras.serving.exported import load_exported
from tl_keras.serving.exported_similarity import TextEncoder
from tl_keras.serving.similarity import keras_text_encoder
from tl_keras.serving.versions import find_saved_model

_OURS = (b"embedding_width", b"score_range", b"class_names", b"span_labels", b"answer_settings")


def load_text_encoder(
    handle: str | os.PathLike,
    *,
    seq_length: int = 256,
    pooling: str = "mean",
    preprocessor: str | None = None,
) -> TextEncoder:
    """Load what a run trained or `export` wrote, or a pre-trained encoder as it is.

    Args:
        handle: a run folder, an export, or whatever `load_encoder` takes.
        seq_length: for a pre-trained encoder: longest text in tokens.
        pooling: for a pre-trained encoder: how a text's vector is made.
        preprocessor: for a pre-trained encoder: handle of its preprocessing module, where it is not known.

    Returns:
        The encoder; `keep` is the Keras model of a pre-trained one.

    Raises:
        UserError: nothing of the kind is there, or it gives no vectors.
    """
    if Path(handle).is_dir() and _is_ours(Path(handle)):
        encoder = load_exported(handle)
        if not isinstance(encoder, TextEncoder):
            raise UserError(
                f"{handle} gives no vectors for texts (it is for {encoder.task}); train sentence-similarity with a bi-encoder, "
                "train retrieval, or give a pre-trained encoder."
            )
    else:
        pretrained = load_encoder(os.fspath(handle), seq_length, preprocessor)
        model = sentence_encoder(pretrained, "freeze", pooling=pooling)
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
