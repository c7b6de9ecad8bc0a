"""The classifier: what learns, what it computes, what is kept when it is saved."""

from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tl_keras import UserError, encoder_of, export, load_encoder, load_model, predict, set_transfer, text_classifier
from tl_keras._keras import keras
from tl_keras.data import Examples
from tl_keras.models.heads import MaskedPooling
from tl_keras.training import class_weights


def parts(model) -> tuple[list[np.ndarray], list[np.ndarray]]:
    layer = model.get_layer("encoder")
    return [w.numpy() for w in layer.weights], [w.numpy() for w in model.get_layer("logits").weights]


def same(before, after) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def often(examples: Examples, times: int) -> Examples:
    """The same examples many times: an epoch more costs as much as hundreds of tiny steps."""
    return examples.take(np.tile(np.arange(len(examples)), times))


def test_frozen_only_the_head_learns(encoder, reviews):
    model = text_classifier(encoder, reviews.classes, "freeze")
    assert isinstance(model, keras.Model)
    assert [w.shape for w in model.trainable_weights] == [(16, 2), (2,)]
    body, head = parts(model)
    model.fit(encoder.batches(reviews, training=True, batch_size=16), epochs=1, verbose=0)
    new_body, new_head = parts(model)
    assert same(body, new_body)
    assert not same(head, new_head)


def test_fine_tuned_everything_learns(encoder, reviews):
    keras.utils.set_random_seed(0)
    train, valid = reviews.split(0.25, seed=1)
    model = text_classifier(encoder, reviews.classes, "fine-tune", pooling="mean", learning_rate=0.03)
    body, head = parts(model)
    model.fit(encoder.batches(often(train, 15), training=True, batch_size=8), epochs=1, verbose=0)
    new_body, new_head = parts(model)
    assert not same(body, new_body)
    assert not same(head, new_head)
    labels = predict(model, valid.texts.tolist()).label
    # The label hangs on one word, seen in training; half would be chance.
    assert np.mean(labels == valid.label_names) >= 0.8


@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
def test_probabilities_are_the_softmax_of_the_pooled_output(encoder, pooling):
    model = text_classifier(encoder, ["a", "b", "c"], "freeze", pooling=pooling)
    batch = next(iter(encoder.batches(["the film was good", "bad"])))
    outputs = tf.saved_model.load(encoder.folder)(batch, training=False)
    mask = batch["input_mask"].numpy()
    pooled = []
    for row in range(2):
        vectors = outputs["sequence_output"].numpy()[row][mask[row] == 1]
        pooled.append(
            {"cls": outputs["pooled_output"].numpy()[row], "mean": vectors.mean(0), "max": vectors.max(0)}[pooling]
        )
    kernel, bias = (w.numpy() for w in model.get_layer("logits").weights)
    logits = np.stack(pooled) @ kernel + bias
    expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(model(batch, training=False).numpy(), expected, atol=1e-5)


def test_padding_does_not_change_a_text(encoder):
    model = text_classifier(encoder, ["a", "b"], pooling="mean")
    alone = model(next(iter(encoder.batches(["good film"]))), training=False).numpy()[0]
    beside = model(next(iter(encoder.batches(["good film", "film " * 25]))), training=False).numpy()[0]
    np.testing.assert_allclose(alone, beside, atol=1e-6)


def test_segments_matter(encoder):
    model = text_classifier(encoder, ["a", "b"])
    batch = dict(next(iter(encoder.batches(Examples.from_lists(["good film"], text_pairs=["bad"])))))
    first = model(batch, training=False).numpy()
    batch["input_type_ids"] = tf.zeros_like(batch["input_type_ids"])
    assert np.abs(model(batch, training=False).numpy() - first).max() > 1e-5


