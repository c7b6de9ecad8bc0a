"""`encode`: vectors of texts for other models, from a pre-trained encoder or from a sentence encoder."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence

import numpy as np

from tl_keras._keras import keras
from tl_keras.data.examples import Examples
from tl_keras.data.given import check_texts
from tl_keras.encoders.base import Encoder
from tl_keras.encoders.load import load_encoder
from tl_keras.errors import UserError
from tl_keras.models.body import pooled_features
from tl_keras.models.heads import POOLINGS
from tl_keras.models.text_vectors import TextVectors
from tl_keras.printable import LoggedProgress
from tl_keras.saved_models import find_saved_model, is_export
from tl_keras.serving.predict import as_predictor, load_exported
from tl_keras.serving.scorers import SentenceEncoder

FIXED_POOLINGS = ("mean", "max", "cls")
"""Those that need no training."""
ROLES = ("query", "passage")
"""What a text may be to an encoder that knows prompts."""


def encode(
    model,
    texts: Sequence[str],
    pooling: str | None = None,
    *,
    text_pairs: Sequence[str] | None = None,
    seq_length: int | None = None,
    layers: int | None = None,
    preprocessor: str | None = None,
    normalize: bool = False,
    role: str = "query",
    batch_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """The vectors of texts, to feed any other model: by a pre-trained encoder as it is, or by a sentence encoder.

    Texts of like length share a batch, and come back in their order; besides the result only one batch is in memory at a time. The
    encoder stays loaded for the next call.

    Args:
        model: a pre-trained encoder: its handle (see `load_encoder`), or what `load_encoder` gave. Or a sentence encoder: a Keras
            model of `sentence_encoder`, a path to an export or a run folder, or what `load_exported` gave.
        texts: `n` strings.
        pooling: of a pre-trained encoder: `"mean"` or `"max"` over the tokens, padding left out, or `"cls"`, its `pooled_output`. By
            default what the encoder was made for, else `"mean"`. A text embedding module's vector is taken as it is, and a sentence
            encoder pools as it was built to.
        text_pairs: `n` strings that are read together with the texts; for BERT-like encoders.
        seq_length: of a handle: longest text in tokens; 128 by default.
        layers: of a handle: use the first so many blocks only.
        preprocessor: of a handle: handle of the preprocessing module, where it is not known.
        normalize: give vectors of length 1, whose dot product is the cosine.
        role: `"passage"` for documents that will be searched, `"query"` for what asks and for all others: encoders that know prompts
            (e5, ko-en-small) want another one before each. `TextIndex` does so by itself.
        batch_size: texts in a batch.
        progress: called with how many are done and `n`; by default that is logged, every ten seconds.

    Returns:
        Float32 `[n, width]`, in the order of the texts.

    Raises:
        UserError: the model gives no vectors, the texts are no list of strings, or an option does not fit the model.

    Example:
        >>> encode(encoder, reviews.texts).shape
        (64, 16)
    """
    check_texts(texts)
    texts = texts if hasattr(texts, "__len__") else list(texts)
    source = as_vector_source(
        model, pooling, seq_length=seq_length, layers=layers, preprocessor=preprocessor, role=role
    )
    if isinstance(source, TextVectors):
        vectors = source.compute(Examples.from_lists(texts, text_pairs=text_pairs), batch_size, progress)
    elif text_pairs is not None:
        raise UserError("a sentence encoder gives a vector for each text; for pairs give a pre-trained encoder.")
    else:
        vectors = source.encode(texts, batch_size, progress or LoggedProgress(), role)
    if normalize:
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return vectors


def as_vector_source(
    model,
    pooling: str | None = None,
    *,
    seq_length: int | None = None,
    layers: int | None = None,
    preprocessor: str | None = None,
    role: str = "query",
) -> TextVectors | SentenceEncoder:
    """What turns texts into vectors, loaded once for the same encoder and options; the arguments are those of `encode`.

    Raises:
        UserError: as for `encode`.
    """
    if role not in ROLES:
        raise UserError(f"role={role!r} is not one of {', '.join(ROLES)}.")
    settled = {"pooling": pooling, "seq_length": seq_length, "layers": layers, "preprocessor": preprocessor}
    if isinstance(model, (str, os.PathLike)) and not is_export(model):
        length = 128 if seq_length is None else seq_length
        model, settled = _encoder(os.fspath(model), length, preprocessor, layers, _file_state(model)), {}
    elif isinstance(model, Encoder):
        del settled["pooling"]
    for name, value in settled.items():
        if value is not None:
            raise UserError(f"{name} is settled in what was given to encode; leave it out, or give a handle.")
    if isinstance(model, Encoder):
        return _pooled(model, fixed_pooling(model, pooling), role)
    if isinstance(model, (str, os.PathLike)):
        found = _exported(os.fspath(model), _file_state(find_saved_model(model)))
    else:
        found = as_predictor(model)
    if not isinstance(found, SentenceEncoder):
        raise UserError(
            "the model gives no vectors for texts: build it with sentence_encoder(...), or give a pre-trained encoder."
        )
    return found


def fixed_pooling(encoder: Encoder, pooling: str | None) -> str:
    """The pooling that was asked for, else the one that the encoder was made for, else the mean, which suits most without training."""
    if pooling is None:
        suggested = encoder.suggested.get("pooling", "mean")
        return suggested if suggested in FIXED_POOLINGS else "mean"
    if pooling not in FIXED_POOLINGS:
        raise UserError(
            f"pooling={pooling!r} is not one of {', '.join(FIXED_POOLINGS)}"
            + (": a mix of the blocks is learned together with a head." if pooling in POOLINGS else ".")
        )
    return pooling


# The two last are kept: whoever compares poolings, or fits copies of a pipeline, comes back to the same encoders again and again.
@functools.lru_cache(maxsize=2)
def _encoder(handle: str, seq_length: int, preprocessor: str | None, layers: int | None, state) -> Encoder:
    return load_encoder(handle, seq_length, preprocessor, layers)


@functools.lru_cache(maxsize=2)
def _pooled(encoder: Encoder, pooling: str, role: str) -> TextVectors:
    return TextVectors(keras.Model(*pooled_features(encoder, "freeze", pooling)), encoder, role)


@functools.lru_cache(maxsize=1)
def _exported(path: str, state):
    return load_exported(path)


def _file_state(path: str | os.PathLike) -> tuple:
    """What changes when another model is written to the same place; empty for what is no local file."""
    found = []
    for inside in ("", "saved_model.pb", os.path.join("encoder", "saved_model.pb")):
        try:
            status = os.stat(os.path.join(path, inside) if inside else path)
        except OSError:
            continue
        found.append((inside, status.st_mtime_ns, status.st_size))
    return tuple(found)
