"""Trains a small model on hub layers and prints what came out; run by the tests, in this process and under the other Keras.

python layer_run.py train FOLDER...       five optimizer steps on each module
python layer_run.py mirrored FOLDER       the same under MirroredStrategy on two logical CPUs
"""

from __future__ import annotations

import json
import sys

import numpy as np
import tensorflow as tf

from tl_keras._keras import keras
from tl_keras.encoders.encoder_layer import KerasLayer
from tl_keras.training.optimizer import make_optimizer

TEXTS = ["good film", "bad film", "좋은 영화", "nonsense words here"]
LABELS = np.array([1, 0, 1, 0])


def token_ids() -> dict[str, np.ndarray]:
    """Four texts of up to five tokens."""
    words = np.random.default_rng(3).integers(1, 20, size=(4, 5)).astype("int32")
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]], "int32")
    return {"input_word_ids": words * mask, "input_mask": mask, "input_type_ids": np.zeros_like(mask)}


def build(folder: str, trainable: bool = True, **kwargs) -> keras.Model:
    """A classifier of two classes on the module in `folder`; its head starts from fixed weights."""
    layer = KerasLayer(folder, trainable=trainable, name="encoder", **kwargs)
    if "text" in str(folder):
        inputs = keras.Input(shape=(), dtype="string", name="text")
        features = layer(inputs)
    else:
        inputs = {name: keras.Input(shape=(None,), dtype="int32", name=name) for name in token_ids()}
        features = layer(inputs)["pooled_output"]
    head = keras.layers.Dense(2, name="head")
    model = keras.Model(inputs, head(features))
    width = int(features.shape[-1])
    head.set_weights([np.linspace(-1, 1, 2 * width).reshape(width, 2).astype("float32"), np.zeros(2, "float32")])
    compile_model(model)
    return model


def compile_model(model: keras.Model) -> None:
    """Our optimizer and cross-entropy of logits."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(make_optimizer(0.01), loss=loss)


def batch(folder: str) -> tf.data.Dataset:
    """The one batch that is trained on."""
    x = tf.constant(TEXTS) if "text" in str(folder) else token_ids()
    return tf.data.Dataset.from_tensors((x, LABELS))


def train(folder: str) -> dict:
    """Outputs before, and the losses of five steps."""
    model = build(folder)
    before = model.predict(batch(folder), verbose=0)
    losses = model.fit(batch(folder), epochs=5, verbose=0).history["loss"]
    after = model.predict(batch(folder), verbose=0)
    return {"keras": keras.__version__, "before": before.tolist(), "losses": losses, "after": after.tolist()}


def mirrored(folder: str) -> dict:
    """Outputs after five steps on two replicas, and what a layer loaded outside the scope says."""
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        model = build(folder)
    data = batch(folder).unbatch().batch(4)
    model.fit(data, epochs=5, verbose=0)
    after = model.predict(data, verbose=0)
    outside = KerasLayer(folder, trainable=True, name="outside")
    frozen = KerasLayer(folder, trainable=False)
    with strategy.scope():
        frozen(token_ids())
        try:
            outside(token_ids())
            refusal = None
        except ValueError as error:
            refusal = str(error)
    return {"after": after.tolist(), "replicas": strategy.num_replicas_in_sync, "refusal": refusal}


if __name__ == "__main__":
    job, *folders = sys.argv[1:]
    print(json.dumps([{"train": train, "mirrored": mirrored}[job](folder) for folder in folders]))
