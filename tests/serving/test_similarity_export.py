"""Exports of what compares texts: the same vectors and scores, from strings."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tl_keras import UserError, export, load_encoder, load_exported, predict
from tl_keras.models.builders import text_regressor
from tl_keras.models.pair_builders import sentence_encoder
from tl_keras.serving.encode import encode

TEXTS = ["good film", "", "영화 정말 좋다!", "the music was very " * 20, "a"]


def test_strings_in_vectors_and_scores_out(tiny_pair, tmp_path):
    encoder = load_encoder(str(tiny_pair), seq_length=32)
    vectors = sentence_encoder(encoder, "freeze", dimensions=5, lexical_weight=0.3, lexical_texts=TEXTS)
    scores = text_regressor(encoder, (0, 5), "freeze", pooling="max")
    folders = [export(vectors, tmp_path / "v" / "1"), export(scores, tmp_path / "s" / "1", pairs=True)]
    encodes, scorer = (load_exported(folder.parent) for folder in folders)
    # What TensorFlow Serving calls.
    got = encodes.signature(text=tf.constant(TEXTS))
    expected = encode(vectors, TEXTS)
    assert list(got) == ["embedding"]
    np.testing.assert_allclose(got["embedding"], expected, atol=1e-5)
    got = scorer.signature(text=tf.constant(TEXTS), text_pair=tf.constant(TEXTS[::-1]))
    assert list(got) == ["score"]
    np.testing.assert_allclose(got["score"], predict(scores, TEXTS, TEXTS[::-1]).score, atol=1e-5)

    # The same interface as the models.
    assert (encodes.width, scorer.score_range) == (5 + 768, (0.0, 5.0))
    np.testing.assert_allclose(encode(encodes, TEXTS), expected, atol=1e-5)
    np.testing.assert_allclose(predict(encodes, TEXTS, TEXTS).score, 1.0, atol=1e-5)
    assert predict(scorer, [], []).score.tolist() == []
    with pytest.raises(UserError, match="takes pairs of texts"):
        predict(scorer, TEXTS)
    with pytest.raises(UserError, match="5 texts but 1 text_pairs"):
        predict(encodes, TEXTS, ["a"])
    with pytest.raises(UserError, match="gives no vectors"):
        encode(scorer, TEXTS)
