"""Trimmed vocabularies: what stays, and that texts of tokens that stay are split, and read, as before."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

pytest.importorskip("keras_hub")

from tl_keras.encoders.vocabulary_trim import (
    VocabularyIds,
    always_kept,
    frequent_words,
    read_pair_vocabulary,
    trim_vocabulary,
)
from tl_keras.errors import UserError

pytestmark = pytest.mark.one_keras

TEXTS = [
    "the great film was dull!",
    "영화 정말 재미있다",
    "서울에서 부산까지 plot xyz",
    "不 the film",
    "a\u200bㅋㅋ 😀 awful",
    "",
]


@pytest.mark.parametrize("pair", ["tiny_pair", "sentencepiece_pair"])
def test_a_seed_that_is_set_takes_no_tokenizer_away(pair, request):
    ids = VocabularyIds(read_pair_vocabulary(request.getfixturevalue(pair)))
    before = ids.encode(TEXTS)
    tf.random.set_seed(5)  # TensorFlow forgets its kernels, and what belongs to them
    assert ids.encode(TEXTS) == before


@pytest.mark.parametrize("pair", ["tiny_pair", "sentencepiece_pair"])
def test_texts_whose_tokens_stay_are_split_as_before(pair, request):
    vocabulary = read_pair_vocabulary(request.getfixturevalue(pair))
    before = VocabularyIds(vocabulary)
    rng = np.random.default_rng(4)
    changed = 0
    for _ in range(20):
        kept = np.flatnonzero(always_kept(vocabulary) | (rng.random(len(vocabulary.tokens)) < 0.6))
        small = trim_vocabulary(vocabulary, kept)
        assert small.tokens == [vocabulary.tokens[old] for old in kept]
        for old, new in zip(before.encode(TEXTS), VocabularyIds(small).encode(TEXTS), strict=True):
            if set(old) <= set(kept.tolist()):
                assert kept[np.asarray(new, int)].tolist() == old
            else:
                changed += 1
                if pair == "sentencepiece_pair":
                    # It is spelled with shorter tokens: no character has become unknown.
                    assert [kept[i] for i in new].count(3) == old.count(3)
        names = {name: vocabulary.tokens[i] for name, i in vocabulary.special_ids().items() if name != "vocab_size"}
        assert {n: small.tokens[i] for n, i in small.special_ids().items() if n != "vocab_size"} == names
    assert changed > 20


def test_single_characters_and_special_tokens_stay(sentencepiece_pair):
    vocabulary = read_pair_vocabulary(sentencepiece_pair)
    kept = {vocabulary.tokens[index] for index in np.flatnonzero(always_kept(vocabulary))}
    assert {"<s>", "<pad>", "</s>", "<unk>", "<mask>", "a", "가", "0", "▁"} <= kept
    # One longer token may be among them: that with the lowest score.
    assert sum(len(token.removeprefix("▁")) > 1 and not token.startswith("<") for token in kept) <= 1


def test_frequent_words_come_in_both_spellings_of_a_beginning():
    pytest.importorskip("wordfreq")
    words = list(frequent_words(["en", "ko"], 50))
    assert {"the", "The", "이"} <= set(words)
    assert len(words) > 100
    with pytest.raises(UserError, match=r"no word list for 'xx', only for .*en.*ko"):
        list(frequent_words(["en", "xx"], 5))
