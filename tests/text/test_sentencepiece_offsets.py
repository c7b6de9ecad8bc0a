"""Character offsets of SentencePiece tokens: held against the library's own normalising of each token's surface."""

from __future__ import annotations

import pytest
import sentencepiece as spm
import tensorflow as tf
import tensorflow_text as tf_text
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tl_keras import load_encoder
from tl_keras.data import QuestionExamples
from tl_keras.models.pair_heads import SpanLogProbabilities
from tl_keras.serving.answerer import answering_graph
from tl_keras.text.offsets import OffsetTokenizer
from tl_keras.text.pair_batches import question_windows
from tl_keras.text.windows import WindowSettings

HARD = [
    "  서울에서  부산까지\t\n", "東京ヿ大阪 カ", "film\u200bwas", "㎏ ½ ﬁne ①②③", "x \u200d y", "\u200b", "", " ",
    "가\u0301나 e\u0301 ", "\u1100\u1161\u11a8각 \u1112\u1161\u11ab", "👩\u200d👩\u200d👧x", "a\x00b\x01 c", "▁a ▁", "ﷺ x", "\ufefffilm",
    "ab\ufffdc", "a \u0301b", "<s> <mask> </s>film", "ＦＵＬＬ\u3000ｗｉｄｔｈ", "the film was 정말 재미있다!", "🎉🎉 x🎉",
]  # fmt: skip
characters = st.one_of(
    st.sampled_from(
        [
            *"abfilm the  .!①½ヿ㎏ﬁ영화정말…",
            "\u0301",
            "\u1161",
            "\u1100",
            "\u3000",
            "\u200b",
            "▁",
            "\ufeff",
            "\x01",
            "🙂",
        ]
    ),
    st.characters(exclude_categories=["Cs"]),
)


def is_blank(character: str) -> bool:
    return character.isspace() or character in "\u200b\u200e\u200f\u2581\ufeff\ufffd"


def check(tokenizer: OffsetTokenizer, processor: spm.SentencePieceProcessor, texts: list[str]) -> None:
    """What offsets must be, by the definition of a token."""

    def normal(text: str) -> str:
        return processor.normalize(text).strip("▁")

    tokens = tokenizer(tf.constant(texts))
    assert tokens.ids.to_list() == [processor.encode(text) for text in texts]
    for row, text in enumerate(texts):
        parts = list(zip(*(part[row].numpy().tolist() for part in tokens), strict=True))
        covered: set[int] = set()
        for number, (token_id, start, end, word_start, word_end) in enumerate(parts):
            assert 0 <= word_start <= start < end <= max(word_end, end) <= len(text), (text, start, end)
            assert not is_blank(text[start]), (text, start, end)
            assert not any(c.isspace() for c in text[word_start:word_end])
            assert word_start == 0 or text[word_start - 1].isspace()
            before = parts[number - 1] if number else None
            after = parts[number + 1] if number + 1 < len(parts) else None
            assert before is None or (before[1] <= start and before[2] <= end), (text, parts)
            covered |= set(range(start, end))
            token = processor.id_to_piece(token_id).replace("▁", " ").strip()
            shares = (before and before[2] > start) or (after and after[1] < end)
            surface = normal(text[start:end]).replace("▁", " ")
            if token_id == processor.unk_id() or not token:
                continue
            assert token in surface if shares else token == surface, (text, token, text[start:end])
        left = "".join(c for i, c in enumerate(text) if i not in covered)
        assert not normal(left), (text, left)


@pytest.fixture(scope="module")
def tiny(sentencepiece_model):
    tokens = tf_text.SentencepieceTokenizer(sentencepiece_model)
    return (
        OffsetTokenizer(tokens.tokenize_with_offsets, tracked=tokens),
        spm.SentencePieceProcessor(model_proto=sentencepiece_model),
    )


def test_hard_texts(tiny):
    check(*tiny, HARD)


def test_any_text(tiny):
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(st.lists(st.lists(characters, max_size=20).map("".join), min_size=1, max_size=3))
    def run(texts):
        check(*tiny, texts)

    run()


def test_offsets_by_hand(tiny):
    tokenizer, processor = tiny
    text = "the  film, ½ ヿ"
    tokens = tokenizer(tf.constant([text]))
    found = [
        (processor.id_to_piece(i), text[a:b], text[c:d])
        for i, a, b, c, d in zip(*(part[0].numpy().tolist() for part in tokens), strict=True)
    ]
    # The tokens of a word, set together, are the word; none of them holds a blank.
    words = ["".join(surface for _, surface, around in found if around == word) for word in ("the", "film,")]
    assert words == ["the", "film,"]
    # A character that became several tokens belongs to each of them, and the lone blank to the character behind it.
    rest = [part for part in found if part[2] not in ("the", "film,")]
    assert {(surface, word) for _, surface, word in rest} == {("½", "½"), ("ヿ", "ヿ")}
    assert "".join(token for token, *_ in rest) == "▁1⁄2▁コト"


def test_answers_are_found_behind_two_separators(sentencepiece_pair):
    """A network that points at one token by its id: its place in the input must come back as characters of the context."""
    encoder = load_encoder(str(sentencepiece_pair), seq_length=16)
    assert (encoder.preprocessor.separators, encoder.preprocessor.special_count(2)) == (2, 4)
    context = "the film was dull, 영화 정말 재미있다. the music was great and 서울에서 the plot was not"
    ids, starts, ends, *_ = (part[0].numpy().tolist() for part in encoder.offset_tokenizer(tf.constant([context])))
    # The last token that stands there once only, far behind the first window.
    token = max(i for i, token_id in enumerate(ids) if ids.count(token_id) == 1)
    assert token > 16
    answer, target = (starts[token], ends[token]), ids[token]

    def network(packed):
        hits = 20.0 * tf.cast(packed["input_word_ids"] == target, tf.float32)
        return head([tf.stack([hits, hits], axis=-1), packed["input_mask"], packed["input_type_ids"]])

    head = SpanLogProbabilities(max_answer_length=5)
    found = answering_graph(network, encoder, head)(tf.constant(["the 영화?"]), tf.constant([context]))
    assert (int(found["starts"][0][0]), int(found["ends"][0][0])) == answer
    given = {"text": context[slice(*answer)], "answer_start": answer[0]}
    examples = QuestionExamples.from_lists(["the 영화?"], [context], [[given]])
    windows = question_windows(examples, encoder.offset_tokenizer, WindowSettings(16, separators=2))
    held = [row for row, label in enumerate(windows.labels) if label.any()]
    assert held
    for row in held:
        first = windows.labels[row][0]
        inputs = encoder.preprocessor.pack(
            [tf.ragged.constant([part.tolist()], tf.int32) for part in (windows.questions[row], windows.contexts[row])],
            16,
        )
        assert inputs["input_word_ids"][0][first] == target
