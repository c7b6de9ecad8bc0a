"""Classifiers and taggers on ELMo vectors: what joins where, learning, predicting, exporting."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import tensorflow as tf

from tl_keras import KerasLayer, UserError, export, load_model, predict, text_classifier, token_classifier
from tl_keras._keras import keras
from tl_keras.encoders.load import encoder_of
from tl_keras.models.elmo import elmo_encoder
from tl_keras.models.recurrent import Recurrence


@pytest.fixture(scope="module")
def classifier(bilm_folder, reviews, tmp_path_factory):
    """A trained classifier, with the biLM in a folder of its own that may go away: (model, losses, folder)."""
    folder = tmp_path_factory.mktemp("copy") / "bilm"
    shutil.copytree(bilm_folder, folder)
    keras.utils.set_random_seed(0)
    encoder = elmo_encoder(folder, "both", texts=list(reviews.texts))
    model = text_classifier(
        encoder, reviews.classes, pooling="max", recurrent=Recurrence(units=8), dropout=0.0, learning_rate=0.02
    )
    batches = encoder.batches(reviews, training=True, batch_size=16)
    return model, model.fit(batches, epochs=4, verbose=0).history["loss"], folder


def test_it_learns_beside_a_frozen_bilm(classifier, bilm_folder):
    model, losses, _ = classifier
    assert losses[-1] < 0.9 * losses[0]
    learned = {tuple(w.shape) for w in model.get_layer("elmo_input").weights}
    assert learned == {(3,), ()}
    assert not model.get_layer("elmo").trainable_weights
    before = [w.numpy() for w in KerasLayer(str(bilm_folder)).weights]
    for weight, start in zip(model.get_layer("elmo").weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), start)
    # 100 random numbers a word and 6 of ELMo go in, 2 * 8 states and 6 of ELMo come out
    assert model.get_layer("joined_input").output.shape[-1] == 106
    assert model.get_layer("joined_output").output.shape[-1] == 22


def test_what_it_says_survives_saving_and_exporting(classifier, tmp_path):
    model, _, folder = classifier
    texts = ["the film was very good!", "dull", "정말 재미없다", "words nobody knows", ""]
    expected = predict(model, texts, all_scores=True)
    model.save(tmp_path / "m.keras")
    again = predict(load_model(tmp_path / "m.keras"), texts, all_scores=True)
    np.testing.assert_allclose(again["score_positive"], expected["score_positive"], atol=1e-6)
    export(model, tmp_path / "1")
    folder.rename(folder.with_name("gone"))
    try:
        served = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"](text=tf.constant(texts))
    finally:
        folder.with_name("gone").rename(folder)
    np.testing.assert_allclose(served["scores"][:, 1], expected["score_positive"], atol=1e-5)
    assert [label.decode() for label in served["label"].numpy()] == expected["label"].tolist()


def test_a_tagger_without_word_vectors(bilm_folder):
    model = token_classifier(elmo_encoder(bilm_folder), ["PER"], recurrent=Recurrence(units=4), dropout=0.0)
    encoder = encoder_of(model)
    packed = encoder.preprocessor.pack([encoder.preprocessor.tokenize(tf.constant(["Ines flew", "to Lima."]))], 8)
    probabilities = model(packed, training=False).numpy()
    assert probabilities.shape == (2, 8, 3)
    np.testing.assert_allclose(probabilities.sum(-1), 1.0, rtol=1e-5)
    # of the ELMo vectors alone, and there is nothing else to read
    assert model.get_layer("joined_input").output.shape[-1] == 6


def test_what_cannot_be(bilm_folder):
    with pytest.raises(UserError, match="leaves the recurrent network nothing to read"):
        elmo_encoder(bilm_folder, "output")
    with pytest.raises(UserError, match="join at input, output, both"):
        elmo_encoder(bilm_folder, "above")


def test_words_of_the_bilm_alone_are_not_called_unknown(bilm_folder, reviews):
    report = elmo_encoder(bilm_folder, "input").report(reviews)
    assert (report.unknown, report.worrying) == (0.0, False)
