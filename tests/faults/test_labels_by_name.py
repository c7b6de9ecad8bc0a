"""Labels meet a model by their names: the order of a file's labels, or of a model's, changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tl_keras import (
    UserError,
    cache_features,
    evaluate,
    text_classifier,
    text_regressor,
    token_classifier,
)
from tl_keras.data.examples import Examples
from tl_keras.data.pairs import ScoredExamples
from tl_keras.data.tagging import TaggedExamples, TagSet
from tl_keras.models.heads import ClassProbabilities
from tl_keras.models.text_labels import class_weights_of
from tl_keras.text.batch_labels import BatchLabels, align, labels_of_examples, tell_labels
from tl_keras.training import class_weights
from tl_keras.training.epoch_batches import weighted
from tl_keras.training.resume import resumable_fit

CLASSES = ("negative", "none", "positive")
BATCH = {"training": True, "batch_size": 64, "seed": 2}  # one batch, so that its order decides nothing


@pytest.fixture(scope="module")
def tagged():
    words = ["good film", "the actor was dull", "a great plot", "bad music"] * 4
    tags = [["B-A", "O"], ["O", "B-B", "I-B", "O"], ["O", "B-A", "I-A"], ["B-B", "O"]] * 4
    return TaggedExamples.from_words([text.split() for text in words], tags)


def with_logits(model, order=None):
    """Give a model's last layer known weights, its columns in another order."""
    kernel, bias = model.get_layer("logits").get_weights()
    kernel = np.random.default_rng(5).normal(size=kernel.shape).astype("float32")
    order = range(len(bias)) if order is None else order
    model.get_layer("logits").set_weights([kernel[:, order], bias])
    return model


def head(model) -> np.ndarray:
    return np.vstack(model.get_layer("logits").get_weights())


def test_classes_in_another_order_train_the_same_weights(encoder, reviews):
    # In the file's order; the class that the file lacks stands first, and last, and between.
    straight = with_logits(text_classifier(encoder, CLASSES, "freeze", dropout=0.0))
    straight.fit(encoder.batches(reviews, **BATCH), epochs=1, verbose=0)
    figures = straight.evaluate(encoder.batches(reviews), verbose=0)
    for order, ways in (([2, 1, 0], ("plain", "features")), ([1, 2, 0], ("resumable",))):
        for way in ways:
            turned = with_logits(text_classifier(encoder, [CLASSES[i] for i in order], "freeze", dropout=0.0), order)
            if way == "features":
                cached = cache_features(turned, reviews)
                cached.model.fit(cached.batches(reviews, **BATCH), epochs=1, verbose=0)
            elif way == "resumable":
                resumable_fit(turned, encoder.batches(reviews, **BATCH), epochs=1, verbose=0)
            else:
                turned.fit(encoder.batches(reviews, **BATCH), epochs=1, verbose=0)
            np.testing.assert_allclose(head(turned), head(straight)[:, order], atol=1e-5, err_msg=way)
            np.testing.assert_allclose(turned.evaluate(encoder.batches(reviews), verbose=0), figures, atol=1e-5)
            assert evaluate(turned, reviews).accuracy == pytest.approx(figures[1])


@pytest.mark.parametrize("way", ["batches", "texts", "resumable"])
def test_weights_of_classes_meet_the_model_by_name(encoder, reviews, way):
    uneven = reviews.take(np.flatnonzero((reviews.labels == 0) | (np.arange(len(reviews)) < 16)))
    by_name = {name: len(uneven) / 2 / count for name, count in uneven.counts().items()}
    heads = []
    for order, weights in ([0, 1, 2], by_name), ([2, 1, 0], class_weights(uneven)), ([1, 2, 0], by_name):
        model = with_logits(text_classifier(encoder, [CLASSES[i] for i in order], "freeze", dropout=0.0), order)
        train = resumable_fit if way == "resumable" else type(model).fit
        train(model, uneven if way == "texts" else encoder.batches(uneven, **BATCH), class_weight=weights, epochs=1, verbose=0,
              **({"batch_size": 64} if way == "texts" else {}))  # fmt: skip
        heads.append(head(model)[:, np.argsort(order)])
    for other in heads[1:]:
        np.testing.assert_allclose(other, heads[0], atol=1e-5)


@pytest.mark.parametrize(
    ("classes", "given", "weights"),
    [
        (("a", "b"), {1: 3.0}, [1, 3]),
        (("1", "2"), {1: 3.0}, [3, 1]),  # as a label, 1 is the class "1"
        (("1", "2"), {0: 3.0, 1: 2.0}, [3, 2]),
        (("2", "1"), {"1": 3.0, "2": 2.0}, [2, 3]),
        (("a", "b"), {"c": 3.0}, "names 'c', which is none"),
        (("a", "b"), {2: 3.0}, "names 2, which is none"),
    ],
)
def test_names_and_numbers_of_weighted_classes(classes, given, weights, refused):
    layer = ClassProbabilities(classes)
    if isinstance(weights, str):
        refused(lambda: class_weights_of(layer, given), weights)
    else:
        assert class_weights_of(layer, given).tolist() == weights


def test_a_class_behind_the_weighted_ones_weighs_one():
    batches = tf.data.Dataset.from_tensors((tf.zeros([3, 1]), tf.constant([0, 1, 2])))
    assert next(iter(weighted(batches, {0: 5.0})))[2].numpy().tolist() == [5.0, 1.0, 1.0]


def test_validation_in_fit_looks_labels_up_too(encoder, reviews):
    model = text_classifier(encoder, CLASSES[::-1], "freeze")
    history = model.fit(
        encoder.batches(reviews, **BATCH), validation_data=encoder.batches(reviews), epochs=1, verbose=0
    ).history
    assert history["val_accuracy"][0] == pytest.approx(evaluate(model, reviews).accuracy)


