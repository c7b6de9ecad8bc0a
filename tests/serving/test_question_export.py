"""Exported answerers: questions and contexts in, slices of the contexts out, the same as in Python, with TensorFlow alone."""

from __future__ import annotations

import shutil

import numpy as np
import tensorflow as tf

from tl_keras import export, load_encoder, load_exported, predict
from tl_keras.models.pair_builders import question_answerer
from tl_keras.serving.answerer import Answerer, answering_graph
from tl_keras.serving.predict import as_predictor
from tl_keras.serving.served_model import served_model

QUESTIONS = ["the film ?", "영화 재미?", "x", "the music " * 60, "", "film ?"]
CONTEXTS = [
    "the music good was.",
    "영화 재미있다! 👩\u200d👩\u200d👧 film",
    "",
    "film good actor bad " * 20,
    "ﬁlm café e\u0301",
    " \t",
]


def test_the_same_answers_in_another_process_after_a_move_without_the_encoder(tiny_pair, tmp_path, serve, monkeypatch):
    shutil.copytree(tiny_pair, tmp_path / "cache")
    encoder = load_encoder(str(tmp_path / "cache"), seq_length=24)
    # Random weights, spread out: the windows of a context disagree.
    model = question_answerer(encoder, "freeze", null_answers=True)
    kernel = model.get_layer("logits").kernel
    kernel.assign(np.random.default_rng(0).normal(0, 1, kernel.shape))
    # A threshold in the middle of what the questions give, so that some are answered and some are not.
    threshold = float(np.sort(as_predictor(model).candidates(QUESTIONS, CONTEXTS).null_margins)[1]) + 0.01
    model.get_layer("spans").null_threshold = threshold
    expected = predict(model, QUESTIONS, CONTEXTS)
    assert sum(expected.answer == "") == 4
    assert expected.answer[2] == expected.answer[5] == ""
    # The windows of the long context are looked at in several lots.
    monkeypatch.setattr("tl_keras.serving.answerer.WINDOWS_AT_ONCE", 2)
    in_lots = tf.function(answering_graph(served_model(model), encoder, model.get_layer("spans")), autograph=False)
    answers = Answerer(in_lots, True, threshold).answers(QUESTIONS, CONTEXTS)
    assert [row["answer"] for row in answers] == expected.answer.tolist()
    export(model, tmp_path / "out" / "1")
    shutil.rmtree(tmp_path / "cache")
    moved = (tmp_path / "out" / "1").rename(tmp_path / "moved")
    got = serve(moved, question=QUESTIONS, context=CONTEXTS)
    assert sorted(serve(moved, "n_best", question=QUESTIONS, context=CONTEXTS)) == [
        "ends", "log_scores", "null_log_score", "starts",
    ]  # fmt: skip
    assert set(got) == {"answer", "start", "end", "score"}
    assert got["answer"] == [c[a:b] for c, a, b in zip(CONTEXTS, got["start"], got["end"], strict=True)]
    for name in ("answer", "start", "end"):
        assert got[name] == expected[name].tolist()
    np.testing.assert_allclose(got["score"], expected.score, atol=1e-5)

    loaded = load_exported(moved)
    assert (loaded.task, loaded.null_answers) == ("question-answering", True)
    assert abs(loaded.null_threshold - threshold) < 1e-6
    again = loaded.answers(QUESTIONS, CONTEXTS, n_best=2)
    assert [row["answer"] for row in again] == expected.answer.tolist()
    assert all(
        b["answer"] == c[b["start"] : b["end"]] for row, c in zip(again, CONTEXTS, strict=True) for b in row["n_best"]
    )
    nothing = tf.constant([], tf.string)
    assert loaded.signature(question=nothing, context=nothing)["answer"].shape == [0]
    # No weight twice.
    stored = tf.train.list_variables(str(moved / "variables" / "variables"))
    numbers = sum(int(np.prod(shape)) for name, shape in stored if name.endswith("VARIABLE_VALUE"))
    assert numbers == sum(int(np.prod(w.shape)) for w in model.variables)
