"""Plain strings for `fit`, `evaluate` and `predict` of an ordinary Keras model: batches of token ids are made behind them."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from tl_keras._keras import keras
from tl_keras.data.examples import Examples
from tl_keras.data.given import class_finder, is_frame, is_text, texts_of
from tl_keras.data.pairs import RetrievalPairs, ScoredExamples
from tl_keras.data.questions import QuestionExamples
from tl_keras.data.tagging import TaggedExamples
from tl_keras.encoders.load import encoder_of
from tl_keras.errors import UserError
from tl_keras.models.heads import is_tagger
from tl_keras.models.language_model import is_generator
from tl_keras.models.pair_heads import ScoreInRange, is_sentence_encoder
from tl_keras.models.similarity_losses import InBatchNegatives
from tl_keras.models.text_labels import (
    batches,
    class_names,
    class_weights_of,
    head_with_names,
    label_lookup,
    text_specs,
    text_weights,
)

BATCH_SIZE = 32
"""Keras's own, where nobody names one."""


def is_strings(x) -> bool:
    """Whether `x` is a `tf.data.Dataset` whose elements begin with strings, single, batched or in pairs."""
    return isinstance(x, tf.data.Dataset) and text_specs(x.element_spec) is not None


def batches_of(
    model: keras.Model,
    x,
    y=None,
    sample_weight=None,
    class_weight=None,
    *,
    batch_size: int | None = None,
    training: bool = False,
    seed: int = 0,
) -> tf.data.Dataset:
    """Batches for a model from whatever a user gives.

    Args:
        model: of one of this package's builders.
        x: texts (see `texts_of`), examples of a reader, or a `tf.data.Dataset` of strings.
        y: for texts their labels: names of classes, or their numbers; for multi-label models lists of names, or 0 and 1 for each class;
            for regressors numbers.
        sample_weight: a weight for each text.
        class_weight: a weight for each class, by its number or its name.
        batch_size: texts in a batch; a batched dataset keeps its own batches.
        training: shuffle, and put texts of like length together.
        seed: of the shuffling.

    Raises:
        UserError: the model takes no texts this way, or labels and texts do not go together.
    """
    batch_size = batch_size or BATCH_SIZE
    how = {"training": training, "batch_size": batch_size, "seed": seed}
    if isinstance(x, (TaggedExamples, QuestionExamples)):
        return batches(model, x, **how)
    if is_tagger(model) and not isinstance(x, Examples):
        raise UserError(
            "a tagger learns from texts with spans: fit(examples) with examples from read_tagged(...) or TaggedExamples.from_words(...); "
            "to tag texts call tl_keras.predict(model, texts)."
        )
    if isinstance(x, tf.data.Dataset):
        return _of_dataset(model, x, class_weight, batch_size, training, seed)
    examples = x if isinstance(x, Examples) else _examples(model, x, y)
    weights = text_weights(model, examples, sample_weight, class_weight)
    return batches(model, examples, **how, **({} if weights is None else {"weights": weights}))


def take_texts(model: keras.Model, arguments: dict, training: bool) -> None:
    """Put batches into the arguments of `fit`, `evaluate` or `predict` where the user gave texts; other arguments stay.

    Args:
        model: of one of this package's builders.
        arguments: by name, all of them; changed in place.
        training: whether they are those of `fit`.

    Raises:
        UserError: what was given cannot be learned from, or scored.
    """
    x = arguments["x"]
    if is_text(x):
        raise UserError(f"texts come in a list, also a single one: write [{str(x)[:40]!r}].")
    if isinstance(x, list) and not x:
        raise UserError("the list of texts is empty.")
    if training:
        _take_validation(model, arguments)
        x = arguments["x"]
    if not _has_texts(model, x):
        return
    if "y" in arguments and not isinstance(x, tf.data.Dataset):
        _need_labels(model, x, arguments["y"])
    made = batches_of(
        model,
        x,
        arguments.get("y"),
        arguments.get("sample_weight"),
        arguments.get("class_weight"),
        batch_size=arguments.get("batch_size"),
        training=training and bool(arguments["shuffle"]),
        # The generator that `keras.utils.set_random_seed` sets, which so decides the order, too.
        seed=int(np.random.randint(2**31 - 1)) if training else 0,  # noqa: NPY002
    )
    if training and arguments["steps_per_epoch"] and not isinstance(x, tf.data.Dataset):
        made = made.repeat()
    arguments["x"] = made
    for name in ("y", "sample_weight", "class_weight", "batch_size"):
        if name in arguments:
            arguments[name] = None


