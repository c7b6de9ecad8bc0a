"""A SavedModel that takes raw strings: tokenizer, encoder, head and label names in one folder."""

from __future__ import annotations

import math
import os
from pathlib import Path

import tensorflow as tf

from tl_keras._keras import keras, tf_variable
from tl_keras.errors import UserError, no_tensorflow_error
from tl_keras.files import need_space, whole_folder
from tl_keras.manifest import write_manifest
from tl_keras.saved_models import TASK
from tl_keras.serving.predict import as_predictor
from tl_keras.serving.predictor import constant


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
    directory = Path(directory)
    if directory.exists() and not overwrite:
        raise UserError(f"{directory} exists; choose another folder or pass overwrite=True (--overwrite).")
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
