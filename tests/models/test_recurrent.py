"""The recurrent network: Keras's numbers and gradients, and padding that changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tl_keras import UserError
from tl_keras._keras import keras
from tl_keras.models.recurrent import Recurrence, RecurrentNetwork

X = np.random.default_rng(0).normal(size=(3, 5, 4)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]], "int32")


def as_kerases(kind: str, weights: list[np.ndarray]) -> list[np.ndarray]:
    """Our weights in the order of Keras: its LSTM has the forget gate before the cell, and its bias starts at 1."""
    if kind == "gru":
        return weights
    parts = [np.split(w, 4, axis=-1) for w in weights]
    ordered = [np.concatenate([i, f, j, o], axis=-1) for i, j, f, o in parts]
    for bias in ordered[2::3]:
        bias[3:6] += 1.0
    return ordered


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_the_same_as_keras_on_masked_texts(kind):
    keras.utils.set_random_seed(1)
    network = RecurrentNetwork(kind, units=3)
    network([X, MASK])
    for weight in network.weights:
        weight.assign(weight + 0.1 * tf.random.normal(weight.shape))
    cell = keras.layers.LSTM if kind == "lstm" else keras.layers.GRU
    reference = keras.layers.Bidirectional(cell(3, return_sequences=True))
    reference(X)
    reference.set_weights(as_kerases(kind, [np.array(w) for w in network.weights]))
    # The last text is empty, which Keras's mask does not stand.
    x, mask = tf.constant(X[:2]), MASK[:2]
    weighting = tf.constant(np.random.default_rng(1).normal(size=(2, 5, 6)) * mask[:, :, np.newaxis], tf.float32)
    results = []
    for run in (lambda: network([x, mask]), lambda: reference(x, mask=tf.constant(mask > 0))):
        with tf.GradientTape() as tape:
            tape.watch(x)
            states = run() * tf.constant(mask[:, :, np.newaxis], tf.float32)
            loss = tf.reduce_sum(states * weighting)
        results.append((states.numpy(), tape.gradient(loss, x).numpy()))
    for ours, wanted in zip(*results, strict=True):
        np.testing.assert_allclose(ours, wanted, atol=1e-5)
    # The states behind the whole text: forward at its last word, backward at its first.
    last = RecurrentNetwork(kind, units=3, last=True)
    last([X, MASK])
    last.set_weights(network.get_weights())
    states = results[0][0]
    wanted = np.stack([[*states[0, 4, :3], *states[0, 0, 3:]], [*states[1, 1, :3], *states[1, 0, 3:]], [0] * 6])
    np.testing.assert_allclose(last([X, MASK]).numpy(), wanted, atol=1e-6)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_padding_changes_nothing_and_comes_out_as_zeros(kind):
    network = RecurrentNetwork(kind, units=2)
    beside = network([X, MASK]).numpy()
    alone = network([X[1:2, :2], MASK[1:2, :2]]).numpy()
    np.testing.assert_allclose(beside[1, :2], alone[0], atol=1e-6)
    assert not beside[1, 2:].any()
    assert not beside[2].any()
    other = np.where(MASK[:, :, np.newaxis] > 0, X, 99.0)
    np.testing.assert_allclose(network([other, MASK]).numpy(), beside, atol=1e-6)


def test_options():
    class BertLike:
        """Nothing of it is looked at before the option is refused."""

    assert Recurrence("gru", 7).units == 7
    with pytest.raises(UserError, match="choose one of: lstm, gru"):
        Recurrence("rnn")
    with pytest.raises(UserError, match="at least 1"):
        Recurrence(units=0)
    with pytest.raises(UserError, match="must come from load_encoder"):
        Recurrence.of("lstm", BertLike())
