"""Functional builders: an encoder and a head make a `keras.Model`; what of it learns, and how fast."""
