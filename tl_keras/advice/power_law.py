"""Where does a learning curve lead? `error = floor + scale * n ** -rate`, fitted to a few points, with a range."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

RATES = (0.0, 1.5)
"""Bounds of the exponent: at 0 the curve is flat, above 1.5 a step."""
RESAMPLES = 200
RANGE = 0.8
_SD_OF_RANGE = 1.2816  # 80 % of a normal distribution lie within so many standard deviations


@dataclasses.dataclass(frozen=True)
class PowerLaw:
    """`error(n) = floor + scale * n ** -rate`.

    Attributes:
        floor: error that is left with endless labels, at least 0.
        scale: at least 0.
        rate: how fast the rest falls.

    Source: Cortes et al., "Learning Curves: Asymptotic Values and Rate of Convergence", NIPS 1993; for what goes wrong with it: Viering
        and Loog, "The Shape of Learning Curves: a Review", https://arxiv.org/abs/2103.10948.
    """

    floor: float
    scale: float
    rate: float

    def error(self, n):
        """The error with `n` labels (a number or an array)."""
        return self.floor + self.scale * np.asarray(n, "float64") ** -self.rate


@dataclasses.dataclass(frozen=True)
class Forecast:
    """What accuracy to expect with so many labels, and the range in which it should lie four times in five."""

    labels: int
    accuracy: float
    low: float
    high: float


def fit_power_law(sizes: Sequence[float], errors: Sequence[float], *, floor: bool = True, passes: int = 7) -> PowerLaw:
    """Fit by least squares, floor and scale at least 0.

    Args:
        sizes: `k` numbers of labels, not all the same.
        errors: `k` error rates between 0 and 1.
        floor: whether there is one; else the error falls to 0 in the end.
        passes: over the exponents; each is 14 times as fine as the one before.

    Example:
        >>> law = fit_power_law([100, 200, 400, 800], [0.1 + 2 * n**-0.5 for n in (100, 200, 400, 800)])
        >>> round(law.floor, 3), round(law.scale, 2), round(law.rate, 3)
        (0.1, 2.0, 0.5)
    """
    sizes, errors = np.asarray(sizes, "float64"), np.asarray(errors, "float64")
    low, high = RATES
    # A grid, made finer around its best: for a given rate the other two follow in closed form, so no search can get lost.
    for _ in range(passes):
        rates = np.linspace(low, high, 29)
        floors, scales, losses = _best_given_rate(sizes, errors, rates, floor)
        best = int(np.argmin(losses))
        law = PowerLaw(float(floors[best]), float(scales[best]), float(rates[best]))
        step = rates[1] - rates[0]
        low, high = max(rates[best] - step, RATES[0]), min(rates[best] + step, RATES[1])
    return law


def _best_given_rate(sizes: np.ndarray, errors: np.ndarray, rates: np.ndarray, floor: bool):
    """Floor, scale and squared error for each rate: arrays `[rates]`."""
    x = sizes[np.newaxis] ** -rates[:, np.newaxis]
    mean = x.mean(axis=1, keepdims=True)
    scales = ((x - mean) * errors).sum(1) / np.maximum(((x - mean) ** 2).sum(1), 1e-300)
    floors = errors.mean() - scales * mean[:, 0]
    # At a bound the other one is the best that is left.
    below = (floors < 0) | (not floor)
    scales = np.where(below, (x * errors).sum(1) / (x**2).sum(1), scales)
    floors = np.where(below, 0.0, floors)
    rising = scales < 0
    floors, scales = np.where(rising, errors.mean(), floors), np.where(rising, 0.0, scales)
    losses = ((floors[:, np.newaxis] + scales[:, np.newaxis] * x - errors) ** 2).sum(axis=1)
    return floors, scales, losses


def forecast(
    sizes: Sequence[int], errors: np.ndarray, labels: Sequence[int], texts: int, *, floor: bool = True, seed: int = 0
) -> list[Forecast]:
    """Continue a measured curve.

    The range has two parts: how much the fit changes when other repeats are drawn from those measured, and how much single splits
    differ, which stands for the luck in which texts there are to learn from and to score. It knows nothing of a curve that bends
    otherwise than a power law, so it is too narrow far beyond the largest size.

    Args:
        sizes: `k` numbers of labels that were trained on.
        errors: float `[k, repeats]`, held-out error rates.
        labels: numbers of labels to forecast for.
        texts: different texts that were scored in all.
        floor: as for `fit_power_law`.
        seed: of the resampling.
    """
    rng = np.random.default_rng(seed)
    errors, labels = np.asarray(errors, "float64"), np.asarray(labels)
    expected = fit_power_law(sizes, errors.mean(axis=1), floor=floor).error(labels)
    repeats = errors.shape[1]
    drawn = np.stack(
        [
            fit_power_law(sizes, some.mean(axis=1), floor=floor, passes=2).error(labels)
            for some in (errors[:, rng.integers(repeats, size=repeats)] for _ in range(RESAMPLES if repeats > 1 else 1))
        ]
    )
    below, above = np.quantile(drawn, [(1 - RANGE) / 2, (1 + RANGE) / 2], axis=0)
    # Repeats of one set of texts share their luck, so their mean is no surer than about one of them.
    splits = errors[-1].std(ddof=1) if repeats > 1 else 0.0
    luck = _SD_OF_RANGE * np.maximum(splits, np.sqrt(expected * (1 - expected) / max(texts, 1)))
    highest = expected + np.hypot(np.maximum(above - expected, 0), luck)
    lowest = expected - np.hypot(np.maximum(expected - below, 0), luck)
    return [
        Forecast(int(n), 1 - float(e), max(1 - float(worst), 0.0), min(1 - float(best), 1.0))
        for n, e, worst, best in zip(labels, expected, highest, lowest, strict=True)
    ]
