"""Predictions in the user's words, from a Keras model or an export; and the export, which is used again in plain TensorFlow, without Keras."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import tensorflow as tf
import tensorflow_text  # noqa: F401  (registers the ops of the tokenizer inside)

from tl_keras.data.given import check_texts, index_of, string_array
from tl_keras.errors import UserError, no_tensorflow_error
from tl_keras.files import need_space, whole_folder
from tl_keras.manifest import write_manifest
from tl_keras.options import check_ranges
from tl_keras.saved_models import TASK, find_saved_model, load_saved_model
from tl_keras.serving.answerer import Answerer
from tl_keras.serving.generator import TextGenerator
from tl_keras.serving.predictor import Predictor, constant
from tl_keras.serving.scorers import Classifier, Regressor, SentenceEncoder
from tl_keras.serving.tagger import Tagger
from tl_keras.serving.zero_shot_classifier import ZeroShotClassifier

if TYPE_CHECKING:
    from tl_keras._keras import keras

_PREDICTORS = {
    "text-classification": Classifier,
    "token-classification": Tagger,
    "question-answering": Answerer,
    "sentence-similarity": SentenceEncoder,
    "retrieval": SentenceEncoder,
    "text-generation": TextGenerator,
    "zero-shot-classification": ZeroShotClassifier,
}


def load_exported(path: str | os.PathLike) -> Predictor:
    """Load what `export` wrote: an export, or that of a run folder (its `saved_model/` with the highest number).

    Args:
        path: the SavedModel's folder, a folder of numbered versions, or a run folder.

    Returns:
        The predictor of its task, which `predict`, `evaluate` and `explain` take: a `Classifier`, `Tagger`, `Answerer`,
        `SentenceEncoder`, `Regressor`, `TextGenerator` or `ZeroShotClassifier`.

    Raises:
        UserError: nothing of the kind is there.
    """
    folder = os.fspath(find_saved_model(path))
    module = load_saved_model(folder)
    if not hasattr(module, TASK):
        raise UserError(
            f"{folder} is a SavedModel, but no export of tl_keras, or one of an early version: export it again."
        )
    task = getattr(module, TASK)().numpy().decode()
    if task not in _PREDICTORS:
        raise UserError(
            f"{folder} is an export for {task}, which this version of tl_keras does not know; install a later one."
        )
    kind = _PREDICTORS[task]
    if kind is SentenceEncoder and "score" in module.signatures["serving_default"].structured_outputs:
        kind = Regressor
    predictor = kind.of_export(module, folder)
    predictor.folder, predictor.module, predictor.task = folder, module, task
    return predictor


def as_predictor(model) -> Predictor:
    """Whatever can predict, behind one interface for each task.

    Args:
        model: a Keras model of one of this package's builders, a path to an export or a run folder, or a predictor.

    Raises:
        UserError: it is none of them.
    """
    if isinstance(model, Predictor):
        return model
    if isinstance(model, (str, os.PathLike)):
        return load_exported(model)
    # Only here: an export needs neither Keras nor the builders.
    from tl_keras.serving.keras_models import keras_predictor

    return keras_predictor(model)


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
        texts: `n` strings; for an answerer the questions. Or examples of a reader, whose labels are not looked at.
        text_pairs: `n` strings, for pair models; for an answerer the contexts.
        batch_size: texts in a batch.
        all_scores: add a column for each class with its probability.
        threshold: multi-label models give every label with at least this probability.

    Returns:
        A DataFrame with the columns `text`, perhaps `text_pair`, `label` and `score`, in the order of the texts; of a Series with its index. For multi-label
        models `label` is a list of names and `score` a list of their probabilities. A tagger gives `text` and `entities`: for
        each text a list of `{"start", "end", "label", "text", "score"}`, in characters. A regressor gives `score`; a sentence encoder
        gives `embedding`, an array for each text, or for pairs their cosine as `score`.
        A language model gives `prompt`, `text` and `tokens`; see `generate` for its settings.
        An answerer gives `question`, `context`, `answer`, `start`, `end` and `score`.

    Raises:
        UserError: the model is no classifier, or gets pairs where it wants single texts.
    """
    predictor = as_predictor(model)
    check_ranges({"batch_size": batch_size, "threshold": threshold})
    if hasattr(texts, "questions"):
        texts, text_pairs = texts.questions, texts.contexts
    elif hasattr(texts, "texts"):
        texts, text_pairs = texts.texts, getattr(texts, "text_pairs", None)
    check_texts(texts)
    index = index_of(texts)
    texts = list(texts)
    string_array(texts, "texts")
    pairs = None
    if text_pairs is not None:
        check_texts(text_pairs, "text_pairs")
        pairs = list(text_pairs)
        string_array(pairs, "text_pairs")
    options = {"threshold": threshold, "all_scores": all_scores} if isinstance(predictor, Classifier) else {}
    frame = predictor.frame(texts, pairs, batch_size=batch_size, **options)
    return frame if index is None else frame.set_axis(index)


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


def export(
    model: keras.Model,
    directory: str | os.PathLike,
    *,
    pairs: bool = False,
    overwrite: bool = False,
    task: str | None = None,
) -> Path:
    """Write a model as a SavedModel for serving.

    Its `serving_default` takes raw strings, `[batch]` of any size: of a classifier `text` (and with `pairs` also `text_pair`), and
    gives `label` (string `[batch]`), `score` (float32 `[batch]`) and `scores` (float32 `[batch, classes]`). For multi-label models
    `label` and `score` are those of the most likely class; `scores` holds all. The label names are in `class_names()`, and the
    vocabulary in the assets: the folder can be moved and loaded with `tensorflow` and `tensorflow_text` alone.

    The other tasks: spans of a tagger, see `tl_keras.serving.tagger.Tagger.to_module`; `answer` and its place for `question` and
    `context`, see `tl_keras.serving.answerer.Answerer.to_module`; `embedding`, float32 `[batch, width]`, of a sentence encoder;
    `score`, float32 `[batch]`, of a regressor; texts for prompts, see `tl_keras.serving.generation_graph.generation_module`; scores of
    labels that are named in the request, see `tl_keras.serving.zero_shot_classifier.ZeroShotClassifier.to_module`.

    Args:
        model: of one of this package's builders, or what `zero_shot_classifier` gave.
        directory: to write; TensorFlow Serving wants its last part to be a number.
        pairs: whether the model was trained on pairs of texts.
        overwrite: replace a folder that is there.
        task: the command's task, which the export keeps; by default what the model's builder is for.

    Returns:
        The folder written.

    Raises:
        UserError: the folder exists, the model is none of this package's, or it is an export.
    """
    directory = Path(directory).expanduser()
    if directory.exists() and not overwrite:
        raise UserError(f"{directory} exists; choose another folder or pass overwrite=True (--overwrite).")
    from tl_keras._keras import tf_variable

    predictor = as_predictor(model)
    if predictor.folder:
        raise UserError(f"{predictor.folder} is an export already; copy it, or give the Keras model.")
    root, signatures = predictor.to_module(pairs)
    setattr(root, TASK, constant(task or predictor.task))
    size = sum(math.prod(variable.shape) * variable.dtype.size for variable in map(tf_variable, root.variables))
    need_space(directory, size, "the model")
    # Written beside and renamed: whoever watches the folder never sees half a model.
    with whole_folder(directory, replace=overwrite) as beside, no_tensorflow_error(directory):
        tf.saved_model.save(root, str(beside), signatures=signatures)
        write_manifest(beside)
    return directory
