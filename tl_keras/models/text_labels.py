"""Examples to batches, as a model or an encoder takes them, and labels and weights as a user gives them, by names of classes."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf

from tl_keras._keras import find_layer, keras
from tl_keras.data.examples import Examples
from tl_keras.data.given import class_finder, class_numbers, is_missing, label_name
from tl_keras.data.pairs import RetrievalPairs, ScoredExamples
from tl_keras.data.questions import QuestionExamples
from tl_keras.data.tagging import TaggedExamples
from tl_keras.encoders.load import encoder_of
from tl_keras.errors import UserError
from tl_keras.models.heads import ClassProbabilities, is_tagger, tag_head_of
from tl_keras.models.language_model import LanguageModel, is_generator
from tl_keras.models.pair_heads import ScoreInRange, is_answerer, is_sentence_encoder, sentence_encoder_of, span_head_of
from tl_keras.text.pair_batches import question_batches


def class_names(head: ClassProbabilities, labels: np.ndarray) -> list:
    """Labels as names of the model's classes.

    A number is the class of that place, as in Keras; but where the classes are called by numbers themselves, it is the name, and so is a
    truth value where they are called true and false.

    Args:
        head: of the model.
        labels: `[n]` names or numbers; for multi-label models `[n, classes]` of 0 and 1, or `n` lists of names.

    Raises:
        UserError: a label is not one of the model's.
    """
    classes = list(head.classes)
    if head.multi_label:
        rows = [row if isinstance(row, (list, tuple, set)) else np.asarray(row).tolist() for row in labels]
        if all(isinstance(row, (list, tuple)) and len(row) == len(classes) and set(row) <= {0, 1} for row in rows):
            return [[name for name, x in zip(classes, row, strict=True) if x] for row in rows]
        if any(not isinstance(row, (list, tuple, set)) for row in rows):
            raise UserError(
                f"this model is multi-label: give a list of names for each text, or {len(classes)} numbers, 0 or 1."
            )
        return [list(row) for row in rows]
    if getattr(labels, "ndim", 1) == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if getattr(labels, "ndim", 1) != 1:
        raise UserError(
            f"labels must be one for each text, names or numbers, not an array of shape {tuple(labels.shape)}."
        )
    values = [value.item() if hasattr(value, "item") else value for value in labels]
    missing = next((row for row, value in enumerate(values, 1) if is_missing(value)), None)
    if missing is not None:
        raise UserError(f"text {missing} has no label ({values[missing - 1]}): leave out the texts without one.")
    find = class_finder(classes)
    found = [find(value) for value in values]
    if None not in found:
        return found
    if any(isinstance(value, (str, bytes)) for value in values):
        return [label_name(value) for value in values]
    try:
        numbers = [int(value) for value in values if float(value).is_integer()]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != len(values):
        odd = next(v for v in values if not isinstance(v, (int, float)) or not float(v).is_integer())
        raise UserError(f"labels must be names or whole numbers, not {odd!r}.")
    if class_numbers(classes) is not None:
        return [str(number) if name is None else name for number, name in zip(numbers, found, strict=True)]
    wrong = [number for number in numbers if not 0 <= number < len(classes)]
    if wrong:
        raise UserError(
            f"label {wrong[0]} is no number of a class: there are {len(classes)}, from 0: {', '.join(classes[:20])}."
        )
    return [classes[number] for number in numbers]


def text_weights(model: keras.Model, examples: Examples, sample_weight, class_weight) -> np.ndarray | None:
    """One weight for each text: float32 `[n]`."""
    if sample_weight is None and class_weight is None:
        return None
    weights = np.ones(len(examples), "float32")
    if sample_weight is not None:
        given = np.asarray(sample_weight, "float32").reshape(-1)
        if len(given) != len(examples):
            raise UserError(f"{len(examples)} texts but {len(given)} sample weights; there must be one for each text.")
        weights *= given
    if class_weight is not None:
        if examples.labels is None or examples.labels.ndim != 1 or isinstance(examples, ScoredExamples):
            raise UserError("class_weight is for models with one class for each text; give sample_weight.")
        by_class = class_weights_of(head_with_names(model), class_weight)
        names = list(head_with_names(model).classes)
        place = np.array([names.index(name) for name in examples.classes])
        weights *= by_class[place[examples.labels]]
    return weights


def class_weights_of(head: ClassProbabilities, class_weight: Mapping) -> np.ndarray:
    """A weight for each class, float32 `[classes]`; 1 where none is given, as in Keras.

    Args:
        head: of the model.
        class_weight: by name, or by number in the order of the model; what `class_weights` gave counts by name. Where the classes are
            called by whole numbers themselves, numbers are names, as they are among labels.

    Raises:
        UserError: a key is none of the classes.
    """
    names = list(getattr(head, "classes", ()))
    class_weight = getattr(class_weight, "by_name", class_weight)
    if not isinstance(class_weight, Mapping):
        raise UserError(
            f"class_weight is a dict of a weight for each class, not {class_weight!r}; for balanced ones: tl_keras.training.class_weights(examples)."
        )
    find = class_finder(names)
    called = {key: find(key) for key in class_weight}
    by_name = None not in called.values()
    weights = np.ones(len(names), "float32")
    for key, weight in class_weight.items():
        if by_name or key in names:
            weights[names.index(called[key])] = weight
        elif not isinstance(key, str) and 0 <= int(key) < len(names):
            weights[int(key)] = weight
        else:
            raise UserError(
                f"class_weight names {key!r}, which is none of the classes {', '.join(names[:20])}, nor the number of one."
            )
    return weights


def head_with_names(model: keras.Model):
    """The layer that knows what the outputs mean.

    Raises:
        UserError: it is none of those that texts and labels can be given to.
    """
    for layer in model.layers:
        if isinstance(layer, (ClassProbabilities, ScoreInRange)):
            return layer
    raise UserError(
        f"labels cannot be given to {model.name!r} as they are: this is no classifier or regressor of this package. Give fit examples of a "
        "reader, or batches: fit(tl_keras.batches(model, examples)); for answers and vectors call tl_keras.predict(model, texts)."
    )


def text_specs(spec):
    """Of a dataset's elements the part that is texts; None where they do not begin with strings."""
    inputs = spec[0] if isinstance(spec, tuple) and spec else spec
    parts = inputs if isinstance(inputs, (tuple, list)) else (inputs,)
    strings = [isinstance(p, tf.TensorSpec) and p.dtype == tf.string and p.shape.rank in (0, 1) for p in parts]
    return inputs if strings and len(strings) <= 2 and all(strings) else None


