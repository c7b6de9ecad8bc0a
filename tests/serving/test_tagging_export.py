"""Exported taggers: strings in, spans out, the same as in Python, with TensorFlow alone."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import tensorflow as tf

from tl_keras import UserError, export, load_encoder, load_exported, predict, token_classifier
from tl_keras.data import TagSet
from tl_keras.serving.served_model import served_model
from tl_keras.serving.tagger import Tagger, tagging_graph

TEXTS = ["the music good was", "", "영화 재미있다! 👩\u200d👩\u200d👧 film", "film good actor bad " * 20, " \t"]


def test_the_same_spans_in_another_process_after_a_move_without_the_encoder(tiny_pair, tmp_path, serve, monkeypatch):
    shutil.copytree(tiny_pair, tmp_path / "cache")
    encoder = load_encoder(str(tmp_path / "cache"), seq_length=16)
    # Random weights, spread out: every tag occurs, and the texts' windows disagree.
    model = token_classifier(encoder, TagSet(("LOC", "PER"), tokens="all"))
    logits = model.get_layer("logits")
    logits.kernel.assign(np.random.default_rng(0).normal(0, 2, logits.kernel.shape))
    logits.bias.assign([0, 0, -4, 0, -4])  # short spans, many of them
    expected = predict(model, TEXTS).entities
    assert sum(map(len, expected)) > 20
    assert {e["label"] for es in expected for e in es} == {"LOC", "PER"}
    # The windows of the long text are looked at in several lots.
    monkeypatch.setattr("tl_keras.serving.tagger.WINDOWS_AT_ONCE", 3)
    in_lots = tf.function(
        tagging_graph(served_model(model), encoder, model.get_layer("probabilities").tag_set), autograph=False
    )
    for found, es in zip(Tagger(in_lots, ("LOC", "PER"), "bio").entities(TEXTS), expected, strict=True):
        assert [(e["start"], e["end"], e["label"]) for e in found] == [(e["start"], e["end"], e["label"]) for e in es]
    export(model, tmp_path / "out" / "1")
    shutil.rmtree(tmp_path / "cache")
    moved = (tmp_path / "out" / "1").rename(tmp_path / "moved")
    got = serve(moved, text=TEXTS)
    assert set(got) == {"starts", "ends", "labels", "scores", "count"}
    assert got["count"] == [len(es) for es in expected]
    most = max(got["count"])
    for row, es in enumerate(expected):
        padding = most - len(es)
        assert got["starts"][row] == [e["start"] for e in es] + [-1] * padding
        assert got["ends"][row] == [e["end"] for e in es] + [-1] * padding
        assert got["labels"][row] == [e["label"] for e in es] + [""] * padding
        np.testing.assert_allclose(got["scores"][row], [e["score"] for e in es] + [0.0] * padding, atol=1e-5)

    loaded = load_exported(moved)
    again = predict(loaded, TEXTS).entities
    assert [[(e["start"], e["text"]) for e in es] for es in again] == [
        [(e["start"], e["text"]) for e in es] for es in expected
    ]
    assert loaded.signature(text=tf.constant([], tf.string))["starts"].shape[0] == 0
    # No weight twice.
    stored = tf.train.list_variables(str(moved / "variables" / "variables"))
    numbers = sum(int(np.prod(shape)) for name, shape in stored if name.endswith("VARIABLE_VALUE"))
    assert numbers == sum(int(np.prod(w.shape)) for w in model.variables)
    # Saved and loaded once more.
    tf.saved_model.save(loaded.module, str(tmp_path / "2"), signatures=loaded.module.signatures)
    shutil.rmtree(moved)
    (only,) = predict(load_exported(tmp_path / "2"), TEXTS[:1]).entities
    assert [e["start"] for e in only] == [e["start"] for e in expected[0]]


def test_a_text_embedding_module_cannot_tag(encoder, monkeypatch):
    monkeypatch.setattr(encoder, "preprocessor_folder", None)
    with pytest.raises(UserError, match="needs a BERT-like encoder"):
        token_classifier(encoder, ["A"])
