"""Find what turns texts into vectors, by the handle a user gives, and an index together with what made it."""

from __future__ import annotations

import os
from pathlib import Path

from tl_keras.encoders.load import load_encoder
from tl_keras.errors import UserError
from tl_keras.models.sentence_encoder import sentence_encoder
from tl_keras.saved_models import is_export
from tl_keras.serving.index import TextIndex
from tl_keras.serving.index_files import read_meta
from tl_keras.serving.predict import as_predictor
from tl_keras.serving.similarity import SentenceEncoder


def load_text_encoder(
    handle: str | os.PathLike,
    *,
    seq_length: int = 256,
    pooling: str = "mean",
    preprocessor: str | None = None,
) -> SentenceEncoder:
    """Load what a run trained or `export` wrote, or a pre-trained encoder as it is.

    Args:
        handle: a run folder, an export, or whatever `load_encoder` takes.
        seq_length: for a pre-trained encoder: longest text in tokens.
        pooling: for a pre-trained encoder: how a text's vector is made.
        preprocessor: for a pre-trained encoder: handle of its preprocessing module, where it is not known.

    Returns:
        The encoder; `model` is the Keras model of a pre-trained one.

    Raises:
        UserError: nothing of the kind is there, or it gives no vectors.
    """
    if is_export(handle):
        encoder = as_predictor(handle)
        if not isinstance(encoder, SentenceEncoder):
            raise UserError(
                f"{handle} gives no vectors for texts (it is for {encoder.task}); train sentence-similarity with a bi-encoder, "
                "train retrieval, or give a pre-trained encoder."
            )
    else:
        pretrained = load_encoder(os.fspath(handle), seq_length, preprocessor)
        encoder = as_predictor(sentence_encoder(pretrained, "freeze", pooling=pooling))
    encoder.name = os.fspath(handle)
    return encoder


def open_index(folder: str | os.PathLike, encoder: str | None = None, *, exact: bool = False) -> TextIndex:
    """Load an index with its encoder: the one inside it, else the one it was built with.

    Args:
        folder: that `tl-keras index` wrote.
        encoder: where the encoder is now, if it has moved.
        exact: compare with every text, also where there is an approximate index.

    Raises:
        UserError: no index is there, its encoder is not at hand, or another encoder made it.
    """
    how = dict(read_meta(folder)["made_with"])
    inside = Path(folder) / how["encoder"]
    handle = encoder or (inside if inside.is_dir() else how["encoder"])
    known = {name: how[name] for name in ("seq_length", "pooling", "preprocessor") if name in how}
    try:
        model = load_text_encoder(handle, **known)
    except UserError as error:
        if encoder is not None:
            raise
        raise UserError(
            f"the encoder of the index {folder} is not at hand ({error}) Say where it is with --encoder."
        ) from error
    return TextIndex.load(folder, model, exact=exact)