def test_several_labels_a_text(encoder):
    texts = ["good film", "bad film", "good bad", "the film"] * 8
    examples = Examples.from_lists(texts, [["g"], ["b"], ["b", "g"], []] * 8)
    model = text_classifier(
        encoder, examples.classes, "freeze", multi_label=True, learning_rate=0.1, pooling="mean", dropout=0
    )
    model.fit(encoder.batches(often(examples, 30), training=True, batch_size=8), epochs=1, verbose=0)
    assert predict(model, texts[:4]).label.tolist() == [["g"], ["b"], ["b", "g"], []]


def test_saved_and_loaded_it_predicts_the_same(encoder, reviews, tmp_path):
    model = text_classifier(encoder, reviews.classes, "freeze", pooling="max")
    model.fit(encoder.batches(reviews, training=True), epochs=1, verbose=0)
    before = predict(model, reviews.texts[:8].tolist(), all_scores=True)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    after = predict(loaded, reviews.texts[:8].tolist(), all_scores=True)
    assert after.label.tolist() == before.label.tolist()
    np.testing.assert_allclose(after.score_positive, before.score_positive, atol=1e-6)
    # A new process, elsewhere, that has built nothing yet.
    code = "import sys, tl_keras as t; print(*t.predict(t.load_model(sys.argv[1]), sys.argv[2:]).label)"
    command = [sys.executable, "-c", code, tmp_path / "m.keras", *before.text]
    out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert out.split() == before.label.tolist()
    # Training can go on: the optimizer's state and schedule came along.
    assert int(loaded.optimizer.iterations.numpy()) == int(model.optimizer.iterations.numpy()) == 2
    loaded.fit(encoder.batches(reviews, training=True), epochs=1, verbose=0)


def test_fit_plans_warm_up_and_decay_over_all_its_steps(encoder, reviews):
    model = text_classifier(encoder, reviews.classes, "freeze", learning_rate=0.1)
    rates, optimizer = [], model.optimizer
    record = keras.callbacks.LambdaCallback(
        on_batch_begin=lambda batch, logs: rates.append(float(optimizer._learning_rate(optimizer.iterations)))
    )
    model.fit(encoder.batches(reviews, training=True, batch_size=16), epochs=5, callbacks=[record], verbose=0)
    # 20 steps: up over 2, then down to zero after the last.
    expected = [0.05, 0.1] + [0.1 * (20 - step) / 18 for step in range(2, 20)]
    np.testing.assert_allclose(rates, expected, rtol=1e-4)
    model.fit(encoder.batches(reviews, training=True, batch_size=16), epochs=5, callbacks=[record], verbose=0)
    np.testing.assert_allclose(rates[20:], expected, rtol=1e-4)  # a second call makes a new plan


@pytest.mark.one_keras
def test_a_step_is_traced_once(encoder, reviews):
    model = text_classifier(encoder, classes=reviews.classes, transfer="freeze")
    step, traced = model.train_step, []
    model.train_step = lambda data: (traced.append(data), step(data))[1]
    # The last batch is smaller than the others.
    model.fit(encoder.batches(reviews, training=True, batch_size=24), epochs=2, verbose=0)
    assert len(traced) == 1
    assert {"loss", "accuracy"} <= set(model.history.history)
    assert int(model.optimizer.iterations.numpy()) == 6


def test_the_users_own_compile_and_fit_arguments_win(encoder, reviews):
    model = text_classifier(encoder, reviews.classes, "freeze")
    model.compile(optimizer=keras.optimizers.SGD(0.25), loss="sparse_categorical_crossentropy")
    history = model.fit(
        encoder.batches(reviews, training=True),
        epochs=3,
        steps_per_epoch=1,
        verbose=0,
        class_weight=class_weights(reviews),
    )
    assert len(history.history["loss"]) == 3
    assert float(model.optimizer.learning_rate) == 0.25


