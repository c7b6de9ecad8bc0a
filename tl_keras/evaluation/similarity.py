"""How well a model's scores agree with people's: rank and linear correlation."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import stats

from tl_keras.errors import UserError


@dataclasses.dataclass(frozen=True)
class SimilarityReport:
    """The result of evaluating scores.

    Args:
        examples: how many pairs (or texts) were scored.
        spearman: rank correlation, -1 to 1: does the model put the pairs into the same order?
        pearson: linear correlation, -1 to 1.
        mean_absolute_error: in the units of the scores; None for a sentence encoder, whose cosines have another unit.
        root_mean_squared_error: likewise.
    """

    examples: int
    spearman: float
    pearson: float
    mean_absolute_error: float | None = None
    root_mean_squared_error: float | None = None

    def to_dict(self) -> dict:
        """Plain numbers: what `metrics.json` holds; errors only where they mean something."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}

    def __str__(self) -> str:
        line = f"Spearman {self.spearman:.4f}   Pearson {self.pearson:.4f}"
        if self.mean_absolute_error is not None:
            line += (
                f"   mean absolute error {self.mean_absolute_error:.4f}   "
                f"root mean squared error {self.root_mean_squared_error:.4f}"
            )
        return f"{line}   ({self.examples} examples)"


def similarity_report(scores: np.ndarray, predicted: np.ndarray, same_unit: bool = True) -> SimilarityReport:
    """Compare predicted scores with true ones.

    A model that gives every pair the same score orders nothing: its correlations, which are not defined, count as 0.

    Args:
        scores: float `[n]`, true.
        predicted: float `[n]`.
        same_unit: whether both are in the same unit, so that errors mean something.

    Raises:
        UserError: fewer than two pairs.

    Source: https://docs.scipy.org/doc/scipy/reference/generated/scipy.stats.spearmanr.html (ties share their mean rank).

    Example:
        >>> report = similarity_report([1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 9.0])
        >>> round(report.spearman, 4), report.mean_absolute_error
        (0.8, 1.75)
    """
    scores, predicted = np.asarray(scores, "float64"), np.asarray(predicted, "float64")
    if len(scores) < 2:
        raise UserError(f"{len(scores)} scored example(s): a correlation needs at least two.")
    constant = np.ptp(scores) == 0 or np.ptp(predicted) == 0
    errors = predicted - scores
    return SimilarityReport(
        examples=len(scores),
        spearman=0.0 if constant else float(stats.spearmanr(scores, predicted).statistic),
        pearson=0.0 if constant else float(stats.pearsonr(scores, predicted).statistic),
        mean_absolute_error=float(np.abs(errors).mean()) if same_unit else None,
        root_mean_squared_error=float(np.sqrt(np.square(errors).mean())) if same_unit else None,
    )
