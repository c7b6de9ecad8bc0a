"""Plain strings into `fit`, `evaluate` and `predict`: the same numbers as with batches made by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tl_keras import UserError, evaluate, predict, text_classifier, text_regressor, token_classifier
from tl_keras._keras import keras
from tl_keras.data import Examples, TaggedExamples
from tl_keras.data.given import texts_of
from tl_keras.models.heads import ClassProbabilities
from tl_keras.models.string_input import batches_of
from tl_keras.models.text_labels import class_names, class_weights_of

A, B = ["good film", "bad", "the plot was dull"], ["great", "good", "awful"]


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (A, (A, None)),
        (tuple(A), (A, None)),
        (np.array(A), (A, None)),
        (np.array([text.encode() for text in A]), (A, None)),
        (pd.Series(A, index=[7, 8, 9]), (A, None)),
        ((A, B), (A, B)),
        ((pd.Series(A), np.array(B)), (A, B)),
        (list(zip(A, B, strict=True)), (A, B)),
        ([list(pair) for pair in zip(A, B, strict=True)], (A, B)),
        (np.array([A, B]).T, (A, B)),
        (pd.DataFrame({"a": A, "b": B}), (A, B)),
        (np.zeros([3, 4], "int32"), None),
        ({"input_word_ids": np.zeros([3, 4])}, None),
        ([], None),
        (None, None),
    ],
)
def test_what_counts_as_texts(x, expected):
    found = texts_of(x)
    assert (None if found is None else tuple(found)) == expected


def test_labels_by_name_and_number():
    head = ClassProbabilities(["neg", "pos"])
    for labels in (np.array(["pos", "neg"], object), np.array([1, 0]), np.array([1.0, 0.0]), np.array([[1], [0]])):
        assert class_names(head, labels) == ["pos", "neg"]
    # Classes that are called by numbers: 2 is the class called 2, not the last one.
    assert class_names(ClassProbabilities(["1", "2", "5"]), np.array([2, 1])) == ["2", "1"]
    many = ClassProbabilities(["a", "b", "c"], multi_label=True)
    assert class_names(many, np.array([[1, 0, 1], [0, 0, 0]])) == [["a", "c"], []]
    assert class_names(many, [["c"], []]) == [["c"], []]
    for bad, message in [
        (np.array([0, 2]), "label 2 is no number of a class: there are 2"),
        (np.array([0.5, 1]), "names or whole numbers, not 0.5"),
        (np.zeros([2, 3]), "not an array of shape"),
    ]:
        with pytest.raises(UserError, match=message):
            class_names(head, bad)
    with pytest.raises(UserError, match="multi-label"):
        class_names(many, np.array([0, 1]))


@pytest.fixture
def build(encoder, reviews):
    """Makes the same untrained classifier again and again; frozen, for that is traced quickly."""

    def make(classes=("negative", "positive"), **options):
        keras.utils.set_random_seed(3)
        model = text_classifier(
            encoder, list(classes), "freeze", pooling="mean", learning_rate=0.01, dropout=0.0, **options
        )
        return model

    return make


def test_training_is_that_on_batches(build, encoder, reviews):
    texts, names = reviews.texts.tolist(), reviews.label_names
    weights = np.linspace(0.5, 2.0, 64).astype("float32")
    model = build()
    seen = []
    callback = keras.callbacks.LambdaCallback(on_batch_end=lambda batch, logs: seen.append(batch))
    history = model.fit(
        texts, names, batch_size=16, shuffle=False, validation_split=0.25, sample_weight=weights,
        class_weight={"positive": 3.0}, epochs=2, verbose=0, callbacks=[callback],
    ).history  # fmt: skip
    assert seen == [0, 1, 2, 0, 1, 2]
    by_hand = build()
    factor = weights * np.where(np.array(names) == "positive", 3.0, 1.0)
    train = [
        (inputs, labels, tf.constant(factor[i * 16 : (i + 1) * 16], tf.float32))
        for i, (inputs, labels) in enumerate(encoder.batches(reviews.take(np.arange(48)), batch_size=16))
    ]
    by_hand.optimizer.learning_rate.plan(0, 6) if hasattr(by_hand.optimizer.learning_rate, "plan") else (
        by_hand.optimizer._learning_rate.plan(0, 6)
    )
    for _ in range(2):
        for inputs, labels, weight in train:
            by_hand.train_on_batch(inputs, labels, sample_weight=weight)
    for a, b in zip(model.get_weights(), by_hand.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    # Scored without class weights, as Keras does; with the sample weights of the last texts.
    scores = by_hand.predict(encoder.batches(reviews.take(np.arange(48, 64)), batch_size=16), verbose=0)
    right = scores[np.arange(16), reviews.labels[48:]]
    assert history["val_loss"][-1] == pytest.approx(float(np.mean(-np.log(right) * weights[48:])), rel=1e-4)


def test_scores_in_order_however_texts_come(build, reviews):
    model, texts = build(), reviews.texts.tolist()
    expected = predict(model, texts, all_scores=True)[["score_negative", "score_positive"]].to_numpy()
    strings = tf.data.Dataset.from_tensor_slices(texts)
    for x in (texts, np.array(texts), pd.Series(texts), reviews, strings, strings.batch(10)):
        np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-5)
    np.testing.assert_allclose(model.predict_on_batch(texts[:3]), expected[:3], atol=1e-5)
    accuracy = np.mean(expected.argmax(1) == reviews.labels)
    loss = -np.log(expected[np.arange(64), reviews.labels]).mean()
    numbers = tf.data.Dataset.from_tensor_slices((texts, reviews.labels))
    names = tf.data.Dataset.from_tensor_slices((texts, reviews.label_names)).batch(24)
    for args in ((texts, reviews.label_names), (texts, reviews.labels), (reviews,), (numbers,), (names,)):
        assert model.evaluate(*args, verbose=0) == pytest.approx([loss, accuracy], abs=1e-4)
    assert model.test_on_batch(texts, reviews.label_names)[0] == pytest.approx(loss, abs=1e-4)


def test_datasets_and_steps(build, reviews):
    texts = reviews.texts.tolist()
    model = build(["positive", "negative"])
    data = tf.data.Dataset.from_tensor_slices((texts, reviews.label_names, np.ones(64)))
    # Single strings become batches of like length; 64 are 8 of 8.
    history = model.fit(
        data,
        batch_size=8,
        epochs=6,
        verbose=0,
        validation_data=(texts[:9], reviews.label_names[:9]),
        class_weight={0: 1.0},
    )
    assert int(model.optimizer.iterations.numpy()) == 48
    assert history.history["loss"][-1] < history.history["loss"][0]
    # The frozen encoder is a random one, so that little can be learned; what is said of it must be true.
    right = predict(model, texts[:9]).label == reviews.label_names[:9]
    assert history.history["val_accuracy"][-1] == pytest.approx(np.mean(right))
    # More steps than there are batches: the texts come again.
    model.fit(texts, reviews.label_names, batch_size=32, steps_per_epoch=3, epochs=2, verbose=0)
    assert int(model.optimizer.iterations.numpy()) == 54
    model.train_on_batch(texts[:5], reviews.label_names[:5])
    assert int(model.optimizer.iterations.numpy()) == 55


def test_pairs_scores_and_several_labels(encoder, build):
    model = text_regressor(encoder, (0, 5), "freeze")
    assert model.fit((A, B), [1, 2.5, 5], epochs=1, verbose=0).history["loss"]
    pairs = predict(model, A, B)["score"].to_numpy()
    np.testing.assert_allclose(model.predict(list(zip(A, B, strict=True)), verbose=0), pairs, atol=1e-4)
    data = tf.data.Dataset.from_tensor_slices(((A, B), [1.0, 2.5, 5.0])).batch(3)
    mean_absolute_error = np.mean(np.abs(pairs - [1, 2.5, 5]))
    assert model.evaluate(data, verbose=0)[1] == pytest.approx(mean_absolute_error, rel=1e-3)
    many = build(["a", "b", "c"], multi_label=True)
    given = [many.evaluate(A, y, verbose=0) for y in ([["a", "c"], [], ["b"]], [[1, 0, 1], [0, 0, 0], [0, 1, 0]])]
    assert given[0] == given[1]


def test_what_cannot_be_is_said_in_one_line(build, encoder):
    model = build()
    tagger = token_classifier(encoder, ["X"], "freeze")
    for call, message in [
        (
            lambda: model.fit(A, ["positive", "neutral", "negative"]),
            r"label 'neutral' \(example 2\) is not among the classes",
        ),
        (lambda: model.fit(A, ["positive"]), "3 texts but 1 labels"),
        (lambda: model.fit(A, [0, 1, 0], class_weight={"neutral": 2}), "class_weight names 'neutral'"),
        (lambda: model.fit(A, [0, 1, 0], sample_weight=[1]), "3 texts but 1 sample weights"),
        (lambda: model.fit(A, [0, 1, 0], validation_split=0.9), "3 texts are too few"),
        (lambda: model(A), "call model.predict"),
        (lambda: model.predict("good film"), r"in a list, also a single one: write \['good film'\]"),
        (lambda: tagger.fit(A, [0, 1, 0]), r"a tagger learns from texts with spans: fit\(examples\)"),
        (lambda: tagger.predict(A), r"call tl_keras.predict"),
    ]:
        with pytest.raises(UserError, match=message) as error:
            call()
        assert "\n" not in str(error.value)
    spans = TaggedExamples.from_spans(A, [[(0, 4, "X")], [], []])
    with pytest.raises(UserError, match="not among"):
        tagger.fit(TaggedExamples.from_spans(A, [[(0, 4, "Y")], [], []]))
    with pytest.raises(UserError, match="labelled spans"):
        tagger.fit(Examples.from_lists(A))
    assert tagger.evaluate(spans, verbose=0)


@pytest.mark.parametrize(
    ("classes", "given", "expected"),
    [
        # `frame.label.unique()` gives classes in the order in which they occur: a label is found by its name, not by that place.
        ([1.0, 0.0], [1.0, 0.0, 1.0], ["1", "0", "1"]),
        ([True, False], [True, False, True], ["True", "False", "True"]),
        (["true", "false"], [True, False, True], ["true", "false", "true"]),
        (["2.0", "1.0"], [1, 2, 1], ["1.0", "2.0", "1.0"]),
        (["0.5", "1.5"], [1.5, 0.5, 1.5], ["1.5", "0.5", "1.5"]),
        (["no", "yes"], [True, False, True], ["yes", "no", "yes"]),
        (["no", "yes"], [b"yes", b"no", b"yes"], ["yes", "no", "yes"]),
    ],
)
def test_labels_find_their_class_whatever_the_order(build, classes, given, expected):
    model = build(classes=classes)
    head = next(layer for layer in model.layers if isinstance(layer, ClassProbabilities))
    assert class_names(head, np.array(given, object)) == expected
    if not isinstance(given[0], float) or given[0].is_integer():
        dataset = tf.data.Dataset.from_tensor_slices((A, given)).batch(3)
        batch = next(iter(batches_of(model, dataset)))
        assert [head.classes[place] for place in batch[1].numpy()] == expected
    weights = class_weights_of(head, {given[0]: 3.0, given[1]: 2.0})
    assert dict(zip(head.classes, weights.tolist(), strict=True)) == {expected[0]: 3.0, expected[1]: 2.0}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model: model.fit(A, [1, None, 0]), r"text 2 has no label \(None\)"),
        (lambda model: model.fit(A, ["positive", float("nan"), "negative"]), r"text 2 has no label \(nan\)"),
        (lambda model: model.fit(A, [object(), 1, 0]), "names or whole numbers, not <object"),
        (lambda model: model.fit(A), r"no labels: give them too, as fit\(texts, labels\)"),
        (lambda model: model.fit(Examples.from_lists(A)), "no labels"),
        (lambda model: model.evaluate(A), "no labels"),
        (lambda model: model.fit([], []), "list of texts is empty"),
        (lambda model: model.fit([None, *A[1:]], [1, 0, 1]), "entry 1 is NoneType"),
        (lambda model: model.predict(pd.Series([np.nan, "good"])), "entry 1 is float"),
        (lambda model: model.predict(pd.DataFrame({"id": [1], "text": ["good"]})), r"a DataFrame: .*\(id, text\)"),
        (lambda model: predict(model, pd.DataFrame({"text": A})), r"as frame\['text'\]"),
        (lambda model: predict(model, {"text": A}), "not a dict"),
        (lambda model: predict(model, set(A)), "not a set"),
        (lambda model: predict(model, np.array("good")), r"one string: write \['good'\]"),
        (lambda model: predict(model, A, batch_size=0), "batch_size must be at least 1"),
        (lambda model: evaluate(model, Examples.from_lists(A, ["positive", "negative", "positive"]), -1), "batch_size must be at least 1"),
        (lambda model: predict(model, A, threshold=50), "threshold must be at least 0 and at most 1"),
        (lambda model: model.fit(A, [1, 0, 1], class_weight="balanced"), r"not 'balanced'; .*class_weights\(examples\)"),
        (lambda model: evaluate(model, pd.DataFrame({"text": A})), "examples are wanted here, not a DataFrame: .*read_table"),
    ],
)  # fmt: skip
def test_what_is_no_text_and_no_label_is_one_line(build, call, message):
    with pytest.raises(UserError, match=message) as error:
        call(build())
    assert "\n" not in str(error.value)


def test_answers_of_a_series_keep_its_index(build, reviews):
    """Put beside the rows that they belong to, as `frame["label"] = ...` does it."""
    model, frame = build(), pd.DataFrame({"text": reviews.texts[:6]})
    expected = predict(model, frame.text.tolist()).score.tolist()
    frame["score"] = predict(model, frame.text[::-1]).score
    assert frame.score.tolist() == expected
    assert predict(model, reviews.take(np.arange(6))).score.tolist() == expected


def test_columns_of_labels_are_found_by_name(encoder):
    keras.utils.set_random_seed(3)
    model = text_classifier(encoder, ["a", "b"], "freeze", multi_label=True)
    table = pd.DataFrame({"a": [1, 0, 1], "b": [0, 0, 1]})
    by_place = next(iter(batches_of(model, A, table.to_numpy())))[1].numpy()
    by_name = next(iter(batches_of(model, A, table[["b", "a"]])))[1].numpy()
    assert by_name.tolist() == by_place.tolist() == table.to_numpy().tolist()
    with pytest.raises(UserError, match="the columns of the labels, b, c, are not the classes of the model, a, b"):
        batches_of(model, A, table.rename(columns={"a": "c"})[["b", "c"]])


def test_validation_data_may_be_a_list(build, reviews):
    model = build()
    history = [
        model.fit(A, [0, 1, 0], validation_data=data, epochs=1, verbose=0).history["val_loss"]
        for data in [[reviews.texts[:9], reviews.labels[:9]]]
    ]
    assert history[0] == pytest.approx([model.evaluate(reviews.take(np.arange(9)), verbose=0)[0]], abs=1e-6)
