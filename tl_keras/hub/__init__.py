"""Bringing a pre-trained model in: presets, handles, resolving and caching, the Keras layer, encoder pairs.

The names below are imported when first used, so that asking for a preset does not load TensorFlow.
"""

from __future__ import annotations

import importlib

_PUBLIC = {
    "Encoder": "tl_keras.hub.encoder",
    "KerasLayer": "tl_keras.hub.layer",
    "Preset": "tl_keras.hub.presets",
    "find_preset": "tl_keras.hub.presets",
    "list_presets": "tl_keras.hub.presets",
    "load_encoder": "tl_keras.hub.encoder",
    "resolve_pair": "tl_keras.hub.resolve",
}

__all__ = [*_PUBLIC]


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'tl_keras.hub' has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
