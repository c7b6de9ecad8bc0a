"""Whether two encoders are the same: by what they make of a few texts."""

from __future__ import annotations

import numpy as np

from tl_keras.serving.similarity import SentenceEncoder

# A short text, other scripts, upper case and accents, digits, and one long enough to show another seq_length.
PROBES = (
    "The quick brown fox jumps over the lazy dog.",
    "여기에서 서울까지 기차로 두 시간 반이 걸립니다.",
    "Ünïted Çafé: 3.14 + 42%",
    " ".join(f"word{number}" for number in range(300)),
)
TOLERANCE = 1e-3
"""The largest difference, for vectors of length 1: rounding on other machines and exports gives 1e-5, another model far more."""


def fingerprint(encoder: SentenceEncoder) -> np.ndarray:
    """The vectors of the probe texts, float32 `[probes, width]`, of length 1.

    A model and its export, which store their weights differently, have the same fingerprint; another training run, pooling,
    `seq_length` or vocabulary has another.
    """
    return encoder.unit_vectors(list(PROBES))


def same_encoder(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two fingerprints are those of one encoder.

    Example:
        >>> same_encoder(np.eye(2), np.eye(2) + 1e-5), same_encoder(np.eye(2), np.eye(2)[::-1])
        (True, False)
    """
    return one.shape == other.shape and bool(np.abs(one - other).max() < TOLERANCE)