def one_batch(model: keras.Model, x, y=None, sample_weight=None, class_weight=None) -> tuple | None:
    """Texts as one batch `(inputs, labels, weights)`, for `train_on_batch` and its like; None if `x` holds no texts."""
    found = texts_of(x)
    if found is None:
        return None
    batch = next(iter(batches_of(model, x, y, sample_weight, class_weight, batch_size=len(found.texts))))
    batch = batch if isinstance(batch, tuple) else (batch,)
    return (*batch, *(None for _ in range(3 - len(batch))))


def _need_labels(model: keras.Model, x, y) -> None:
    """Refuse texts without labels where these are what is learned."""
    if y is not None or isinstance(x, (TaggedExamples, QuestionExamples, RetrievalPairs)):
        return
    alone = isinstance(getattr(model, "loss", None), InBatchNegatives) or is_generator(model) or is_tagger(model)
    if not alone and getattr(x, "labels", None) is None:
        raise UserError("the texts have no labels: give them too, as fit(texts, labels) and evaluate(texts, labels).")


def _take_validation(model: keras.Model, arguments: dict) -> None:
    """Make batches to validate on, from `validation_data` or by splitting off the last texts."""
    given, size = arguments["validation_data"], arguments.get("validation_batch_size") or arguments["batch_size"]
    fraction, x = arguments["validation_split"], arguments["x"]
    if fraction and given is None and _has_texts(model, x) and not isinstance(x, tf.data.Dataset):
        kept, held = split(x, arguments["y"], arguments["sample_weight"], fraction)
        arguments["x"], arguments["y"], arguments["sample_weight"] = kept
        arguments["validation_split"], given = 0.0, held
    if given is None:
        return
    # As in Keras, a tuple is `(x, y)` or `(x, y, weights)`: two lists of strings are texts and their labels, not pairs.
    # A list of two columns is the same, one of two pairs of texts is not.
    listed = (
        isinstance(given, list) and len(given) in (2, 3) and not any(isinstance(part, (str, tuple)) for part in given)
    )
    parts = tuple(given) if isinstance(given, tuple) or (listed and texts_of(given[0]) is not None) else (given,)
    if _has_texts(model, parts[0]):
        if not isinstance(parts[0], tf.data.Dataset):
            _need_labels(model, parts[0], parts[1] if len(parts) > 1 else None)
        arguments["validation_data"] = batches_of(model, *parts, batch_size=size)
        arguments["validation_batch_size"] = None


def _has_texts(model: keras.Model, x) -> bool:
    if isinstance(x, (Examples, TaggedExamples, QuestionExamples)) or texts_of(x) is not None:
        return True
    if not is_strings(x):
        return False
    # A model that reads strings takes batches of them as they are, unless classes are called by their names.
    spec = x.element_spec
    batched = tf.nest.flatten(text_specs(spec))[0].shape.rank == 1
    named = isinstance(spec, tuple) and len(spec) > 1 and getattr(spec[1], "dtype", None) == tf.string
    return not (batched and not named and any(tf.as_dtype(tensor.dtype) == tf.string for tensor in model.inputs))


