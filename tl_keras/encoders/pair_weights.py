"""An encoder pair's network, read back as weights: to make it smaller, or to distil from it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from tl_keras.encoders.encoder_weights import EncoderWeights, MlmWeights
from tl_keras.encoders.pair_encoder import Network
from tl_keras.errors import UserError

ACTIVATIONS: dict[str, Callable] = {
    "gelu": tf.nn.gelu,
    "gelu_approximate": functools.partial(tf.nn.gelu, approximate=True),
    "relu": tf.nn.relu,
    "silu": tf.nn.silu,
    "tanh": tf.nn.tanh,
}
"""Of feed-forward layers, by the names that `info.json` has for them."""
_EPSILONS = (1e-12, 1e-5)
_SAME = 1e-6  # no other activation or epsilon comes so near
_MLM = "bert/cls/predictions"


def read_pair_weights(encoder_folder: str | Path) -> tuple[EncoderWeights, str, MlmWeights | None]:
    """Read the network of an encoder pair.

    A SavedModel does not say which activation and which epsilon it computes with, so that is found out by trying: the
    network is built again with each, and must give the encoder's own outputs.

    Args:
        encoder_folder: the encoder's SavedModel.

    Returns:
        The weights (with the dropout of BERT, 0.1), the activation's name in `ACTIVATIONS`, and the masked-LM head if
        there is one.

    Raises:
        UserError: it is not built like BERT.
    """
    loaded = tf.saved_model.load(str(encoder_folder))
    arrays = {variable.name.removesuffix(":0"): variable.numpy() for variable in loaded.trainable_variables}
    count = sum(name.endswith("/self_attention/query/kernel") for name in arrays)
    query = arrays.get("transformer/layer_0/self_attention/query/kernel")
    if not count or query is None or query.ndim != 3:
        raise UserError(
            f"{encoder_folder} is not built like BERT, or its weights are not named as in TF Hub's encoders, so it cannot be "
            "made smaller; convert the checkpoint that it came from with `tl-keras convert` first."
        )
    head = {name: arrays.pop(name) for name in list(arrays) if name.startswith(_MLM)}
    weights = EncoderWeights(arrays, count, query.shape[1], 0.1, 0.1, _EPSILONS[0], ACTIVATIONS["gelu"])
    weights, activation = _fitted(weights, loaded, encoder_folder)
    if not head:
        module = getattr(loaded, "mlm", None)
        known = {v.name.removesuffix(":0"): v.numpy() for v in getattr(module, "variables", ())}
        head = {name: array for name, array in known.items() if name.startswith(_MLM)}
    return weights, activation, MlmWeights(head, weights.epsilon, weights.activation) if head else None


def _fitted(weights: EncoderWeights, loaded, folder) -> tuple[EncoderWeights, str]:
    rng = np.random.default_rng(0)
    ids = rng.integers(0, weights.vocabulary_size, (2, min(8, weights.max_length)), dtype=np.int32)
    feed = {"input_word_ids": ids, "input_mask": np.ones_like(ids), "input_type_ids": np.zeros_like(ids)}
    feed = {name: tf.constant(value) for name, value in feed.items()}
    wanted = loaded(feed, training=False)["sequence_output"]
    best, gap, name = weights, np.inf, ""
    for tried, activation in ACTIVATIONS.items():
        for epsilon in _EPSILONS:
            candidate = replace(weights, activation=activation, epsilon=epsilon)
            given = Network(candidate).forward(feed)["sequence_output"]
            distance = float(tf.reduce_max(tf.abs(given - wanted)))
            if distance < gap:
                best, gap, name = candidate, distance, tried
            if gap < _SAME:
                return best, name
    # The two forms of gelu differ by some thousandths; another architecture is off by whole units.
    if not gap < 1e-3:
        raise UserError(
            f"{folder}: built again as BERT its outputs differ by {gap:.2g}, so it is another architecture and cannot be made "
            "smaller here."
        )
    return best, name
