from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tl_keras._keras import IS_KERAS_3, keras, tf_variable
from tl_keras.encoders.encoder_layer import KerasLayer
from tl_keras.errors import UserError

SCRIPT = Path(__file__).with_name("layer_run.py")
run = runpy.run_path(str(SCRIPT))
WIDTH = 8
TEXT_INPUT = {"shape": (), "dtype": "string"}


def in_new_process(job: str, *folders: Path, other_keras: bool) -> list[dict]:
    legacy = IS_KERAS_3 if other_keras else not IS_KERAS_3
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1" if legacy else "0"}
    environment["PYTHONPATH"] = os.pathsep.join(p for p in [str(Path(__file__).parents[2]), *sys.path] if p)
    done = subprocess.run(
        [sys.executable, str(SCRIPT), job, *map(str, folders)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def ids() -> dict[str, tf.Tensor]:
    return {name: tf.constant(value) for name, value in run["token_ids"]().items()}


def weight(layer, name: str) -> np.ndarray:
    """A weight by the end of its path, which only Keras 2 prefixes and suffixes otherwise."""
    found = [v for v in layer.weights if tf_variable(v).name.endswith(f"{name}:0")]
    assert len(found) == 1
    return found[0].numpy()


@pytest.mark.one_keras
def test_both_kerases_give_the_same_outputs_and_losses(modules):
    folders = [modules / "text", modules / "encoder"]
    others = in_new_process("train", *folders, other_keras=True)
    for folder, other in zip(folders, others, strict=True):
        own = run["train"](str(folder))
        assert own["keras"][0] != other["keras"][0]
        np.testing.assert_allclose(own["before"], other["before"], atol=1e-6)
        np.testing.assert_allclose(own["losses"], other["losses"], atol=1e-5)
        np.testing.assert_allclose(own["after"], other["after"], atol=1e-4)
        assert own["losses"][4] < own["losses"][0]


def test_text_embedding_is_the_mean_of_its_rows(modules):
    layer = KerasLayer(str(modules / "text"))
    rows = layer.weights[0].numpy()
    # good film: rows 0 and 2; an unknown word takes the last row
    np.testing.assert_allclose(
        layer(tf.constant(["good film", "영화 xyz"])), [(rows[0] + rows[2]) / 2, (rows[4] + rows[5]) / 2]
    )


def test_frozen_runs_without_dropout_even_when_the_model_trains(modules):
    layer = KerasLayer(str(modules / "encoder_dropout"))
    plain = layer(ids(), training=False)["pooled_output"].numpy()
    np.testing.assert_array_equal(layer(ids(), training=True)["pooled_output"], plain)
    layer.trainable = True
    assert np.abs(layer(ids(), training=True)["pooled_output"].numpy() - plain).max() > 1e-2
    np.testing.assert_array_equal(layer(ids(), training=False)["pooled_output"], plain)


def test_regularization_losses_count_once_and_only_when_trainable(modules):
    layer = KerasLayer(str(modules / "encoder_dropout"), trainable=True)
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in ids()}
    # Called twice, as in a siamese model.
    total = keras.layers.Add()([layer(inputs)["pooled_output"], layer(inputs)["pooled_output"]])
    model = keras.Model(inputs, total)
    kernels = weight(layer, "transformer/layer_0/dense/kernel"), weight(layer, "pooler_transform/kernel")
    expected = 0.01 * sum((kernel**2).sum() for kernel in kernels)
    assert float(tf.add_n(model.losses)) == pytest.approx(expected, rel=1e-5)
    model.compile(keras.optimizers.SGD(0.0), loss="mse")
    target = model.predict(ids(), verbose=0)
    # evaluate runs without dropout, so the mean squared error is nothing and the loss is the penalty
    assert model.evaluate(ids(), target, verbose=0) == pytest.approx(expected, rel=1e-5)
    layer.trainable = False
    assert sum(float(loss) for loss in model.losses) == 0.0


def test_repeated_rows_get_one_summed_gradient(modules):
    layer = KerasLayer(str(modules / "text"), trainable=True)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(tf.constant(["good good", "good film"]), training=True))
    gradient = tape.gradient(total, tf_variable(layer.trainable_weights[0]))
    assert isinstance(gradient, tf.Tensor)
    # good: a whole mean of "good good" and half of "good film"
    np.testing.assert_allclose(gradient[:, 0], [1.5, 0, 0.5, 0, 0, 0])


