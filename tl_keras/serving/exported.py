"""Use an export again: plain TensorFlow, no Keras."""

from __future__ import annotations

import os

import tensorflow_text  # noqa: F401  (registers the ops of the tokenizer inside)

from tl_keras.errors import UserError
from tl_keras.saved_models import TASK, load_saved_model
from tl_keras.serving.answerer import Answerer
from tl_keras.serving.classifier import Classifier
from tl_keras.serving.generator import TextGenerator
from tl_keras.serving.predictor import Predictor
from tl_keras.serving.similarity import Regressor, SentenceEncoder
from tl_keras.serving.tagger import Tagger
from tl_keras.serving.versions import find_saved_model
from tl_keras.serving.zero_shot_classifier import ZeroShotClassifier

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
