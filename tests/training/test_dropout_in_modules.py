"""Dropout inside a published module follows the seed, and a training that goes on draws what an undisturbed one drew."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tl_keras import load_encoder, text_classifier
from tl_keras._keras import IS_KERAS_3, keras
from tl_keras.encoders.cut import cut_encoder
from tl_keras.encoders.operations import Dropout
from tl_keras.training.checkpoints import Checkpoints, keep_random_states
from tl_keras.training.resume import resumable_fit


@pytest.fixture(scope="module")
def published_pair(tiny_pair, vocabulary, tmp_path_factory):  # `tiny_pair` makes tracing cheap
    """A pair with dropout whose random operations have no seeds, as TF Hub's have none."""
    keras_hub = pytest.importorskip("keras_hub")

    from tl_keras.encoders.pair import write_encoder_pair
    from tl_keras.encoders.vocabularies import WordPieceRules, WordPieceVocabulary

    backbone = keras_hub.models.BertBackbone(
        len(vocabulary), num_layers=1, num_heads=2, hidden_dim=16, intermediate_dim=32, dropout=0.4, max_sequence_length=64
    )  # fmt: skip
    rules = WordPieceRules(lower_case=True, strip_accents=False)
    with pytest.MonkeyPatch.context() as patch:
        # As Model Garden's encoders draw their masks.
        patch.setattr(Dropout, "__call__", lambda self, x, rate: tf.nn.dropout(x, rate))
        made = write_encoder_pair(
            tmp_path_factory.mktemp("made") / "pair", backbone, WordPieceVocabulary(vocabulary, rules), seq_length=16
        )
    pair = shutil.copytree(made, tmp_path_factory.mktemp("published") / "pair")
    (pair / "manifest.json").unlink()
    path = pair / "encoder" / "saved_model.pb"
    model, stripped = saved_model_pb2.SavedModel.FromString(path.read_bytes()), 0
    for function in model.meta_graphs[0].graph_def.library.function:
        for node in function.node_def:
            if node.op == "RandomUniform":
                stripped += 1
                node.attr.pop("seed", None), node.attr.pop("seed2", None)
    assert stripped
    path.write_bytes(model.SerializeToString())
    return pair


class StopAt(keras.callbacks.Callback):
    def __init__(self, place):
        super().__init__()
        self.place, self.epoch = place, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.place:
            raise KeyboardInterrupt


def train(pair, reviews, folder, *, stop=None, seed=3):
    """All weights after two epochs of four steps, with a checkpoint behind the third and the last; `stop`: where it dies."""
    keep_random_states()
    keras.utils.set_random_seed(seed)
    encoder = load_encoder(str(pair), seq_length=16)
    model = text_classifier(encoder, reviews.classes, "fine-tune", learning_rate=0.01, dropout=0.0)
    # The head is drawn from the seed too; here only the masks are to differ.
    model.set_weights([np.full_like(w, 0.1) if w.shape[-1:] == (2,) else w for w in model.get_weights()])
    resumable_fit(
        model, encoder.batches(reviews.take(np.arange(32)), training=True, batch_size=8, seed=5), epochs=2,
        checkpoints=Checkpoints(folder, every_steps=3), callbacks=[StopAt(stop)], verbose=0,
    )  # fmt: skip
    return np.concatenate([np.ravel(w).astype("float32") for w in model.get_weights()])


@pytest.fixture(autouse=True)
def random_states():
    yield
    if not IS_KERAS_3:
        keras.backend.experimental.disable_tf_random_generator()


def test_the_same_seed_gives_the_same_weights_also_when_it_is_stopped(published_pair, reviews, tmp_path):
    whole = train(published_pair, reviews, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(published_pair, reviews, tmp_path / "stopped", stop=(1, 3))
    np.testing.assert_array_equal(train(published_pair, reviews, tmp_path / "stopped"), whole)
    other = train(published_pair, reviews, tmp_path / "other", seed=4)
    assert np.abs(other - whole).max() > 1e-3


def test_a_cut_encoder_is_seeded_too(published_pair):
    tf.random.set_seed(7)
    _, definition = cut_encoder(published_pair / "encoder", 1)._graphs[True]
    seeds = [(n.attr["seed"].i, n.attr["seed2"].i) for n in definition.node if n.op == "RandomUniform"]
    assert seeds == [(7, place + 1) for place in range(len(seeds))]
    assert len(seeds) >= 3  # embeddings, attention, feed-forward
