"""Pseudo-perplexity against the head worked out with numpy, and what is asked for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from tl_keras.advice.domain import pseudo_perplexity
from tl_keras.data.examples import Examples

pytestmark = pytest.mark.one_keras

# Lengths from one token to beyond the limit; unknown letters among them; more than two batches of them.
TEXTS = ["good", "the film was very good .", "영화 재미있다 ж", "a bad plot, and a dull actor was the film", "ж"] * 8


@pytest.fixture(scope="module")
def loaded(mlm_pair):
    from tl_keras.text.preprocessor import Preprocessor

    return tf.saved_model.load(str(mlm_pair / "encoder")), Preprocessor(str(mlm_pair / "preprocess"))


def head_in_numpy(encoder, hidden: np.ndarray) -> np.ndarray:
    """Logits float `[n, vocabulary]` of the masked-LM head, from its published definition."""
    from scipy.special import erf

    w = {v.name.removesuffix(":0"): v.numpy().astype("float64") for v in encoder.mlm.variables}
    name = "bert/cls/predictions"
    x = hidden @ w[f"{name}/transform/dense/kernel"] + w[f"{name}/transform/dense/bias"]
    x = x * 0.5 * (1 + erf(x / np.sqrt(2)))
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    x = x * w[f"{name}/transform/LayerNorm/gamma"] + w[f"{name}/transform/LayerNorm/beta"]
    return x @ w["word_embeddings/embeddings"].T + w[f"{name}/output_bias/bias"]


def test_against_numpy(loaded, vocabulary):
    """With a share near 1 every known token is hidden at once, so there is nothing random about the figure."""
    encoder, preprocessor = loaded
    found = pseudo_perplexity(encoder.mlm, preprocessor, TEXTS, 16, fraction=0.99, predictions=600, seed=3)

    losses, tokens = [], 0
    for text in TEXTS[:5]:  # each by itself, unpadded
        ids = preprocessor.tokenize(tf.constant([text])).merge_dims(1, 2).to_list()[0]
        tokens += len(ids)
        row = np.array([2, *ids[:14], 3])  # [CLS] and [SEP]; cut at 16
        known = [place for place in range(1, len(row) - 1) if vocabulary[row[place]] != "[UNK]"]
        masked = row.copy()
        masked[known] = 4
        inputs = {"input_word_ids": masked, "input_mask": np.ones_like(row), "input_type_ids": np.zeros_like(row)}
        hidden = encoder({k: tf.constant(v[np.newaxis], tf.int32) for k, v in inputs.items()})["sequence_output"][0]
        logits = head_in_numpy(encoder, hidden.numpy().astype("float64")[known])
        losses += [np.log(np.exp(line).sum()) - line[row[place]] for line, place in zip(logits, known, strict=True)]

    assert found.texts == 32  # of the text with nothing but an unknown letter, nothing can be asked
    assert found.predictions % (8 * len(losses)) == 0
    assert found.loss == pytest.approx(np.mean(losses), rel=1e-4)
    assert found.perplexity == pytest.approx(math.exp(np.mean(losses)), rel=1e-4)
    assert found.tokens_per_character == pytest.approx(tokens / sum(len(t.replace(" ", "")) for t in TEXTS[:5]))
    assert found.bits_per_character == pytest.approx(found.loss / np.log(2) * found.tokens_per_character)


class Recorder:
    """A head that finds every token equally likely, and remembers what it was shown."""

    def __init__(self, vocabulary: int):
        self.vocabulary = vocabulary
        self.shown = []

    def __call__(self, inputs, training):
        assert training is False
        self.shown.append({name: value.numpy() for name, value in inputs.items()})
        return {"mlm_logits": tf.zeros([*inputs["masked_lm_positions"].shape, self.vocabulary])}


def test_a_share_of_the_tokens_is_hidden_in_as_many_texts_as_needed(loaded, vocabulary):
    _, preprocessor = loaded
    head = Recorder(len(vocabulary))
    found = pseudo_perplexity(head, preprocessor, TEXTS, 16, predictions=20)
    # One or two of at most 16 tokens each, until there are 20; every token equally likely.
    assert 20 <= found.predictions <= 21
    assert found.texts <= 20
    assert found.perplexity == pytest.approx(len(vocabulary), rel=1e-4)
    assert found.error == pytest.approx(0.0, abs=1e-5)
    hidden = sum((batch["input_word_ids"] == 4).sum() for batch in head.shown)
    assert hidden == found.predictions
    # Few texts are read several times over, with other tokens hidden.
    head = Recorder(len(vocabulary))
    found = pseudo_perplexity(head, preprocessor, TEXTS[1:2], 16, predictions=10)
    assert (found.texts, found.predictions) == (1, 10)
    assert len({tuple(batch["input_word_ids"][0]) for batch in head.shown}) > 2
    assert pseudo_perplexity(head, preprocessor, ["ж", "ж ж"], 16) is None


def test_pairs_hide_tokens_of_both_texts(loaded, vocabulary):
    _, preprocessor = loaded
    head = Recorder(len(vocabulary))
    pairs = Examples.from_lists(["good film"], text_pairs=["bad plot"])
    pseudo_perplexity(head, preprocessor, pairs, 16, predictions=30)
    places = {int(place) for batch in head.shown for place in np.flatnonzero(batch["input_word_ids"][0] == 4)}
    assert places == {1, 2, 4, 5}  # [CLS] good film [SEP] bad plot [SEP]
