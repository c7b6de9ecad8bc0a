"""`encode`: vectors against those worked out from the encoder's own outputs."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import tensorflow as tf

from tl_keras import UserError, load_encoder
from tl_keras.data import Examples
from tl_keras.printable import LoggedProgress
from tl_keras.saved_models import exported_task
from tl_keras.serving.encode import as_vector_source, encode, is_export
from tl_keras.serving.predictor import constant

TEXTS = ["the film was good", "bad", "", "😀👍", "영화 좋다", "boring plot , awful music", "good film " * 1000, "bad"]


@pytest.fixture(scope="module")
def encoder(tiny_pair):
    return load_encoder(str(tiny_pair), seq_length=32)


@pytest.fixture(scope="module")
def alone(encoder):
    """Vectors by the definition, one text at a time: `alone(pooling, texts, pairs)`."""
    module, preprocessor = tf.saved_model.load(encoder.folder), encoder.preprocessor

    def vectors(pooling, texts, pairs=None):
        found = []
        for row in zip(texts) if pairs is None else zip(texts, pairs, strict=True):
            packed = preprocessor.pack([preprocessor.tokenize(tf.constant([text])) for text in row], 32)
            outputs = module(packed, training=False)
            tokens = outputs["sequence_output"].numpy()[0][packed["input_mask"].numpy()[0] == 1]
            pooled = outputs["pooled_output"].numpy()[0]
            found.append({"cls": pooled, "mean": tokens.mean(0), "max": tokens.max(0)}[pooling])
        return np.stack(found)

    return vectors


@pytest.mark.parametrize("pooling", ["mean", "max", "cls"])
def test_vectors_of_an_encoder(alone, encoder, pooling):
    # Three texts in a batch: sorted by length, and put back.
    vectors = encode(encoder, TEXTS, pooling, batch_size=3)
    assert (vectors.dtype, vectors.shape) == (np.float32, (8, 16))
    np.testing.assert_allclose(vectors, alone(pooling, TEXTS), atol=1e-5)
    if pooling == "mean":
        np.testing.assert_array_equal(encode(encoder, iter(TEXTS), batch_size=3), vectors)
        unit = encode(encoder, TEXTS, normalize=True)
        np.testing.assert_allclose(unit, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), atol=1e-5)
        assert encode(encoder, []).shape == (0, 16)


def test_pairs_of_texts(alone, encoder):
    texts, pairs = ["good film", "the plot", "a"], ["bad", "the music was dull", ""]
    vectors = encode(encoder, texts, "cls", text_pairs=pairs, batch_size=2)
    np.testing.assert_allclose(vectors, alone("cls", texts, pairs), atol=1e-5)
    assert np.abs(vectors - encode(encoder, texts, "cls")).max() > 1e-3


def test_a_handle_is_loaded_once_for_the_same_settings(tiny_pair):
    source = as_vector_source(str(tiny_pair), "mean", seq_length=32)
    assert as_vector_source(tiny_pair, seq_length=32) is source
    # With room for two tokens only the first two words count.
    vectors = encode(tiny_pair, ["good film plot", "good film"], seq_length=4)
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)


def test_counting_tokens_and_progress(encoder, caplog):
    vectors, calls = as_vector_source(encoder), []
    examples = Examples.from_lists(["good film", "the very good film", "xyz"], text_pairs=["bad", "", "a b"])
    # "xyz" is x ##y ##z.
    assert vectors.tokens(examples).tolist() == [3, 4, 5]
    vectors.compute(Examples.from_lists(["good"] * 5), 2, lambda done, total: calls.append((done, total)))
    assert calls == [(2, 5), (4, 5), (5, 5)]
    caplog.set_level(logging.INFO)
    caplog.clear()
    quiet, chatty = LoggedProgress(), LoggedProgress(seconds=0.0)
    quiet(50, 100)
    assert not caplog.text
    chatty(50, 100)
    assert "50 of 100 texts encoded" in caplog.text


def test_a_text_embedding_module(tmp_path):
    root = tf.train.Checkpoint()
    root.scale = tf.Variable([1.0, 2.0])
    root.__call__ = tf.function(
        lambda texts: tf.cast(tf.strings.length(texts), tf.float32)[:, None] * root.scale,
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    root.variables = root.trainable_variables = [root.scale]
    tf.saved_model.save(root, str(tmp_path / "module"))
    vectors = encode(tmp_path / "module", ["abc", "", "a" * 9, "ab"], batch_size=2)
    assert vectors.tolist() == [[3, 6], [0, 0], [9, 18], [2, 4]]
    with pytest.raises(UserError, match="takes one text"):
        encode(tmp_path / "module", ["a"], text_pairs=["b"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: encode(e, "one text"), r"write \['one text'\]"),
        (lambda e: encode(e, ["a", 2]), "entry 2 is int"),
        (lambda e: encode(e, ["a"], "first"), "'first' is not one of mean, max, cls"),
        (lambda e: encode(e, ["a"], "mix"), "learned together with a head"),
        (lambda e: encode(e, ["a"], seq_length=8), "seq_length is settled"),
        (lambda e: encode(e, ["a"], batch_size=0), "at least 1, not 0"),
        (lambda e: encode(e, ["a", "b"], text_pairs=["c"]), "2 texts but 1 text_pairs"),
        (lambda e: encode("no/such/encoder", ["a"]), "no/such/encoder"),
        (lambda e: encode(e.folder + "/../preprocess", ["a"]), "preprocessing module"),
        (lambda e: encode(3, ["a"]), "not a int"),
    ],
)
def test_wrong_calls(encoder, call, message):
    with pytest.raises(UserError, match=message):
        call(encoder)


def test_exports_are_told_from_encoders(tiny_pair, tmp_path):
    for name in ("run", "bare"):
        root = tf.Module()
        root.other = constant("retrieval")
        if name == "run":
            root.tl_keras_task = constant("zero-shot-classification")
        tf.saved_model.save(root, str(tmp_path / name / "saved_model" / "1"))
    found = [is_export(tmp_path / "run"), is_export(tmp_path / "bare"), is_export(tiny_pair), is_export("ko-en-small")]
    assert found == [True, False, False, False]
    assert exported_task(tmp_path / "run" / "saved_model" / "1") == "zero-shot-classification"
