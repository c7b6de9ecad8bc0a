"""Labelled texts in memory: what every reader returns and every batch is made from."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence

import numpy as np

from tl_keras.data.given import check_classes, check_texts, class_numbers, label_names, string_array
from tl_keras.errors import UserError
from tl_keras.options import check_ranges

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Examples:
    """Texts, perhaps with a second segment each, perhaps with labels.

    Args:
        texts: object array `[n]` of `str`.
        text_pairs: object array `[n]` of `str`, the second segment of a pair task, or None.
        labels: int64 array `[n]` of indices into `classes`, a float32 array `[n, classes]` of 0 and 1 for multi-label data,
            or None for texts without labels.
        classes: the label names, in the order of their indices.
        source: where the texts came from, for messages.
        rows: int64 array `[n]`: which rows of the source they are, from 0, where that is known.

    Example:
        >>> examples = Examples.from_lists(["good", "bad", "fine"], labels=["pos", "neg", "pos"])
        >>> examples.classes, examples.labels.tolist()
        (('neg', 'pos'), [1, 0, 1])
    """

    texts: np.ndarray
    text_pairs: np.ndarray | None = None
    labels: np.ndarray | None = None
    classes: tuple[str, ...] | None = None
    source: str = "the given texts"
    rows: np.ndarray | None = dataclasses.field(default=None, kw_only=True)

    @classmethod
    def from_lists(
        cls,
        texts: Sequence[str],
        labels: Sequence | None = None,
        text_pairs: Sequence[str] | None = None,
        classes: Sequence[str] | None = None,
        source: str = "the given texts",
    ) -> Examples:
        """Make examples from parallel sequences.

        Args:
            texts: `n` strings.
            labels: `n` label names, or `n` collections of label names for multi-label data.
            text_pairs: `n` strings, the second segments.
            classes: all label names in the order wanted; by default those that occur, sorted (numerically if numbers).
            source: a name for messages.

        Raises:
            UserError: lengths differ, an entry is not a string, or a label is missing or not among `classes`.
        """
        check_texts(texts)
        array = string_array(texts, "texts", source)
        if text_pairs is not None:
            check_texts(text_pairs, "text_pairs")
        pairs = None if text_pairs is None else string_array(text_pairs, "text_pairs", source)
        for name, values in (("text_pairs", pairs), ("labels", labels)):
            if values is not None and len(values) != len(array):
                raise UserError(
                    f"{source}: {len(array)} texts but {len(values)} {name}; there must be one for each text."
                )
        if labels is None:
            return cls(array, pairs, None, None if classes is None else tuple(classes), source)
        names, multi_label = label_names(labels, source)
        found = sorted_classes({x for label in names for x in label} if multi_label else set(names))
        wanted = check_classes(classes) if classes is not None else found
        index = {name: i for i, name in enumerate(wanted)}
        unseen = [name for name in found if name not in index]
        if unseen:
            row = next(
                i for i, label in enumerate(names) if (unseen[0] in label if multi_label else label == unseen[0])
            )
            raise UserError(
                f"{source}: label {unseen[0]!r} (example {row + 1}) is not among the classes {list(wanted)[:20]}"
                + (f", nor are {unseen[1:6]}" if len(unseen) > 1 else "")
                + (
                    f"; the class {alike!r} is written otherwise: write them alike."
                    if (alike := _written_otherwise(unseen[0], wanted)) is not None
                    else ". Training never saw it: add examples of it to the training data, or take these rows out."
                )
            )
        if multi_label:
            ids = np.zeros((len(names), len(wanted)), "float32")
            for row, label in enumerate(names):
                ids[row, [index[x] for x in label]] = 1.0
        else:
            ids = np.array([index[name] for name in names], "int64")
        return cls(array, pairs, ids, wanted, source)

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def multi_label(self) -> bool:
        """Whether a text may have several labels, or none."""
        return self.labels is not None and self.labels.ndim == 2

    @property
    def label_names(self) -> list:
        """The labels as the user wrote them: a list of names, or of lists of names for multi-label data."""
        if self.labels is None:
            raise UserError(f"{self.source} has no labels.")
        if self.multi_label:
            return [[self.classes[i] for i in np.flatnonzero(row)] for row in self.labels]
        return [self.classes[i] for i in self.labels]

    def counts(self) -> dict[str, int]:
        """How many examples each class has."""
        counts = self.labels.sum(0) if self.multi_label else np.bincount(self.labels, minlength=len(self.classes))
        return {name: int(n) for name, n in zip(self.classes, counts, strict=True)}

    def take(self, rows: np.ndarray) -> Examples:
        """The examples at the given row numbers, in that order."""
        return dataclasses.replace(
            self,
            texts=self.texts[rows],
            text_pairs=None if self.text_pairs is None else self.text_pairs[rows],
            labels=None if self.labels is None else self.labels[rows],
            rows=None if self.rows is None else self.rows[rows],
        )

    def sorted_by_length(self) -> Examples:
        """The same examples, short texts first, so that a batch in this order holds little padding."""
        return self.take(length_order(self.texts, self.text_pairs))

    def sample(self, size: int, seed: int = 0) -> Examples:
        """At most `size` examples, drawn with the seed, each class in proportion."""
        if size <= 0:
            raise UserError(f"the number of examples to keep must be at least 1, not {size}.")
        if size >= len(self):
            return self
        return self.split(validation=1.0 - size / len(self), seed=seed)[0]

    def split(self, validation: float = 0.1, seed: int = 0) -> tuple[Examples, Examples]:
        """Split into training and validation examples, every class in proportion where there are classes.

        A class with a single example stays in the training part, with a warning.

        Args:
            validation: the fraction, between 0 and 1, of the examples that go into the second part.
            seed: which split.

        Returns:
            `(training, validation)`.

        Raises:
            UserError: a fraction outside (0, 1), or too few examples to give each part one.
        """
        check_split(validation, seed)
        if len(self) < 2:
            raise UserError(f"{self.source} holds {len(self)} example(s): too few to split.")
        rng = np.random.default_rng(seed)
        single = self.labels is not None and not self.multi_label
        groups = (
            [np.flatnonzero(self.labels == c) for c in range(len(self.classes))] if single else [np.arange(len(self))]
        )
        alone = [self.classes[c] for c, rows in enumerate(groups) if len(rows) == 1] if single else []
        if alone:
            logger.warning("%s: only one example of %s; it stays in the training part.", self.source, ", ".join(alone))
        held: list[np.ndarray] = []
        # Rounding each class by itself would drift from the wanted total when classes are small; the remainder is carried on.
        carry = 0.0
        for rows in groups:
            wanted = len(rows) * validation + carry
            count = min(int(np.floor(wanted + 0.5)), max(len(rows) - 1, 0))
            carry = min(wanted - count, 1.0)
            held.append(rng.permutation(rows)[:count])
        held_rows = np.sort(np.concatenate(held))
        if not len(held_rows):
            held_rows = rng.integers(len(self), size=1)
        mask = np.ones(len(self), bool)
        mask[held_rows] = False
        return self.take(np.flatnonzero(mask)), self.take(held_rows)


def sample_per_class(examples: Examples, size: int, seed: int = 0) -> Examples:
    """The same number of examples of each class, drawn at random.

    Args:
        examples: with one label each.
        size: how many of each class.
        seed: of the draw; a smaller size draws a part of what a larger one draws.

    Raises:
        UserError: a class has fewer, or the examples have no labels, or several each.

    Example:
        >>> examples = Examples.from_lists(list("abcdef"), [0, 1, 0, 1, 1, 1])
        >>> sample_per_class(examples, 2).counts()
        {'0': 2, '1': 2}
    """
    if size < 1:
        raise UserError(f"the number of examples to draw of each class must be at least 1, not {size}.")
    if examples.labels is None or examples.multi_label:
        raise UserError(f"{examples.source}: drawing from each class takes examples with one label each.")
    rng, drawn = np.random.default_rng(seed), []
    for index, (name, count) in enumerate(examples.counts().items()):
        if count < size:
            raise UserError(
                f"{examples.source} has {count} example(s) of the class {name!r}, fewer than the {size} to draw of each."
            )
        drawn.append(rng.permutation(np.flatnonzero(examples.labels == index))[:size])
    return examples.take(np.sort(np.concatenate(drawn)))


def _written_otherwise(name: str, classes: Sequence[str]) -> str | None:
    """The class that differs from a label in case, blanks or the writing of a number alone."""
    same = {"".join(one.casefold().split()): one for one in classes}
    alike = same.get("".join(name.casefold().split()))
    try:
        return (class_numbers(classes) or {}).get(float(name)) or alike
    except ValueError:
        return alike


def check_split(validation: float, seed: int) -> None:
    """Refuse a fraction outside (0, 1), and a seed that is none."""
    check_ranges({"seed": seed})
    if not 0.0 < validation < 1.0:
        raise UserError(f"the validation fraction must lie between 0 and 1, not {validation}.")


def draw(examples, size: int, seed: int):
    """At most `size` examples of any task, drawn at random, in their order."""
    if size <= 0:
        raise UserError(f"the number of examples to keep must be at least 1, not {size}.")
    if size >= len(examples):
        return examples
    return examples.take(np.sort(np.random.default_rng(seed).permutation(len(examples))[:size]))


def row_numbers(examples) -> np.ndarray:
    """Which rows of the whole that they come from the examples are, from 0: int64 `[n]`.

    Args:
        examples: of any task, with a length and `rows`.
    """
    return np.arange(len(examples)) if examples.rows is None else examples.rows


def length_order(texts: Sequence[str], text_pairs: Sequence[str] | None = None) -> np.ndarray:
    """Row numbers `[n]` that put texts in order of their length in characters (both segments together)."""
    lengths = np.array([len(text) for text in texts], "int64")
    if text_pairs is not None:
        lengths = lengths + np.array([len(text) for text in text_pairs], "int64")
    return np.argsort(lengths, kind="stable")


def sorted_classes(names: set[str]) -> tuple[str, ...]:
    """Label names in a stable order: by value if all are whole numbers, else alphabetically."""
    if all(name.lstrip("-").isdecimal() for name in names):
        return tuple(sorted(names, key=int))
    return tuple(sorted(names))
