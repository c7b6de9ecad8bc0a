"""What do the labels and the texts look like? Balance, repeats and contradictions; length in tokens, what is cut, what is unknown."""

from __future__ import annotations

import collections
import dataclasses
import unicodedata
from typing import TYPE_CHECKING, Any

import numpy as np

from tl_keras.data.examples import Examples
from tl_keras.errors import UserError

if TYPE_CHECKING:  # so that reading a report loads no TensorFlow
    from tl_keras.text.preprocessor import Preprocessor

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


PERCENTILES = (50, 75, 90, 95, 99, 100)
WORDS_SHOWN = 10


@dataclasses.dataclass(frozen=True)
class LengthReport:
    """The lengths of a set of texts, and how much of them the vocabulary knows.

    Attributes:
        texts: how many were looked at.
        unit: `"tokens"`, special tokens included; or `"words"` for a text embedding module, which shows no tokens.
        lengths: int array `[texts]`.
        seq_length: the limit in tokens; None for a text embedding module.
        unknown_tokens: fraction of the tokens that are unknown; None where there are no tokens.
        unknown_words: fraction of the words (what stands between spaces) that have an unknown token in them.
        commonest_unknown: the most common of these words, and how often each occurs.
    """

    texts: int
    unit: str
    lengths: np.ndarray = dataclasses.field(repr=False)
    seq_length: int | None = None
    unknown_tokens: float | None = None
    unknown_words: float | None = None
    commonest_unknown: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def percentiles(self) -> dict[int, int]:
        """So many percent of the texts are at most so long."""
        # The length of a text that is there, not one between two of them.
        values = np.percentile(self.lengths, PERCENTILES, method="inverted_cdf")
        return {percent: int(value) for percent, value in zip(PERCENTILES, values, strict=True)}

    @property
    def cut(self) -> float | None:
        """Fraction of the texts that are longer than `seq_length`."""
        return None if self.seq_length is None else float(np.mean(self.lengths > self.seq_length))

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and dicts."""
        return {
            "texts": self.texts,
            "unit": self.unit,
            "seq_length": self.seq_length,
            "mean": float(self.lengths.mean()),
            "percentiles": {str(percent): value for percent, value in self.percentiles.items()},
            "cut": self.cut,
            "unknown_tokens": self.unknown_tokens,
            "unknown_words": self.unknown_words,
            "commonest_unknown_words": self.commonest_unknown,
        }


def length_report(examples: Examples, preprocessor: Preprocessor | None, seq_length: int) -> LengthReport:
    """Measure lengths in tokens, as training will see them, and what the vocabulary does not know.

    Args:
        examples: texts or pairs.
        preprocessor: of the encoder; None for a text embedding module, whose texts are counted in words.
        seq_length: the limit in tokens.
    """
    import tensorflow as tf

    from tl_keras.text.preprocessor import token_counts

    segments = [examples.texts] if examples.text_pairs is None else [examples.texts, examples.text_pairs]
    words = collections.Counter(word for texts in segments for text in texts for word in text.split())
    if preprocessor is None:
        return LengthReport(len(examples), "words", np.array([len(text.split()) for text in examples.texts]))
    tokens = [preprocessor.tokenize(tf.constant(texts.tolist())) for texts in segments]
    ids = np.concatenate([t.flat_values.numpy() for t in tokens])
    unknown = unknown_among(list(words), preprocessor)
    missed = collections.Counter({word: words[word] for word in unknown})
    return LengthReport(
        texts=len(examples),
        unit="tokens",
        lengths=sum(token_counts(t) for t in tokens).numpy() + preprocessor.special_count(len(segments)),
        seq_length=seq_length,
        unknown_tokens=float(np.mean(ids == preprocessor.unknown_id)) if len(ids) else 0.0,
        unknown_words=sum(missed.values()) / max(sum(words.values()), 1),
        commonest_unknown=dict(missed.most_common(WORDS_SHOWN)),
    )


def unknown_among(words: list[str], preprocessor: Preprocessor) -> list[str]:
    """Those of the words that have an unknown token."""
    import tensorflow as tf

    if not words:
        return []
    tokens = preprocessor.tokenize(tf.constant(words), None)
    while tokens.ragged_rank > 1:
        tokens = tokens.merge_dims(-2, -1)
    rows = tokens.value_rowids().numpy()[tokens.flat_values.numpy() == preprocessor.unknown_id]
    return [words[row] for row in np.unique(rows)]
