"""Classifiers for a handful of labels a class: a head worked out on an encoder's vectors, perhaps after contrastive fine-tuning."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from tl_keras._keras import keras
from tl_keras.data.examples import Examples
from tl_keras.data.given import check_examples
from tl_keras.encoders.base import Encoder, require_encoder
from tl_keras.errors import UserError
from tl_keras.models.builders import text_classifier
from tl_keras.models.few_shot_heads import (
    CentredVectors,
    centre_and_spread,
    class_means,
    logistic_head,
    nearest_mean_head,
    unit_rows,
    with_descriptions,
)
from tl_keras.models.similarity_losses import SameClassCosine
from tl_keras.models.text_vectors import TextVectors
from tl_keras.models.transfer_model import TransferModel
from tl_keras.options import default_learning_rate
from tl_keras.training.optimizer import make_optimizer

logger = logging.getLogger(__name__)

AUTO, NEAREST_MEAN, LOGISTIC, CONTRASTIVE = "auto", "nearest-mean", "logistic", "contrastive"
METHODS = (AUTO, NEAREST_MEAN, LOGISTIC, CONTRASTIVE)

STEPS, BATCH_SIZE, TIMES = 40, 16, 5
"""Of contrastive fine-tuning: 40 batches of 16 texts show as many pairs as SetFit's 40 batches of 120; more where these show a text less than 5 times
(trec with 64 labels a class: 83.2 with 40 batches, 85.2 with 120)."""
PART_OF_THE_WAY = {"two classes": 0.3, "more": 0.7}
"""How far weights go from where they began to where contrastive fine-tuning leads: what lies between knows what few labels taught without having
forgotten what many texts did. With two classes of sentiment, which the encoder tells apart by itself, 0.3 was better than 0.5 and 1; with trec's six
0.5 to 1 were as good, and 0.3 worse (docs/few_labels.md). Source: Wortsman et al., "Robust fine-tuning of zero-shot models",
https://arxiv.org/abs/2109.01903."""
MOST_UNLABELLED = 1000
"""Texts without labels that are used; of nsmc, sst2 and trec 600 told hardly more than 200 (validation texts, eight draws)."""


def few_shot_classifier(
    encoder: Encoder,
    examples: Examples,
    method: str = AUTO,
    *,
    descriptions: Mapping[str, str] | None = None,
    unlabelled: Sequence[str] | None = None,
    pooling: str | None = None,
    steps: int | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
) -> keras.Model:
    """Build a classifier and teach it from few labelled texts; take an encoder that was made for sentences.

    Args:
        encoder: from `load_encoder`.
        examples: labelled texts, at least one of each class; see `sample_per_class`.
        method: `"nearest-mean"`: the class whose mean vector is nearest; `"logistic"`: logistic regression on vectors from which their
            common direction is taken out; `"contrastive"`: the encoder learns first to bring texts of one class together, and goes a part
            of the way there (`PART_OF_THE_WAY`); then logistic regression; `"auto"`: by the number of labels, see `choose_method`.
        descriptions: what each class means, by its name, in a few words like those of the texts; each counts as some labelled texts.
        unlabelled: texts of the same kind without labels, some dozens or more, of which 1,000 at most are used: they tell in which
            directions such texts differ, and classes are looked for along these.
        pooling: how a text's vector is made; by default as the encoder's makers suggest, else `"mean"`.
        steps: of contrastive fine-tuning, in batches of 16 texts; by default 40, or as many as show each text five times.
        learning_rate: of contrastive fine-tuning, the peak; by default one that suits the encoder.
        seed: of contrastive fine-tuning.

    Returns:
        A trained model as `text_classifier` gives one: it predicts, goes on learning with `fit`, and is exported like any other.

    Raises:
        UserError: fewer than two classes, a class without an example, several labels a text, no such method, a class without a
            description beside others that have one, or descriptions or unlabelled texts beside pairs.

    Source: nearest mean: Snell et al., "Prototypical Networks", https://arxiv.org/abs/1703.05175; contrastive: Tunstall et al.,
        "Efficient Few-Shot Learning Without Prompts", https://arxiv.org/abs/2209.11055, whose loss is taken over all pairs within a
        batch instead of over pairs drawn beforehand: each text then runs once for all its pairs.

    Example:
        >>> few = tlk.data.sample_per_class(reviews, 8)
        >>> model = tlk.few_shot_classifier(encoder, few, "nearest-mean")
        >>> tlk.predict(model, ["A lovely evening."]).columns.tolist()
        ['text', 'label', 'score']
    """
    require_encoder(encoder)
    chosen = choose_method(examples, descriptions is not None) if method == AUTO else method
    model = few_shot_model(encoder, examples.classes or (), chosen, pooling, stretched=unlabelled is not None)
    others = {"descriptions": descriptions, "unlabelled": unlabelled}
    return train_few_shot(
        model, encoder, examples, chosen, **others, steps=steps, learning_rate=learning_rate, seed=seed
    )


