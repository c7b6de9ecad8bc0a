"""How good a tagger is: precision, recall and F1 of whole entities."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence

import pandas as pd


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
