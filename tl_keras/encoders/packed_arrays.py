"""Weights in few bits, for an encoder that travels inside a package: 4 bits where that loses nothing, else 8.

Both kinds keep one float16 scale for each block of 32 values. Arrays that came from 4-bit blocks of this kind (as llama.cpp's
`Q4_0` has them, and checkpoints that were spread in it) are found out by trying, and come back bit for bit.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import numpy as np

from tl_keras.errors import UserError

BLOCK = 32
_LAYOUT = "layout"
_SMALL = 2048  # values; biases are smaller than this, embeddings and matrices larger


def pack_arrays(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Weights -> what is kept of them.

    Args:
        arrays: float32, by name. Vectors and what cannot be cut into blocks stay float32.

    Returns:
        Arrays for one `.npz`: integers and scales by number, and the layout that tells what they are.

    Raises:
        UserError: a weight is not finite.

    Example:
        >>> import numpy as np
        >>> values = np.linspace(-1, 1, 4096, dtype=np.float32).reshape(64, 64)
        >>> packed = pack_arrays({"w": values})
        >>> bool(np.abs(unpack_arrays(packed)["w"] - values).max() < 1 / 127)
        True
    """
    packed, layout = {}, []
    for number, (name, array) in enumerate(arrays.items()):
        array = np.asarray(array, np.float32)
        if not np.isfinite(array).all():
            raise UserError(
                f"the weight {name} holds values that are no numbers; an encoder with such weights is of no use"
            )
        kind, turned_at, integers = "float32", 0, array
        if array.ndim > 1 and array.size >= _SMALL and array.size % BLOCK == 0:
            kind, turned_at, integers, scale = _four_bits(array) or _eight_bits(array)
            packed[f"{number}.scale"] = scale
        packed[f"{number}.{kind}"] = integers
        layout.append([name, list(array.shape), kind, turned_at])
    packed[_LAYOUT] = np.frombuffer(json.dumps(layout).encode(), np.uint8)
    return packed


def unpack_arrays(packed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The float32 weights, by name, that `pack_arrays` was given, or what 8 bits have left of them."""
    arrays = {}
    for number, (name, shape, kind, turned_at) in enumerate(json.loads(np.asarray(packed[_LAYOUT]).tobytes())):
        values = np.asarray(packed[f"{number}.{kind}"])
        if kind != "float32":
            if kind == "int4":
                values = np.concatenate([values & 15, values >> 4], axis=1).astype(np.float32) - 8
            values = values.astype(np.float32) * np.asarray(packed[f"{number}.scale"]).astype(np.float32)[:, np.newaxis]
        if turned_at:
            values = values.reshape(-1, math.prod(shape[:turned_at])).T
        arrays[name] = np.ascontiguousarray(values.reshape(shape))
    return arrays


def _eight_bits(array: np.ndarray) -> tuple[str, int, np.ndarray, np.ndarray]:
    blocks = array.reshape(-1, BLOCK)
    scale = (np.abs(blocks).max(axis=1) / 127).astype(np.float16)
    unit = np.where(scale > 0, scale, 1).astype(np.float32)[:, np.newaxis]
    return "int8", 0, np.clip(np.rint(blocks / unit), -127, 127).astype(np.int8), scale


def _four_bits(array: np.ndarray) -> tuple[str, int, np.ndarray, np.ndarray] | None:
    """The array in 4 bits, if it comes back as it was.

    PyTorch keeps a dense layer's matrix the other way round, and a checkpoint's blocks lie along its rows: so matrices are
    also tried turned, with the first `turned_at` axes behind the others.
    """
    for turned_at in range(array.ndim):
        turned = array.reshape(math.prod(array.shape[:turned_at]), -1).T if turned_at else array
        blocks = np.ascontiguousarray(turned).reshape(-1, BLOCK)
        # The value farthest from zero is -8 of its block's units, whatever its sign.
        farthest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1)[:, np.newaxis], axis=1)[:, 0]
        scale = (farthest / -8).astype(np.float16)
        unit = np.where(scale != 0, scale, 1).astype(np.float32)[:, np.newaxis]
        integers = np.clip(np.rint(blocks / unit), -8, 7)
        if np.array_equal(integers * scale.astype(np.float32)[:, np.newaxis], blocks):
            nibbles = (integers + 8).astype(np.uint8)
            return "int4", turned_at, nibbles[:, : BLOCK // 2] | nibbles[:, BLOCK // 2 :] << 4, scale
    return None