def choose_method(examples: Examples, described: bool = False) -> str:
    """The method that suits the labels: nearest mean where a class has one, contrastive fine-tuning from two on.

    Two classes that are described do without: logistic regression takes seconds then, and is ahead. The rule is that of docs/few_labels.md, from 8
    and 16 labels a class of sst2, nsmc and trec and ko-en-small.

    Args:
        examples: labelled texts.
        described: whether the classes have descriptions.

    Example:
        >>> one, two = Examples.from_lists(["a", "b"], ["x", "y"]), Examples.from_lists(["a"] * 4, [0, 0, 1, 1])
        >>> choose_method(one), choose_method(two), choose_method(two, described=True)
        ('nearest-mean', 'contrastive', 'logistic')
    """
    check_few_shot(examples)
    if min(examples.counts().values()) < 2:
        return NEAREST_MEAN
    return LOGISTIC if described and len(examples.classes) == 2 else CONTRASTIVE


def check_few_shot(examples: Examples) -> None:
    """Refuse what no class can be learned from.

    Raises:
        UserError: see `few_shot_classifier`.
    """
    check_examples(examples)
    if examples.labels is None:
        raise UserError(f"{examples.source} has no labels to learn from.")
    if examples.multi_label:
        raise UserError(
            'few-shot learning takes one label a text; for several choose transfer="fine-tune" (--transfer).'
        )
    if len(examples.classes) < 2:
        raise UserError(
            f"{examples.source}: every example is of the class {examples.classes[0]!r}; at least two are needed."
        )
    for name, count in examples.counts().items():
        if not count:
            raise UserError(f"{examples.source} has no example of the class {name!r}; give at least one.")


def few_shot_model(
    encoder: Encoder, classes, method: str, pooling: str | None = None, stretched: bool = False
) -> keras.Model:
    """The model that `train_few_shot` teaches: encoder, centred vectors (stretched: with texts without labels), one matrix, softmax."""
    if method not in METHODS[1:]:
        raise UserError(f"the method {method!r} is not known; choose one of: {', '.join(METHODS)}.")
    transfer = "fine-tune" if method == CONTRASTIVE else "freeze"
    pooling = pooling or encoder.suggested.get("pooling", "mean")
    return text_classifier(
        encoder,
        classes,
        transfer,
        pooling=pooling,
        dropout=0.0,
        hidden=[CentredVectors(stretched, name="centred")],
        recurrent=None,
    )


def train_few_shot(
    model: keras.Model,
    encoder: Encoder,
    examples: Examples,
    method: str,
    *,
    descriptions: Mapping[str, str] | None = None,
    unlabelled: Sequence[str] | None = None,
    steps: int | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
) -> keras.Model:
    """Teach a model of `few_shot_model`; what it learned before is forgotten, but for the encoder's weights.

    Args:
        model: of `few_shot_model`, for the classes of the examples.
        encoder: that it was built on.
        examples: see `few_shot_classifier`.
        method: for which the model was built.
        descriptions: of the classes, by their names.
        unlabelled: texts without labels, for a model with stretched vectors.
        steps: of contrastive fine-tuning.
        learning_rate: of contrastive fine-tuning.
        seed: of contrastive fine-tuning.

    Returns:
        The same model.
    """
    check_few_shot(examples)
    described = descriptions_in_order(descriptions, examples)
    unlabelled = _different(unlabelled, examples, seed)
    centred = model.get_layer("centred")
    body = TransferModel(model.input, centred.input, name="vectors")
    if method == CONTRASTIVE:
        bring_together(body, encoder, examples, steps, learning_rate, seed)
    compute = TextVectors(body, encoder).compute
    unit = unit_rows(compute(examples))
    if unlabelled is None:
        # Each class counts alike, however many examples it has.
        centred.set(class_means(unit, examples.labels).mean(0))
    else:
        others = unit_rows(compute(Examples.from_lists(unlabelled)))
        centred.set(*centre_and_spread(np.concatenate([unit, others])))
    known = centred(tf.constant(unit)).numpy(), examples.labels
    if described is not None:
        vectors = unit_rows(compute(Examples.from_lists(described)))
        # Descriptions are texts of another kind: what they have in common is theirs, not that of the texts.
        known = with_descriptions(*known, centred.stretch(vectors - vectors.mean(0)))
    head = nearest_mean_head if method == NEAREST_MEAN else logistic_head
    model.get_layer("logits").set_weights(list(head(*known)))
    return model


