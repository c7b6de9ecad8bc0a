"""Use an exported classifier again: plain TensorFlow, no Keras."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  (registers the ops of the tokenizer inside)

from tl_keras.data.examples import length_order
from tl_keras.errors import UserError
from tl_keras.saved_models import load_saved_model
from tl_keras.serving.exported_answerer import ExportedAnswerer
from tl_keras.serving.exported_generator import ExportedGenerator
from tl_keras.serving.exported_similarity import ExportedRegressor, ExportedTextEncoder
from tl_keras.serving.exported_tagger import ExportedTagger
from tl_keras.serving.exported_zero_shot import ExportedZeroShot
from tl_keras.serving.versions import find_saved_model


class ExportedClassifier:
    """A classifier loaded from a SavedModel that `export` wrote.

    Args:
        folder: the SavedModel.
        module: what `tf.saved_model.load` gave for it, if it has been loaded.

    Raises:
        UserError: the SavedModel was not made by `export`.
    """

    task = "text-classification"

    def __init__(self, folder: str | os.PathLike, module=None):
        self.folder = str(folder)
        self.module = load_saved_model(self.folder) if module is None else module
        if "serving_default" not in self.module.signatures or not hasattr(self.module, "class_names"):
            raise UserError(f"{folder} is a SavedModel, but no export of a tl_keras classifier.")
        self.signature = self.module.signatures["serving_default"]
        self.inputs = set(self.signature.structured_input_signature[1])
        self.classes = tuple(name.decode() for name in self.module.class_names().numpy())
        self.multi_label = bool(self.module.multi_label().numpy())

    def scores(self, texts: Sequence[str], text_pairs: Sequence[str] | None = None, batch_size: int = 64) -> np.ndarray:
        """Probabilities float32 `[n, classes]`, in the order of the texts.

        Raises:
            UserError: pairs for a model of single texts, or the other way round.
        """
        if ("text_pair" in self.inputs) != (text_pairs is not None):
            wanted = "pairs of texts (text_pair)" if "text_pair" in self.inputs else "single texts"
            raise UserError(f"{self.folder} takes {wanted}.")
        columns = {"text": np.array(list(texts), object)}
        if text_pairs is not None:
            columns["text_pair"] = np.array(list(text_pairs), object)
        order = length_order(*columns.values())
        scores = np.empty((len(order), len(self.classes)), "float32")
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = {name: tf.constant(values[rows].tolist()) for name, values in columns.items()}
            scores[rows] = self.signature(**batch)["scores"].numpy()
        return scores


def load_exported(
    path: str | os.PathLike,
) -> (
    ExportedClassifier | ExportedAnswerer | ExportedTagger | ExportedTextEncoder | ExportedRegressor | ExportedGenerator
):
    """Load a classifier or tagger from an export, or from a run folder (its `saved_model/` with the highest number).

    Args:
        path: the SavedModel's folder, a folder of numbered versions, or a run folder.

    Raises:
        UserError: nothing of the kind is there.
    """
    folder = find_saved_model(path)
    module = load_saved_model(folder)
    if hasattr(module, "answer_settings"):
        return ExportedAnswerer(folder, module)
    if hasattr(module, "span_labels"):
        return ExportedTagger(folder, module)
    if hasattr(module, "embedding_width"):
        return ExportedTextEncoder(folder, module)
    if hasattr(module, "label_template"):
        return ExportedZeroShot(folder, module)
    if hasattr(module, "context_length"):
        return ExportedGenerator(folder, module)
    if hasattr(module, "score_range"):
        return ExportedRegressor(folder, module)
    return ExportedClassifier(folder, module)