def test_trainable_can_be_switched_after_building(modules):
    model = run["build"](str(modules / "encoder"), trainable=False)
    layer = model.get_layer("encoder")
    assert (len(layer.trainable_weights), len(layer.non_trainable_weights)) == (0, 5)
    words = weight(layer, "word_embeddings/embeddings")
    model.fit(run["batch"]("encoder"), epochs=1, verbose=0)
    np.testing.assert_array_equal(weight(layer, "word_embeddings/embeddings"), words)
    layer.trainable = True
    run["compile_model"](model)
    # do_lower_case is no trainable variable of the module, and stays one
    assert (len(layer.trainable_weights), len(layer.non_trainable_weights)) == (4, 1)
    model.fit(run["batch"]("encoder"), epochs=1, verbose=0)
    assert np.abs(weight(layer, "word_embeddings/embeddings") - words).max() > 1e-3
    # the module's own variable moved with it: it is the same memory
    np.testing.assert_array_equal(layer.resolved_object.words.numpy(), weight(layer, "word_embeddings/embeddings"))


@pytest.mark.skipif(not IS_KERAS_3, reason="Keras 2 keeps the tf.Variable and its name")
def test_paths_are_the_modules_names_under_the_layers(modules):
    layer = KerasLayer(str(modules / "encoder"), name="encoder", trainable=True)
    assert [v.path for v in layer.weights] == [
        "encoder/word_embeddings/embeddings",
        "encoder/transformer/layer_0/dense/kernel",
        "encoder/transformer/layer_0/dense/bias",
        "encoder/pooler_transform/kernel",
        "encoder/Variable",
    ]
    layer.weights[1].trainable = False
    assert len(layer.trainable_weights) == 3


def test_symbolic_shapes(modules):
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in ids()}
    outputs = KerasLayer(str(modules / "encoder"))(inputs)
    assert tuple(outputs["pooled_output"].shape) == (None, WIDTH)
    assert tuple(outputs["sequence_output"].shape) == (None, None, WIDTH)
    assert tuple(outputs["encoder_outputs"][0].shape) == (None, None, WIDTH)
    fixed = {name: keras.Input((16,), dtype="int32", name=name) for name in ids()}
    assert tuple(KerasLayer(str(modules / "encoder"))(fixed)["sequence_output"].shape) == (None, 16, WIDTH)
    assert tuple(KerasLayer(str(modules / "text"))(keras.Input(**TEXT_INPUT)).shape) == (None, WIDTH)


@pytest.mark.skipif(not IS_KERAS_3, reason="hub.KerasLayer answers from output_shape= only")
def test_compute_output_shape(modules):
    shapes = KerasLayer(str(modules / "encoder")).compute_output_shape(dict.fromkeys(ids(), (4, None)))
    assert shapes["sequence_output"] == (4, None, WIDTH)
    assert KerasLayer(str(modules / "text")).compute_output_shape((None,)) == (None, WIDTH)


def test_sequential_with_input_shape_as_the_hub_pages_write_it(modules):
    model = keras.Sequential(
        [KerasLayer(str(modules / "text"), input_shape=[], dtype=tf.string, trainable=True), keras.layers.Dense(2)]
    )
    assert model.predict(tf.constant(["good", "bad film"]), verbose=0).shape == (2, 2)


@pytest.mark.parametrize("name", ["text", "encoder"])
def test_saved_and_loaded_models_predict_the_same(modules, tmp_path, name):
    model = run["build"](str(modules / name))
    data = run["batch"](name)
    model.fit(data, epochs=1, verbose=0)
    expected = model.predict(data, verbose=0)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "w.weights.h5")
    tf.train.Checkpoint(model=model).save(str(tmp_path / "checkpoint"))

    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict(data, verbose=0), expected, atol=1e-6)
    assert loaded.get_layer("encoder").trainable
    again = run["build"](str(modules / name))
    assert np.abs(again.predict(data, verbose=0) - expected).max() > 1e-3
    again.load_weights(tmp_path / "w.weights.h5")
    np.testing.assert_allclose(again.predict(data, verbose=0), expected, atol=1e-6)
    third = run["build"](str(modules / name))
    status = tf.train.Checkpoint(model=third).restore(tf.train.latest_checkpoint(tmp_path))
    status.assert_existing_objects_matched()
    np.testing.assert_allclose(third.predict(data, verbose=0), expected, atol=1e-6)


