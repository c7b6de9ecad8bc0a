"""Transfer learning for text with Keras and TensorFlow Hub.

The names below are the public ones. They are imported when first used, so that `import tl_keras` is quick and does not load
TensorFlow: whoever wants Keras 2 can still set `TF_USE_LEGACY_KERAS=1` after importing us.
"""

from __future__ import annotations

import importlib

from tl_keras._version import __version__

_PUBLIC = {
    "Encoder": "tl_keras.hub.encoder",
    "Examples": "tl_keras.data.examples",
    "KerasLayer": "tl_keras.hub.layer",
    "TagSet": "tl_keras.data.tagging",
    "TaggedExamples": "tl_keras.data.tagging",
    "UserError": "tl_keras.errors",
    "class_weights": "tl_keras.training.class_weights",
    "convert": "tl_keras.hub.convert",
    "early_stopping": "tl_keras.training.callbacks",
    "evaluate": "tl_keras.evaluation.classification",
    "export": "tl_keras.serving.export",
    "list_presets": "tl_keras.hub.presets",
    "load_encoder": "tl_keras.hub.encoder",
    "load_exported": "tl_keras.serving.exported",
    "plot_confusion_matrix": "tl_keras.evaluation.plots",
    "plot_history": "tl_keras.evaluation.plots",
    "load_model": "tl_keras.serving.saved_keras",
    "predict": "tl_keras.serving.predict",
    "read_table": "tl_keras.data.table",
    "read_tagged": "tl_keras.data.tagging_files",
    "text_classifier": "tl_keras.models.text_classifier",
    "token_classifier": "tl_keras.models.token_classifier",
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
