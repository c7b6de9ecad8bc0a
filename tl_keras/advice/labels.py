"""What do the labels look like? Their number and balance, texts that occur again, and texts that contradict each other."""

from __future__ import annotations

import dataclasses
import unicodedata
from typing import Any

import numpy as np

from tl_keras.data.examples import Examples
from tl_keras.errors import UserError

CONFLICTS_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Conflict:
    """A text that occurs with different labels.

    Attributes:
        text: as it stands at its first place; the second text of a pair behind ` / `.
        labels: how often it has each of them.
    """

    text: str
    labels: dict[str, int]


@dataclasses.dataclass(frozen=True)
class LabelReport:
    """The labels of a set of texts.

    Attributes:
        examples: labelled texts (or pairs).
        counts: of each class, in the order of the classes.
        repeats: examples whose text occurs before in the file, case, spaces and punctuation apart.
        conflicting: different texts that occur with more than one label.
        conflicting_examples: examples with one of these texts.
        conflicts: the first few of them.
    """

    examples: int
    counts: dict[str, int]
    repeats: int
    conflicting: int
    conflicting_examples: int
    conflicts: tuple[Conflict, ...]

    @property
    def majority(self) -> float:
        """Fraction of the most common class: the accuracy of always giving that answer."""
        return max(self.counts.values()) / self.examples

    @property
    def imbalance(self) -> float:
        """How many times as common the most common class is as the rarest."""
        return max(self.counts.values()) / max(min(self.counts.values()), 1)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and dicts."""
        return {
            **dataclasses.asdict(self),
            "conflicts": [dataclasses.asdict(conflict) for conflict in self.conflicts],
            "majority": self.majority,
            "imbalance": self.imbalance,
        }


def label_report(examples: Examples) -> LabelReport:
    """Count labels, repeated texts and contradictions.

    Args:
        examples: texts or pairs with one label each.

    Raises:
        UserError: no labels, several labels a text, fewer than two classes, as many classes as texts, or always the same text.

    Example:
        >>> examples = Examples.from_lists(["So good!", "so good", "bad", "SO GOOD"], ["pos", "pos", "neg", "neg"])
        >>> report = label_report(examples)
        >>> report.repeats, report.conflicts
        (2, (Conflict(text='So good!', labels={'neg': 1, 'pos': 2}),))
    """
    _check(examples)
    keys = text_keys(examples)
    groups: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        groups.setdefault(key, []).append(row)
    if len(groups) == 1:
        raise UserError(
            f"{examples.source}: all {len(examples)} rows hold the same text ({str(examples.texts[0])[:40]!r}), case, spaces and "
            "punctuation apart, so there is nothing to learn from. Is the text column right (--text)?"
        )
    clashes = [rows for rows in groups.values() if len(set(examples.labels[rows])) > 1]
    conflicts = []
    for rows in clashes[:CONFLICTS_SHOWN]:
        names, counts = np.unique(examples.labels[rows], return_counts=True)
        conflicts.append(
            Conflict(
                whole_text(examples, rows[0]), {examples.classes[i]: int(n) for i, n in zip(names, counts, strict=True)}
            )
        )
    return LabelReport(
        examples=len(examples),
        counts=examples.counts(),
        repeats=len(examples) - len(groups),
        conflicting=len(clashes),
        conflicting_examples=sum(map(len, clashes)),
        conflicts=tuple(conflicts),
    )


def different_rows(examples: Examples) -> np.ndarray:
    """The rows at which each text stands first, int64, in order."""
    first: dict[str, int] = {}
    for row, key in enumerate(text_keys(examples)):
        first.setdefault(key, row)
    return np.array(list(first.values()), "int64")


def without_repeats(examples: Examples) -> Examples:
    """Each text once, as it stands first: a text on both sides of a split would flatter whoever learned it by heart."""
    return examples.take(different_rows(examples))


def text_keys(examples: Examples) -> list[str]:
    """What makes a text, or a pair, the same as another: its characters without case, spaces and punctuation."""
    if examples.text_pairs is None:
        return [text_key(text) for text in examples.texts]
    # A line feed is in no key, so it cannot make two different pairs alike.
    return [f"{text_key(a)}\n{text_key(b)}" for a, b in zip(examples.texts, examples.text_pairs, strict=True)]


def text_key(text: str) -> str:
    """A text without case, spaces, punctuation and invisible characters; symbols and emoji stay, for they may be the opinion.

    Example:
        >>> text_key("Good,  GOOD 🙂!") == text_key("goodgood🙂"), text_key("?!")
        (True, '?!')
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = "".join(c for c in folded if unicodedata.category(c)[0] not in "PZC")
    return kept or text.strip()


def whole_text(examples: Examples, row: int) -> str:
    """The text of an example in one line, the second of a pair behind a slash."""
    texts = [examples.texts[row]] if examples.text_pairs is None else [examples.texts[row], examples.text_pairs[row]]
    return " / ".join(" ".join(text.split()) for text in texts)


def _check(examples: Examples) -> None:
    if examples.labels is None:
        raise UserError(f"{examples.source} has no labels; name the column that holds them (--label).")
    if examples.multi_label:
        raise UserError(
            f"{examples.source}: advice is for one label a text, and these may have several; ask about each label by itself."
        )
    present = [name for name, count in examples.counts().items() if count]
    if len(present) < 2:
        raise UserError(
            f"{examples.source}: every row has the label {present[0]!r}; a classifier needs at least two classes."
        )
    if len(present) > max(len(examples) / 2, 20):
        raise UserError(
            f"{examples.source}: {len(present)} different labels in {len(examples)} rows; that looks like a text or an id, not a label. "
            "Name the label column (--label)."
        )