@pytest.mark.skipif(not IS_KERAS_3, reason="Keras 2 stores hub weights by position")
def test_weights_of_another_module_are_refused(modules, tmp_path):
    layer = KerasLayer(str(modules / "encoder"), name="encoder")
    with pytest.raises(UserError, match=r"another module.*lacks 1 of its weights \(pooler_transform\.kernel\)"):
        layer.load_own_variables({n: v for n, v in layer._named_weights().items() if "pooler" not in n} | {"other": 0})


def test_a_saved_model_around_the_model_holds_each_weight_once(modules, tmp_path):
    root = tf.Module()
    root.model = run["build"](str(modules / "encoder"))
    specs = {name: tf.TensorSpec([None, None], tf.int32, name=name) for name in ids()}
    root.serve = tf.function(lambda inputs: root.model(inputs, training=False), input_signature=[specs])
    tf.saved_model.save(root, str(tmp_path / "export"))
    shapes = tf.train.load_checkpoint(str(tmp_path / "export/variables/variables")).get_variable_to_shape_map()
    assert sum(shape == [20, WIDTH] for shape in shapes.values()) == 1
    loaded = tf.saved_model.load(str(tmp_path / "export"))
    np.testing.assert_allclose(loaded.serve(ids()), root.model(ids(), training=False), atol=1e-6)


def test_signature(modules):
    folder = str(modules / "encoder")
    whole = KerasLayer(folder)(ids())
    one = KerasLayer(folder, signature="serving_default", output_key="sequence_output")
    np.testing.assert_allclose(one(ids()), whole["sequence_output"], atol=1e-6)
    both = KerasLayer(folder, signature="serving_default", signature_outputs_as_dict=True)(ids())
    assert sorted(both) == ["default", "sequence_output"]
    one.trainable = True
    with pytest.raises(UserError, match="signature 'serving_default', which cannot be trained: a signature has no"):
        one(ids())
    with pytest.raises(ValueError, match="output_key"):
        KerasLayer(folder, signature="serving_default")
    with pytest.raises(ValueError, match="signature"):
        KerasLayer(folder, signature_outputs_as_dict=True)
    with pytest.raises(ValueError, match=r"serving_default"):
        KerasLayer(folder, signature="missing", output_key="a")


def test_tf1_module(modules):
    folder = str(modules / "tf1")
    x = tf.constant([[1.0, 2.0, 3.0]])
    np.testing.assert_allclose(KerasLayer(folder)(x), [[2.0, 4.0, 6.0]])
    outputs = KerasLayer(folder, signature_outputs_as_dict=True)({"x": x})
    np.testing.assert_allclose(outputs["sum"], [[3.0, 4.0, 5.0]])
    with pytest.raises(UserError, match=r"TF1 Hub format, which cannot be trained.*TF2 version"):
        KerasLayer(folder, trainable=True)(x)


def test_output_key_and_arguments(modules):
    folder = str(modules / "encoder")
    assert KerasLayer(folder, output_key="pooled_output")(ids()).shape == (4, WIDTH)
    with pytest.raises(ValueError, match="pooled_output"):
        KerasLayer(folder, output_key="missing")(ids())
    scale = KerasLayer(lambda x, factor=1.0: x * factor, arguments={"factor": 3.0})
    np.testing.assert_allclose(scale(tf.constant([2.0])), [6.0])


def test_loaded_objects_and_their_functions(modules):
    loaded = tf.saved_model.load(str(modules / "encoder"))
    layer = KerasLayer(loaded, trainable=True)
    assert len(layer.trainable_weights) == 4
    np.testing.assert_array_equal(layer(ids())["default"], loaded(ids())["default"])
    function = KerasLayer(loaded.__call__)
    np.testing.assert_array_equal(function(ids())["default"], loaded(ids())["default"])
    with pytest.raises(NotImplementedError, match="already loaded"):
        layer.get_config()
    with pytest.raises(UserError, match="tags="):
        KerasLayer(loaded, tags=["serve"])


