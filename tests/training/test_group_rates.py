"""Rates for groups of weights, against AdamW worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tl_keras import UserError
from tl_keras._keras import keras
from tl_keras.training.optimizer import AdamW, make_optimizer
from tl_keras.training.step import WarmupLinearDecay


class ByHand:
    """AdamW on one array: arXiv:1711.05101, algorithm 2."""

    def __init__(self, value, decay):
        self.value, self.decay, self.m, self.v, self.t = value.astype("float64"), decay, 0.0, 0.0, 0

    def step(self, gradient, rate):
        self.t += 1
        self.m = 0.9 * self.m + 0.1 * gradient
        self.v = 0.999 * self.v + 0.001 * gradient**2
        m, v = self.m / (1 - 0.9**self.t), self.v / (1 - 0.999**self.t)
        self.value = self.value - rate * self.decay * self.value
        self.value = self.value - rate * m / (np.sqrt(v) + 1e-6)


def two_layers():
    layers = [keras.layers.Dense(2, use_bias=False), keras.layers.Dense(3, use_bias=False)]
    rng = np.random.default_rng(0)
    for layer, shape in zip(layers, ((3, 2), (2, 3)), strict=True):
        layer.build((None, shape[0]))
        layer.set_weights([rng.normal(size=shape).astype("float32")])
    gradients = [(rng.normal(size=(3, 2)) * size, rng.normal(size=(2, 3)) * size) for size in (3.0, 0.1, 1.0, 0.2)]
    return [layer.trainable_weights[0] for layer in layers], gradients


def apply(optimizer, weights, gradients):
    optimizer.apply_gradients([(tf.constant(g, tf.float32), w) for g, w in zip(gradients, weights, strict=True)])


def norm(*gradients):
    return np.sqrt(sum((g**2).sum() for g in gradients))


def test_two_steps_at_different_rates():
    (slow, fast), gradients = two_layers()
    by_hand = [ByHand(w.numpy(), decay=0.01) for w in (slow, fast)]
    optimizer = make_optimizer(WarmupLinearDecay(0.1, warmup=0.5, steps=4))  # rates 0.05, 0.1, ...
    optimizer.set_groups(["slow", "fast"], [0, 1], [0.2, 1.0])
    for step, rate in zip(gradients[:2], (0.05, 0.1), strict=True):
        apply(optimizer, (slow, fast), step)
        clip = 1 / max(norm(*step), 1.0)
        for array, gradient, multiplier in zip(by_hand, step, (0.2, 1.0), strict=True):
            array.step(gradient * clip, rate * multiplier)
    for weight, array in zip((slow, fast), by_hand, strict=True):
        np.testing.assert_allclose(weight.numpy(), array.value, atol=2e-6)


def test_a_frozen_group_is_not_touched_and_starts_fresh():
    (low, high), gradients = two_layers()
    start = low.numpy()
    by_hand = [ByHand(w.numpy(), decay=0.01) for w in (low, high)]
    optimizer = make_optimizer(0.05)
    optimizer.set_groups(["low", "high"], [0, 1], [0.5, 1.0], [-1, 0])
    for step in gradients[:2]:
        apply(optimizer, (low, high), step)
        by_hand[1].step(step[1] / max(norm(step[1]), 1.0), 0.05)  # the frozen group's gradient is not in the norm
    assert np.array_equal(low.numpy(), start)
    slots = [np.asarray(v) for v in optimizer.variables if tuple(v.shape) == (3, 2)]
    assert len(slots) == 2
    assert not np.any(slots)
    assert optimizer.multipliers() == {"low": 0.0, "high": 1.0}
    assert optimizer.unfreeze(["low", "high"]) == ["low"]
    for step in gradients[2:]:
        apply(optimizer, (low, high), step)
        clip = 1 / max(norm(*step), 1.0)
        by_hand[0].step(step[0] * clip, 0.025)
        by_hand[1].step(step[1] * clip, 0.05)
    for weight, array in zip((low, high), by_hand, strict=True):
        np.testing.assert_allclose(weight.numpy(), array.value, atol=2e-6)
    copy = AdamW.from_config(optimizer.get_config())
    assert copy.multipliers() == {"low": 0.5, "high": 1.0}
    assert copy.get_config()["groups"]["unfrozen_at"] == [2, 0]


def test_groups_come_before_the_first_step():
    weights, gradients = two_layers()
    optimizer = make_optimizer(0.1)
    apply(optimizer, weights, gradients[0])
    with pytest.raises(UserError, match="before the optimizer's first step"):
        optimizer.set_groups(["all"], [0, 0], [1.0])
    with pytest.raises(UserError, match="amsgrad"):
        AdamW(amsgrad=True).set_groups(["all"], [0, 0], [1.0])
