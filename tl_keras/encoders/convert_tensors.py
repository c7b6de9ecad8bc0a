"""Reading the weights in a Hugging Face folder: any floating type and any prefix, but neither quantized nor broken ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tl_keras.encoders.convert_wordpiece import read_json
from tl_keras.errors import UserError


def read_tensors(folder: Path, kind: str) -> dict[str, np.ndarray]:
    """Read all tensors as float32, without the prefix that a checkpoint with a head puts before the encoder's names.

    Args:
        folder: as for `read_weights`.
        kind: of network, which is the usual prefix.

    Raises:
        UserError: as of `read_weights`, or there are several networks.
    """
    return _without_prefix(read_weights(folder), kind, folder)


def read_weights(folder: Path) -> dict[str, np.ndarray]:
    """Read all tensors as float32.

    Args:
        folder: holds `model.safetensors`, or its shards and their index.

    Raises:
        UserError: a file is missing or damaged, or the weights are quantized or no numbers.
    """
    from safetensors import SafetensorError, safe_open

    index = folder / "model.safetensors.index.json"
    try:
        names = sorted(set(read_json(index)["weight_map"].values())) if index.is_file() else ["model.safetensors"]
    except (KeyError, AttributeError, TypeError) as error:
        raise UserError(f"{index} is damaged: it has no weight_map that says in which file each weight is.") from error
    tensors = {}
    for name in names:
        if not (folder / name).is_file():
            other = [p.name for p in folder.glob("*.bin")]
            hint = f"; {other[0]} can't be read: save it again with safe_serialization=True" if other else ""
            raise UserError(f"{folder} has no {name}{hint}.")
        try:
            with safe_open(str(folder / name), framework="np") as file:
                for key in file.keys():  # noqa: SIM118 - safe_open gives no dictionary
                    # Some old checkpoints hold the numbers 0, 1, 2, ... of the positions, which are no weights.
                    if not key.endswith("position_ids"):
                        tensors[key] = _as_float32(file.get_tensor(key), key, folder)
        except SafetensorError as error:
            raise UserError(f"{folder / name} is damaged or no safetensors file: {error}.") from error
    return tensors


_FLOATS = {"float16", "bfloat16", "float32", "float64"}


def _as_float32(tensor: np.ndarray, key: str, folder: Path) -> np.ndarray:
    array = np.asarray(tensor)
    if array.dtype.name not in _FLOATS:
        raise UserError(
            f"{key} in {folder} is of {array.dtype.name}: quantized weights can't be read; convert the checkpoint that they were made from."
        )
    array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise UserError(
            f"{key} in {folder} holds values that are no numbers; an encoder with such weights is of no use."
        )
    return array


def _without_prefix(tensors: dict[str, np.ndarray], kind: str, folder: Path) -> dict[str, np.ndarray]:
    """The encoder's tensors under their own names, whatever stands before them; heads keep theirs.

    Mostly it is the kind's name ("bert."), or nothing; who wrapped the network in a module of his own has put that one's name before it.
    """
    ends = "embeddings.word_embeddings.weight"
    found = [name.removesuffix(ends) for name in tensors if name == ends or name.endswith(f".{ends}")]
    usual = "roberta." if kind == "xlm-roberta" else f"{kind}."
    if len(found) > 1:
        raise UserError(
            f"{folder} holds several networks, under {', '.join(repr(prefix) for prefix in sorted(found))}; save the one that is meant by itself."
        )
    prefix = found[0] if found else usual
    # A head that was saved along stands beside the encoder, in the same module.
    outer = prefix.removesuffix(usual)
    return {name.removeprefix(prefix).removeprefix(outer): array for name, array in tensors.items()}
