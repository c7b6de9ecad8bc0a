"""Word vectors in memory: what they know of texts, and which words a model takes from them."""

from __future__ import annotations

import collections

import numpy as np
import pytest

from tl_keras import UserError
from tl_keras.encoders.word_vectors.preprocessor import choose_words, random_words
from tl_keras.encoders.word_vectors.word_vectors import WordVectors

pytestmark = pytest.mark.one_keras


@pytest.fixture
def vectors():
    return WordVectors(("good", "film", "bad", "the"), np.arange(8).reshape(4, 2), source="v.vec")


def test_coverage_counts_words_and_different_words(vectors):
    coverage = vectors.coverage(["Good good film!", "dull film, dull, dull"])
    # good good film ! dull film , dull , dull: small, since the vectors have no capitals.
    assert (coverage.tokens, coverage.known_tokens) == (10, 4)
    assert (coverage.types, coverage.known_types) == (5, 2)
    assert coverage.unknown == (("dull", 3), (",", 2), ("!", 1))
    assert (coverage.token_fraction, coverage.type_fraction) == (0.4, 0.4)
    assert "40.0% of 10 words and 40.0% of 5 different ones" in str(coverage)
    assert vectors.coverage(["Good"], lower_case=False).known_tokens == 0
    assert vectors.coverage([]).token_fraction == 0.0


@pytest.mark.parametrize(
    ("words", "matrix", "message"),
    [
        (("a", "a"), [[1.0], [2.0]], "'a' occurs twice"),
        (("a",), [[1.0], [2.0]], "1 words but 2 vectors"),
        (("a", "b"), [[1.0], [np.inf]], r"'b' \(word 2\)"),
        (("a",), [1.0], "must be a matrix"),
        ((), np.zeros((0, 2)), "holds no word"),
    ],
)
def test_what_is_refused(words, matrix, message):
    with pytest.raises(UserError, match=message):
        WordVectors(words, np.array(matrix))


def test_words_of_the_texts_learn_and_others_come_along(vectors):
    counts = collections.Counter({"film": 5, "bad": 2, "good": 1, "xyz": 9})
    chosen = choose_words(vectors, counts, min_count=2, max_words=1)
    # film and bad are learned; good is the file's first word, and once in the texts; the file's others are left out.
    assert chosen.words == ("film", "bad", "good")
    assert chosen.learned == 2
    np.testing.assert_array_equal(chosen.matrix, [[2, 3], [4, 5], [0, 1]])
    np.testing.assert_array_equal(chosen.unknown, [3, 4])
    everything = choose_words(vectors, None, max_words=3)
    assert (everything.words, everything.learned) == (("good", "film", "bad"), 3)
    with pytest.raises(UserError, match=r"none of the 1 words of the texts \(영화, ...\) has a vector in v.vec"):
        choose_words(vectors, collections.Counter(["영화"]))


def test_subwords_give_vectors_to_words_of_the_texts(vectors):
    with_parts = WordVectors(
        vectors.words, vectors.matrix, lambda word: np.ones(2, "float32") if word.startswith("film") else None
    )
    chosen = choose_words(with_parts, collections.Counter({"films": 3, "filmic": 1, "xyz": 3}), max_words=1)
    assert (chosen.words, chosen.learned) == (("films", "good", "filmic"), 1)
    assert chosen.matrix[[0, 2]].tolist() == [[1, 1], [1, 1]]


def test_random_vectors():
    counts = collections.Counter({"film": 3, "good": 1})
    chosen = random_words(counts, 4, seed=1)
    assert (chosen.words, chosen.learned, chosen.matrix.shape) == (("film",), 1, (1, 4))
    assert np.abs(chosen.matrix).max() <= 0.25
    np.testing.assert_array_equal(chosen.matrix, random_words(counts, 4, seed=1).matrix)
    with pytest.raises(UserError, match="no word occurs 4 times"):
        random_words(counts, 4, min_count=4)