def test_config_keeps_every_argument(modules):
    options = tf.saved_model.LoadOptions(
        experimental_io_device="/job:localhost",
        experimental_variable_policy=tf.saved_model.experimental.VariablePolicy.SAVE_VARIABLE_DEVICES,
    )
    layer = KerasLayer(
        str(modules / "text"),
        trainable=True,
        tags={"serve"},
        output_shape=(WIDTH,),
        load_options=options,
        name="words",
    )
    config = json.loads(json.dumps(layer.get_config()))
    copy = KerasLayer.from_config(config)
    assert copy.get_config() == layer.get_config()
    assert (copy.name, copy.trainable, config["tags"], list(config["output_shape"])) == (
        "words",
        True,
        ["serve"],
        [WIDTH],
    )
    assert copy._load_options.experimental_io_device == "/job:localhost"
    np.testing.assert_array_equal(copy(tf.constant(["good"])), layer(tf.constant(["good"])))


def test_output_shape_where_tensorflow_cannot_tell():
    def unknown(x):
        return tf.py_function(lambda y: y * 2, [x], tf.float32)

    layer = KerasLayer(unknown, output_shape=[3])
    outputs = layer(keras.Input((3,)))
    assert tuple(outputs.shape) == (None, 3)
    if IS_KERAS_3:
        with pytest.raises(UserError, match="output_shape="):
            KerasLayer(unknown)(keras.Input((3,)))


def test_mixed_precision_leaves_the_module_in_its_dtype(modules, tmp_path):
    root = tf.train.Checkpoint()
    root.kernel = tf.Variable(tf.ones([3, 2]) / 3)
    root.__call__ = tf.function(lambda x: x @ root.kernel, input_signature=[tf.TensorSpec([None, 3], tf.float32)])
    root.variables = root.trainable_variables = [root.kernel]
    tf.saved_model.save(root, str(tmp_path / "dense"))
    layer = KerasLayer(str(tmp_path / "dense"), dtype="mixed_float16", trainable=True)
    # 0.1 has no exact float16, so an input rounded on the way would show.
    outputs = layer(tf.constant([[0.1, 0.1, 0.1]]))
    assert outputs.dtype == tf.float32
    np.testing.assert_allclose(outputs, [[0.1, 0.1]], rtol=1e-6)
    assert layer(np.ones([1, 3], "float64")).dtype == tf.float32
    previous = keras.mixed_precision.global_policy() if not IS_KERAS_3 else keras.config.dtype_policy()
    set_policy = keras.config.set_dtype_policy if IS_KERAS_3 else keras.mixed_precision.set_global_policy
    set_policy("mixed_float16")
    try:
        model = run["build"](str(modules / "encoder"))
        assert model.layers[-1].compute_dtype == "float16"
        losses = model.fit(run["batch"]("encoder"), epochs=3, verbose=0).history["loss"]
        assert losses[2] < losses[0]
    finally:
        set_policy(previous)


def test_ids_in_other_integers(modules):
    layer = KerasLayer(str(modules / "encoder"))
    wide = {name: tf.cast(value, tf.int64) for name, value in ids().items()}
    np.testing.assert_array_equal(layer(wide)["default"], layer(ids())["default"])


def test_mirrored_on_two_devices_trains_as_on_one(modules):
    (mirrored,) = in_new_process("mirrored", modules / "encoder", other_keras=False)
    assert mirrored["replicas"] == 2
    single = run["train"](str(modules / "encoder"))
    # Outputs, not losses, and not closer: Keras 3.5 reports the first replica's loss and adds gradients up unscaled, which
    # Adam forgives almost wholly. They moved by 0.2.
    assert np.abs(np.subtract(single["after"], single["before"])).max() > 0.1
    np.testing.assert_allclose(mirrored["after"], single["after"], atol=2e-3)
    assert mirrored["refusal"].startswith("layer 'outside' was loaded outside the tf.distribute strategy")


@pytest.mark.real_data
def test_published_format(shared_dir):
    folder = str(shared_dir / "models" / "garden_tiny" / "encoder")
    layer = KerasLayer(folder, trainable=True, name="encoder")
    assert (len(layer.trainable_weights), len(layer.weights)) == (55, 56)
    assert weight(layer, "transformer/layer_0/self_attention/query/kernel").shape == (64, 4, 16)
    outputs = layer(ids())
    plain = tf.saved_model.load(folder)(ids(), training=False)
    np.testing.assert_array_equal(outputs["sequence_output"], plain["sequence_output"])