def descriptions_in_order(descriptions: Mapping[str, str] | None, examples: Examples) -> list[str] | None:
    """Descriptions in the order of the classes.

    Raises:
        UserError: a class has none, there is one of no class, or the examples are pairs.
    """
    if descriptions is None:
        return None
    if examples.text_pairs is not None:
        raise UserError(
            "descriptions are compared with single texts, not with pairs; leave descriptions (--describe) out."
        )
    for name in descriptions:
        if name not in examples.classes:
            raise UserError(f"{name!r} is described, but no class; the classes are {', '.join(examples.classes)}.")
    for name in examples.classes:
        if not str(descriptions.get(name, "")).strip():
            raise UserError(f"the class {name!r} has no description; describe all classes (--describe), or none.")
    return [descriptions[name] for name in examples.classes]


def _different(unlabelled: Sequence[str] | None, examples: Examples, seed: int) -> list[str] | None:
    """Different texts without labels, those with labels left out, `MOST_UNLABELLED` at most.

    Raises:
        UserError: there is none, or the examples are pairs.
    """
    if unlabelled is None:
        return None
    if examples.text_pairs is not None:
        raise UserError("texts without labels say nothing about pairs of texts; leave unlabelled (--unlabelled) out.")
    known = set(examples.texts)
    different = [text for text in dict.fromkeys(map(str, unlabelled)) if text not in known]
    if not different:
        raise UserError("unlabelled (--unlabelled) holds no text that is not among the labelled ones; leave it out.")
    chosen = np.random.default_rng(seed).permutation(len(different))[:MOST_UNLABELLED]
    return [different[place] for place in np.sort(chosen)]


def bring_together(
    body: keras.Model, encoder: Encoder, examples: Examples, steps: int | None, learning_rate: float | None, seed: int
) -> None:
    """Contrastive fine-tuning: vectors of one class together, those of different classes apart; a part of the way.

    Args:
        body: from the encoder's inputs to a vector.
        encoder: makes the batches.
        examples: labelled texts. Only those that meet in a batch are compared, so the number of pairs never matters.
        steps: batches of up to `BATCH_SIZE` texts; None: see `STEPS`.
        learning_rate: the peak; None for one that suits the encoder.
        seed: of the shuffling.
    """
    width, suggested = int(body.output.shape[-1]), encoder.suggested.get("learning_rate")
    rate = learning_rate or default_learning_rate(width, True, suggested)
    keras.utils.set_random_seed(seed)
    body.compile(optimizer=make_optimizer(rate), loss=SameClassCosine(), jit_compile=False)
    # Many small epochs, so that a text meets others each time.
    batches = encoder.batches(examples, training=True, batch_size=BATCH_SIZE, seed=seed)
    steps = steps or max(STEPS, TIMES * len(examples) // BATCH_SIZE)
    epochs = max(round(steps / int(batches.cardinality())), 1)
    logger.info(
        "Contrastive fine-tuning: %d times over %d texts, which takes half a minute or two.", epochs, len(examples)
    )
    begun = body.get_weights()
    body.fit(batches, epochs=epochs, verbose=0)
    part = PART_OF_THE_WAY["two classes" if len(examples.classes) == 2 else "more"]
    body.set_weights([a + part * (b - a) for a, b in zip(begun, body.get_weights(), strict=True)])
