"""`tl-keras encode`: a file of texts to a file of vectors."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest

from tl_keras.serving.encode import encode

TEXTS = ["the film was good", "", "bad , dull plot", "영화 좋다"]


@pytest.fixture
def table(tmp_path):
    frame = pd.DataFrame({"document": TEXTS, "other": ["a", "b", "c", "d"], "label": ["pos", "neg", "neg", "pos"]})
    frame.to_csv(tmp_path / "texts.csv", index=False)
    return tmp_path / "texts.csv"


def test_vectors_and_labels_of_every_row(call, table, tiny_pair, tmp_path):
    base = ["--encoder", tiny_pair, "--data", table, "--text", "document", "--seq-length", 32, "--pooling", "max"]
    code, out, err = call("encode", *base, "--out", tmp_path / "a.npz", "--label", "label")
    assert code == 0, err
    assert "4 texts encoded, 16 numbers each" in out
    with np.load(tmp_path / "a.npz", allow_pickle=False) as stored:
        assert stored["labels"].tolist() == ["pos", "neg", "neg", "pos"]
        assert stored["vectors"].dtype == np.float32
        np.testing.assert_allclose(stored["vectors"], encode(tiny_pair, TEXTS, "max", seq_length=32), atol=1e-6)
    more = ["--text-pair", "other", "--normalize", "--batch-size", 3]
    assert call("encode", *base, *more, "--out", tmp_path / "b.npz")[0] == 0
    with np.load(tmp_path / "b.npz") as stored:
        assert stored.files == ["vectors"]
        pairs = encode(tiny_pair, TEXTS, "max", text_pairs=list("abcd"), seq_length=32, normalize=True)
        np.testing.assert_allclose(stored["vectors"], pairs, atol=1e-6)
    assert {path.name for path in tmp_path.iterdir()} == {"texts.csv", "a.npz", "b.npz"}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--out", "vectors.npy"], "must end in .npz, not be vectors.npy"),
        (["--out", "no/such/folder/v.npz"], "there is no folder no/such/folder"),
        (["--text", "review"], "no column 'review'; its columns are: document, other, label"),
        (["--data", "nothing.csv"], "no file nothing.csv"),
        (["--encoder", "small_bert"], "small_bert"),
        (["--pooling", "mix"], "choose one of: mean, max, cls"),
    ],
)
def test_wrong_calls_are_told_before_tensorflow_is_there(call, table, tmp_path, monkeypatch, more, message):
    # An import of what needs TensorFlow would fail.
    monkeypatch.setitem(sys.modules, "tl_keras.serving.encode", None)
    base = {"--out": str(tmp_path / "v.npz"), "--data": str(table), "--text": "document"}
    base.update(zip(more[::2], more[1::2], strict=True))
    code, _, err = call("encode", *(word for pair in base.items() for word in pair))
    lines = [line for line in err.strip().splitlines() if line.startswith("tl-keras: ")]
    assert (code, len(lines)) == (2, 1), err
    assert message in lines[0]
    assert [path.name for path in tmp_path.iterdir()] == ["texts.csv"]


def test_nothing_is_left_of_a_file_that_cannot_be_written(call, table, tiny_pair, tmp_path, monkeypatch):
    def fail(stream, **arrays):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", fail)
    code, _, err = call(
        "encode",
        "--encoder",
        tiny_pair,
        "--data",
        table,
        "--text",
        "document",
        "--seq-length",
        32,
        "--out",
        tmp_path / "v.npz",
    )
    assert (code, "no space is left" in err) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["texts.csv"]