def label_lookup(head, spec: tf.TensorSpec):
    """A function of a tensor of labels, names or numbers, that gives what the loss wants."""
    if isinstance(head, ScoreInRange):
        return lambda labels: tf.cast(labels, tf.float32)
    if head.multi_label:
        return lambda labels: tf.cast(labels, tf.float32)
    names = list(head.classes)
    if spec.dtype == tf.string:
        table = _table(tf.constant(names), names)
        return lambda labels: _known(table.lookup(labels), labels, names)
    numbers = class_numbers(names)
    if numbers is not None and all(number.is_integer() for number in numbers):
        table = _table(tf.constant([int(number) for number in numbers], tf.int64), names)
        return lambda labels: _known(table.lookup(tf.cast(labels, tf.int64)), labels, names)
    if spec.dtype == tf.bool and {name.lower() for name in names} == {"true", "false"}:
        places = tf.constant([class_finder(names)(truth) == names[1] for truth in (False, True)], tf.int64)
        return lambda labels: tf.gather(places, tf.cast(labels, tf.int64))
    return lambda labels: tf.cast(labels, tf.int64)


def _table(keys: tf.Tensor, names: list[str]) -> tf.lookup.StaticHashTable:
    places = tf.range(len(names), dtype=tf.int64)
    return tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, places), -1)


def _known(places: tf.Tensor, labels: tf.Tensor, names: list[str]) -> tf.Tensor:
    check = tf.debugging.Assert(
        tf.reduce_all(places >= 0), [f"a label is none of the classes {', '.join(names[:20])}:", labels], summarize=20
    )
    with tf.control_dependencies([check]):
        return tf.identity(places)


