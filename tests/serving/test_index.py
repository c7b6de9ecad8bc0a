"""Searching a collection: exact, approximate, saved, and never with another encoder."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tl_keras.errors import UserError
from tl_keras.evaluation.similarity import nearest
from tl_keras.serving.index import TextIndex
from tl_keras.serving.nearest_search import LENGTH, SATURATION, SharedWords, terms_of
from tl_keras.serving.scorers import SentenceEncoder

WIDTH = 24


def letters_encoder(power: float = 1.0, width: int = WIDTH) -> SentenceEncoder:
    """Counts letters: a text's vector can be worked out by hand, and no model is needed."""

    def function(texts):
        codes = tf.strings.unicode_decode(texts, "UTF-8") % width
        return tf.reduce_sum(tf.one_hot(codes, width), axis=1) ** power + 1e-3

    return SentenceEncoder(function, width, "letters")


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
    encoder = SentenceEncoder(
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


# Shared words.

KOREAN = ["서울에서 BTS는 공연했다", "부산은 항구다", "서울의 지하철 film", "Films, FILM film!", "...", "2002년 서울"]


def test_terms():
    assert terms_of("ＦＩＬＭ 서울에서 3월") == ["film", " 서", "서울", "울에", "에서", " 3", "3월"]
    assert terms_of("BTS는 2002년, x!") == [" b", "bt", "ts", "s는", "bts", " 2", "20", "00", "02", "2년", "2002", "x"]
    assert terms_of(" ... ") == []


def test_shared_words_are_bm25_of_another_library():
    bm25s = pytest.importorskip("bm25s")
    terms = [terms_of(text) for text in KOREAN]
    other = bm25s.BM25(method="lucene", k1=SATURATION, b=LENGTH)
    other.index(terms, show_progress=False)
    words = SharedWords.build(KOREAN)
    queries = ["서울 film", "BTS", "항구는 film 없는말"]
    for query, scores in zip(queries, words.scores(queries), strict=True):
        known = [term for term in terms_of(query) if term in words.places]
        np.testing.assert_allclose(scores, other.get_scores(known), rtol=1e-5)
    assert words.scores(["없는 말", "..."]).max() == 0
    assert SharedWords.build(["...", "!"]).scores(["film"]).tolist() == [[0.0, 0.0]]


def test_meaning_and_words_count_as_the_weight_says(tmp_path):
    index = TextIndex.build(letters_encoder(), KOREAN, lexical_weight=0.3)
    queries = ["서울 film", "BTS", "..."] * 30  # more than are multiplied together
    found = index.search(queries, k=4)
    cosines = index.encoder.unit_vectors(queries) @ index.vectors.T
    lexical = SharedWords.build(KOREAN).scores(queries)
    z = [(part - part.mean(1, keepdims=True)) / (part.std(1, keepdims=True) + 1e-12) for part in (cosines, lexical)]
    joined = 0.7 * z[0] + 0.3 * z[1]
    np.testing.assert_allclose(found.score.to_numpy().reshape(-1, 4), np.sort(joined)[:, ::-1][:, :4], atol=1e-3)
    assert found["row"].to_numpy().reshape(-1, 4)[:, 0].tolist() == joined.argmax(1).tolist()
    # By words alone, nearly.
    assert TextIndex.build(letters_encoder(), KOREAN, lexical_weight=0.999).search(["BTS"], k=1).text[0] == KOREAN[0]
    # A single text and texts that are all alike say nothing.
    assert TextIndex.build(letters_encoder(), ["서울"], lexical_weight=0.5).search(["서울"]).score.tolist() == [0.0]

    index.save(tmp_path / "index")
    moved = shutil.move(tmp_path / "index", tmp_path / "elsewhere")
    assert TextIndex.load(moved, letters_encoder()).search(queries, k=4).equals(found)
    with pytest.raises(UserError, match="at least 0 and below 1"):
        TextIndex.build(letters_encoder(), KOREAN, lexical_weight=1.0)
    with pytest.raises(UserError, match="at least 1, not 0"):
        index.search(["BTS"], k=0)
    (moved / "manifest.json").unlink()
    (moved / "terms.npz").write_bytes(b"PK")
    with pytest.raises(UserError, match="is damaged"):
        TextIndex.load(moved, letters_encoder())
    SharedWords.build(KOREAN[1:]).save(moved)
    with pytest.raises(UserError, match="its terms are not those of its texts"):
        TextIndex.load(moved, letters_encoder())


def test_an_index_of_the_first_format_is_read(texts, tmp_path):
    index = TextIndex.build(letters_encoder(), texts)
    folder = index.save(tmp_path / "index")
    meta = json.loads((folder / "meta.json").read_text())
    del meta["lexical_weight"]
    (folder / "manifest.json").unlink()
    (folder / "meta.json").write_text(json.dumps({**meta, "format": 1}))
    assert TextIndex.load(folder, letters_encoder()).search(["zebra"], 3).equals(index.search(["zebra"], 3))


def test_approximate_search_takes_the_best_of_both_lists(texts):
    pytest.importorskip("usearch")
    # More texts than are compared: the one with the word is not among the nearest.
    many = [*texts, *(f"{text} x" for text in texts), "wwww 서울 " + "q" * 40]
    exact = TextIndex.build(letters_encoder(), many, lexical_weight=0.6)
    approximate = TextIndex.build(letters_encoder(), many, lexical_weight=0.6, approximate=True)
    queries = [f"{text} 서울" for text in texts[:20]]
    rows, scores = approximate.find(queries, 5)
    expected, wanted = exact.find(queries, 5)
    assert (rows[:, 0] == len(many) - 1).all()
    assert np.mean(rows == expected) > 0.95
    np.testing.assert_allclose(scores[rows == expected], wanted[rows == expected], rtol=1e-3)
