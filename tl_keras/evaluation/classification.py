"""Precision, recall and F1 of classes and of entities, and the perplexity of texts."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Sequence

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
            f"accuracy {self.accuracy:.4f}   macro F1 {self.macro_f1:.4f}   loss {self.loss:.4f}   ({self.examples} text{'s' * (self.examples != 1)})",
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


@dataclasses.dataclass(frozen=True)
class TaggingReport:
    """The result of evaluating a tagger: an entity counts as found if both its ends and its label are right.

    Args:
        examples: how many texts were scored.
        entities: how many entities these have.
        precision: fraction of the entities predicted that are right.
        recall: fraction of the entities there that were found.
        f1: the harmonic mean of both, over all entities together (micro).
        macro_f1: the mean of the labels' F1.
        per_label: table with precision, recall, f1 and support, a row for each label.
        compared: `"words"`: predicted entities were widened to the words they touch; `"characters"`: compared as they are.
    """

    examples: int
    entities: int
    precision: float
    recall: float
    f1: float
    macro_f1: float
    per_label: pd.DataFrame
    compared: str = "characters"

    def to_dict(self) -> dict:
        """Plain numbers, lists and dicts: what `metrics.json` holds."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {**fields, "per_label": self.per_label.to_dict("index")}

    def __str__(self) -> str:
        line = (
            f"entity F1 {self.f1:.4f}   precision {self.precision:.4f}   recall {self.recall:.4f}   macro F1 {self.macro_f1:.4f}"
            f"   ({self.entities} entities in {self.examples} texts, compared in {self.compared})"
        )
        return line + "\n\n" + self.per_label.to_string(float_format=lambda value: f"{value:.4f}")


def span_report(
    true: Sequence[Iterable[tuple]],
    predicted: Sequence[Iterable[tuple]],
    labels: Sequence[str],
    compared: str = "characters",
) -> TaggingReport:
    """Compare spans: `(start, end, label)`, in any unit.

    Args:
        true: for each text its spans.
        predicted: for each text the spans found.
        labels: all labels; one that occurs in neither does not count in the macro mean.
        compared: what the spans count, for the report.

    Source: the definition is that of CoNLL-2003, https://aclanthology.org/W03-0419, section 2.4, and gives what `seqeval` gives
        for the same tags.

    Example:
        >>> report = span_report([[(0, 2, "LOC"), (5, 6, "PER")]], [[(0, 2, "LOC"), (5, 7, "PER")]], ["LOC", "PER"])
        >>> report.f1, report.macro_f1
        (0.5, 0.5)
    """
    there, found, right = Counter(), Counter(), Counter()
    for true_spans, predicted_spans in zip(true, predicted, strict=True):
        true_set, predicted_set = {tuple(s) for s in true_spans}, {tuple(s) for s in predicted_spans}
        there.update(span[2] for span in true_set)
        found.update(span[2] for span in predicted_set)
        right.update(span[2] for span in true_set & predicted_set)
    rows = {label: [*_scores(right[label], found[label], there[label]), there[label]] for label in labels}
    per_label = pd.DataFrame.from_dict(rows, "index", columns=["precision", "recall", "f1", "support"])
    occur = [label for label in labels if there[label] or found[label]]
    precision, recall, f1 = _scores(right.total(), found.total(), there.total())
    return TaggingReport(
        examples=len(true),
        entities=there.total(),
        precision=precision,
        recall=recall,
        f1=f1,
        macro_f1=float(per_label.f1[occur].mean()) if occur else 0.0,
        per_label=per_label,
        compared=compared,
    )


def in_words(spans: Iterable[tuple], words: Sequence[tuple[int, int]]) -> list[tuple[int, int, str]]:
    """Spans of characters as spans of words: a word belongs to the first span that touches it.

    Args:
        spans: `(start, end, label)` in characters, in order, without overlap.
        words: `(start, end)` in characters, in order.

    Returns:
        `(first word, last word + 1, label)`.

    Example:
        >>> in_words([(0, 2, "DAY"), (2, 9, "LOC")], [(0, 4), (5, 7), (8, 10)])
        [(0, 1, 'DAY'), (1, 3, 'LOC')]
    """
    found, word = [], 0
    for start, end, label in spans:
        while word < len(words) and words[word][1] <= start:
            word += 1
        first = word
        while word < len(words) and words[word][0] < end:
            word += 1
        if word > first:
            found.append((first, word, label))
    return found


def _scores(right: int, found: int, there: int) -> tuple[float, float, float]:
    precision = right / found if found else 0.0
    recall = right / there if there else 0.0
    return precision, recall, 2 * right / (found + there) if right else 0.0


@dataclasses.dataclass(frozen=True)
class PerplexityReport:
    """How surprising texts are to a model.

    It depends on the tokens: compare it only among models with the same tokenizer.

    Args:
        loss: mean cross-entropy of a token, in nats; the ends of texts are tokens too.
        tokens: that were predicted.
        texts: how many.

    Example:
        >>> print(PerplexityReport(loss=math.log(20.0), tokens=1234, texts=100))
        perplexity 20.0 (2.9957 nats a token, 1,234 tokens of 100 texts)
    """

    loss: float
    tokens: int
    texts: int

    @property
    def perplexity(self) -> float:
        """`exp` of the loss: among so many equally likely tokens the model chooses each time."""
        return math.exp(min(self.loss, 700.0))

    def to_dict(self) -> dict:
        """The figures by name."""
        return {"perplexity": self.perplexity, "loss": self.loss, "tokens": self.tokens, "texts": self.texts}

    def __str__(self) -> str:
        return f"perplexity {self.perplexity:,.1f} ({self.loss:.4f} nats a token, {self.tokens:,} tokens of {self.texts:,} texts)"