def batches(
    model_or_encoder,
    examples: Examples | TaggedExamples | QuestionExamples | list[str],
    *,
    training: bool = False,
    batch_size: int = 32,
    seed: int = 0,
    **options,
) -> tf.data.Dataset:
    """Batches of examples for `fit`, `evaluate` and `predict`, tokenized on the way.

    Args:
        model_or_encoder: a model of this package's builders, which knows what it is trained with (a tagger its windows and tags, an
            answerer its windows of question and context, a `bi_encoder` its two texts side by side); or an encoder, which tells by the
            examples alone: scored pairs are then read together, as a cross-encoder wants them. Also what `cache_features` gave.
        examples: from a reader, or a list of strings.
        training: shuffle anew in each epoch, and put texts of like length together; otherwise the order is kept.
        batch_size: examples in a batch; of windows, where long texts are cut into them.
        seed: of the shuffling.
        **options: `fixed_length` (pad to `seq_length` always, for TPUs), `drop_remainder` (leave the last, smaller batch out); of taggers
            also `tag_set` and `overlap`.

    Returns:
        A dataset of `(inputs, labels)`, or of inputs where the examples have no labels. Its cardinality is known.

    Raises:
        UserError: the examples are none that this model can be given, or there is nothing to learn from.

    Example:
        >>> model = tlk.text_classifier(encoder, reviews.classes)
        >>> inputs, labels = next(iter(tlk.batches(model, reviews, training=True, batch_size=8)))
        >>> sorted(inputs), labels.shape.as_list()
        (['input_mask', 'input_type_ids', 'input_word_ids'], [8])
    """
    options = {"training": training, "batch_size": batch_size, "seed": seed, **options}
    if not isinstance(model_or_encoder, keras.Model):
        return _by_examples(model_or_encoder, examples, options)
    model = model_or_encoder
    if is_answerer(model):
        _require(examples, QuestionExamples, "questions about contexts (read_squad)")
        encoder = encoder_of(model)
        return question_batches(
            examples,
            encoder.offset_tokenizer,
            encoder.preprocessor,
            span_head_of(model).windows(encoder),
            **options,
        )
    if is_tagger(model):
        _require(examples, TaggedExamples, "texts with labelled spans (read_tagged)")
        return encoder_of(model).tagging_batches(examples, **{"tag_set": tag_head_of(model).tag_set, **options})
    if is_generator(model):
        return LanguageModel.of(model).batches(examples, **options)
    if is_sentence_encoder(model):
        single = sentence_encoder_of(model)
        encoder = encoder_of(single)
        return encoder.batches(examples, **options) if single is model else encoder.pair_batches(examples, **options)
    return encoder_of(model).batches(examples, **options)


def _by_examples(encoder, examples, options: dict) -> tf.data.Dataset:
    if not hasattr(encoder, "batches"):
        raise UserError(
            f"batches are made for a model of this package or an encoder from load_encoder(...), not for a {type(encoder).__name__}."
        )
    if isinstance(examples, TaggedExamples):
        return encoder.tagging_batches(examples, **options)
    if isinstance(examples, QuestionExamples):
        raise UserError(
            "windows of questions and contexts depend on the model: batches(model, examples), not batches(encoder, ...)."
        )
    if isinstance(examples, RetrievalPairs):
        return encoder.pair_batches(examples, **options)
    return encoder.batches(examples, **options)


def _require(examples, kind: type, what: str) -> None:
    if not isinstance(examples, kind):
        raise UserError(f"this model is trained with {what}, not with {type(examples).__name__}.")


@contextlib.contextmanager
def known_labels(model: keras.Model) -> Iterator[None]:
    """Say in one line which label the model lacks, where only TensorFlow finds it, in the middle of a dataset or an array.

    Args:
        model: a classifier; others are left alone.

    Raises:
        UserError: in place of TensorFlow's `InvalidArgumentError`.
    """
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        found = _NO_CLASS.search(str(error)) or _NO_NUMBER.search(str(error))
        head = find_layer(model, ClassProbabilities)
        if found is None or head is None:
            raise
        classes = list(head.classes)
        labels = [label for label in dict.fromkeys(found[1].split()) if label not in classes]
        raise UserError(
            f"the label {(labels or [found[1]])[0][:60]!r} is none of the model's {len(classes)} classes, {', '.join(classes[:20])}, nor the "
            "number of one; build the model for all labels that occur, or take these examples out."
        ) from error


_NO_CLASS = re.compile(r"a label is none of the classes[^\]]*\] \[([^\]]*)\]")
_NO_NUMBER = re.compile(r"label value of (-?\d+) which is outside the valid range")
