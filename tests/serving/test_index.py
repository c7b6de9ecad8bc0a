"""Searching a collection: exact, approximate, saved, and never with another encoder."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

from tl_keras.errors import UserError
from tl_keras.evaluation.nearest import nearest
from tl_keras.serving.exported_similarity import TextEncoder
from tl_keras.serving.index import TextIndex

WIDTH = 24


def letters_encoder(power: float = 1.0, width: int = WIDTH) -> TextEncoder:
    """Counts letters: a text's vector can be worked out by hand, and no model is needed."""

    def function(texts):
        codes = tf.strings.unicode_decode(texts, "UTF-8") % width
        return tf.reduce_sum(tf.one_hot(codes, width), axis=1) ** power + 1e-3

    return TextEncoder(function, width, "letters")


@pytest.fixture
def texts():
    rng = np.random.default_rng(0)
    return ["".join(chr(97 + c) for c in rng.integers(0, WIDTH, size=rng.integers(1, 30))) for _ in range(300)]


def test_exact_search_is_a_full_sort():
    rng = np.random.default_rng(1)
    vectors, queries = rng.integers(-2, 3, size=(500, 6)), rng.integers(-2, 3, size=(70, 6))  # with many ties
    rows, scores = nearest(vectors.astype("float32"), queries.astype("float32"), 9)
    products = queries @ vectors.T
    expected = np.argsort(-products, axis=1, kind="stable")[:, :9]
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(scores, np.take_along_axis(products, expected, 1))
    assert nearest(vectors.astype("float32"), queries[:1].astype("float32"), 9)[0].tolist() == expected[:1].tolist()
    with pytest.raises(UserError, match="at least 1"):
        nearest(vectors, queries, 0)


def test_finds_texts_in_order_of_their_cosine(texts):
    seen = []
    index = TextIndex.build(letters_encoder(), (t for t in texts), batch_size=7, progress=lambda *a: seen.append(a[0]))
    assert (len(index), seen) == (300, [300])
    counts = np.array([np.bincount([ord(c) % WIDTH for c in t], minlength=WIDTH) for t in texts]) + 1e-3
    unit = counts / np.linalg.norm(counts, axis=1, keepdims=True)
    found = index.search([texts[5], "zebra"], k=4)
    assert found["query"].tolist() == [texts[5]] * 4 + ["zebra"] * 4
    assert found["rank"].tolist() == [1, 2, 3, 4] * 2
    assert found["row"][0] == 5
    np.testing.assert_allclose(found.score[:4], np.sort(unit @ unit[5])[::-1][:4], atol=1e-5)
    assert found.text.tolist() == [texts[row] for row in found["row"]]
    assert len(index.search(["a"], k=1000)) == 300
    with pytest.raises(UserError, match="list of strings"):
        index.search("zebra")
    with pytest.raises(UserError, match="no texts"):
        TextIndex.build(letters_encoder(), [])
    with pytest.raises(UserError, match="entry 2 is NoneType"):
        TextIndex.build(letters_encoder(), ["a", None])


def test_saved_and_loaded_it_finds_the_same(texts, tmp_path):
    odd = ["line\nbreak", "줄\u2028바꿈", 'quote "x"', "emoji 😀", *texts]
    index = TextIndex.build(letters_encoder(), odd)
    index.save(tmp_path / "index")
    again = TextIndex.load(tmp_path / "index", letters_encoder())
    assert again.texts.tolist() == odd
    assert again.search(["emoji"], 3).equals(index.search(["emoji"], 3))
    assert [f.name for f in tmp_path.iterdir()] == ["index"]
    with pytest.raises(UserError, match="exists"):
        index.save(tmp_path / "index")
    index.save(tmp_path / "index", overwrite=True)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "a.txt").write_text("years of work")
    with pytest.raises(UserError, match="is no index"):
        index.save(tmp_path / "thesis", overwrite=True)


def test_an_index_is_not_searched_with_another_encoder(texts, tmp_path):
    TextIndex.build(letters_encoder(), texts).save(tmp_path / "index")
    with pytest.raises(UserError, match="built with another encoder or another version of it"):
        TextIndex.load(tmp_path / "index", letters_encoder(power=1.3))
    with pytest.raises(UserError, match="vectors of 24 numbers, but letters gives 25"):
        TextIndex.load(tmp_path / "index", letters_encoder(width=25))
    # The same within rounding, as on another machine.
    TextIndex.load(tmp_path / "index", letters_encoder(power=1 + 1e-6))


def test_damaged_and_missing_indexes(texts, tmp_path):
    folder = TextIndex.build(letters_encoder(), texts).save(tmp_path / "index")
    lines = (folder / "texts.jsonl").read_text("utf-8").splitlines(keepends=True)
    (folder / "texts.jsonl").write_text("".join(lines[:-1]), "utf-8")
    with pytest.raises(UserError, match=r"texts\.jsonl has 5,416 bytes, not 5,434"):
        TextIndex.load(folder, letters_encoder())
    (folder / "manifest.json").unlink()  # as an earlier version wrote it
    with pytest.raises(UserError, match="says 300 texts, there are 299"):
        TextIndex.load(folder, letters_encoder())
    (folder / "vectors.npy").write_bytes(b"")
    with pytest.raises(UserError, match="damaged"):
        TextIndex.load(folder, letters_encoder())
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**meta, "format": 99}))
    with pytest.raises(UserError, match="later format"):
        TextIndex.load(folder, letters_encoder())
    with pytest.raises(UserError, match="does not exist"):
        TextIndex.load(tmp_path / "nothing", letters_encoder())
    with pytest.raises(UserError, match="is no index"):
        TextIndex.load(tmp_path, letters_encoder())


def test_approximate_search_finds_nearly_all(tmp_path):
    pytest.importorskip("usearch")
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(2000, 16)).astype("float32")
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    table = {str(i): v for i, v in enumerate(vectors)}
    encoder = TextEncoder(
        lambda texts: tf.constant([table.get(t.decode(), vectors[0]) for t in texts.numpy()]), 16, "a table"
    )
    TextIndex.build(encoder, list(table), approximate=True).save(tmp_path / "index")
    approximate = TextIndex.load(tmp_path / "index", encoder)
    exact = TextIndex.load(tmp_path / "index", encoder, exact=True)
    assert (repr(approximate), repr(exact)) == (
        "TextIndex(2000 texts, width 16, approximate)",
        "TextIndex(2000 texts, width 16, exact)",
    )
    rows, scores = approximate.search_vectors(vectors[:50], 10)
    expected, _ = exact.search_vectors(vectors[:50], 10)
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(rows, expected, strict=True)]) > 0.95
    np.testing.assert_allclose(scores, np.einsum("qkw,qw->qk", vectors[rows], vectors[:50]), atol=1e-5)
    assert (np.diff(scores, axis=1) <= 0).all()
