"""Predictions in the user's words, from a Keras model or from an export."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence

import numpy as np
import pandas as pd
import tensorflow as tf

from tl_keras._keras import keras
from tl_keras.data.examples import Examples, _string_array, length_order
from tl_keras.encoders.load import encoder_of
from tl_keras.errors import UserError
from tl_keras.models.heads import ClassProbabilities
from tl_keras.models.language_model import is_generator
from tl_keras.models.similarity_head import is_regressor, is_sentence_encoder
from tl_keras.models.span_head import is_answerer
from tl_keras.models.tag_head import is_tagger
from tl_keras.serving.exported import ExportedClassifier, load_exported
from tl_keras.serving.exported_answerer import Answerer
from tl_keras.serving.exported_generator import TextGenerator
from tl_keras.serving.exported_similarity import Regressor, TextEncoder
from tl_keras.serving.exported_tagger import Tagger
from tl_keras.serving.exported_zero_shot import ZeroShotClassifier
from tl_keras.serving.generation import keras_generator
from tl_keras.serving.questions import keras_answerer
from tl_keras.serving.similarity import keras_regressor, keras_text_encoder
from tl_keras.serving.tagging import keras_tagger


def head_of(model: keras.Model) -> ClassProbabilities:
    """The layer that knows the model's classes.

    Raises:
        UserError: the model is no classifier of this package.
    """
    for layer in model.layers:
        if isinstance(layer, ClassProbabilities):
            return layer
    raise UserError(f"the model {model.name!r} has no class names: build it with text_classifier(...).")


# Tracing a large encoder takes seconds, so a model's forward function is kept as long as the model lives.
_FORWARD: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def _forward(model: keras.Model, element_spec):
    """The model as a graph function traced once for all lengths.

    `model.predict` will not do: Keras 3 traces it anew for new shapes, and our batches differ in length.
    """
    if model not in _FORWARD:
        reference = weakref.ref(model)
        _FORWARD[model] = tf.function(
            lambda batch: reference()(batch, training=False), input_signature=[element_spec], autograph=False
        )
    return _FORWARD[model]


class KerasClassifier:
    """A classifier model with the tokenizing it needs; see `ExportedClassifier` for its twin from disk."""

    def __init__(self, model: keras.Model):
        head = head_of(model)
        self.model = model
        self.classes = tuple(head.classes)
        self.multi_label = head.multi_label
        self.encoder = encoder_of(model)

    def scores(self, texts: Sequence[str], text_pairs: Sequence[str] | None = None, batch_size: int = 64) -> np.ndarray:
        """Probabilities float32 `[n, classes]`, in the order of the texts."""
        examples = Examples.from_lists(texts, text_pairs=text_pairs)
        # Short texts share batches with short ones; the order is put back afterwards.
        order = length_order(examples.texts, examples.text_pairs)
        batches = self.encoder.batches(examples.take(order), batch_size=batch_size)
        forward = _forward(self.model, batches.element_spec)
        scores = np.empty((len(examples), len(self.classes)), "float32")
        scores[order] = np.concatenate([forward(batch).numpy() for batch in batches])
        return scores


def as_predictor(
    model,
) -> KerasClassifier | ExportedClassifier | Answerer | Tagger | TextEncoder | Regressor | TextGenerator:
    """Whatever can predict, behind one interface for each task.

    A classifier has `classes`, `multi_label`, `scores(texts, text_pairs, batch_size)`; a tagger has `labels`,
    `entities(texts, batch_size)`; an answerer has `answers(questions, contexts, ...)`; a sentence encoder
    `encode(texts, batch_size)`; a regressor `score_range`, `scores(texts, text_pairs, batch_size)`.
    """
    if isinstance(
        model,
        (
            KerasClassifier,
            ExportedClassifier,
            Answerer,
            Tagger,
            TextEncoder,
            Regressor,
            TextGenerator,
            ZeroShotClassifier,
        ),
    ):
        return model
    if isinstance(model, (str, os.PathLike)):
        return load_exported(model)
    if is_tagger(model):
        return keras_tagger(model)
    if is_answerer(model):
        return keras_answerer(model)
    if is_sentence_encoder(model):
        return keras_text_encoder(model)
    if is_generator(model):
        return keras_generator(model)
    if is_regressor(model):
        return keras_regressor(model)
    if isinstance(model, keras.Model):
        return KerasClassifier(model)
    raise UserError(f"expected a Keras model, a path to an export or a loaded export, not a {type(model).__name__}.")


def predict(
    model,
    texts: Sequence[str],
    text_pairs: Sequence[str] | None = None,
    *,
    batch_size: int = 64,
    all_scores: bool = False,
    threshold: float = 0.5,
) -> pd.DataFrame:
    """Label texts, or answer questions.

    Args:
        model: a Keras model of `text_classifier` or `token_classifier`, a path to an export or a run folder, or what
            `load_exported` gave.
        texts: `n` strings; for an answerer the questions.
        text_pairs: `n` strings, for pair models; for an answerer the contexts.
        batch_size: texts in a batch.
        all_scores: add a column for each class with its probability.
        threshold: multi-label models give every label with at least this probability.

    Returns:
        A DataFrame with the columns `text`, perhaps `text_pair`, `label` and `score`, in the order of the texts. For multi-label
        models `label` is a list of names and `score` a list of their probabilities. A tagger gives `text` and `entities`: for
        each text a list of `{"start", "end", "label", "text", "score"}`, in characters. A regressor gives `score`; a sentence encoder
        gives `embedding`, an array for each text, or for pairs their cosine as `score`.
        A language model gives `prompt`, `text` and `tokens`; see `generate` for its settings.
        An answerer gives `question`, `context`, `answer`, `start`, `end` and `score`.

    Raises:
        UserError: the model is no classifier, or gets pairs where it wants single texts.
    """
    predictor = as_predictor(model)
    if isinstance(texts, str):
        raise UserError(f"texts must be a list of strings, not one string: write [{texts[:40]!r}].")
    texts, pairs = list(texts), None if text_pairs is None else list(text_pairs)
    _string_array(texts, "texts")
    if pairs is not None:
        _string_array(pairs, "text_pairs")
    if isinstance(predictor, (Regressor, TextEncoder)):
        return predictor.frame(texts, pairs, batch_size)
    if isinstance(predictor, Answerer):
        if pairs is None:
            raise UserError("an answerer takes questions and what they are about: predict(model, questions, contexts).")
        return predictor.frame(texts, pairs, batch_size)
    if isinstance(predictor, Tagger):
        if pairs is not None:
            raise UserError("a tagger takes single texts, not pairs.")
        return predictor.frame(texts, batch_size)
    if isinstance(predictor, TextGenerator):
        if pairs is not None:
            raise UserError("a language model takes prompts, not pairs of texts.")
        return predictor.generate(texts, batch_size=batch_size)
    scores = predictor.scores(texts, pairs, batch_size) if texts else np.empty((0, len(predictor.classes)), "float32")
    frame = pd.DataFrame({"text": pd.Series(texts, dtype=object)})
    if pairs is not None:
        frame["text_pair"] = pairs
    names = np.array(predictor.classes, object)
    if predictor.multi_label:
        chosen = [np.flatnonzero(row >= threshold) for row in scores]
        frame["label"] = [names[rows].tolist() for rows in chosen]
        frame["score"] = [row[rows].tolist() for row, rows in zip(scores, chosen, strict=True)]
    else:
        best = scores.argmax(-1)
        frame["label"] = names[best]
        frame["score"] = scores[np.arange(len(scores)), best]
    if all_scores:
        for column, name in enumerate(predictor.classes):
            frame[f"score_{name}"] = scores[:, column]
    return frame


def generate(model, prompts: Sequence[str], **settings) -> pd.DataFrame:
    """Go on from prompts with a language model.

    Args:
        model: a Keras model of `text_generator`, a path to an export or a run folder, or what `load_exported` gave.
        prompts: `n` strings.
        **settings: `max_length`, `temperature`, `top_k`, `top_p`, `seed`, `stop`, `batch_size`; see `TextGenerator.generate`.

    Returns:
        A DataFrame: `prompt`, `text` (what follows the prompt) and `tokens` (how many were written).

    Raises:
        UserError: the model writes no texts, a setting is out of range, or a prompt leaves no room.
    """
    generator = as_predictor(model)
    if not isinstance(generator, TextGenerator):
        raise UserError(
            "this model writes no texts: build one with text_generator(...), or give a run of text-generation."
        )
    return generator.generate(prompts, **settings)
