"""The first blocks as an encoder of their own: the same numbers, nothing of the rest."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tl_keras import UserError, export, load_exported, load_model, predict, text_classifier
from tl_keras._keras import tf_variable
from tl_keras.encoders.base import Encoder
from tl_keras.encoders.load import encoder_of
from tl_keras.models.transfer_control import describe


@pytest.fixture
def cut(stacks, tiny_pair) -> Encoder:
    """The first two of three blocks."""
    return Encoder(str(stacks["plain"][0]), str(tiny_pair / "preprocess"), seq_length=16, layers=2)


def ids(rows: int = 2, length: int = 5) -> dict[str, tf.Tensor]:
    words = np.random.default_rng(1).integers(1, 60, size=(rows, length)).astype("int32")
    mask = np.array([[1] * length, [1] * (length - 2) + [0] * 2][:rows], "int32")
    return {
        "input_word_ids": tf.constant(words),
        "input_mask": tf.constant(mask),
        "input_type_ids": tf.constant(1 - mask),
    }


def gradients(function, variables, output):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(output(function(ids(), training=True)) ** 2)
    found = tape.gradient(loss, variables, unconnected_gradients="zero")
    return [tf.convert_to_tensor(gradient).numpy() for gradient in found]


def test_outputs_and_gradients_are_those_of_the_lower_blocks(cut, stacks):
    folder, made = stacks["plain"]
    module = tf.saved_model.load(str(folder))
    layer = cut.layer(True)
    got, whole = layer(ids(), training=False), module(ids(), training=False)
    assert len(got["encoder_outputs"]) == 2
    for i in range(2):
        np.testing.assert_allclose(got["encoder_outputs"][i], whole["encoder_outputs"][i], atol=1e-6)
    np.testing.assert_allclose(got["sequence_output"], whole["encoder_outputs"][1], atol=1e-6)
    kernel = module.trainable_variables[made["pooler"][0]].numpy()
    pooled = np.tanh(whole["encoder_outputs"][1][:, 0].numpy() @ kernel)
    np.testing.assert_allclose(got["pooled_output"], pooled, atol=1e-6)

    names = {v.name for i, v in enumerate(module.trainable_variables) if i not in made["block 2"]}
    assert len(layer.trainable_weights) == len(names) == 9
    kept = [module.trainable_variables[i] for i in range(12) if i not in made["block 2"]]
    of_module = gradients(module, kept, lambda x: x["encoder_outputs"][1])
    of_layer = gradients(layer, [tf_variable(w) for w in layer.trainable_weights], lambda x: x["sequence_output"])
    assert sum(np.any(gradient) for gradient in of_layer) == 8  # all but the pooler
    for got, expected in zip(of_layer, of_module, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-5)


def test_fitted_saved_and_exported_without_the_rest(cut, reviews, vocabulary, tmp_path):
    model = text_classifier(cut, reviews.classes, "top-1", pooling="mean", learning_rate=0.05)
    assert [(row.part, row.trainable) for row in describe(model).rows] == [
        ("embeddings", False), ("block 0", False), ("block 1", True), ("pooler", True), ("head", True),
    ]  # fmt: skip
    before = [w.numpy() for w in model.weights]
    model.fit(cut.batches(reviews, training=True, batch_size=32), epochs=2, verbose=0)
    moved = [not np.array_equal(a, w.numpy()) for a, w in zip(before, model.weights, strict=True)]
    learning = {id(w) for w in model.trainable_weights}
    assert moved == [id(w) in learning for w in model.weights]
    assert (sum(moved), len(moved)) == (3 + 1 + 2, 2 + 3 + 3 + 1 + 2)
    texts = reviews.texts[:4].tolist()
    expected = predict(model, texts, all_scores=True).score_positive
    model.save(tmp_path / "m.keras")
    loaded = load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(predict(loaded, texts, all_scores=True).score_positive, expected, atol=1e-6)
    assert encoder_of(loaded).layers == 2

    export(model, tmp_path / "cut")
    exported = load_exported(tmp_path / "cut")
    np.testing.assert_allclose(predict(exported, texts, all_scores=True).score_positive, expected, atol=1e-6)
    reader = tf.train.load_checkpoint(str(tmp_path / "cut" / "variables" / "variables"))
    dtypes = reader.get_variable_to_dtype_map()
    shapes = [shape for name, shape in reader.get_variable_to_shape_map().items() if dtypes[name] == tf.float32]
    embeddings, block, pooler, head = (len(vocabulary) + 64) * 8, 2 * 8 * 8 + 8, 8 * 8, 8 * 2 + 2
    assert sum(np.prod(shape) for shape in shapes if shape) == embeddings + 2 * block + pooler + head
    proto = saved_model_pb2.SavedModel.FromString((tmp_path / "cut" / "saved_model.pb").read_bytes())
    functions = proto.meta_graphs[0].graph_def.library.function
    activations = {node.name for function in functions for node in function.node_def if node.op == "Tanh"}
    assert len(activations) == 2 + 1  # the blocks and the pooler


@pytest.mark.real_data
def test_a_model_garden_export_is_cut(shared_dir):
    folder = shared_dir / "models" / "garden_tiny"
    layer = Encoder(str(folder / "encoder"), str(folder / "preprocess"), layers=2).layer(True)
    module = tf.saved_model.load(str(folder / "encoder"))
    got, whole = layer(ids(), training=False), module(ids(), training=False)
    np.testing.assert_allclose(got["sequence_output"], whole["encoder_outputs"][1], atol=1e-5)
    assert len(layer.trainable_weights) == 55 - 16
    dropped = layer(ids(), training=True)["sequence_output"].numpy()
    assert np.abs(dropped - got["sequence_output"].numpy()).max() > 0.01  # dropout is on


@pytest.mark.parametrize(("layers", "message"), [(4, "3 blocks, not 4"), (0, "at least 1")])
def test_wrong_counts(stacks, layers, message):
    with pytest.raises(UserError, match=message):
        Encoder(str(stacks["plain"][0]), None, layers=layers)


def test_shared_blocks_can_be_cut(stacks):
    folder, _ = stacks["shared"]
    layer = Encoder(str(folder), None, layers=1).layer(False)
    whole = tf.saved_model.load(str(folder))(ids(), training=False)
    np.testing.assert_allclose(layer(ids())["sequence_output"], whole["encoder_outputs"][0], atol=1e-6)
    assert [part.name for part in layer.parts.parts] == ["embeddings", "block 0", "pooler"]


def test_a_module_that_shows_no_blocks(tiny_pair):
    with pytest.raises(UserError, match="encoder_outputs"):
        Encoder(str(tiny_pair / "preprocess"), None, layers=1)
