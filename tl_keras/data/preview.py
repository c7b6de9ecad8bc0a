"""What the user should see of examples before training: how they are understood, labels that are much alike, rows that repeat."""

from __future__ import annotations

import logging
import unicodedata
from collections import Counter
from collections.abc import Mapping

import numpy as np

from tl_keras.data.file_tables import column_name
from tl_keras.data.tagging import TaggedExamples
from tl_keras.data.tags import tags_of_spans

logger = logging.getLogger(__name__)

FEW_TO_VALIDATE_ON = 20
"""Fewer examples than these tell no model from another."""


def shown(examples, count: int = 2, width: int = 240) -> list[str]:
    """What was understood of some examples, a line for each.

    Args:
        examples: of any task: texts, pairs, tagged texts, questions.
        count: how many; of tagged texts those with spans first.
        width: characters in each line at most, about.

    Example:
        >>> shown(TaggedExamples.from_words([["Ada", "sleeps"]], [["B-PER", "O"]]))
        ['words: Ada | sleeps; tags: B-PER | O']
        >>> from tl_keras.data.examples import Examples
        >>> shown(Examples.from_lists(["good", "bad"], ["pos", "neg"]))
        ["text: 'good'; label: 'pos'", "text: 'bad'; label: 'neg'"]
    """
    if isinstance(examples, TaggedExamples):
        return _tagged(examples, count, width)
    some = examples.take(np.arange(min(count, len(examples))))
    if hasattr(some, "contexts"):
        parts = {"question": some.questions, "context": some.contexts}
        if some.answers is not None:
            parts["answer"] = [given[0].text if given else "none" for given in some.answers]
    else:
        parts = {"text": some.texts}
        if some.text_pairs is not None:
            parts["second text"] = some.text_pairs
        if some.labels is not None and some.classes is None:
            parts["score"] = some.labels
        elif some.labels is not None:
            parts["labels" if some.multi_label else "label"] = some.label_names
    return [
        "; ".join(f"{name}: {_quoted(values[row], width // len(parts))}" for name, values in parts.items())
        for row in range(len(some))
    ]


def _quoted(value, width: int) -> str:
    return repr(_short(value, width)) if isinstance(value, str) else str(value)


def _tagged(examples: TaggedExamples, count: int, width: int) -> list[str]:
    if examples.spans is None:
        return []
    rows = sorted(range(len(examples)), key=lambda row: (not examples.spans[row], row))[:count]
    lines = []
    for row in rows:
        text, spans = examples.texts[row], examples.spans[row]
        if examples.words is None:
            found = ", ".join(f"{text[span.start : span.end]!r} {span.label}" for span in spans) or "none"
            lines.append(f"text: {_short(text, width // 2)}; spans: {_short(found, width // 2)}")
            continue
        words = examples.words[row]
        of_words, word = [], 0
        for span in spans:
            first = next(i for i in range(word, len(words)) if words[i][1] > span.start)
            word = next((i for i in range(first, len(words)) if words[i][0] >= span.end), len(words))
            of_words.append((first, word, span.label))
        tags = tags_of_spans(of_words, len(words), examples.scheme)
        given = " | ".join(text[start:end] for start, end in words)
        lines.append(f"words: {_short(given, width // 2)}; tags: {_short(' | '.join(tags), width // 2)}")
    return lines


def _short(text: str, width: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 3] + "..."


def alike(name: str) -> str:
    """A name without what hardly anybody means: case, blanks, marks that nobody sees, full or half width, zeros around a number.

    Example:
        >>> alike("Very Good") == alike("ｖｅｒｙ  good\u200b "), alike("1.0") == alike("01")
        (True, True)
    """
    name = "".join(column_name(unicodedata.normalize("NFKC", name)).casefold().split())
    try:
        return f"{float(name):g}" if name.isascii() and len(name) < 16 else name
    except ValueError:
        return name


def warn_of_like_names(counts: Mapping[str, int], source: str) -> None:
    """Warn of labels that are mostly meant otherwise: one written in several ways (case, blanks, width), or several in one cell.

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
                "%s: the labels %s differ by case, blanks, width or zeros alone, and are learned as different ones; write them alike if "
                "they mean the same.",
                source, " and ".join(f"{name!r} ({counts[name]})" for name in names),
            )  # fmt: skip
    for separator in ("|", ";", ","):
        joined = [
            name
            for name in counts
            if separator in name and {part.strip() for part in name.split(separator)} <= set(counts)
        ]
        if joined:
            logger.warning(
                "%s: the label %r is made of labels that stand alone elsewhere, and is learned as one of its own%s; if texts may have several "
                'labels, name what stands between them: label_separator="%s" (--label-separator "%s").',
                source, joined[0], f", and so are {len(joined) - 1} more" if len(joined) > 1 else "", separator, separator,
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


def warn_of_few(valid) -> None:
    """Warn of validation examples of which one decides about several hundredths."""
    if len(valid) < FEW_TO_VALIDATE_ON:
        logger.warning(
            "%s: only %d example(s) to validate on, so the figures say little; keep more out (--validation-split) or give a --validation file.",
            valid.source, len(valid),
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