def split(x, y, sample_weight, validation_split: float) -> tuple[tuple, tuple]:
    """Split as Keras does: the last rows, before any shuffling, are those to validate on.

    Returns:
        `(x, y, sample_weight)` to train on, and the same to validate on.

    Raises:
        UserError: a fraction outside (0, 1), or too few rows.
    """
    if not 0.0 < validation_split < 1.0:
        raise UserError(f"validation_split must lie between 0 and 1, not {validation_split}.")
    found = texts_of(x)
    count = len(x) if found is None else len(found.texts)
    at = math.floor(count * (1.0 - validation_split))
    if not 0 < at < count:
        raise UserError(f"{count} texts are too few for validation_split={validation_split}.")
    parts = (slice(None, at), slice(at, None))
    if found is None:
        return tuple((x.take(np.arange(count)[part]), None, _part(sample_weight, part)) for part in parts)
    columns = [column for column in found if column is not None]
    given = [columns[0][part] if len(columns) == 1 else tuple(column[part] for column in columns) for part in parts]
    return tuple((some, _part(y, part), _part(sample_weight, part)) for some, part in zip(given, parts, strict=True))


def _part(values, part: slice):
    return None if values is None else (values.iloc[part] if hasattr(values, "iloc") else values[part])


def _examples(model: keras.Model, x, y) -> Examples:
    found = texts_of(x)
    towers = is_sentence_encoder(model) and found.text_pairs is not None
    if y is None and towers and isinstance(getattr(model, "loss", None), InBatchNegatives):
        return RetrievalPairs.from_lists(found.texts, found.text_pairs)
    if y is None:
        return Examples.from_lists(found.texts, None, found.text_pairs)
    if is_frame(y) and y.shape[1] > 1:
        y = _in_order(y, getattr(head_with_names(model), "classes", ()))
    y = (
        y.to_numpy()
        if hasattr(y, "to_numpy")
        else np.asarray(y, object)
        if isinstance(y, (list, tuple))
        else np.asarray(y)
    )
    if len(y) != len(found.texts):
        raise UserError(f"{len(found.texts)} texts but {len(y)} labels; there must be one for each text.")
    if towers:
        return ScoredExamples.from_lists(found.texts, y.tolist(), found.text_pairs)
    head = head_with_names(model)
    if isinstance(head, ScoreInRange):
        return ScoredExamples.from_lists(found.texts, y.tolist(), found.text_pairs, head.score_range)
    return Examples.from_lists(found.texts, class_names(head, y), found.text_pairs, head.classes)


def _in_order(y, classes):
    """A table with a column of 0 and 1 for each class, its columns in the order of the model's.

    Raises:
        UserError: its columns are called otherwise.
    """
    find = class_finder(classes)
    columns = {find(name): place for place, name in enumerate(y.columns)}
    if len(columns) != y.shape[1] or set(columns) != set(classes):
        raise UserError(
            f"the columns of the labels, {', '.join(map(str, y.columns))}, are not the classes of the model, {', '.join(classes)}."
        )
    return y.iloc[:, [columns[name] for name in classes]]


def _of_dataset(model, dataset, class_weight, batch_size: int, training: bool, seed: int) -> tf.data.Dataset:
    """Batches from a dataset of strings: single ones are put together, like lengths with like; batches stay as they are."""
    spec = dataset.element_spec
    batched = tf.nest.flatten(text_specs(spec))[0].shape.rank == 1
    labelled = isinstance(spec, tuple) and len(spec) > 1
    look_up = label_lookup(head_with_names(model), spec[1]) if labelled else None
    by_class = None if class_weight is None else tf.constant(class_weights_of(head_with_names(model), class_weight))

    def named(*element):
        inputs, *rest = element
        texts = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
        columns = {"text": texts[0], **({"text_pair": texts[1]} if len(texts) > 1 else {})}
        if rest:
            columns["labels"] = look_up(rest[0])
            weights = [tf.cast(rest[1], tf.float32)] if len(rest) > 1 else []
            if by_class is not None:
                weights.append(tf.gather(by_class, columns["labels"]))
            if weights:
                columns["weights"] = (
                    tf.math.multiply_n(weights)
                    if len(weights) > 2
                    else weights[0] * (weights[1] if len(weights) > 1 else 1.0)
                )
        return columns

    return encoder_of(model).batches_of_strings(
        dataset.map(named), batched=batched, batch_size=batch_size, training=training, seed=seed
    )
