"""Labels that a model was never trained on, named when it is asked: by similarity to their descriptions, or by entailment."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from tl_keras.encoders.base import Encoder
from tl_keras.encoders.load import load_encoder
from tl_keras.models.sentence_encoder import sentence_encoder
from tl_keras.saved_models import is_export
from tl_keras.serving.predict import as_predictor
from tl_keras.serving.zero_shot_classifier import ZeroShotClassifier


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
    if isinstance(model, (str, os.PathLike)) and not is_export(model):
        model = load_encoder(os.fspath(model), seq_length)
    if isinstance(model, Encoder):
        model = sentence_encoder(model, "freeze", pooling=_pooling(model))
    predictor = as_predictor(model)
    if isinstance(predictor, ZeroShotClassifier):
        return predictor.with_defaults(labels, template)
    return ZeroShotClassifier.on(predictor, template, labels)


def _pooling(encoder: Encoder) -> str:
    suggested = encoder.suggested.get("pooling", "mean")
    return suggested if suggested in ("mean", "max", "cls") else "mean"