def test_balanced_weights_even_out_the_classes():
    weights = class_weights(Examples.from_lists(["t"] * 10, ["a"] * 8 + ["b"] * 2))
    assert weights == {0: 10 / 16, 1: 10 / 4}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ["one"]}, "at least two classes"),
        ({"classes": ["a", "a"]}, "occurs twice"),
        ({"classes": "ab"}, "list of label names"),
        ({"transfer": "thaw"}, "choose one of: freeze, fine-tune"),
        ({"pooling": "sum"}, "choose one of: cls, mean, max"),
        ({"dropout": 1.0}, "below 1"),
    ],
)
def test_wrong_options(encoder, change, message):
    with pytest.raises(UserError, match=message):
        text_classifier(encoder, **{"classes": ["a", "b"], **change})


def test_loading_what_is_not_there_or_of_the_other_keras(tmp_path):
    with pytest.raises(UserError, match="no file"):
        load_model(tmp_path / "m.keras")
    (tmp_path / "m.keras").write_text("not a model")
    with pytest.raises(UserError, match=r"m\.keras is no whole \.keras file"):
        load_model(tmp_path / "m.keras")


def test_the_encoders_makers_know_its_pooling_and_rate(suggesting_pair):
    pair = suggesting_pair(pooling="max", learning_rate=7e-4)
    encoder = load_encoder(str(pair), seq_length=32)
    model = text_classifier(encoder, ["a", "b"])
    assert model.get_layer("pooling").mode == "max"
    assert float(model.optimizer.learning_rate) == pytest.approx(7e-4)
    mine = text_classifier(encoder, ["a", "b"], "freeze", pooling="cls")
    assert "pooling" not in [layer.name for layer in mine.layers]
    assert float(mine.optimizer.learning_rate) == pytest.approx(2e-2)
    deeper = text_classifier(encoder, ["a", "b"], "freeze", pooling="cls", hidden=4)
    assert float(deeper.optimizer.learning_rate) == pytest.approx(5e-3)
    set_transfer(mine, "fine-tune")
    assert float(mine.optimizer.learning_rate) == pytest.approx(7e-4)
    (pair / "info.json").write_text("{")
    with pytest.raises(UserError, match=r"info\.json is not valid JSON"):
        text_classifier(load_encoder(str(pair), seq_length=32), ["a", "b"])


def test_more_positions_than_the_encoder_has(tiny_pair):
    from tl_keras import load_encoder

    with pytest.raises(UserError, match=r"seq_length=65.*64 positions"):
        text_classifier(load_encoder(str(tiny_pair), seq_length=65), ["a", "b"])


@pytest.mark.parametrize("mode", ["mean", "max"])
def test_pooling_of_a_text_without_tokens_is_zero(mode):
    pooled = MaskedPooling(mode)([tf.ones([1, 4, 2]), tf.zeros([1, 4], tf.int32)])
    assert pooled.numpy().tolist() == [[0.0, 0.0]]


def test_a_saved_model_is_opened_in_another_folder(tiny_pair, tmp_path, monkeypatch):
    shutil.copytree(tiny_pair, tmp_path / "here" / "pair")
    monkeypatch.chdir(tmp_path / "here")
    model = text_classifier(load_encoder("pair", seq_length=16), ["bad", "good"], "freeze")
    model.save("m.keras")
    export(model, "exported/1")
    before = predict(model, ["a good film"]).score
    monkeypatch.chdir(tmp_path)
    assert predict(load_model("here/m.keras"), ["a good film"]).score.to_numpy() == pytest.approx(
        before.to_numpy(), abs=1e-6
    )
    with pytest.raises(UserError, match=r"is a folder, not a \.keras file"):
        load_model("here/exported/1")
    for handle in ("here/exported/1", "here/exported"):
        with pytest.raises(UserError, match="a finished model and no encoder"):
            load_encoder(handle)
    with pytest.raises(UserError, match="no labels to learn from"):
        model.fit(encoder_of(model).batches(["a good film"]))
    (tmp_path / "here" / "pair").rename(tmp_path / "moved")
    with pytest.raises(UserError, match=r"m\.keras cannot be loaded: .*pair.* has to be where it was") as refused:
        load_model("here/m.keras")
    assert "\n" not in str(refused.value)
