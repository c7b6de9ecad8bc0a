"""How good a classifier is, in the field's own terms."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn import metrics


@dataclasses.dataclass(frozen=True)
class ClassificationReport:
    """The result of `evaluate`.

    Args:
        examples: how many texts were scored.
        accuracy: fraction of the texts with the right label (multi-label: with exactly the right set of labels).
        macro_f1: mean over the classes of their F1.
        micro_f1: F1 over all decisions together; with one label a text this is the accuracy.
        loss: mean cross-entropy in nats; over the classes too for multi-label data.
        per_class: table with precision, recall, f1 and support, a row for each class.
        confusion: int `[classes, classes]`, rows are true labels, columns predicted ones; None for multi-label data.
        classes: label names.
    """

    examples: int
    accuracy: float
    macro_f1: float
    micro_f1: float
    loss: float
    per_class: pd.DataFrame
    confusion: np.ndarray | None
    classes: tuple[str, ...]

    def to_dict(self) -> dict:
        """Plain numbers, lists and dicts: what `metrics.json` holds."""
        return {
            "examples": self.examples,
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "micro_f1": self.micro_f1,
            "loss": self.loss,
            "per_class": self.per_class.to_dict("index"),
            "confusion_matrix": None if self.confusion is None else self.confusion.tolist(),
            "classes": list(self.classes),
        }

    def __str__(self) -> str:
        lines = [
            f"accuracy {self.accuracy:.4f}   macro F1 {self.macro_f1:.4f}   loss {self.loss:.4f}   ({self.examples} texts)",
            "",
            self.per_class.to_string(float_format=lambda value: f"{value:.4f}"),
        ]
        if self.confusion is not None and len(self.classes) <= 20:
            matrix = pd.DataFrame(self.confusion, index=self.classes, columns=self.classes)
            lines += ["", "true label in rows, predicted label in columns", matrix.to_string()]
        return "\n".join(lines)


def classification_report(labels: np.ndarray, scores: np.ndarray, classes: Sequence[str]) -> ClassificationReport:
    """Compare probabilities with true labels.

    Args:
        labels: int `[n]`, or 0/1 `[n, classes]` for multi-label data.
        scores: float `[n, classes]` probabilities.
        classes: label names.

    Source: definitions as in scikit-learn, https://scikit-learn.org/stable/modules/model_evaluation.html; a class that is never
        predicted has precision 0.

    Example:
        >>> scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
        >>> classification_report(np.array([0, 1, 1, 1]), scores, ["neg", "pos"]).accuracy
        0.75
    """
    labels, scores = np.asarray(labels), np.asarray(scores, "float64")
    multi_label = labels.ndim == 2
    chosen = (scores >= 0.5).astype(int) if multi_label else scores.argmax(-1)
    indices = list(range(len(classes)))
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        labels, chosen, labels=indices, zero_division=0
    )
    clipped = np.clip(scores, 1e-7, 1 - 1e-7)
    if multi_label:
        loss = -np.mean(labels * np.log(clipped) + (1 - labels) * np.log(1 - clipped))
    else:
        loss = -np.mean(np.log(clipped[np.arange(len(labels)), labels]))
    return ClassificationReport(
        examples=len(labels),
        accuracy=float(metrics.accuracy_score(labels, chosen)),
        macro_f1=float(np.mean(f1)),
        micro_f1=float(metrics.f1_score(labels, chosen, labels=indices, average="micro", zero_division=0)),
        loss=float(loss),
        per_class=pd.DataFrame(
            {"precision": precision, "recall": recall, "f1": f1, "support": support.astype(int)}, index=list(classes)
        ),
        confusion=None if multi_label else metrics.confusion_matrix(labels, chosen, labels=indices),
        classes=tuple(classes),
    )