def test_tags_in_another_order_train_the_same_weights(encoder, tagged):
    straight = with_logits(token_classifier(encoder, tagged.labels, "freeze", dropout=0.0))
    straight.fit(encoder.tagging_batches(tagged, **BATCH), epochs=1, verbose=0)
    # O, B-B, I-B, B-C, I-C, B-A, I-A where the file has O, B-A, I-A, B-B, I-B.
    turned = token_classifier(encoder, ["B", "C", "A"], "freeze", dropout=0.0)
    kernel, bias = turned.get_layer("logits").get_weights()
    wide = np.full_like(kernel, 0.0)
    order = [0, 5, 6, 1, 2]
    fresh = with_logits(token_classifier(encoder, tagged.labels, "freeze", dropout=0.0)).get_layer("logits")
    wide[:, order] = fresh.get_weights()[0]
    # So unlikely that the two tags which the file lacks change nothing.
    bias[3:5] = -100.0
    turned.get_layer("logits").set_weights([wide, bias])
    turned.fit(encoder.tagging_batches(tagged, **BATCH), epochs=1, verbose=0)
    np.testing.assert_allclose(head(turned)[:, order], head(straight), atol=1e-4)


def test_columns_of_several_labels_are_found_by_name():
    examples = Examples.from_lists(["x", "y", "z"], [["b"], ["a", "c"], []])
    batches = tf.data.Dataset.from_tensors((tf.zeros([3, 1]), tf.constant(examples.labels), tf.ones([3])))
    tell_labels(batches, labels_of_examples(examples))
    _, labels, weights = next(iter(align(batches.take(1).prefetch(1), BatchLabels("classes", ("d", "c", "b", "a")))))
    assert labels.numpy().tolist() == [[0, 0, 1, 0], [0, 1, 0, 1], [0, 0, 0, 0]]
    assert weights.numpy().tolist() == [1, 1, 1]


def test_what_a_users_own_map_makes_is_left_alone():
    told = BatchLabels("class", ("a", "b"), frozenset(("a", "b")))
    batches = tell_labels(tf.data.Dataset.from_tensors((tf.zeros([2, 1]), tf.constant([0, 1]))), told)
    model = BatchLabels("class", ("b", "a"))
    assert next(iter(align(batches.map(lambda x, y: (x, 1 - y)), model)))[1].numpy().tolist() == [1, 0]
    once = align(batches, model)
    # A second look finds the numbers already right.
    assert align(once, model) is once


@pytest.mark.parametrize(
    ("model", "batches", "message"),
    [
        (("class", ["x", "positive"]), "reviews", "labels ['negative'] are not among those of the model"),
        (("class", ["positive", "bad"]), "reviews", "labels ['negative'] are not among"),
        (("score", None), "reviews", "has one class a text, but the model learns a score"),
        (("class", ["a", "b"]), "scored", "has a score, but the model learns one class a text"),
        (("classes", ["negative", "positive"]), "reviews", "but the model learns any number of classes"),
        (("tags", TagSet(("A", "C"))), "tagged", "labels ['B-B', 'I-B'] are not among those of the model"),
        (("tags", TagSet(("A", "B"), tokens="all")), "tagged", "its tags stand on whole words"),
    ],
)
def test_what_the_model_lacks_is_refused_before_training(encoder, reviews, tagged, model, batches, message):
    kind, names = model
    made = {
        "class": lambda: text_classifier(encoder, names, "freeze"),
        "classes": lambda: text_classifier(encoder, names, "freeze", multi_label=True),
        "score": lambda: text_regressor(encoder, (0, 1), "freeze"),
        "tags": lambda: token_classifier(encoder, names, "freeze"),
    }[kind]()
    scored = ScoredExamples.from_lists(["good", "bad"], [1.0, 0.0])
    batches = {
        "reviews": lambda: encoder.batches(reviews),
        "scored": lambda: encoder.batches(scored),
        "tagged": lambda: encoder.tagging_batches(tagged),
    }[batches]()
    for call in (lambda: made.fit(batches, verbose=0), lambda: made.evaluate(batches, verbose=0)):
        with pytest.raises(UserError) as error:
            call()
        assert message in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("labels", "how"),
    [
        (["positive", "bad"], lambda texts, labels: (tf.data.Dataset.from_tensor_slices((texts, labels)),)),
        (["positive", "bad"], lambda texts, labels: (tf.data.Dataset.from_tensor_slices((texts, labels)).batch(2),)),
        ([0, 7], lambda texts, labels: (tf.data.Dataset.from_tensor_slices((texts, labels)),)),
        ([0, 7], lambda texts, labels: (texts, labels)),
        ([0, 7], lambda texts, labels: ("ids", np.array(labels))),
        (["positive", "bad"], lambda texts, labels: (texts, labels)),
    ],
    ids=[
        "names one by one",
        "names in batches",
        "numbers in a dataset",
        "texts, numbers",
        "arrays of ids",
        "texts, names",
    ],
)
def test_a_label_that_is_found_late_is_one_line_too(encoder, refused, labels, how):
    texts = ["good film", "bad film"]
    model = text_classifier(encoder, CLASSES, "freeze")
    given = how(texts, labels)
    if given[0] == "ids":
        given = ({name: part.numpy() for name, part in next(iter(encoder.batches(texts))).items()}, given[1])
    for call in (model.fit, model.evaluate):
        refused(lambda call=call: call(*given, verbose=0), str(labels[1]), "positive", "none")
