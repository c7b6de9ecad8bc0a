"""What looks wrong in data that can be read: names that differ in little, rows that stand twice. Warnings only."""

from __future__ import annotations

import logging
import unicodedata
from collections import Counter
from collections.abc import Mapping

logger = logging.getLogger(__name__)


def alike(name: str) -> str:
    """A name without what hardly anybody means: case, blanks, and full or half width.

    Example:
        >>> alike("Very Good") == alike("ｖｅｒｙ  good ")
        True
    """
    return "".join(unicodedata.normalize("NFKC", name).casefold().split())


def warn_of_like_names(counts: Mapping[str, int], source: str) -> None:
    """Warn of labels that differ by case, blanks or width alone: mostly they are one that was written in several ways.

    Args:
        counts: how often each label occurs.
        source: where they come from, for the message.
    """
    groups: dict[str, list[str]] = {}
    for name in counts:
        groups.setdefault(alike(name), []).append(name)
    for names in groups.values():
        if len(names) > 1:
            logger.warning(
                "%s: the labels %s differ by case, blanks or width alone, and are learned as different ones; write them alike if they "
                "mean the same.",
                source, " and ".join(f"{name!r} ({counts[name]})" for name in names),
            )  # fmt: skip


def warn_of_repeats(train, valid=None) -> None:
    """Warn of rows that stand twice in the training data, and of validation rows that stand in it too.

    Rows are the same where all their texts are. What is learned by heart is no measure of what was learned.

    Args:
        train: examples of any task.
        valid: those to validate on.
    """
    keys = _keys(train)
    counts = Counter(keys)
    twice = len(keys) - len(counts)
    if len(counts) == 1 and len(keys) > 1:
        logger.warning("%s: all %d rows hold the same text.", train.source, len(keys))
    elif twice:
        labels: dict = {}
        for key, said in zip(keys, _labels(train), strict=True):
            labels.setdefault(key, set()).add(said)
        unsure = sum(len(said) > 1 for said in labels.values())
        logger.warning(
            "%s: %d of %d training rows repeat the text of another%s.",
            train.source, twice, len(keys), f"; {unsure} text(s) stand with different labels" if unsure else "",
        )  # fmt: skip
    if valid is None:
        return
    known = sum(key in counts for key in _keys(valid))
    if known:
        logger.warning(
            "%s: %d of %d validation rows stand in the training data too, so the figures are better than they would be on new texts.",
            valid.source, known, len(valid),
        )  # fmt: skip


def _keys(examples) -> list[tuple[str, ...]]:
    """The texts of each example."""
    if hasattr(examples, "questions") and hasattr(examples, "contexts"):
        return list(zip(examples.questions, examples.contexts, strict=True))
    pairs = getattr(examples, "text_pairs", None)
    return [(text,) for text in examples.texts] if pairs is None else list(zip(examples.texts, pairs, strict=True))


def _labels(examples) -> list:
    """Something for each example that is the same where its label is."""
    labels = getattr(examples, "labels", None)
    if getattr(examples, "spans", None) is not None:
        return list(examples.spans)
    if labels is None or len(labels) != len(examples):
        return [None] * len(examples)
    return [label.tobytes() for label in labels]
