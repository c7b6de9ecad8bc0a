"""Files of word vectors: every format reads as gensim reads it, and every damage is named with its row."""

from __future__ import annotations

import bz2
import gzip

import numpy as np
import pytest

from tl_keras import UserError
from tl_keras.encoders.word_vectors.read import looks_like_vectors, read_vectors

pytestmark = pytest.mark.one_keras

WORDS = ("영화", "good", "the", "지루하다")
MATRIX = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")


@pytest.fixture(scope="module")
def gensim_models():
    return pytest.importorskip("gensim.models")


def keyed_vectors(gensim_models):
    keyed = gensim_models.KeyedVectors(3)
    keyed.add_vectors(list(WORDS), MATRIX)
    return keyed


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("v.vec", {}),
        ("v.bin", {"binary": True}),
        ("glove.txt", {"write_header": False}),
        ("v.vec.gz", {}),
        ("v.bin.bz2", {"binary": True}),
    ],
)
def test_what_gensim_writes_is_read(gensim_models, tmp_path, name, options):
    plain = tmp_path / "plain"
    keyed_vectors(gensim_models).save_word2vec_format(str(plain), **options)
    pack = gzip.compress if name.endswith("gz") else bz2.compress if name.endswith("bz2") else bytes
    (tmp_path / name).write_bytes(pack(plain.read_bytes()))
    vectors = read_vectors(tmp_path / name)
    assert vectors.words == WORDS
    np.testing.assert_allclose(vectors.matrix, MATRIX, atol=1e-6)
    loaded = gensim_models.KeyedVectors.load_word2vec_format(
        str(plain), binary=options.get("binary", False), no_header="write_header" in options
    )
    np.testing.assert_array_equal(vectors.matrix, loaded.vectors)
    assert read_vectors(tmp_path / name, limit=2).words == WORDS[:2]
    assert looks_like_vectors(tmp_path / name)


def test_fasttext_gives_vectors_to_words_it_has_not_seen(gensim_models, tmp_path):
    from gensim.models.fasttext import load_facebook_vectors, save_facebook_model

    sentences = [["재미있다", "영화"], ["재미없다", "영화"]] * 5
    model = gensim_models.FastText(sentences, vector_size=4, min_count=1, bucket=50, min_n=2, max_n=3, epochs=1, seed=1)
    save_facebook_model(model, str(tmp_path / "f.bin"))
    vectors, reference = read_vectors(tmp_path / "f.bin"), load_facebook_vectors(str(tmp_path / "f.bin"))
    assert set(vectors.words) == {"영화", "재미있다", "재미없다"}
    for word in ("영화", "재미있는"):
        np.testing.assert_array_equal(vectors.vector(word), reference[word])
    assert "재미있는" not in vectors
    coverage = vectors.coverage(["재미있는 영화"])
    assert (coverage.known_tokens, coverage.subword_tokens, coverage.unknown) == (1, 1, ())
    (tmp_path / "cut.bin").write_bytes((tmp_path / "f.bin").read_bytes()[:300])
    with pytest.raises(UserError, match="damaged fastText file"):
        read_vectors(tmp_path / "cut.bin")


def test_words_with_spaces_and_other_line_ends(tmp_path):
    # GloVe 840B has such words.
    (tmp_path / "g.txt").write_bytes(b"the 1 2\r\n. . . 3 4\r\nat name@domain.com 5 -6e-1\r\n\r\n")
    vectors = read_vectors(tmp_path / "g.txt")
    assert vectors.words == ("the", ". . .", "at name@domain.com")
    np.testing.assert_allclose(vectors.matrix, [[1, 2], [3, 4], [5, -0.6]], rtol=1e-6)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"3 2\na 1 2\nb 3 4\n", r"header says 3 words, but there are 2; was it cut off"),
        (b"1 2\na 1 2\nb 3 4\n", r"header says 1 words, but there are 2; is the header of another"),
        (b"3 2\na 1 2\nb 3\nc 5 6\n", r"line 3: 1 numbers behind the word, but the header says 2"),
        (b"a 1 2\nb 3 4 5\n", r"line 2: 3 numbers behind the word, but the first line has 2"),
        (b"a 1 2\n\nb 3 4\n", r"line 2: 0 numbers"),
        (b"2 2\na 1 2\nb 3 x4\n", r"line 3: b'x4' is no number"),
        (b"2 2\na 1 2\na 3 4\n", r"line 3: the word 'a' stands in line 2 already"),
        ("2 2\na 1 2\n영화 3 4\n".encode("cp949"), r"line 3: .* is not utf-8 .*cp949"),
        ("a 1 2\n".encode("utf-16"), "UTF-16"),
        (b"2 2\na 1 2\nb nan 4\n", r"line 3: holds NaN"),
        (b"2 2\na 1 2\nb 1e39 4\n", r"line 3: holds NaN or infinity, or a number too large"),
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"2 2\n", "header says 2 words, but there are 0"),
        (b"once upon a time\n", "holds no word vectors"),
        (b"PK\x03\x04", "zip archive"),
        (b"\x80\x04\x95", "pickle"),
        (b"2 2\na \x00\x00\x80?\x00\x00\x00@", "the file ends in word 2"),
        (b"1 2\na \x00\x00\x80?\x00\x00\x00@b \x00\x00\x80?\x00\x00\x00@", "header says 1 words, but more follow"),
        (b"2 1\na \x00\x00\x80?\na \x00\x00\x80?\n", "word 2, 'a', is word 1 already"),
        (b"1 1\na \x00\x00\xc0\x7f", "word 1, 'a': its vector holds NaN"),
        (b"1 1\n\xff \x00\x00\xc0\x7f", r"word 1, b'\\xff', is not utf-8"),
    ],
)
def test_damage_is_named(tmp_path, content, message):
    (tmp_path / "v.vec").write_bytes(content)
    with pytest.raises(UserError, match=message) as raised:
        read_vectors(tmp_path / "v.vec")
    assert "\n" not in str(raised.value)


def test_ways_out_of_it(tmp_path):
    (tmp_path / "v.vec").write_bytes(b"3 1\na 1\na 2\nb 3\n")
    assert read_vectors(tmp_path / "v.vec", duplicates="first").matrix[:, 0].tolist() == [1.0, 3.0]
    (tmp_path / "k.vec").write_bytes("1 1\n영화 1\n".encode("cp949"))
    assert read_vectors(tmp_path / "k.vec", encoding="cp949").words == ("영화",)
    for options, message in (
        ({"duplicates": "last"}, "duplicates must be"),
        ({"limit": 0}, "at least 1"),
        ({"encoding": "utf-9"}, "not known"),
    ):
        with pytest.raises(UserError, match=message):
            read_vectors(tmp_path / "v.vec", **options)
    with pytest.raises(UserError, match="no file"):
        read_vectors(tmp_path / "missing.vec")


def test_weights_in_pytorchs_format_are_no_vectors(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"PK\x03\x04")
    assert not looks_like_vectors(tmp_path / "pytorch_model.bin")
