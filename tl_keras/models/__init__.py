"""Functional builders: an encoder and a head make a `keras.Model`."""

from tl_keras.models.text_classifier import text_classifier

__all__ = ["text_classifier"]
