"""What the numbers in batches stand for, so that labels meet a model by name and never by position."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
import tensorflow as tf

from tl_keras.data.examples import Examples
from tl_keras.data.pairs import ScoredExamples
from tl_keras.data.tagging import TaggedExamples, TagSet
from tl_keras.errors import UserError

Kind = Literal["class", "classes", "tags", "score"]
KINDS = {
    "class": "one class a text",
    "classes": "any number of classes a text (multi-label)",
    "tags": "tags of tokens",
    "score": "a score",
}
_ATTRIBUTE = "_tl_keras_labels"
_KEEPS_LABELS = {
    "Prefetch", "Options", "Take", "Skip", "Repeat", "Cache", "Shuffle", "AssertCardinality", "Shard", "Filter",
}  # fmt: skip
"""Transformations of `tf.data` behind which the labels are still those from before."""


@dataclasses.dataclass(frozen=True)
class BatchLabels:
    """What the labels of batches, or the outputs of a model, stand for.

    Args:
        kind: of the labels; see `KINDS`.
        names: what each number stands for, or each column where `kind` is `"classes"`; empty for scores.
        used: those of the names that occur.
        source: where they come from, for messages.
        tokens: of tags, which tokens carry them; see `TagSet`.
    """

    kind: Kind
    names: tuple[str, ...] = ()
    used: frozenset[str] = frozenset()
    source: str = "the batches"
    tokens: str | None = None


def labels_of_examples(examples: Examples) -> BatchLabels | None:
    """What the labels of examples stand for; None where there are none, or nothing is said of them."""
    if examples.labels is None:
        return None
    if isinstance(examples, ScoredExamples):
        return BatchLabels("score", source=examples.source)
    if examples.classes is None:
        return None
    places = np.flatnonzero(examples.labels.any(0)) if examples.multi_label else np.unique(examples.labels)
    used = frozenset(examples.classes[place] for place in places)
    return BatchLabels("classes" if examples.multi_label else "class", examples.classes, used, examples.source)


def labels_of_tags(examples: TaggedExamples, tag_set: TagSet) -> BatchLabels:
    """What the numbers of tags stand for.

    Args:
        examples: with spans.
        tag_set: by which the tags are numbered.
    """
    found = {span.label for spans in examples.spans for span in spans}
    used = found if tag_set.scheme == "plain" else {prefix + name for name in found for prefix in ("B-", "I-")}
    return BatchLabels("tags", tag_set.tags, frozenset(used), examples.source, tag_set.tokens)


def tell_labels(dataset: tf.data.Dataset, labels: BatchLabels | None) -> tf.data.Dataset:
    """Note on a dataset what its labels stand for; gives the dataset."""
    if labels is not None:
        setattr(dataset, _ATTRIBUTE, labels)
    return dataset


def labels_told(dataset: tf.data.Dataset) -> BatchLabels | None:
    """What `tell_labels` noted on a dataset, or on one that it was made from without touching the labels; None where nobody did."""
    while isinstance(dataset, tf.data.Dataset):
        told = getattr(dataset, _ATTRIBUTE, None)
        if told is not None:
            return told
        before = dataset._inputs()
        if len(before) != 1 or type(dataset).__name__.strip("_").removesuffix("Dataset") not in _KEEPS_LABELS:
            return None
        dataset = before[0]
    return None


def align(dataset, model: BatchLabels | None):
    """Number the labels of batches as a model numbers them.

    Args:
        dataset: batches of `(inputs, labels)`, perhaps with weights; what is no dataset, or tells nothing of its labels, is given back.
        model: what the model's outputs stand for; None for a model that does not say.

    Returns:
        The dataset itself where the numbers agree, else one with the labels looked up by name.

    Raises:
        UserError: the model has another kind of output, or lacks a label that occurs.

    Example:
        >>> told = BatchLabels("class", ("neg", "pos"), frozenset(("neg", "pos")))
        >>> batches = tell_labels(tf.data.Dataset.from_tensors((tf.zeros([3, 1]), tf.constant([0, 1, 1]))), told)
        >>> next(iter(align(batches, BatchLabels("class", ("pos", "none", "neg")))))[1].numpy().tolist()
        [2, 0, 0]
    """
    told = labels_told(dataset)
    if told is None or model is None:
        return dataset
    if told.kind != model.kind:
        raise UserError(f"{told.source} has {KINDS[told.kind]}, but the model learns {KINDS[model.kind]}.")
    lacking = [name for name in told.names if name in told.used and name not in model.names]
    if lacking:
        raise UserError(
            f"{told.source}: the labels {_shown(lacking)} are not among those of the model, {_shown(model.names)}; build the model for "
            "all labels that occur, or take these examples out."
        )
    if told.tokens != model.tokens:
        raise UserError(
            f"{told.source}: its tags stand on {_carriers(told.tokens)}, the model's on {_carriers(model.tokens)}; build the model with "
            "token_classifier(encoder, examples.tag_set), or make the batches with tag_set=."
        )
    if told.names == model.names:
        return dataset
    place = {name: number for number, name in enumerate(model.names)}
    if told.kind == "classes":
        columns = {name: number for number, name in enumerate(told.names)}
        # A class that the file does not have is never right: the column of zeros that is put behind.
        chosen = tf.constant([columns.get(name, len(told.names)) for name in model.names])

        def look_up(labels):
            return tf.gather(tf.pad(labels, [[0, 0], [0, 1]]), chosen, axis=1)
    else:
        # What does not occur needs no place of its own.
        table = tf.constant([place.get(name, 0) for name in told.names], tf.int64)

        def look_up(labels):
            # Negative numbers stand for no tag.
            return tf.where(labels < 0, labels, tf.cast(tf.gather(table, tf.maximum(labels, 0)), labels.dtype))

    aligned = dataset.map(lambda inputs, labels, *weights: (inputs, look_up(labels), *weights))
    return tell_labels(aligned, dataclasses.replace(told, names=model.names))


def _shown(names) -> str:
    listed = ", ".join(map(repr, list(names)[:10]))
    return f"[{listed}{', ...' if len(names) > 10 else ''}]"


def _carriers(tokens: str | None) -> str:
    return {"first": "whole words (tokens='first')", "all": "every token (tokens='all')"}.get(tokens, "nothing known")
