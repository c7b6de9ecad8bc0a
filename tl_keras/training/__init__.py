"""What goes around `fit`: strategies, checkpoints, weights of classes, early stopping."""

from tl_keras._lazy import lazy_names

_PUBLIC = {
    "Checkpoints": "tl_keras.training.checkpoints",
    "class_weights": "tl_keras.training.callbacks",
    "early_stopping": "tl_keras.training.callbacks",
    "get_strategy": "tl_keras.training.strategy",
    "resumable_fit": "tl_keras.training.resume",
}

__all__ = [*_PUBLIC]
__getattr__, __dir__ = lazy_names(__name__, _PUBLIC)
