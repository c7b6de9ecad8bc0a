"""Predictors by the handle a user gives (a run, an export, a pre-trained encoder): text encoders, their indexes, zero-shot classifiers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from tl_keras.errors import UserError
from tl_keras.saved_models import is_export
from tl_keras.serving.index import TextIndex
from tl_keras.serving.index_files import read_meta
from tl_keras.serving.predict import as_predictor
from tl_keras.serving.predictor import Predictor
from tl_keras.serving.scorers import SentenceEncoder
from tl_keras.serving.zero_shot_classifier import ZeroShotClassifier


def load_text_encoder(
    handle: str | os.PathLike,
    *,
    seq_length: int = 256,
    pooling: str | None = None,
    preprocessor: str | None = None,
) -> SentenceEncoder:
    """Load what a run trained or `export` wrote, or a pre-trained encoder as it is.

    Args:
        handle: a run folder, an export, or whatever `load_encoder` takes.
        seq_length: for a pre-trained encoder: longest text in tokens.
        pooling: for a pre-trained encoder: how a text's vector is made. By default what it was made for, else the mean.
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
        encoder = as_predictor(_frozen_encoder(os.fspath(handle), seq_length, preprocessor, pooling))
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


def zero_shot_classifier(
    model,
    labels: Sequence[str] | Mapping[str, str] | None = None,
    *,
    template: str | None = None,
    seq_length: int = 128,
) -> ZeroShotClassifier:
    """A classifier for labels that are named when it is asked.

    By similarity: a sentence encoder compares texts with descriptions of the labels. By entailment: a model of natural language
    inference (a pair classifier with a class "entailment", as `tl-keras train zero-shot-classification` makes one) says whether a text
    entails "This text is about LABEL."

    Args:
        model: for similarity: a pre-trained encoder or its handle, or a sentence encoder (Keras model, export or run folder); for
            entailment: a pair classifier (likewise).
        labels: used where `predict` names none: names, or names with descriptions.
        template: what a description is put into, at `{}`; by default the description alone for similarity, and
            "This text is about {}." for entailment.
        seq_length: of a handle: longest text in tokens.

    Raises:
        UserError: the model is neither, a label has no description, or the template has no place for one.

    Source: similarity: Reimers and Gurevych, https://arxiv.org/abs/1908.10084; entailment: Yin et al., "Benchmarking Zero-shot Text
        Classification", https://arxiv.org/abs/1909.00161.

    Example:
        >>> topics = {"MUSIC": "music", "FILM": "a film, its plot or an actor"}
        >>> asked = tlk.zero_shot_classifier(encoder, topics)
        >>> asked.predict(["the music was very good"]).label.item() in topics
        True
    """
    by_handle = isinstance(model, (str, os.PathLike))
    if not isinstance(model, Predictor) and not (by_handle and is_export(model)):
        model = _frozen_encoder(os.fspath(model) if by_handle else model, seq_length)
    predictor = as_predictor(model)
    if isinstance(predictor, ZeroShotClassifier):
        return predictor.with_defaults(labels, template)
    return ZeroShotClassifier.on(predictor, template, labels)


def _frozen_encoder(encoder, seq_length: int, preprocessor: str | None = None, pooling: str | None = None):
    """A sentence encoder of a pre-trained encoder or its handle, as it is; whatever else comes is given back.

    Args:
        encoder: the encoder, or its handle.
        seq_length: of a handle: longest text in tokens.
        preprocessor: of a handle: that of its preprocessing module.
        pooling: by default what the encoder's makers suggest, where that gives one vector a text without training.
    """
    # Only here: an export needs neither Keras nor the builders.
    from tl_keras.encoders.base import Encoder
    from tl_keras.encoders.load import load_encoder
    from tl_keras.models.pair_builders import sentence_encoder

    if isinstance(encoder, str):
        encoder = load_encoder(encoder, seq_length, preprocessor)
    if not isinstance(encoder, Encoder):
        return encoder
    if pooling is None:
        suggested = encoder.suggested.get("pooling", "mean")
        pooling = suggested if suggested in ("mean", "max", "cls") else "mean"
    return sentence_encoder(encoder, "freeze", pooling=pooling)
