"""The cross-encoder: a score in its range, from both texts together."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tl_keras import UserError, evaluate, predict, text_classifier
from tl_keras.data import Examples
from tl_keras.data.pairs import ScoredExamples
from tl_keras.models.builders import text_regressor


@pytest.fixture(scope="module")
def regressor(tiny_pair):
    """From 1 to 5, not trained."""
    from tl_keras import load_encoder

    return text_regressor(load_encoder(str(tiny_pair), seq_length=32), (1, 5), "freeze", pooling="mean")


def test_scores_are_a_sigmoid_stretched_over_the_range(encoder, regressor):
    batch = next(iter(encoder.batches(Examples.from_lists(["good film"], text_pairs=["bad"]))))
    tokens = tf.saved_model.load(encoder.folder)(batch, training=False)["sequence_output"].numpy()[0]
    kernel, bias = (w.numpy() for w in regressor.get_layer("logits").weights)
    logit = (tokens[batch["input_mask"].numpy()[0] == 1].mean(0) @ kernel + bias)[0]
    assert regressor(batch).numpy().tolist() == pytest.approx([1 + 4 / (1 + np.exp(-logit))], abs=1e-5)
    assert predict(regressor, ["good film"], ["bad"]).score[0] == pytest.approx(1 + 4 / (1 + np.exp(-logit)), abs=1e-5)


def test_order_and_segments_of_a_pair_matter(encoder, regressor):
    there = predict(regressor, ["good film"], ["bad plot"]).score[0]
    back = predict(regressor, ["bad plot"], ["good film"]).score[0]
    assert abs(there - back) > 1e-5
    batch = dict(next(iter(encoder.batches(Examples.from_lists(["good film"], text_pairs=["bad plot"])))))
    assert batch["input_type_ids"].numpy().tolist()[0][:8] == [0, 0, 0, 0, 1, 1, 1, 0]
    without = {**batch, "input_type_ids": tf.zeros_like(batch["input_type_ids"])}
    assert abs(float(regressor(without)[0]) - there) > 1e-5


def test_in_pair_classification_too_it_matters_which_text_comes_first(encoder):
    # Premise and hypothesis: "some film is good" follows from "the film is good", not the other way round.
    model = text_classifier(encoder, ["entailment", "neutral", "contradiction"], "freeze", pooling="mean")
    there = predict(model, ["the film is good"], ["it is a film"], all_scores=True).iloc[0, 4:].to_numpy(float)
    back = predict(model, ["it is a film"], ["the film is good"], all_scores=True).iloc[0, 4:].to_numpy(float)
    assert there.sum() == pytest.approx(1, abs=1e-5)
    assert np.abs(there - back).max() > 1e-5


def test_it_learns_a_number_from_single_texts(encoder):
    examples = ScoredExamples.from_lists(["good film", "bad film", "the film"] * 80, [10, -10, 0] * 80)
    model = text_regressor(encoder, examples.score_range, "freeze", pooling="mean", dropout=0, learning_rate=0.3)
    model.fit(encoder.batches(examples, training=True, batch_size=8), epochs=3, verbose=0)
    report = evaluate(model, examples)
    assert report.mean_absolute_error < 1.5
    assert predict(model, ["bad film", "good film"]).score.is_monotonic_increasing


@pytest.mark.parametrize(
    ("score_range", "options", "message"),
    [
        ((5, 5), {}, "from a lower to a higher"),
        ("05x", {}, "two numbers"),
        ((0, float("inf")), {}, "from a lower to a higher"),
        ((0, 1), {"dropout": 1.0}, "below 1"),
        ((0, 1), {"transfer": "thaw"}, "choose one of"),
    ],
)
def test_wrong_options(encoder, score_range, options, message):
    with pytest.raises(UserError, match=message):
        text_regressor(encoder, score_range, **options)
