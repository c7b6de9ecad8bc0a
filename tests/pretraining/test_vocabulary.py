from __future__ import annotations

import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tl_keras.errors import UserError
from tl_keras.pretraining.vocabulary import (
    SPECIAL_TOKENS,
    WordPiece,
    learn_vocabulary,
    read_vocabulary,
    vocabulary_hash,
    write_vocabulary,
)

pytestmark = pytest.mark.one_keras

TEXT = [
    "영화가 정말 재미있다",
    "영화는 café 같은 naïve 이야기",
    "ㅋㅋㅋㅋ ㅠㅠ 최고👍",
    "The Film was good, was it?",
] * 3


@pytest.fixture(scope="module")
def tokens():
    return learn_vocabulary(TEXT, 100, alphabet_size=80)


@pytest.fixture(scope="module")
def preprocessor(tokens, tmp_path_factory):
    """The preprocessor that is exported with an encoder of this vocabulary."""
    tf = pytest.importorskip("tensorflow")
    pytest.importorskip("tensorflow_text")
    from tl_keras.encoders.pair import write_encoder_pair
    from tl_keras.encoders.vocabularies import WordPieceRules, WordPieceVocabulary
    from tl_keras.pretraining.model import build_backbone

    backbone = build_backbone(len(tokens), layers=1, width=8, max_positions=16)
    folder = write_encoder_pair(
        tmp_path_factory.mktemp("pair") / "p", backbone, WordPieceVocabulary(tokens, WordPieceRules(False))
    )
    return tf.saved_model.load(str(folder / "preprocess"))


def test_special_tokens_come_first_and_hangul_is_not_taken_apart(tokens):
    assert tuple(tokens[:5]) == SPECIAL_TOKENS
    assert len(set(tokens)) == len(tokens) == 100
    assert "영화" in tokens
    # A vocabulary that was learned after NFD would hold conjoining jamo (U+1100 to U+11FF).
    assert not any("\u1100" <= character <= "\u11ff" for token in tokens for character in token)
    assert WordPiece(tokens).encode(["영화"]) == [[tokens.index("영화")]]
    assert WordPiece(tokens).encode([unicodedata.normalize("NFD", "영화")]) == [[1]]


def test_the_same_text_gives_the_same_vocabulary():
    # 40 words that occur twice each: which of them are merged first is a matter of ties alone.
    words = [a + b + c for a in "가나다라" for b in "마바사아자" for c in "차카"]
    learned = [learn_vocabulary([" ".join(words * 2)], 60, alphabet_size=30) for _ in range(4)]
    assert all(tokens == learned[0] for tokens in learned)
    assert learned[0][5:16] == sorted("가나다라마바사아자차카")
    assert learned[0][16:23] == ["##" + character for character in "마바사아자차카"]


def test_greedy_longest_match_by_hand():
    word_piece = WordPiece([*SPECIAL_TOKENS, "un", "##aff", "##able", "u", "##n", ",", "A"])
    assert word_piece.encode(["unaffable, A unx", "a"]) == [[5, 6, 7, 10, 11, 1], [1]]
    assert word_piece.continuation.tolist() == [False] * 6 + [True, True, False, True, False, False]
    assert WordPiece([*SPECIAL_TOKENS, "a"], lower_case=True).encode(["A"]) == [[5]]


ALPHABETS = [
    st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3),  # syllables
    st.characters(min_codepoint=0x3131, max_codepoint=0x318E),  # single jamo
    st.characters(min_codepoint=0x1100, max_codepoint=0x11FF),  # conjoining jamo
    st.characters(min_codepoint=0x1F300, max_codepoint=0x1F64F),  # emoji
    st.sampled_from("éàüñçøßÅİıſǅ\u0301\u0300\u200d\u200b\ufe0f\u00a0\u3000\u2028\ufffd\x7f\t\r\n "),
    st.sampled_from("영화가는정말재미있다ㅋㅠ최고Filmwasgood,.?!~'\"“”…·—中漢字ひらカ[CLS]##"),
    st.characters(max_codepoint=0x024F),
]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.one_of(ALPHABETS), max_size=40).map("".join), min_size=1, max_size=20))
def test_the_exported_preprocessor_gives_the_same_ids(tokens, preprocessor, texts):
    tf = pytest.importorskip("tensorflow")
    theirs = preprocessor.tokenize(tf.constant(texts)).merge_dims(1, 2).to_list()
    assert WordPiece(tokens).encode(texts) == theirs


def test_long_words_are_unknown_in_both(tokens, preprocessor):
    tf = pytest.importorskip("tensorflow")
    texts = ["ㅋ" * 100, "ㅋ" * 101, "영화" * 50 + " good", "a" * 1000]
    theirs = preprocessor.tokenize(tf.constant(texts)).merge_dims(1, 2).to_list()
    ours = WordPiece(tokens).encode(texts)
    assert ours == theirs
    assert ours[1] == [1]
    assert len(ours[0]) > 1


def test_a_vocabulary_survives_its_file(tokens, tmp_path):
    write_vocabulary(tmp_path / "vocab.txt", tokens)
    assert read_vocabulary(tmp_path / "vocab.txt") == tokens
    assert vocabulary_hash(tokens) != vocabulary_hash([*tokens[:-2], tokens[-1], tokens[-2]])


def test_what_cannot_be_a_vocabulary(tmp_path):
    with pytest.raises(UserError, match=r"can fill a vocabulary of 1\d tokens at most"):
        learn_vocabulary(["low lower", "low lower"], size=500)
    with pytest.raises(UserError, match="leaves no room"):
        learn_vocabulary(["low"], size=5)
    with pytest.raises(UserError, match=r"no \[MASK\]"):
        WordPiece([*SPECIAL_TOKENS[:4], "a"])
    with pytest.raises(UserError, match="does not exist"):
        read_vocabulary(tmp_path / "vocab.txt")
    (tmp_path / "v.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="not UTF-8"):
        read_vocabulary(tmp_path / "v.txt")
