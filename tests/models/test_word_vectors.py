"""Classifiers and taggers on word vectors: what learns and how fast, padding, unknown words, saving and serving."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tl_keras import UserError, export, load_exported, load_model, predict, text_classifier, token_classifier
from tl_keras._keras import keras
from tl_keras.data import TaggedExamples
from tl_keras.encoders.load import encoder_of
from tl_keras.encoders.transfer_plan import Transfer
from tl_keras.encoders.word_vectors.encoder import word_vector_encoder
from tl_keras.encoders.word_vectors.word_vectors import WordVectors
from tl_keras.models.recurrent import Recurrence

WORDS = (
    "the",
    "film",
    "good",
    "great",
    "fine",
    "love",
    "bad",
    "awful",
    "dull",
    "hate",
    "영화",
    "좋다",
    "지루하다",
    "rare",
)


@pytest.fixture(scope="module")
def encoder(reviews):
    vectors = WordVectors(WORDS, np.random.default_rng(5).normal(size=(14, 6)), source="tiny.vec")
    return word_vector_encoder(vectors, reviews.texts)


def build(encoder, transfer="fine-tune", units=4, **options):
    keras.utils.set_random_seed(2)
    options = {"pooling": "max", "dropout": 0.0, "recurrent": Recurrence(units=units), **options}
    return text_classifier(encoder, ["negative", "positive"], transfer, **options)


def learned(model):
    return model.get_layer("encoder").learned_vectors.numpy()


def one_step(model, batch, labels):
    """What `fit` does for a batch, without tracing a graph."""
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(labels, model(batch, training=True)))
    gradients = tape.gradient(loss, model.trainable_variables)
    model.optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))


def test_init_slow_and_freeze_move_the_vectors_at_their_rates(encoder, reviews):
    changes = []
    for transfer in ("fine-tune", Transfer(lr_multipliers={"embeddings": 0.25})):
        model = build(encoder, transfer, learning_rate=0.01, recurrent=None, pooling="mean")
        special, layer = model.get_layer("special_vectors"), model.get_layer("encoder")
        before = learned(model), special.unknown_vector.numpy(), layer.fixed_vectors.numpy()
        one_step(model, *next(iter(encoder.batches(reviews, batch_size=64))))
        changes.append((learned(model) - before[0], special.unknown_vector.numpy() - before[1]))
        # Words that no training text has: nothing moves them.
        np.testing.assert_array_equal(layer.fixed_vectors.numpy(), before[2])
    (vectors, unknown), (vectors_slow, unknown_slow) = changes
    assert np.abs(vectors).max() > 1e-3
    assert np.abs(unknown).max() > 1e-3
    np.testing.assert_allclose(vectors_slow, 0.25 * vectors, atol=1e-5)
    np.testing.assert_allclose(unknown_slow, unknown, atol=1e-6)
    model = build(encoder, "freeze", recurrent=None)
    # Frozen, yet words without a vector get one from the task.
    names = [getattr(weight, "path", weight.name) for weight in model.trainable_weights]
    assert not any("word_vectors" in name for name in names)
    assert any("unknown_vector" in name for name in names)


def test_it_learns_and_is_served(encoder, reviews, tmp_path):
    model = build(encoder, units=8, learning_rate=0.03)
    often = reviews.take(np.tile(np.arange(len(reviews)), 10))
    model.fit(encoder.batches(often, training=True, batch_size=16), epochs=1, verbose=0)
    # Ten of the twelve telling words are in the vectors.
    assert np.mean(predict(model, reviews.texts.tolist()).label == reviews.label_names) > 0.8
    # A text of unknown words only, and one without words, are answered like any other.
    texts = ["the film was great!", "영화 지루하다", "qwerty asdf", "", "  \u200b"]
    answers = predict(model, texts, all_scores=True)
    assert np.isfinite(answers.score).all()
    assert answers.score_positive[3] == answers.score_positive[4]
    # However much padding stands behind it.
    for text, score in zip(texts, answers.score_positive, strict=True):
        beside = predict(model, [text, "film " * 30], all_scores=True).score_positive[0]
        np.testing.assert_allclose(beside, score, atol=1e-5)
    served = load_exported(export(model, tmp_path / "1"))
    exported = predict(served, texts, all_scores=True)
    assert exported.label.tolist() == answers.label.tolist()
    np.testing.assert_allclose(exported.score_positive, answers.score_positive, atol=1e-5)
    np.testing.assert_allclose(
        predict(served, [""], all_scores=True).score_positive, answers.score_positive[3], atol=1e-5
    )
    model.save(tmp_path / "m.keras")
    loaded = load_model(tmp_path / "m.keras")
    again = predict(loaded, texts, all_scores=True)
    np.testing.assert_allclose(again.score_positive, answers.score_positive, atol=1e-6)
    assert encoder_of(loaded).vocabulary.words == encoder.vocabulary.words


def test_without_a_recurrent_network_it_is_the_mean(encoder):
    model = build(encoder, "freeze", recurrent=None, pooling="cls")
    vectors = encoder.vectors
    kernel, bias = (w.numpy() for w in model.get_layer("logits").weights)
    mean = (vectors.vector("good") + vectors.vector("film") + vectors.matrix.mean(0)) / 3
    logits = mean @ kernel + bias
    expected = np.exp(logits) / np.exp(logits).sum()
    batch = next(iter(encoder.batches(["good film xyz"])))
    np.testing.assert_allclose(model(batch, training=False).numpy()[0], expected, atol=1e-5)


def test_tagging():
    words = [["the", "film", "Rome", "was", "good", "."], ["영화", "Rome!", "좋다"], ["the", "bad", "film"]] * 8
    tags = [["O", "O", "B-LOC", "O", "O", "O"], ["O", "B-LOC", "O"], ["O", "O", "O"]] * 8
    examples = TaggedExamples.from_words(words, tags)
    encoder = word_vector_encoder(None, examples.texts, width=8, seq_length=6)
    model = token_classifier(encoder, examples.tag_set, recurrent=Recurrence(units=4))
    inputs = next(iter(encoder.tagging_batches(examples, batch_size=2)))[0]
    assert model(inputs).shape == (2, 6, 3)
    # The same word has another answer among other neighbours: the network reads them.
    alone = next(iter(encoder.tagging_batches(examples.take(np.array([2])))))[0]
    assert np.abs(model(alone).numpy()[0, 0] - model(inputs).numpy()[0, 0]).max() > 1e-4


def test_weights_of_another_width(encoder, reviews, tmp_path):
    build(encoder).save_weights(tmp_path / "w.weights.h5")
    wider = word_vector_encoder(None, reviews.texts, width=7)
    with pytest.raises(ValueError, match=r"the saved model holds word vectors of \d+ x 6 numbers, this model \d+ x 7"):
        build(wider).load_weights(tmp_path / "w.weights.h5")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"transfer": "thaw"}, "choose one of: freeze, fine-tune"),
        ({"recurrent": "rnn"}, "choose one of: lstm, gru"),
        ({"pooling": "mix"}, "mixes the encoder's blocks"),
    ],
)
def test_wrong_options(encoder, options, message):
    with pytest.raises(UserError, match=message):
        build(encoder, **options)
