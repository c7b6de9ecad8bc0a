"""Words in graph: by rules that can be read off examples, equal to Python's, with their places in the text."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tl_keras.text.word_rules import IGNORED, SPACE, _kind, split_words
from tl_keras.text.words import WordTokenizer, lower_words

pytestmark = pytest.mark.one_keras

GRAPHS = {
    lower_case: tf.function(
        WordTokenizer(lower_case), input_signature=[tf.TensorSpec([None], tf.string)], autograph=False
    )
    for lower_case in (False, True)
}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("영화가 정말 재미있다!", ["영화가", "정말", "재미있다", "!"]),
        ("It's 3.5/10 :-)", ["It", "'", "s", "3", ".", "5", "/", "10", ":", "-", ")"]),
        ("ㅋㅋㅋ a_b\u3000c\u00a0d\te", ["ㅋㅋㅋ", "a", "_", "b", "c", "d", "e"]),
        # Decomposed, as in file names of macOS: syllables are put together, and nothing is ever taken apart.
        (unicodedata.normalize("NFD", "한국 café"), ["한국", "café"]),
        # Zero-width space and joiner, soft hyphen, byte-order mark, variation selector, filler: not there.
        ("\ufeff영\u200b화 co\u00adop ❤\ufe0f 👩\u200d👧 \u3164", ["영화", "coop", "❤", "👩", "👧"]),
        # The first and the last of the other 240 variation selectors.
        ("葛\U000e0100飾\U000e01ef区", ["葛飾区"]),
        ("漢字カナ", ["漢字カナ"]),
        (" \n", []),
        ("", []),
    ],
)
def test_the_rules(text, words):
    assert split_words(text) == words
    assert [word.decode() for word in GRAPHS[False](tf.constant([text])).tokens.to_list()[0]] == words


def test_small_letters_one_by_one():
    assert split_words("ΣΟΦΟΣ İstanbul ÉCOLE Ⓐ 영화", lower_case=True) == ["σοφοσ", "istanbul", "école", "ⓐ", "영화"]
    small = lower_words(tf.constant(split_words("ΣΟΦΟΣ İstanbul ÉCOLE Ⓐ 영화")))
    assert [word.decode() for word in small.numpy()] == ["σοφοσ", "istanbul", "école", "ⓐ", "영화"]


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=20) | st.text(
    "aAé\u0301İΣ 가각각\u200b\u3164\ufe0f!_'\t\x00ㅋ字👩", max_size=20
)


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXTS, max_size=6))
def test_graph_and_python_agree_and_words_stand_where_they_should(texts):
    for lower_case, graph in GRAPHS.items():
        words = graph(tf.constant(texts, tf.string))
        found = [[word.decode() for word in row] for row in words.tokens.to_list()]
        assert found == [split_words(text, lower_case) for text in texts]
        if not lower_case:
            for text, row, starts, ends in zip(texts, found, words.starts.to_list(), words.ends.to_list(), strict=True):
                for word, start, end in zip(row, starts, ends, strict=True):
                    seen = "".join(c for c in text[start:end] if _kind(ord(c)) != IGNORED)
                    assert unicodedata.normalize("NFC", seen) == word
                between = [
                    c for i, c in enumerate(text) if not any(s <= i < e for s, e in zip(starts, ends, strict=True))
                ]
                assert all(_kind(ord(c)) in (SPACE, IGNORED) for c in between)


def test_bytes_that_are_no_text():
    words = GRAPHS[False](tf.constant([b"good\xff film"]))
    assert [word.decode() for word in words.tokens.to_list()[0]] == ["good", "\ufffd", "film"]
    assert np.array(words.starts.to_list()[0]).tolist() == [0, 4, 6]
