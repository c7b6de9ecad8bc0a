"""Transfer learning for text with Keras and TensorFlow Hub.

The names below are the public ones. They are imported when first used, so that `import tl_keras` is quick and does not load
TensorFlow: whoever wants Keras 2 can still set `TF_USE_LEGACY_KERAS=1` after importing us.
"""

from __future__ import annotations

import importlib

from tl_keras._version import __version__

_PUBLIC = {
    "advise": "tl_keras.advice.advise",
    "batches": "tl_keras.models.batches",
    "cache_features": "tl_keras.features.frozen",
    "Checkpoints": "tl_keras.training.checkpoints",
    "choose_lexical_weight": "tl_keras.serving.lexical_weight",
    "class_weights": "tl_keras.training.class_weights",
    "convert": "tl_keras.encoders.convert",
    "describe": "tl_keras.models.describe",
    "early_stopping": "tl_keras.training.callbacks",
    "elmo_encoder": "tl_keras.models.elmo",
    "encode": "tl_keras.serving.encode",
    "Encoder": "tl_keras.encoders.base",
    "evaluate": "tl_keras.serving.evaluate",
    "Examples": "tl_keras.data.examples",
    "export": "tl_keras.serving.export",
    "fit": "tl_keras.training.fit",
    "get_strategy": "tl_keras.training.strategy",
    "GradualUnfreezing": "tl_keras.models.gradual",
    "KerasLayer": "tl_keras.encoders.keras_layer",
    "list_presets": "tl_keras.encoders.presets",
    "load_elmo": "tl_keras.models.elmo",
    "encoder_of": "tl_keras.encoders.load",
    "load_encoder": "tl_keras.encoders.load",
    "load_exported": "tl_keras.serving.exported",
    "load_model": "tl_keras.serving.saved_keras",
    "plot_confusion_matrix": "tl_keras.evaluation.plots",
    "plot_history": "tl_keras.evaluation.plots",
    "plot_learning_curve": "tl_keras.advice.plots",
    "plot_texts": "tl_keras.advice.plots",
    "predict": "tl_keras.serving.predict",
    "predict_file": "tl_keras.serving.stream",
    "question_answerer": "tl_keras.models.question_answerer",
    "QuestionExamples": "tl_keras.data.questions",
    "read_collection": "tl_keras.data.pairs",
    "read_retrieval_pairs": "tl_keras.data.pairs",
    "read_scored": "tl_keras.data.pairs",
    "read_squad": "tl_keras.data.squad",
    "read_table": "tl_keras.data.table",
    "read_tagged": "tl_keras.data.tagging_files",
    "read_vectors": "tl_keras.encoders.word_vectors.read",
    "RetrievalPairs": "tl_keras.data.pairs",
    "ScoredExamples": "tl_keras.data.pairs",
    "sentence_encoder": "tl_keras.models.sentence_encoder",
    "set_transfer": "tl_keras.models.transfer_control",
    "TaggedExamples": "tl_keras.data.tagging",
    "TagSet": "tl_keras.data.tagging",
    "text_classifier": "tl_keras.models.text_classifier",
    "text_regressor": "tl_keras.models.text_regressor",
    "TextEncoder": "tl_keras.serving.sklearn_encoder",
    "TextIndex": "tl_keras.serving.index",
    "token_classifier": "tl_keras.models.token_classifier",
    "Transfer": "tl_keras.encoders.transfer_plan",
    "bi_encoder": "tl_keras.models.sentence_encoder",
    "UserError": "tl_keras.errors",
    "word_vector_encoder": "tl_keras.encoders.word_vectors.encoder",
    "WordVectors": "tl_keras.encoders.word_vectors.word_vectors",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'tl_keras' has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
