"""Dense gradients: what they are is tested with the layers; here, that a model which has been trained can be forgotten."""

from __future__ import annotations

import gc
import weakref

import pytest
import tensorflow as tf
from tensorflow.python.framework import ops

from tl_keras import text_classifier
from tl_keras._keras import keras
from tl_keras.encoders.encoder_layer import KerasLayer
from tl_keras.training.optimizer import make_optimizer


def train_classifier(encoder, reviews, modules):
    model = text_classifier(encoder, reviews.classes, "fine-tune")
    model.fit(encoder.batches(reviews, training=True, batch_size=64), epochs=1, verbose=0)
    return model


def train_text_embedding(encoder, reviews, modules):
    text = keras.Input((), dtype="string")
    vectors = KerasLayer(str(modules / "text"), trainable=True)(text)
    model = keras.Model(text, keras.layers.Dense(1)(vectors))
    model.compile(make_optimizer(1e-3), "mse", jit_compile=False)
    model.fit(tf.data.Dataset.from_tensors((["good film", "bad"], [[1.0], [0.0]])), epochs=1, verbose=0)
    return model


def graphs_of_steps() -> int:
    """How many graphs there are that update weights."""
    graphs = [x for x in gc.get_objects() if isinstance(x, tf.Graph)]
    return sum(any(op.type == "ResourceApplyAdam" for op in graph.get_operations()) for graph in graphs)


@pytest.mark.parametrize("train", [train_classifier, train_text_embedding])
def test_nothing_of_a_trained_model_stays(encoder, reviews, modules, train):
    gc.collect()
    graphs, registered = graphs_of_steps(), set(ops.gradient_registry.list())
    model = train(encoder, reviews, modules)
    assert graphs_of_steps() > graphs
    kept = [weakref.ref(x) for x in (model, *model.layers, model.optimizer)]
    del model
    keras.backend.clear_session()
    gc.collect()
    assert [r() for r in kept if r() is not None] == []
    assert graphs_of_steps() == graphs
    # TensorFlow never forgets what is registered here, nor what that refers to.
    assert set(ops.gradient_registry.list()) == registered
