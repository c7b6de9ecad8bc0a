"""Learning word vectors from the command line: files that others can read, whole or not at all."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from tl_keras.encoders.word_vectors.read import read_vectors

pytestmark = pytest.mark.one_keras

gensim_models = pytest.importorskip("gensim.models")


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("영화가 정말 좋다!\n이 영화는 정말 지루하다\nThe film, the film\n" * 4, "utf-8")
    return path


def test_skip_gram(call, corpus, tmp_path):
    options = ["--corpus", corpus, "--min-count", 2, "--width", 6, "--epochs", 2, "--seed", 3]
    code, _, err = call("pretrain", "word-vectors", *options, "--out", tmp_path / "a.vec")
    assert code == 0, err
    assert "epoch 2 of 2, 100%" in err
    vectors = read_vectors(tmp_path / "a.vec")
    # Words as the models split them: punctuation apart, capitals kept.
    assert set(vectors.words) == {"영화가", "정말", "좋다", "!", "이", "영화는", "지루하다", "The", "film", ",", "the"}
    np.testing.assert_allclose(
        gensim_models.KeyedVectors.load_word2vec_format(str(tmp_path / "a.vec")).vectors, vectors.matrix
    )
    facts = json.loads((tmp_path / "a.vec.json").read_text("utf-8"))
    assert (facts["kind"], facts["width"], facts["seed"], facts["words"]) == ("skip-gram", 6, 3, 11)
    assert facts["corpus"][0]["sha256"] == hashlib.sha256(corpus.read_bytes()).hexdigest()
    assert facts["corpus"][0]["path"] == "corpus.txt"
    # The same seed gives the same vectors, in binary too.
    assert call("pretrain", "word-vectors", *options, "--out", tmp_path / "b.bin")[0] == 0
    again = read_vectors(tmp_path / "b.bin")
    assert again.words == vectors.words
    np.testing.assert_allclose(again.matrix, vectors.matrix, atol=1e-6)
    code, _, err = call("pretrain", "word-vectors", *options, "--out", tmp_path / "a.vec")
    assert (code, "--overwrite" in err) == (2, True)


def test_fasttext_into_a_folder(call, corpus, tmp_path):
    code, _, err = call(
        "pretrain", "word-vectors", "--corpus", corpus, "--out", tmp_path / "ft", "--kind", "fasttext", "--min-count", 1,
        "--width", 6, "--epochs", 1, "--buckets", 100, "--lower-case",
    )  # fmt: skip
    assert code == 0, err
    assert {f.name for f in (tmp_path / "ft").iterdir()} == {"vectors.vec", "vectors.bin", "vectors.vec.json"}
    text, binary = read_vectors(tmp_path / "ft" / "vectors.vec"), read_vectors(tmp_path / "ft" / "vectors.bin")
    assert text.is_lower_case
    np.testing.assert_allclose(binary.vector("영화는"), text.vector("영화는"), atol=1e-5)
    assert text.vector("영화도") is None
    assert binary.vector("영화도").shape == (6,)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("한 문장뿐이다.\n", [], "at least two sentences"),
        ("a b\nc d\n", [], "no word occurs 5 times"),
        ("a b\nc d\n", ["--kind", "glove"], "choose one of: skip-gram, cbow, fasttext"),
        ("a b\nc d\n", ["--width", 0], "--width must be at least 1"),
        ("a b\nc d\n", ["--kind", "fasttext", "--min-subword", 4, "--max-subword", 3], "is below"),
    ],
)
def test_wrong_calls_leave_nothing(call, tmp_path, content, options, message):
    (tmp_path / "c.txt").write_text(content, "utf-8")
    code, _, err = call(
        "pretrain", "word-vectors", "--corpus", tmp_path / "c.txt", "--out", tmp_path / "o.vec", *options
    )
    assert code == 2
    assert message in err
    assert {f.name for f in tmp_path.iterdir()} == {"c.txt"}


def test_a_crash_half_way_leaves_nothing(call, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("tl_keras.pretraining.word_vectors._save", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        call("pretrain", "word-vectors", "--corpus", corpus, "--out", tmp_path / "o.vec", "--min-count", 1)
    assert {f.name for f in tmp_path.iterdir()} == {"corpus.txt"}
