"""The optimizer against two steps worked out by hand, and what is kept when training stops."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import f1_score

from tl_keras import UserError
from tl_keras._keras import keras
from tl_keras.options import default_learning_rate
from tl_keras.training.callbacks import BestWeights, MacroF1
from tl_keras.training.optimizer import AdamW, make_optimizer
from tl_keras.training.step import WarmupLinearDecay
from tl_keras.training.strategy import get_strategy


def by_hand(value, gradients, rates, decay, clip):
    """AdamW on numpy arrays, the norm clipped first: arXiv:1711.05101, algorithm 2."""
    value, m, v = value.astype("float64"), 0.0, 0.0
    for t, (g, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        g = g * clip[t - 1]
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        value = value - rate * decay * value
        value = value - rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-6)
    return value


def test_two_steps_decay_matrices_only_and_clip_the_norm():
    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(3, 2)).astype("float32"), np.array([0.5, -0.5], "float32")
    layer.set_weights([kernel, bias])
    gradients = [
        (rng.normal(size=(3, 2)) * 3, rng.normal(size=2)),
        (rng.normal(size=(3, 2)) * 0.1, rng.normal(size=2) * 0.1),
    ]
    norms = [np.sqrt(sum((g**2).sum() for g in step)) for step in gradients]
    assert norms[0] > 1 > norms[1]
    clip = [1 / norms[0], 1.0]
    schedule = WarmupLinearDecay(0.1, warmup=0.5, steps=4)  # rates 0.05, 0.1, ...
    optimizer = make_optimizer(schedule)
    for step in gradients:
        optimizer.apply_gradients(
            [(tf.constant(g, tf.float32), w) for g, w in zip(step, layer.trainable_weights, strict=True)]
        )
    want_kernel = by_hand(kernel, [g[0] for g in gradients], [0.05, 0.1], 0.01, clip)
    want_bias = by_hand(bias, [g[1] for g in gradients], [0.05, 0.1], 0.0, clip)
    np.testing.assert_allclose(layer.get_weights()[0], want_kernel, atol=2e-5)
    np.testing.assert_allclose(layer.get_weights()[1], want_bias, atol=2e-5)


def test_small_gradients_are_not_drowned_by_epsilon():
    layer = keras.layers.Dense(2, use_bias=False)
    layer.build((None, 1))
    start = np.array([[1.0, -1.0]], "float32")
    layer.set_weights([start])
    optimizer = make_optimizer(0.1)
    gradients = [np.array([[1e-6, 3e-6]]), np.array([[2e-6, -1e-6]])]
    for gradient in gradients:
        optimizer.apply_gradients([(tf.constant(gradient, tf.float32), layer.trainable_weights[0])])
    want = by_hand(start, gradients, [0.1, 0.1], 0.01, [1.0, 1.0])
    assert np.abs(want - start).max() > 0.05
    np.testing.assert_allclose(layer.get_weights()[0], want, atol=2e-5)


def test_fused_steps_equal_those_of_keras():
    rng = np.random.default_rng(1)
    start = rng.normal(size=(5, 3)).astype("float32")
    dense = [tf.constant(rng.normal(size=(5, 3)), tf.float32) for _ in range(3)]
    slices = tf.IndexedSlices(dense[0][:2], tf.constant([3, 1]), tf.constant([5, 3]))

    def train(cls):
        layer = keras.layers.Dense(3, use_bias=False)
        layer.build((None, 5))
        layer.set_weights([start])
        # Where epsilon is added makes no difference if there is next to none.
        optimizer = cls(learning_rate=0.05, weight_decay=0.1, epsilon=1e-12)
        for gradient in (*dense, slices, dense[0]):
            optimizer.apply_gradients([(gradient, layer.trainable_weights[0])])
        return layer.get_weights()[0]

    trained = train(keras.optimizers.AdamW)
    assert np.abs(trained - start).max() > 0.05
    np.testing.assert_allclose(train(AdamW), trained, atol=1e-5)


def test_schedule_survives_its_config():
    schedule = WarmupLinearDecay(2e-4, warmup=0.25)
    assert float(schedule(1000)) == pytest.approx(2e-4)
    schedule.plan(100, 40)
    copy = WarmupLinearDecay.from_config(schedule.get_config())
    for step, share in ((100, 0.1), (109, 1.0), (125, 0.5), (140, 0.0), (500, 0.0)):
        assert float(copy(step)) == pytest.approx(2e-4 * share)


def test_rates_fall_with_the_width():
    assert default_learning_rate(1024, True) < default_learning_rate(768, True) < default_learning_rate(128, True)
    assert default_learning_rate(16, True) == default_learning_rate(None, False) / 10


def dense_model():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


class SetWeight(keras.callbacks.Callback):
    """Plays a training whose validation loss goes 3, 1, 2, 5 while the weight goes 0, 1, 2, 3."""

    def on_epoch_end(self, epoch, logs=None):
        logs["val_loss"] = [3.0, 1.0, 2.0, 5.0, 0.0][epoch]
        self.model.set_weights([np.array([[float(epoch)]])])


def test_best_weights_come_back_and_patience_stops():
    model, best = dense_model(), BestWeights(patience=2)
    x = np.ones((4, 1), "float32")
    history = model.fit(x, x, epochs=5, callbacks=[SetWeight(), best], verbose=0)
    assert (best.best, best.best_epoch) == (1.0, 1)
    assert len(history.history["loss"]) == 4
    assert model.get_weights()[0].item() == 1.0


@pytest.mark.parametrize(
    ("accuracies", "examples", "kept", "epochs"),
    [
        # Of 100 examples 4 (a standard error at 0.8) more or less are chance; of 10,000 they are not.
        ([0.7, 0.8, 0.77, 0.78], 100, 3, 4),
        ([0.7, 0.8, 0.77, 0.78], 10_000, 1, 4),
        ([0.7, 0.8, 0.75, 0.77, 0.70], 100, 3, 4),
        ([0.5, 0.9, 0.89, 0.2, 0.2, 0.2], 100, 2, 4),
        ([1.0, 0.9], 10, 1, 2),
        ([0.8, 0.8, 0.8], None, 0, 3),
    ],
)
def test_a_later_epoch_is_kept_unless_it_is_clearly_worse(accuracies, examples, kept, epochs):
    class Plays(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["val_accuracy"] = accuracies[epoch]
            self.model.set_weights([np.array([[float(epoch)]])])

    model, best = dense_model(), BestWeights("val_accuracy", patience=2, examples=examples)
    x = np.ones((4, 1), "float32")
    history = model.fit(x, x, epochs=len(accuracies), callbacks=[Plays(), best], verbose=0)
    assert (best.best, best.best_epoch, model.get_weights()[0].item()) == (max(accuracies), kept, float(kept))
    assert len(history.history["loss"]) == epochs


def test_macro_f1_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    metric, several = MacroF1(4), MacroF1(3)
    true, scores = rng.integers(0, 3, 50), rng.random((50, 4))
    many, said = rng.integers(0, 2, (50, 3)), rng.random((50, 3))
    metric.update_state(true, scores[:, ::-1])
    metric.reset_state()
    for rows in (slice(0, 20), slice(20, 50)):
        metric.update_state(true[rows], scores[rows])
        several.update_state(many[rows].astype("float32"), said[rows])
    expected = f1_score(true, scores.argmax(1), average="macro", labels=range(4), zero_division=0)
    assert float(metric.result()) == pytest.approx(expected, abs=1e-6)
    expected = f1_score(many, said >= 0.5, average="macro", zero_division=0)
    assert float(several.result()) == pytest.approx(expected, abs=1e-6)


def test_unknown_strategy():
    assert get_strategy("one-device").num_replicas_in_sync == 1
    with pytest.raises(UserError, match="choose one of: auto, one-device, mirrored"):
        get_strategy("horovod")
