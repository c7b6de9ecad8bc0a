"""Encoders of a few small blocks, written by hand: cheap to trace, and with names that tell nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tl_keras.encoders.base import Encoder

WIDTH = 8
IDS = ("input_word_ids", "input_mask", "input_type_ids")


def write_stack(
    folder: Path, vocabulary: int, blocks: int = 3, kinds: int | None = None, seed: int = 0
) -> dict[str, list[int]]:
    """Write an encoder: vectors of words and places, blocks that mix the masked mean into every place, a pooler.

    Args:
        folder: to write.
        vocabulary: rows of the word vectors.
        blocks: how many times a block is applied.
        kinds: how many different blocks there are, used in turn; as many as `blocks` by default.
        seed: of the weights.

    Returns:
        For each part the places of its variables in `trainable_variables`, which is in an order that tells nothing either.
    """
    kinds = blocks if kinds is None else kinds
    rng = np.random.default_rng(seed)
    made: list[tuple[str, tf.Variable]] = []

    def variable(part, *shape):
        made.append((part, tf.Variable(rng.normal(size=shape).astype("float32") * 0.4, name=f"v{len(made)}")))
        return made[-1][1]

    words, places = variable("embeddings", vocabulary, WIDTH), variable("embeddings", 64, WIDTH)
    mixed = [
        [variable(f"block {i}", WIDTH, WIDTH), variable(f"block {i}", WIDTH, WIDTH), variable(f"block {i}", WIDTH)]
        for i in range(kinds)
    ]
    kernel = variable("pooler", WIDTH, WIDTH)

    @tf.function(autograph=False)
    def block(x, mask, value, dense, bias):
        mean = tf.reduce_sum(mask * (x @ value), 1, keepdims=True) / tf.reduce_sum(mask, 1, keepdims=True)
        return tf.tanh(x + mean @ dense + bias)

    def encode(inputs, training=False):
        ids = inputs["input_word_ids"]
        x = tf.nn.embedding_lookup(words, ids) + places[: tf.shape(ids)[1]]
        x += tf.cast(inputs["input_type_ids"], tf.float32)[..., None]
        # The size of the ids, not their values: a shortcut into the blocks that must not mislead.
        mask = tf.cast(inputs["input_mask"], tf.float32)[..., None] * tf.ones(tf.shape(ids))[..., None]
        outputs = []
        for i in range(blocks):
            value, dense, bias = mixed[i % kinds]
            x = block(x, mask, value.read_value(), dense.read_value(), bias.read_value())
            outputs.append(x)
        pooled = tf.tanh(x[:, 0] @ kernel)
        return {"pooled_output": pooled, "sequence_output": x, "encoder_outputs": outputs, "default": pooled}

    order = rng.permutation(len(made))
    root = tf.train.Checkpoint()
    root.trainable_variables = [made[i][1] for i in order]
    root.variables = list(root.trainable_variables)
    root.regularization_losses = []
    call = tf.function(encode, autograph=False)
    specs = {name: tf.TensorSpec([None, None], tf.int32, name=name) for name in IDS}
    for training in (True, False):
        call.get_concrete_function(specs, training=training)
    root.__call__ = call
    tf.saved_model.save(root, str(folder))
    parts: dict[str, list[int]] = {}
    for place, i in enumerate(order):
        parts.setdefault(made[i][0], []).append(place)
    return parts


@pytest.fixture(scope="session")
def stacks(tmp_path_factory, vocabulary):
    """`plain`: three blocks; `shared`: one block applied three times; each with its parts."""
    folder = tmp_path_factory.mktemp("stacks")
    return {
        "plain": (folder / "plain", write_stack(folder / "plain", len(vocabulary))),
        "shared": (folder / "shared", write_stack(folder / "shared", len(vocabulary), kinds=1)),
    }


@pytest.fixture
def stack(stacks, tiny_pair) -> Encoder:
    """The encoder of three blocks, with the tiny pair's preprocessing."""
    return Encoder(str(stacks["plain"][0]), str(tiny_pair / "preprocess"), seq_length=16)
