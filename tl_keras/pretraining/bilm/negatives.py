"""Drawing the words against which a sampled softmax sets the right one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Negatives(NamedTuple):
    """Words drawn to stand for all others.

    Attributes:
        ids: int32 `[n]`, each word once.
        offsets: float32 `[n]`, how often it was drawn against how often it is on average, as a logarithm.
    """

    ids: np.ndarray
    offsets: np.ndarray


def draw_negatives(rng: np.random.Generator, draws: int, size: int) -> Negatives:
    """Draw words with replacement, frequent ones more often: `P(k) = (log(k + 2) - log(k + 1)) / log(size + 1)`.

    Words are numbered by frequency, so this is close to how often they occur (Zipf's law).

    Args:
        rng: source of chance.
        draws: how many; 0 for none.
        size: of the vocabulary.

    Example:
        >>> ids, offsets = draw_negatives(np.random.default_rng(0), draws=4, size=3)
        >>> ids, (4 * np.log((ids + 2) / (ids + 1)) / np.log(4) * np.exp(offsets)).round(4)
        (array([0, 1], dtype=int32), array([3., 1.]))
    """
    drawn = np.floor(np.exp(rng.random(draws) * np.log(size + 1.0))).astype(np.int64) - 1
    # Where rounding goes up, a number comes out that no word has.
    ids, counts = np.unique(np.clip(drawn, 0, max(size - 1, 0)), return_counts=True)
    usual = draws * np.log1p(1.0 / (ids + 1.0)) / np.log(size + 1.0)
    return Negatives(ids.astype(np.int32), np.log(counts / usual).astype(np.float32))
