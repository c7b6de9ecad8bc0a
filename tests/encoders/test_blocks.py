"""The parts of an encoder, found without looking at names."""

from __future__ import annotations

import re

import numpy as np
import pytest
import tensorflow as tf

from tl_keras import UserError
from tl_keras.encoders.blocks import find_parts, group
from tl_keras.encoders.saved_graph import read_encoder

pytestmark = pytest.mark.one_keras


def by_name(parts) -> dict[str, list[int]]:
    return {part.name: list(part.indices) for part in parts.parts}


def by_bert_names(folder) -> dict[str, list[int]]:
    """What the published variable names say."""
    found: dict[str, list[int]] = {}
    for i, variable in enumerate(tf.saved_model.load(str(folder)).trainable_variables):
        name = variable.name
        part = "pooler" if "pooler" in name else "embeddings"
        block = re.search(r"/layer_(\d+)/", name)
        if block:
            part = f"block {block[1]}"
        found.setdefault(part, []).append(i)
    return found


def test_parts_of_an_encoder_without_telling_names(stacks):
    folder, made = stacks["plain"]
    parts = group(read_encoder(str(folder)))
    assert by_name(parts) == made
    assert [part.name for part in parts.parts] == ["embeddings", "block 0", "block 1", "block 2", "pooler"]
    assert (parts.block_count, parts.notes) == (3, ())


def test_they_are_those_that_gradients_tell(stacks):
    folder, _ = stacks["plain"]
    module = tf.saved_model.load(str(folder))
    ids = {name: tf.ones([2, 4], tf.int32) for name in ("input_word_ids", "input_mask", "input_type_ids")}
    with tf.GradientTape(persistent=True) as tape:
        outputs = module(ids, training=False)["encoder_outputs"]
    # The gradient of a loaded function is zero, not None, for what an output does not depend on.
    variables = list(module.trainable_variables)
    reached = [
        {i for i, gradient in enumerate(tape.gradient(output, variables)) if np.any(tf.convert_to_tensor(gradient))}
        for output in outputs
    ]
    parts = by_name(find_parts(folder, len(module.trainable_variables)))
    assert reached[0] == {*parts["embeddings"], *parts["block 0"]}
    assert reached[1] - reached[0] == set(parts["block 1"])
    assert reached[2] - reached[1] == set(parts["block 2"])


def test_blocks_that_share_their_weights(stacks):
    folder, made = stacks["shared"]
    parts = group(read_encoder(str(folder)))
    assert by_name(parts) == {
        "embeddings": made["embeddings"], "blocks 0-2": made["block 0"], "pooler": made["pooler"],
    }  # fmt: skip
    assert parts.notes == ("blocks 0-2 share their weights, so they cannot learn apart.",)
    assert parts.upper(3) == {"blocks 0-2", "pooler"}
    with pytest.raises(UserError, match="share their weights"):
        parts.upper(1)


def test_a_converted_pair(tiny_pair):
    # One block: embeddings and block can be told apart by the mask only.
    assert by_name(group(read_encoder(str(tiny_pair / "encoder")))) == by_bert_names(tiny_pair / "encoder")


@pytest.mark.real_data
def test_a_model_garden_export(shared_dir):
    folder = shared_dir / "models" / "garden_tiny" / "encoder"
    parts = group(read_encoder(str(folder)))
    assert by_name(parts) == by_bert_names(folder)
    assert parts.block_count == 3


def test_patterns_and_counts(stacks):
    parts = find_parts(stacks["plain"][0], 0)
    assert parts.matching("Block *") == ["block 0", "block 1", "block 2"]
    assert parts.matching("block_1") == ["block 1"]
    assert parts.upper(2) == {"block 1", "block 2", "pooler"}
    with pytest.raises(UserError, match="no part of the model is called 'layer 1'; it has: embeddings, block 0"):
        parts.matching("layer 1")
    with pytest.raises(UserError, match="3 blocks, not 4"):
        parts.upper(4)


def test_an_encoder_that_shows_no_blocks(tiny_pair):
    parts = find_parts(tiny_pair / "preprocess", 5)
    assert by_name(parts) == {"encoder": [0, 1, 2, 3, 4]}
    with pytest.raises(UserError, match="does not show its blocks"):
        parts.upper(1)
