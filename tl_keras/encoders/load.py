"""Whichever kind of encoder: by its handle, or as the one that a model was built on."""

from __future__ import annotations

import os
from pathlib import Path

from tl_keras._keras import kept_with, keras
from tl_keras.encoders.base import Encoder
from tl_keras.encoders.encoder_layer import encoder_layer_of
from tl_keras.encoders.resolve import resolve_pair
from tl_keras.encoders.word_vectors.encoder import WordVectorEncoder, word_vector_encoder
from tl_keras.encoders.word_vectors.layer import WordVectorLayer
from tl_keras.encoders.word_vectors.read import looks_like_vectors
from tl_keras.errors import UserError


# Loading a preprocessing module takes a second.
@kept_with
def encoder_of(model: keras.Model) -> Encoder:
    """The encoder that a model was built on, with its tokenizer loaded once.

    Args:
        model: of one of this package's builders.

    Raises:
        UserError: the model was not made by one of them.
    """
    layer = encoder_layer_of(model)
    return (WordVectorEncoder if isinstance(layer, WordVectorLayer) else Encoder).from_layer(layer)


def load_encoder(
    handle: str, seq_length: int = 128, preprocessor: str | None = None, layers: int | None = None
) -> Encoder:
    """Find a pre-trained encoder and its preprocessing, downloading both if they are not in the cache.

    Args:
        handle: a preset name (`tl-keras encoders` lists them), a `https://tfhub.dev/...` or `https://www.kaggle.com/models/...`
            URL, a `.tar.gz`, or a folder that holds `encoder/` and `preprocess/`. A text embedding module is given by itself. A file
            of word vectors (`.vec`, `.txt`, `.bin`, perhaps with `.gz`) gives an encoder made of them: see `word_vector_encoder`.
        seq_length: longest input in tokens, `[CLS]` and `[SEP]` included; longer texts are cut.
        preprocessor: handle of the preprocessing module, where the preset table does not know it.
        layers: use the first so many blocks only: the rest neither runs nor is saved. `sequence_output` is then the output of the
            last block that is left, and `pooled_output` what the pooler makes of it. By default all.

    Raises:
        UserError: nothing is found under the handle, it is not an encoder pair, or it has not so many blocks.
    """
    if looks_like_vectors(handle):
        if preprocessor is not None or layers is not None:
            raise UserError(f"{handle} holds word vectors, which have neither a preprocessing module nor layers.")
        return word_vector_encoder(handle, seq_length=seq_length)
    # Absolute, for a `.keras` file remembers them, and may be opened in another folder.
    folder, preprocessor_folder = (
        os.path.abspath(found) if isinstance(found, Path) else found
        for found in resolve_pair(handle, preprocessor=preprocessor)
    )
    return Encoder(folder, preprocessor_folder, seq_length, str(handle), layers)
