"""Which strategy is chosen, from what the environment says; rates and batches; precision."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from tl_keras import UserError, text_classifier
from tl_keras._keras import IS_KERAS_3, keras
from tl_keras.encoders.layer_common import load_module
from tl_keras.models.transfer_model import TransferModel
from tl_keras.tasks import run as run_module
from tl_keras.tasks.task_settings import TextClassificationSettings
from tl_keras.tasks.text_classification import TextClassificationRun
from tl_keras.training import strategy as module
from tl_keras.training.cluster import cluster_from_environment
from tl_keras.training.optimizer import make_optimizer
from tl_keras.training.step import batch_line, scaled_learning_rate, share_batches, use_mixed_precision
from tl_keras.training.strategy import batch_options, from_chief, get_strategy, refuse_outside

WORKERS = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}'
SERVER = '{"cluster": {"chief": ["a:1"], "worker": ["b:1"], "ps": ["c:1"]}, "task": {"type": "chief", "index": 0}}'
ALONE = '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}'


@pytest.mark.parametrize(
    ("environment", "gpus", "chosen", "why"),
    [
        ({"TPU_NAME": "grpc://10.0.0.2:8470", "TF_CONFIG": WORKERS}, 2, "tpu", "there is a TPU"),
        ({"TF_CONFIG": WORKERS}, 2, "multi-worker", "TF_CONFIG names 2 workers"),
        ({"TF_CONFIG": ALONE}, 2, "mirrored", "2 GPUs"),
        ({}, 1, "one-device", "one GPU"),
        ({}, 0, "one-device", "no GPU"),
    ],
)
def test_auto_takes_the_first_that_is_there(monkeypatch, environment, gpus, chosen, why):
    for name in ("TPU_NAME", "COLAB_TPU_ADDR", "KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS", "TF_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    name, reason = module._choose(module.tpu_address(), gpus)
    assert name == chosen
    assert why in reason


def test_here_it_says_what_it_took(monkeypatch, caplog):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with caplog.at_level("INFO", "tl_keras"):
        assert get_strategy().num_replicas_in_sync == 1
    assert "Strategy: one-device, 1 replica(s) (auto: no TPU, no second worker in TF_CONFIG, no GPU)" in caplog.text
    assert from_chief(0.25) == 0.25


def test_what_a_tpu_is_given(monkeypatch, tiny_pair):
    """Files are read by this machine, and batches have one shape; otherwise nothing is said."""
    told = []
    monkeypatch.setattr(tf.saved_model, "load", lambda folder, tags, options: told.append(options) or tf.Module())
    load_module(f"{tiny_pair}/encoder", None, None)
    assert batch_options() == {}
    tpu = object.__new__(type("FakeTPU", (tf.distribute.TPUStrategy,), {}))
    monkeypatch.setattr(tf.distribute, "get_strategy", lambda: tpu)
    load_module(f"{tiny_pair}/encoder", None, None)
    assert told[0] is None
    assert told[1].experimental_io_device == "/job:localhost"
    assert batch_options() == {"fixed_length": True, "drop_remainder": True}
    assert batch_options(training=False) == {"fixed_length": True, "drop_remainder": False}


def test_slurm_names_the_addresses(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    given = {
        "SLURM_PROCID": "2", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NODELIST": "node[07-08]", "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
    }  # fmt: skip
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    resolver = cluster_from_environment().resolver()
    assert resolver.cluster_spec().as_dict() == {"worker": ["node07:8888", "node07:8889", "node08:8888", "node08:8889"]}
    assert (resolver.task_type, resolver.task_id) == ("worker", 2)
    assert resolver.num_accelerators() == {}


def test_rates_and_shares_of_a_batch(caplog):
    assert scaled_learning_rate(2e-5, "linear", 256) == pytest.approx(16e-5)
    assert scaled_learning_rate(2e-5, "sqrt", 8) == pytest.approx(1e-5)
    with pytest.raises(UserError, match="none, linear, sqrt"):
        scaled_learning_rate(2e-5, "log", 8)

    class Three:
        num_replicas_in_sync = 3

    assert batch_line(Three, 48, 1e-4) == "Global batch 48: 3 replica(s) of 16 each; peak learning rate 0.0001."
    assert "16.7 each" in batch_line(Three, 50, 1e-4)
    assert "does not divide by 3 replicas" in caplog.text
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(make_optimizer(1e-3), "mse")
    assert share_batches(model, 128, "linear").endswith("1 replica(s) of 128 each; peak learning rate 0.004.")
    assert float(model.optimizer._learning_rate(0)) == pytest.approx(4e-3)
    with pytest.raises(UserError, match="at least 3"):
        batch_line(Three, 2, 1e-4)


def test_a_model_with_a_layer_from_elsewhere(monkeypatch):
    layer = keras.layers.Dense(2, name="elsewhere")
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layer(inputs))

    other = tf.distribute.MirroredStrategy(["CPU:0"])

    class Strategy:
        num_replicas_in_sync = 2
        extended = other.extended

    refuse_outside(model)
    monkeypatch.setattr(type(model), "distribute_strategy", Strategy, raising=False)
    with pytest.raises(UserError, match="layer 'elsewhere' was made outside"):
        refuse_outside(model)


def test_mixed_precision_trains_the_head_and_leaves_the_encoder(encoder, reviews, caplog):
    try:
        with caplog.at_level("INFO", "tl_keras"):
            assert use_mixed_precision() == "mixed_bfloat16"
        assert "The encoder is a SavedModel and computes in the precision it was saved in" in caplog.text
        model = text_classifier(encoder, reviews.classes, "freeze", hidden=8)
        dense = model.get_layer("logits")
        assert (dense.compute_dtype, dense.kernel.dtype if isinstance(dense.kernel.dtype, str) else dense.kernel.dtype.name) == (
            "bfloat16", "float32",
        )  # fmt: skip
        before = dense.get_weights()[0]
        history = model.fit(encoder.batches(reviews, training=True), epochs=1, verbose=0).history
        assert np.isfinite(history["loss"][0])
        assert not np.array_equal(before, dense.get_weights()[0])
        assert model(next(iter(encoder.batches(reviews)))[0]).dtype == tf.float32
    finally:
        keras.mixed_precision.set_global_policy("float32")


def test_asking_for_a_tpu_takes_no_time(monkeypatch):
    monkeypatch.setitem(sys.modules, "libtpu", None)
    for name in ("TPU_NAME", "COLAB_TPU_ADDR", "KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS"):
        monkeypatch.delenv(name, raising=False)
    asked = []
    monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", lambda *a, **k: asked.append(1))
    assert module.tpu_address() is None
    with pytest.raises(UserError, match="there is no TPU"):
        get_strategy("tpu")
    assert not asked


def test_parameter_servers_are_refused_and_the_way_out_named(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", SERVER)
    with pytest.raises(UserError, match='leave "ps" out, and all workers step together'):
        get_strategy()


def test_a_tpu_takes_no_strings(reviews, bilm_folder, monkeypatch, tmp_path):
    """One device stands for the TPU; what the run asks about it is only of what kind it is."""
    monkeypatch.setattr(tf.distribute, "TPUStrategy", tf.distribute.OneDeviceStrategy)
    monkeypatch.setattr(run_module, "get_strategy", lambda name: tf.distribute.OneDeviceStrategy("/cpu:0"))
    rows = [f"{text},{label}" for text, label in zip(reviews.texts, reviews.label_names, strict=True)]
    (tmp_path / "reviews.csv").write_text("\n".join(["text,label", *rows]) + "\n", "utf-8")
    settings = TextClassificationSettings(
        train=str(tmp_path / "reviews.csv"),
        out=str(tmp_path / "run"),
        encoder=TextClassificationSettings.NO_VECTORS,
        elmo=str(bilm_folder),
        strategy="tpu",
    )
    with pytest.raises(UserError, match=r"a TPU takes no strings, and .* wants them; choose an encoder with a prepro"):
        TextClassificationRun(settings).execute(0)
    assert [path.name for path in tmp_path.iterdir()] == ["reviews.csv"]


@pytest.mark.skipif(not IS_KERAS_3, reason="Keras 2 can: see test_replicas.py")
def test_several_devices_take_no_strings(monkeypatch):
    text = keras.Input((), dtype="string")
    number = keras.layers.Embedding(2, 1)(keras.layers.StringLookup(vocabulary=["a"])(text))
    model = TransferModel(text, number)
    model.compile("sgd", "mse")
    monkeypatch.setattr(type(model), "distribute_strategy", SimpleNamespace(num_replicas_in_sync=2), raising=False)
    with pytest.raises(UserError, match="Take one device, or Keras 2: `tl-keras --keras 2"):
        model.fit(tf.constant(["a", "b"]), tf.constant([[1.0], [0.0]]), verbose=0)
