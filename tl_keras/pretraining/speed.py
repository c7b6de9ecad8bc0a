"""How fast this machine can multiply matrices, to judge a training run's speed by."""

from __future__ import annotations

import time

import keras
import numpy as np
from keras import ops


def matmul_rate(size: int = 2048, repeats: int = 5, dtype: str = "float32") -> float:
    """Measure the rate of one large matrix product.

    Args:
        size: Rows and columns of both matrices.
        repeats: Measurements; the fastest counts, since other programs can only slow it down.
        dtype: Of the matrices.

    Returns:
        FLOP per second: 2 x `size`³ over the seconds of the fastest product.
    """
    rng = np.random.default_rng(0)
    a, b = (ops.cast(ops.convert_to_tensor(rng.standard_normal((size, size), "float32")), dtype) for _ in "ab")
    fastest = float("inf")
    for _ in range(repeats + 1):
        begun = time.perf_counter()
        # Fetching one number waits for the result, which some backends compute in the background.
        keras.ops.convert_to_numpy(ops.matmul(a, b)[0, 0])
        fastest = min(fastest, time.perf_counter() - begun)
    return 2.0 * size**3 / fastest
