"""An encoder in few megabytes, as it travels inside the package, 4 or 8 bits a weight, and the ordinary pair that is made of it at first use.

Both kinds keep one float16 scale for each block of 32 values. Arrays that came from 4-bit blocks of this kind (as llama.cpp's
`Q4_0` has them, and checkpoints that were spread in it) are found out by trying, and come back bit for bit.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tl_keras._version import __version__
from tl_keras.encoders.download import cache_folder
from tl_keras.encoders.saved_model_files import damage
from tl_keras.errors import UserError
from tl_keras.files import file_sha256, swap_in
from tl_keras.manifest import check_manifest

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


logger = logging.getLogger(__name__)

WEIGHTS, INFO = "weights.npz", "info.json"
_PARTS = ("encoder", "preprocess")
_GRAPH = 2  # goes up when the graph changes that is written for the same weights


def is_packed(folder: Path) -> bool:
    """Whether a folder holds a packed encoder."""
    return (folder / WEIGHTS).is_file()


def pack_pair(folder: Path, weights, activation: str, vocabulary, mlm=None, info: Mapping | None = None) -> Path:
    """Write a packed encoder.

    Args:
        folder: exists; the weights, the vocabulary and `info.json` go there.
        weights: `EncoderWeights`.
        activation: name of its activation, in `pair_encoder.ACTIVATIONS`.
        vocabulary: a `Vocabulary`.
        mlm: `MlmWeights`, or none.
        info: facts for `info.json`, as for `write_encoder_pair`; `seq_length` among them.

    Returns:
        The folder.
    """
    heads = {} if mlm is None else mlm.arrays
    with (folder / WEIGHTS).open("wb") as stream:
        np.savez_compressed(stream, **pack_arrays({**weights.arrays, **heads}))
    vocabulary_file = vocabulary.write(folder)
    network = {
        "num_layers": weights.num_layers,
        "num_heads": weights.num_heads,
        "dropout": weights.dropout,
        "attention_dropout": weights.attention_dropout,
        "epsilon": weights.epsilon,
        "activation": activation,
        "mlm": sorted(heads),
    }
    facts = {
        **(info or {}),
        **vocabulary.info(),
        "network": network,
        "sha256": {path.name: file_sha256(path) for path in (folder / WEIGHTS, vocabulary_file)},
    }
    (folder / INFO).write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return folder


def unpacked(folder: Path) -> Path:
    """The ordinary encoder pair of a packed encoder, in the cache of TF Hub's modules; made when it is not there whole.

    Processes that come at the same time each make one, and the first to be done puts it in place.

    Args:
        folder: the packed encoder.

    Returns:
        The pair's folder.

    Raises:
        UserError: a file is damaged, or the cache cannot be written to.
    """
    facts = _facts(folder)
    # Another version of the package may write another graph.
    key = hashlib.sha1(json.dumps([__version__, _GRAPH, facts], sort_keys=True).encode()).hexdigest()
    pair = cache_folder() / f"{folder.name}-{key}"
    if _is_whole(pair):
        return pair
    _check_files(folder, facts)
    logger.info("unpacking the encoder %s to %s, once", folder.name, pair)
    draft = pair.with_name(f"{pair.name}.{uuid.uuid4().hex}.tmp")
    try:
        _write_pair(folder, facts, draft)
        # One that another process has finished meanwhile, and is reading, stays where it is.
        if not _is_whole(pair):
            swap_in(draft, pair, replace=True)
    except OSError as error:
        # Another process may have been quicker; its copy is as good.
        if not _is_whole(pair):
            raise UserError(
                f"the encoder {folder.name} cannot be unpacked to {pair}: {error}; name another place by TFHUB_CACHE_DIR."
            ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return pair


def _write_pair(folder: Path, facts: dict, target: Path) -> None:
    from tl_keras.encoders.pair import write_encoder_pair  # which needs TensorFlow

    weights, mlm, vocabulary = read_packed(folder)
    own = {"network", "sha256", "tokenizer"}
    info = {name: value for name, value in facts.items() if name not in own}
    write_encoder_pair(target, weights, vocabulary, seq_length=facts.get("seq_length", 128), mlm_head=mlm, info=info)


def read_packed(folder: Path):
    """A packed encoder's `EncoderWeights`, `MlmWeights` (or None) and `Vocabulary`.

    Raises:
        UserError: a file is damaged.
    """
    from tl_keras.encoders.encoder_weights import EncoderWeights, MlmWeights
    from tl_keras.encoders.pair_encoder import ACTIVATIONS
    from tl_keras.encoders.vocabulary_trim import read_vocabulary_file

    facts = _facts(folder)
    _check_files(folder, facts)
    with np.load(folder / WEIGHTS) as stored:
        arrays = unpack_arrays(stored)
    network = dict(facts["network"])
    head = {name: arrays.pop(name) for name in network.pop("mlm")}
    activation = ACTIVATIONS[network.pop("activation")]
    weights = EncoderWeights(arrays, activation=activation, **network)
    mlm = MlmWeights(head, weights.epsilon, activation) if head else None
    return weights, mlm, read_vocabulary_file(folder, facts["tokenizer"])


def _facts(folder: Path) -> dict:
    try:
        return json.loads((folder / INFO).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / INFO} cannot be read ({error}); install the package again.") from error


def _check_files(folder: Path, facts: dict) -> None:
    for name, wanted in facts["sha256"].items():
        path = folder / name
        if not path.is_file() or file_sha256(path) != wanted:
            raise UserError(f"{path} is missing or damaged; install the package again.")


def _is_whole(pair: Path) -> bool:
    try:
        check_manifest(pair)
    except UserError as error:
        logger.warning("%s It is made again.", error)
        return False
    return all((pair / part).is_dir() and not damage(pair / part) for part in _PARTS)
