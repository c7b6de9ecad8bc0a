"""A training that is killed and started again ends with the weights of one that was not; and what ends one in good order."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tl_keras import UserError
from tl_keras._keras import IS_KERAS_3, keras
from tl_keras.errors import NotFiniteError, Preempted
from tl_keras.models.transfer_model import TransferModel
from tl_keras.training.callbacks import BestWeights
from tl_keras.training.checkpoints import Checkpoints, _make_metrics, keep_random_states
from tl_keras.training.epoch_batches import EpochBatches, Orders
from tl_keras.training.guards import row_finder
from tl_keras.training.optimizer import make_optimizer
from tl_keras.training.resume import resumable_fit

STEPS, EPOCHS = 7, 3
BATCH = {"training": True, "batch_size": 8, "seed": 5}


class NanAt(keras.layers.Layer):
    """Gives NaN for a batch in which a token occurs."""

    def __init__(self, token: int, **kwargs):
        super().__init__(**kwargs)
        self.token = token

    def call(self, inputs):
        ids, values = inputs
        return tf.where(tf.reduce_any(ids == self.token), np.nan, 1.0) * values


class Until(keras.callbacks.Callback):
    """Calls something when a step is done; wakes the embeddings in the second epoch, as gradual unfreezing would."""

    def __init__(self, epoch: int, step: int, act):
        super().__init__()
        self.at, self.act = (epoch, step), act

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        if epoch >= 1:
            self.model.optimizer.unfreeze(["embeddings"])

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            self.act()


def make(vocabulary: int, nan_at: int | None = None) -> keras.Model:
    """A small model with dropout, a part that is frozen at first, and the real optimizer and schedule."""
    keep_random_states()
    keras.utils.set_random_seed(3)
    names = ("input_word_ids", "input_mask", "input_type_ids")
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in names}
    # Some versions of Keras 3 refuse inputs that lead nowhere. Padding is 0 in any case, and so is the first segment.
    ids = keras.layers.Multiply()([inputs["input_word_ids"], inputs["input_mask"]])
    ids = keras.layers.Add()([ids, inputs["input_type_ids"]])
    x = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(vocabulary, 8)(ids))
    x = keras.layers.Dropout(0.3)(keras.layers.Dense(8, activation="tanh")(keras.layers.Dropout(0.3)(x)))
    x = keras.layers.Dense(2, activation="softmax")(x)
    if nan_at is not None:
        x = NanAt(nan_at)([inputs["input_word_ids"], x])
    model = TransferModel(inputs, x)
    model.compile(make_optimizer(0.03), "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    model.optimizer.set_groups(["embeddings", "head"], [0, 1, 1, 1, 1], [0.5, 1.0], [-1, 0])
    return model


def train(encoder, reviews, vocabulary, folder=None, stop=None, **options):
    """Weights and history of a training; `stop` is `(epoch, step, what happens then)`."""
    model = make(vocabulary)
    best = BestWeights("val_loss", 2)
    settings = {"seed": 5, **options.pop("settings", {})}
    checkpoints = Checkpoints(folder, every_steps=3, best=best, settings=settings) if folder else None
    history = resumable_fit(
        model,
        encoder.batches(reviews.take(np.arange(52)), **BATCH),
        epochs=options.pop("epochs", EPOCHS),
        checkpoints=checkpoints,
        callbacks=[Until(*(stop or (-1, 0, None))), best],
        validation_data=encoder.batches(reviews.take(np.arange(52, 64))),
        class_weight={0: 1.0, 1: 1.5},
        verbose=0,
    )
    return model.get_weights(), history.history, best.best_epoch


def assert_same(one, other):
    for a, b in zip(one[0], other[0], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert list(one[1]) == list(other[1])
    for name, values in one[1].items():
        np.testing.assert_allclose(other[1][name], values, atol=1e-5)
    assert one[2] == other[2]


@pytest.fixture(scope="module", autouse=True)
def random_states():
    """Undo what `keep_random_states` changes for the whole process."""
    yield
    if not IS_KERAS_3:
        keras.backend.experimental.disable_tf_random_generator()


@pytest.fixture(scope="module")
def whole(tiny_pair, reviews, vocabulary):
    """The training that nobody interrupts."""
    from tl_keras import load_encoder

    return train(load_encoder(str(tiny_pair), seq_length=32), reviews, len(vocabulary))


def interrupt():
    raise KeyboardInterrupt


def test_it_learns_and_dropout_is_on(whole, encoder, reviews, vocabulary):
    losses = whole[1]["loss"]
    assert len(losses) == EPOCHS
    assert losses[-1] < losses[0]
    model = make(len(vocabulary))
    batch = next(iter(encoder.batches(reviews)))[0]
    assert not np.allclose(model(batch, training=True), model(batch, training=True))


def test_sigterm_saves_at_once_and_the_next_start_goes_on(whole, encoder, reviews, vocabulary, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    stop = (1, 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Preempted) as end:
        train(encoder, reviews, len(vocabulary), tmp_path, stop)
    assert end.value.code == 143
    assert signal.getsignal(signal.SIGTERM) == before
    # Saved at the second step of the second epoch, not only every third.
    assert [p.name for p in sorted(tmp_path.iterdir())][-1] == "epoch-0001-step-0000002"
    with pytest.raises(UserError, match=r"epochs was 3 and is 4; seed was 5 and is 6"):
        train(encoder, reviews, len(vocabulary), tmp_path, epochs=4, settings={"seed": 6})
    assert_same(whole, train(encoder, reviews, len(vocabulary), tmp_path))
    # Once more, when all is done: nothing is trained, and the result is there.
    assert_same(whole, train(encoder, reviews, len(vocabulary), tmp_path, (0, 0, interrupt)))


@pytest.mark.slow
@pytest.mark.parametrize(("epoch", "step"), [(0, 1), (0, 4), (1, 6), (2, 1)])
def test_killed_at_other_places(whole, encoder, reviews, vocabulary, tmp_path, epoch, step):
    with pytest.raises(KeyboardInterrupt):
        train(encoder, reviews, len(vocabulary), tmp_path, (epoch, step, interrupt))
    assert_same(whole, train(encoder, reviews, len(vocabulary), tmp_path))


@pytest.mark.slow
def test_kill_9_in_other_processes(whole, tiny_pair, reviews, vocabulary, tmp_path):
    given = {"texts": reviews.texts.tolist(), "labels": reviews.label_names, "vocabulary": len(vocabulary)}
    (tmp_path / "given.json").write_text(json.dumps(given), "utf-8")
    rng = np.random.default_rng()
    place = [str(rng.integers(EPOCHS)), str(rng.integers(STEPS))]
    command = [sys.executable, str(Path(__file__).with_name("resume_run.py")), str(tiny_pair), str(tmp_path)]
    killed = subprocess.run([*command, *place], capture_output=True, text=True, timeout=200)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (tmp_path / "backup").exists() or place[0] == "0"
    assert not (tmp_path / "weights.npz").exists()
    subprocess.run(command, check=True, capture_output=True, timeout=200)
    with np.load(tmp_path / "weights.npz") as stored:
        for i, wanted in enumerate(whole[0]):
            np.testing.assert_allclose(stored[f"arr_{i}"], wanted, atol=1e-5, err_msg=f"killed at {place}")


def test_a_loss_that_is_no_number(encoder, reviews, vocabulary, tmp_path):
    bad = 29
    texts = reviews.texts.copy()
    texts[bad] += " zz"
    spoiled = dataclasses.replace(reviews, texts=texts)
    token = vocabulary.index("##z")
    model = make(len(vocabulary), nan_at=token)
    checkpoints = Checkpoints(tmp_path, every_steps=1)
    finder = row_finder(lambda examples: encoder.batches(examples, **BATCH), spoiled)
    with pytest.raises(NotFiniteError) as end:
        resumable_fit(
            model, encoder.batches(spoiled, **BATCH), epochs=2, checkpoints=checkpoints, rows=finder, source="reviews.csv",
            verbose=0,
        )  # fmt: skip
    message = str(end.value)
    step = int(message.split("step ")[1].split()[0]) - 1
    # Found another way: by the tokens of each batch of the first epoch.
    found = [bool(tf.reduce_any(x["input_word_ids"] == token)) for x, _ in encoder.batches(spoiled, **BATCH)]
    assert found.index(True) == step
    rows = [int(row) for row in message.split("holds the rows ")[1].split(" of ")[0].split(", ")]
    assert bad in rows
    assert rows == finder(0, step)
    assert len(set(rows)) == 8
    newest = checkpoints.folder.newest()
    assert str(newest.folder) in message
    assert (newest.epoch, newest.step) == (0, step)
    assert all(np.isfinite(array).all() for array in newest.arrays["model"])


def test_orders_are_those_of_the_dataset_and_class_weights_keras_own(encoder, reviews):
    dataset = encoder.batches(reviews, **BATCH)
    wanted = [[x["input_word_ids"].numpy().tolist() for x, _ in dataset] for _ in range(2)]
    assert wanted[0] != wanted[1]
    orders = Orders(encoder.batches(reviews, **BATCH))
    assert [x["input_word_ids"].numpy().tolist() for x, _ in orders.iterator(1, skip=3)] == wanted[1][3:]
    with pytest.raises(ValueError, match="gone by"):
        orders.iterator(1)
    feed = EpochBatches(encoder.batches(reviews, **BATCH), {1: 3.0})
    assert int(feed.stand_in.cardinality()) == feed.steps == 8
    _, labels, weights = next(Orders(feed._orders.dataset).iterator(0))
    np.testing.assert_array_equal(weights, np.where(labels.numpy() == 1, 3.0, 1.0))


@pytest.mark.skipif(IS_KERAS_3, reason="Keras 3 makes its metrics in another way")
def test_keras_2_chooses_the_accuracy_by_the_labels():
    """As wide as the outputs, the inputs would look like one-hot labels."""
    model = keras.Sequential([keras.layers.Dense(3, input_shape=(3,))])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    _make_metrics(model, (tf.ones([2, 3]), tf.constant([2, 1])))
    (accuracy,) = (metric for metric in model.metrics if metric.name == "accuracy")
    accuracy.update_state([2, 1, 0, 1], [[0.1, 0.2, 0.7], [0.1, 0.8, 0.1], [0.1, 0.8, 0.1], [0.1, 0.7, 0.2]])
    assert float(accuracy.result()) == 0.75
