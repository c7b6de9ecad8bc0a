"""Making a biLM: two language models over words, one in each direction, whose inner states are ELMo vectors.

The names below are imported when first used, so that asking for the settings does not load TensorFlow.
"""

from __future__ import annotations

import importlib

_PUBLIC = {
    "BilmPretraining": "tl_keras.pretraining.bilm.run",
    "BilmSettings": "tl_keras.pretraining.bilm.settings",
    "pretrain_bilm": "tl_keras.pretraining.bilm.run",
}

__all__ = [*_PUBLIC]


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'tl_keras.pretraining.bilm' has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
