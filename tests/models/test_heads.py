"""The learned mix of blocks, and heads of more than one layer."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tl_keras import UserError, load_model, text_classifier
from tl_keras._keras import keras
from tl_keras.models.heads import ScalarMix


@pytest.mark.parametrize("mode", ["mean", "cls"])
def test_the_mix_is_the_published_formula(mode):
    rng = np.random.default_rng(0)
    blocks = [rng.normal(size=(2, 4, 3)).astype("float32") for _ in range(3)]
    mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0]])
    mix = ScalarMix(mode)
    inputs = [*map(tf.constant, blocks), tf.constant(mask)]
    mix(inputs)
    weights, scale = np.array([0.5, -1.0, 2.0]), 1.7
    mix.set_weights([weights, np.array(scale)])
    shares = np.exp(weights) / np.exp(weights).sum()
    expected = []
    for row in range(2):
        vectors = [b[row][0] if mode == "cls" else b[row][mask[row] == 1].mean(0) for b in blocks]
        expected.append(scale * sum(s * v for s, v in zip(shares, vectors, strict=True)))
    np.testing.assert_allclose(mix(inputs).numpy(), expected, atol=1e-6)


def test_mixed_and_with_a_hidden_layer_it_learns_and_is_kept(stack, reviews, tmp_path):
    keras.utils.set_random_seed(0)
    model = text_classifier(stack, reviews.classes, "freeze", pooling="mix", hidden=(12,), learning_rate=0.05)
    shapes = sorted(tuple(w.shape) for w in model.trainable_weights)
    assert shapes == sorted([(3,), (), (8, 12), (12,), (12, 2), (2,)])
    history = model.fit(stack.batches(reviews, training=True, batch_size=16), epochs=5, verbose=0).history
    assert history["loss"][-1] < history["loss"][0] - 0.03
    shares = next(w.numpy() for w in model.get_layer("pooling").weights if w.shape == (3,))
    assert np.abs(shares).max() > 0.01
    batch = next(iter(stack.batches(reviews.texts[:4].tolist())))
    model.save(tmp_path / "m.keras")
    np.testing.assert_allclose(
        load_model(tmp_path / "m.keras")(batch, training=False), model(batch, training=False), atol=1e-6
    )


def test_layers_of_the_users_own(stack):
    own = [keras.layers.Dense(5, activation="tanh", name="mine"), 4]
    model = text_classifier(stack, ["a", "b"], "freeze", hidden=own)
    assert [model.get_layer(name).units for name in ("mine", "hidden_1", "logits")] == [5, 4, 2]
    batch = next(iter(stack.batches(["good film"])))
    x = tf.saved_model.load(stack.folder)(batch, training=False)["pooled_output"].numpy()
    for name, function in (("mine", np.tanh), ("hidden_1", lambda v: tf.nn.gelu(v).numpy()), ("logits", lambda v: v)):
        kernel, bias = (w.numpy() for w in model.get_layer(name).weights)
        x = function(x @ kernel + bias)
    expected = np.exp(x) / np.exp(x).sum()
    np.testing.assert_allclose(model(batch, training=False).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("hidden", [(0,), ("wide",), (True,)])
def test_what_is_no_layer(stack, hidden):
    with pytest.raises(UserError, match="widths of at least 1, or Keras layers"):
        text_classifier(stack, ["a", "b"], "freeze", hidden=hidden)
