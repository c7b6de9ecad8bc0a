"""Filling masks: with the probabilities of the encoder's own head, several masks, both languages, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import tl_keras as tlk
from tl_keras.errors import UserError


def test_masks_are_filled_with_the_likeliest_tokens_of_the_head(mlm_pair, vocabulary, call):
    module = tf.saved_model.load(str(mlm_pair / "encoder"))
    # Written out by hand.
    words = ["[CLS]", "the", "영화", "[MASK]", "[MASK]", ".", "[SEP]"]
    ids = np.array([[vocabulary.index(word) for word in words]], "int32")
    inputs = {"input_word_ids": ids, "input_mask": np.ones_like(ids), "input_type_ids": np.zeros_like(ids)}
    inputs = {name: tf.constant(value) for name, value in inputs.items()}
    places = tf.constant([[3, 4]])
    logits = (
        module.mlm({**inputs, "masked_lm_positions": places}, training=False)["mlm_logits"].numpy()[0].astype("float64")
    )
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)

    text = "the 영화 [MASK] [MASK]."
    found = tlk.fill_mask(mlm_pair, text, top=3)
    assert found["mask"].tolist() == [1, 1, 1, 2, 2, 2]
    for number, row in enumerate(probabilities, start=1):
        best = np.argsort(-row)[:3]
        part = found[found["mask"] == number]
        assert part["token"].tolist() == [vocabulary[i] for i in best]
        np.testing.assert_allclose(part["probability"], row[best], rtol=1e-3)
    loaded = tlk.fill_mask(tlk.load_encoder(str(mlm_pair), seq_length=16), text, top=3)
    assert loaded["token"].tolist() == found["token"].tolist()
    code, out, err = call("fill-mask", mlm_pair, text, "--top", 1)
    assert code == 0, err
    assert [line.split("\t")[1] for line in out.strip().split("\n")[1:]] == found["token"][::3].tolist()


def test_what_cannot_be_filled(mlm_pair, tiny_pair):
    with pytest.raises(UserError, match="has no masked-LM head, so it cannot fill masks"):
        tlk.fill_mask(tiny_pair, "good [MASK]")
    with pytest.raises(UserError, match=r"the text has no \[MASK\]: write it where .* is to find a word"):
        tlk.fill_mask(mlm_pair, "nothing to find")
    with pytest.raises(UserError, match=r"a \[MASK\] lies beyond the first 8; shorten it"):
        tlk.fill_mask(mlm_pair, "film " * 12 + "[MASK]", seq_length=8)
    with pytest.raises(UserError, match="top must be at least 1, not 0"):
        tlk.fill_mask(mlm_pair, "[MASK]", top=0)
