"""Weights that make rare classes count as much as common ones."""

from __future__ import annotations

import numpy as np

from tl_keras.data.examples import Examples
from tl_keras.errors import UserError


def class_weights(examples: Examples) -> dict[int, float]:
    """For `model.fit(class_weight=...)`: `n / (classes x n of the class)`, as scikit-learn's `"balanced"`.

    Args:
        examples: with one label each.

    Returns:
        Class index to weight. A class without examples gets no weight.

    Raises:
        UserError: no labels, or several labels a text.

    Example:
        >>> class_weights(Examples.from_lists(["a", "b", "c", "d"], ["x", "x", "x", "y"]))
        {0: 0.666..., 1: 2.0}
    """
    if examples.labels is None or examples.multi_label:
        raise UserError("balanced class weights need exactly one label for each text.")
    counts = np.bincount(examples.labels, minlength=len(examples.classes)).tolist()
    present = sum(n > 0 for n in counts)
    return {i: len(examples) / (present * n) for i, n in enumerate(counts) if n}
