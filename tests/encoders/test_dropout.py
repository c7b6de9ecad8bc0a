"""The dropout of encoders that this package writes."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tl_keras.encoders.operations import Dropout

pytestmark = pytest.mark.one_keras


def test_share_scale_gradient_and_independence():
    rate, ones = 0.25, tf.ones([3, 33_333])  # odd, so that half a word of bits is left over

    @tf.function
    def step(x):
        dropout = Dropout()
        first, second = dropout(x, rate), dropout(x, rate)
        return first, second, tf.gradients(first, x)[0]

    draws = [[tensor.numpy().ravel() for tensor in step(ones)] for _ in range(2)]
    (first, second, gradient), (later, _, _) = draws
    assert set(np.unique(first)) == {0.0, np.float32(1 / (1 - rate))}
    np.testing.assert_array_equal(first, gradient)
    masks = {
        "first": first > 0,
        "another mask of the step": second > 0,
        "the next step": later > 0,
        "the neighbours": np.roll(first > 0, 1),
        "two apart": np.roll(first > 0, 2),
    }
    deviation = (rate * (1 - rate) / first.size) ** 0.5
    for name, mask in masks.items():
        assert abs(mask.mean() - (1 - rate)) < 4 * deviation, name
        if name != "first":
            # Of two independent masks both keep a number in (1 - rate)^2 of the cases; five deviations of that share.
            both = (1 - rate) ** 2
            assert abs((mask & masks["first"]).mean() - both) < 5 * (both * (1 - both) / first.size) ** 0.5, name
    tf.random.set_seed(0)  # what taking up a training does: keys are drawn from the beginning again
    again = [step(ones)[0].numpy().ravel() for _ in range(2)]
    tf.random.set_seed(0)
    np.testing.assert_array_equal(again[0], step(ones)[0].numpy().ravel())
    assert (again[0] != again[1]).any()
