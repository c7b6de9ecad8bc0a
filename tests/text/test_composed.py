"""Decomposed Hangul (NFD, as macOS writes it) is read as the same text composed, and answers point into the text as it was given."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
import tensorflow as tf

from tl_keras import text_classifier
from tl_keras.serving.predict import export, load_exported
from tl_keras.text.offsets import compose, wants_syllables

TEXTS = [
    "정말 재미있다 the film!",
    "영화",
    "배우 음악 good, 좋다.",
    "",
    "plain film",
    "나쁘 \U0001f600 영화x",
    "a\u0301 음악",  # a decomposed Latin letter beside
]


def nfd(text: str) -> str:
    return unicodedata.normalize("NFD", text)


def test_tokens_are_those_of_the_composed_text_in_the_places_of_the_given_one(encoder):
    rng = np.random.default_rng(4)
    texts = TEXTS + ["".join(rng.choice(list("영화 재미있다정말x.가각힣"), rng.integers(1, 30))) for _ in range(60)]
    whole = encoder.offset_tokenizer(tf.constant(texts))
    parts = encoder.offset_tokenizer(tf.constant([nfd(text) for text in texts]))
    assert whole.ids.to_list() == parts.ids.to_list()
    assert encoder.preprocessor.tokenize(tf.constant([nfd(t) for t in texts])).to_list() == (
        encoder.preprocessor.tokenize(tf.constant(texts)).to_list()
    )
    for row, text in enumerate(texts):
        for kind in (("starts", "ends"), ("word_starts", "word_ends")):
            slices = [
                [given[a:b] for a, b in zip(*(getattr(found, name)[row].numpy() for name in kind), strict=True)]
                for given, found in ((text, whole), (nfd(text), parts))
            ]
            # What stands at the places of the one is, composed, what stands at those of the other.
            assert [unicodedata.normalize("NFC", part) for part in slices[1]] == [
                unicodedata.normalize("NFC", part) for part in slices[0]
            ], text


def test_an_export_reads_both_alike(encoder, tmp_path):
    model = text_classifier(encoder, ["a", "b"], "freeze")
    loaded = load_exported(export(model, tmp_path / "1"))
    texts = [text for text in TEXTS if "\u0301" not in text]
    np.testing.assert_allclose(loaded.scores([nfd(text) for text in texts]), loaded.scores(texts), atol=1e-6)


def test_texts_without_jamo_are_left_as_they_are():
    texts = ["cafe\u0301", "\ud55c\uae00", "x"]
    assert [text.decode() for text in compose(tf.constant(texts)).numpy()] == texts


@pytest.mark.parametrize(("known", "wanted"), [("한국어문장을나눠봅니다", True), ("", False), ("\u1112\u1161", False)])
def test_it_is_asked_of_the_vocabulary(known, wanted):
    def tokenize(texts):
        return tf.ragged.constant([[1 if c in known else 0 for c in text.decode()] for text in texts.numpy()], tf.int32)

    # Neither a tokenizer that knows no Hangul nor one of jamo wants it otherwise; both take a letter for a token here.
    assert wants_syllables(tokenize, 0) is wanted
