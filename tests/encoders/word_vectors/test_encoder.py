"""Word vectors as an encoder: numbers of words, their vectors, and what texts lose."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import tensorflow as tf

from tl_keras import UserError, load_encoder
from tl_keras.data import Examples
from tl_keras.encoders.base import Encoder
from tl_keras.encoders.word_vectors.encoder import word_vector_encoder
from tl_keras.encoders.word_vectors.layer import SpecialVectors
from tl_keras.encoders.word_vectors.word_vectors import WordVectors

TEXTS = ["good film, good", "the bad film", "the film", "GOOD xyz"]


@pytest.fixture
def known(vectors):
    """Learned: good (3, small), film (3), the (2); then the others of the file."""
    return word_vector_encoder(vectors, TEXTS, min_count=2)


def number(encoder, word):
    return 3 + encoder.vocabulary.words.index(word)


def test_numbers_of_words(known):
    assert known.vocabulary.words[:3] == ("good", "film", "the")
    assert (known.vocabulary.learned, len(known.vocabulary)) == (3, 13)
    batch = next(iter(known.batches(["Good xyz film.", "", "영화"])))
    ids = [number(known, "good"), 1, number(known, "film"), number(known, ".")]
    assert batch["input_word_ids"].numpy().tolist() == [ids, [0, 0, 0, 0], [number(known, "영화"), 0, 0, 0]]
    assert batch["input_mask"].numpy().tolist() == [[1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 0]]
    pairs = Examples.from_lists(["good film the film"], text_pairs=["bad film"])
    short = word_vector_encoder(known.vectors, TEXTS, seq_length=5)
    ids = next(iter(short.batches(pairs)))["input_word_ids"].numpy().tolist()
    # Both are cut alike, with a separator between them.
    assert [row[:5] for row in ids] == [[number(short, w) if w else 2 for w in ("good", "film", "", "bad", "film")]]


def test_vectors_of_words(known, vectors):
    ids = tf.constant([[number(known, "good"), number(known, "rare"), 1, 2, 0]])
    layer = known.layer("fine-tune")
    found = layer(ids)
    expected = np.stack([vectors.vector("good"), vectors.vector("rare"), *np.zeros((3, 6))])
    np.testing.assert_allclose(found[0].numpy(), expected)
    special = SpecialVectors(known.vocabulary.unknown)
    expected[2] = vectors.matrix.mean(0)
    np.testing.assert_allclose(special([ids, found])[0].numpy(), expected, atol=1e-6)
    # Words that no training text has are not trained.
    assert [tuple(w.shape) for w in layer.trainable_weights] == [(3, 6)]
    assert [tuple(w.shape) for w in layer.non_trainable_weights] == [(10, 6)]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.constant([[3, 3, 5]])))
    gradient = tape.gradient(loss, layer.trainable_weights[0])
    assert isinstance(gradient, tf.Tensor)
    np.testing.assert_allclose(gradient.numpy(), np.array([[2.0], [0.0], [1.0]]) * np.ones((1, 6)))


def test_frozen_or_of_blocks(known):
    assert not known.layer("freeze").trainable_weights
    with pytest.raises(UserError, match="does not show its blocks"):
        known.layer("top-1")


def test_vectors_of_another_file(known, vectors):
    layer = known.layer()
    layer(tf.constant([[3]]))
    other = WordVectors(("film", "rare", "new"), np.ones((3, 6)))
    assert layer.set_vectors(other) == 2
    found = layer(tf.constant([[number(known, "film"), number(known, "rare"), number(known, "good")]]))[0]
    np.testing.assert_allclose(found.numpy(), np.stack([np.ones(6), np.ones(6), vectors.vector("good")]))
    with pytest.raises(UserError, match=r"narrow.vec holds vectors of width 2, but this model's words have 6"):
        layer.set_vectors(WordVectors(("film",), np.ones((1, 2)), source="narrow.vec"))


def test_a_file_is_an_encoder(vector_file, caplog):
    encoder = load_encoder(str(vector_file), seq_length=9)
    assert isinstance(encoder, Encoder)
    assert encoder.lower_case
    assert (encoder.vocabulary.learned, encoder.seq_length) == (13, 9)
    with caplog.at_level(logging.INFO, logger="tl_keras"):
        ready = encoder.adapt(TEXTS)
    assert ready.vocabulary.words[:3] == ("good", "film", "the")
    assert "81.8% of 11 words and 66.7% of 6 different ones have a vector" in caplog.text
    with pytest.raises(UserError, match="neither a preprocessing module nor layers"):
        load_encoder(str(vector_file), layers=2)
    # An encoder in TF Hub's format is as it is for any texts.
    assert ready.adapt(TEXTS).vocabulary.words == ready.vocabulary.words


def test_what_texts_lose(known, caplog):
    report = known.report(Examples.from_lists(["good xyz film.", "abc"]))
    assert (report.unknown, report.mean_length, report.longest, report.worrying) == (0.4, 2.5, 4, True)
    assert "40.0% of the words are unknown" in str(report)
    list(known.batches(Examples.from_lists(["the abc"]), training=True))
    assert "50.0% of the words are unknown" in caplog.text


def test_random_vectors_and_wrong_calls(vectors):
    encoder = word_vector_encoder(None, TEXTS, width=4, min_count=2)
    assert (encoder.vocabulary.words, encoder.vocabulary.width) == (("film", "good", "the"), 4)
    for arguments, message in (
        ((None,), "random vectors need texts"),
        ((vectors, "good film"), "must be a list of strings"),
        ((vectors, ["영 수"]), "none of the 2 words"),
        (("nowhere.vec",), "no file"),
    ):
        with pytest.raises(UserError, match=message):
            word_vector_encoder(*arguments)
    with pytest.raises(UserError, match="at least 1"):
        word_vector_encoder(vectors, max_words=0)
