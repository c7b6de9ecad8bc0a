"""The pair that `write_encoder_pair` makes, held against KerasHub, Hugging Face's tokenizers and Model Garden."""

from __future__ import annotations

import shutil

import keras_hub
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_hub as hub
import tensorflow_text  # noqa: F401 - registers the ops of the loaded preprocessors
import tf_keras
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from tl_keras.encoders.pair import new_folder, write_encoder_pair
from tl_keras.encoders.pair_preprocess import WordPieceTokenizer
from tl_keras.encoders.vocabularies import WordPieceRules, WordPieceVocabulary, vocabulary_lines
from tl_keras.errors import UserError

pytestmark = pytest.mark.one_keras

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = [chr(c) for c in range(ord("a"), ord("z") + 1)]
JAMO = [
    "영",
    "화",
    "##화",
    "ᄋ",
    "##ᄋ",
    "##ᅧ",
    "##ᆼ",
    "##ᅪ",
    "ᄒ",
    "##ᄒ",
    "A",
    "##B",
    "é",
    "ß",
    "##ß",
    "σ",
    "##σ",
    "漢",
    "字",
    "!",
    "…",
]
VOCABULARY = [*SPECIAL, *LETTERS, *(f"##{c}" for c in LETTERS), "good", "bad", "film", "##s", *JAMO]
VOCABULARY = list(dict.fromkeys(VOCABULARY))
UNCASED = WordPieceVocabulary(VOCABULARY, WordPieceRules(lower_case=True))
TEXTS = [
    "",
    " \t\n",
    "Good films!",
    "naïve CAFÉ — déjà vu…",
    "영화 AB",
    "漢字kanji",
    "Straße ΣΑΣ İstanbul I",
    "a\u200bb\u3000c\u00a0d\x00e",
    "[MASK] it",
    "a" * 100,
    "a" * 101,
    "영" * 60,
    "🙂 x",
]


@pytest.fixture(scope="module")
def backbone():
    """Two blocks of width 16, weights far enough from zero for every part to matter."""
    network = keras_hub.models.BertBackbone(
        len(VOCABULARY), num_layers=2, num_heads=2, hidden_dim=16, intermediate_dim=24, max_sequence_length=16
    )
    rng = np.random.default_rng(0)
    for weight in network.trainable_weights:
        weight.assign(rng.normal(0.0, 0.4, weight.shape) + (1.0 if "gamma" in weight.path else 0.0))
    return network


@pytest.fixture(scope="module")
def mlm_head(backbone):
    head = keras_hub.layers.MaskedLMHead(token_embedding=backbone.token_embedding, intermediate_activation="gelu")
    head.build((None, None, 16))
    rng = np.random.default_rng(1)
    for weight in head.trainable_weights:
        weight.assign(rng.normal(0.0, 0.4, weight.shape))
    return head


@pytest.fixture(scope="module")
def pair(tmp_path_factory, backbone, mlm_head):
    """The pair, written, then moved: no path of the place where it was made may be left in it."""
    made = tmp_path_factory.mktemp("made") / "pair"
    write_encoder_pair(made, backbone, UNCASED, seq_length=8, mlm_head=mlm_head)
    moved = tmp_path_factory.mktemp("moved") / "elsewhere"
    shutil.move(made, moved)
    return moved


@pytest.fixture(scope="module")
def encoder(pair):
    return tf.saved_model.load(str(pair / "encoder"))


@pytest.fixture(scope="module")
def preprocess(pair):
    return tf.saved_model.load(str(pair / "preprocess"))


def batch(length: int) -> dict[str, tf.Tensor]:
    """Random ids of two rows, the second with two padded positions, in two segments."""
    rng = np.random.default_rng(length)
    mask = np.ones((2, length), np.int32)
    mask[1, -2:] = 0
    return {
        "input_word_ids": tf.constant(rng.integers(0, len(VOCABULARY), (2, length)), tf.int32),
        "input_mask": tf.constant(mask),
        "input_type_ids": tf.constant(rng.integers(0, 2, (2, length)), tf.int32),
    }


@pytest.mark.parametrize("length", [3, 8, 16])
def test_outputs_are_kerashubs(encoder, backbone, length):
    inputs = batch(length)
    expected = backbone(
        {
            "token_ids": inputs["input_word_ids"],
            "padding_mask": inputs["input_mask"],
            "segment_ids": inputs["input_type_ids"],
        },
        training=False,
    )
    outputs = encoder(inputs, training=False)
    np.testing.assert_allclose(outputs["sequence_output"], expected["sequence_output"], atol=2e-5)
    np.testing.assert_allclose(outputs["pooled_output"], expected["pooled_output"], atol=2e-5)
    np.testing.assert_array_equal(outputs["default"], outputs["pooled_output"])
    assert len(outputs["encoder_outputs"]) == 2
    np.testing.assert_array_equal(outputs["encoder_outputs"][1], outputs["sequence_output"])
    assert np.abs(outputs["encoder_outputs"][0] - outputs["encoder_outputs"][1]).max() > 0.1
    served = encoder.signatures["serving_default"](**inputs)
    np.testing.assert_allclose(served["pooled_output"], outputs["pooled_output"], atol=1e-5)
    np.testing.assert_allclose(served["sequence_output"], outputs["sequence_output"], atol=1e-5)


def test_masked_lm_head_is_kerashubs(encoder, mlm_head):
    inputs = batch(8)
    positions = tf.constant([[1, 5], [2, 0]], tf.int32)
    outputs = encoder.mlm({**inputs, "masked_lm_positions": positions}, training=False)
    expected = mlm_head(outputs["sequence_output"], positions)
    np.testing.assert_allclose(outputs["mlm_logits"], expected, atol=5e-5)
    np.testing.assert_allclose(outputs["sequence_output"], encoder(inputs)["sequence_output"], atol=1e-5)


def test_variables_have_tf_hubs_names_and_stand_once_in_the_file(pair, encoder, backbone, mlm_head):
    names = [v.name for v in encoder.variables]
    assert names[:3] == [
        "word_embeddings/embeddings:0",
        "position_embedding/embeddings:0",
        "type_embeddings/embeddings:0",
    ]
    assert "transformer/layer_1/self_attention/query/kernel:0" in names
    assert names[-2:] == ["pooler_transform/kernel:0", "pooler_transform/bias:0"]
    assert len(set(names)) == len(names) == len(encoder.trainable_variables)
    assert sum(int(tf.size(v)) for v in encoder.variables) == backbone.count_params()
    assert len(encoder.mlm.variables) == len(names) + 5
    assert {v.ref() for v in encoder.variables} <= {v.ref() for v in encoder.mlm.variables}
    head = sum(int(np.prod(w.shape)) for w in mlm_head.trainable_weights if "embeddings" not in w.path)
    stored = (pair / "encoder/variables/variables.data-00000-of-00001").stat().st_size
    floats = 4 * (backbone.count_params() + head)
    assert floats < stored < floats + 20_000  # beside the numbers only the object graph
    assert bool(encoder.do_lower_case.numpy()) is True
    assert encoder.vocab_file.asset_path.numpy().decode() == str(pair / "encoder/assets/vocab_uncased.txt")
    assert list(encoder.regularization_losses) == []


def test_no_file_tells_where_it_was_made(pair):
    import tempfile

    for place in (str(pair.parent.parent), tempfile.gettempdir()):
        assert [str(f) for f in pair.rglob("*") if f.is_file() and place.encode() in f.read_bytes()] == []


def test_dropout_is_on_in_training_only_and_repeatable(pair, encoder):
    inputs = batch(8)
    still = [encoder(inputs, training=False)["sequence_output"].numpy() for _ in range(2)]
    np.testing.assert_array_equal(*still)
    fresh = [tf.saved_model.load(str(pair / "encoder")) for _ in range(2)]
    steps = [[module(inputs, training=True)["sequence_output"].numpy() for _ in range(2)] for module in fresh]
    np.testing.assert_array_equal(steps[0], steps[1])  # two runs from the same file meet the same masks
    assert np.abs(steps[0][0] - steps[0][1]).max() > 0.1  # two steps of one run do not
    assert np.abs(steps[0][0] - still[0]).max() > 0.1


def test_fine_tunes_in_tf_keras_with_hub_layers(pair, preprocess):
    # The head is drawn; one that happens to begin near the labels has little left to learn.
    tf_keras.utils.set_random_seed(0)
    text = tf_keras.Input((), dtype=tf.string)
    tokens = hub.KerasLayer(preprocess.tokenize)(text)
    packed = hub.KerasLayer(preprocess.bert_pack_inputs, arguments={"seq_length": 6})([tokens])
    layer = hub.KerasLayer(str(pair / "encoder"), trainable=True)
    model = tf_keras.Model(text, tf_keras.layers.Dense(1)(layer(packed)["pooled_output"]))
    model.compile(tf_keras.optimizers.Adam(1e-2), "mse")
    before = [v.numpy() for v in layer.trainable_weights]
    texts, labels = tf.constant(["good film", "bad film"] * 8), tf.constant([1.0, 0.0] * 8)
    losses = model.fit(texts, labels, batch_size=16, epochs=12, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    moved = [np.abs(v.numpy() - b).max() > 0 for v, b in zip(layer.trainable_weights, before, strict=True)]
    assert len(moved) == 3 + 2 + 2 * 16 + 2
    assert all(moved)


def hugging_face(options: WordPieceRules) -> Tokenizer:
    """The reference: the tokenizer that checkpoints are published with."""
    vocabulary = {token: i for i, token in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(
        lowercase=options.lower_case,
        strip_accents=options.strip_accents,
        handle_chinese_chars=options.tokenize_chinese_chars,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


@pytest.mark.parametrize(
    "options",
    [
        WordPieceRules(lower_case=True),
        WordPieceRules(lower_case=True, strip_accents=False),
        WordPieceRules(lower_case=False),
        WordPieceRules(lower_case=False, strip_accents=True, tokenize_chinese_chars=False),
    ],
    ids=["uncased", "uncased with accents", "cased", "cased without accents"],
)
def test_ids_and_offsets_are_hugging_faces(tmp_path, options):
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY), encoding="utf-8")
    tokens = WordPieceTokenizer(str(tmp_path / "vocab.txt"), options)
    ids, starts, limits = tokens.tokenize_with_offsets(tf.constant(TEXTS))
    assert ids.dtype == tf.int32
    assert ids.to_list() == tokens.tokenize(tf.constant(TEXTS)).to_list()
    for i, (text, expected) in enumerate(zip(TEXTS, hugging_face(options).encode_batch(TEXTS), strict=True)):
        assert ids[i].flat_values.numpy().tolist() == expected.ids, text
        # Hugging Face counts characters, TF Hub bytes.
        spans = [(len(text[:a].encode()), len(text[:b].encode())) for a, b in expected.offsets]
        assert list(zip(starts[i].flat_values.numpy(), limits[i].flat_values.numpy(), strict=True)) == spans, text


def test_tokenize_of_the_saved_module(preprocess):
    words = preprocess.tokenize(["Good films!", "", "film9"]).to_list()
    v = VOCABULARY.index
    assert words == [[[v("good")], [v("film"), v("##s")], [v("!")]], [], [[1]]]
    special = {name: int(value) for name, value in preprocess.tokenize.get_special_tokens_dict().items()}
    assert special == {
        "start_of_sequence_id": 2,
        "end_of_segment_id": 3,
        "padding_id": 0,
        "mask_id": 4,
        "vocab_size": len(VOCABULARY),
    }
    not_utf8 = preprocess.tokenize(tf.constant([b"fil\xff\xfem"]))
    assert not_utf8.to_list() == [[[v("film")]]]  # bytes that mean nothing are dropped


def test_packing_trims_segments_in_turn(preprocess):
    first, second = (
        tf.ragged.constant([[10, 11, 12, 13]], tf.int32),
        tf.ragged.constant([[20, 21, 22, 23, 24]], tf.int32),
    )
    packed = preprocess.bert_pack_inputs([first, second], seq_length=tf.constant(9))
    # Six places are left for the tokens: three each.
    assert packed["input_word_ids"].numpy().tolist() == [[2, 10, 11, 12, 3, 20, 21, 22, 3]]
    assert packed["input_type_ids"].numpy().tolist() == [[0, 0, 0, 0, 0, 1, 1, 1, 1]]
    words = tf.ragged.constant([[[10, 11], [12]], []], tf.int32, ragged_rank=2)
    packed = preprocess.bert_pack_inputs([words], seq_length=6)
    assert packed["input_word_ids"].numpy().tolist() == [[2, 10, 11, 12, 3, 0], [2, 3, 0, 0, 0, 0]]
    assert packed["input_mask"].numpy().tolist() == [[1, 1, 1, 1, 1, 0], [1, 1, 0, 0, 0, 0]]
    assert all(value.dtype == tf.int32 for value in packed.values())
    called = preprocess(tf.constant(["good films"]))
    served = preprocess.signatures["serving_default"](sentences=tf.constant(["good films"]))
    v = VOCABULARY.index
    assert called["input_word_ids"].numpy().tolist() == [[2, v("good"), v("film"), v("##s"), 3, 0, 0, 0]]
    assert served["input_word_ids"].numpy().tolist() == called["input_word_ids"].numpy().tolist()


def test_vocabulary_with_double_and_blank_lines(tmp_path):
    double = list(VOCABULARY)
    double[double.index("z")] = "good"  # stands earlier than the real one, which counts
    double[double.index("y")] = ""
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary_lines(double)), encoding="utf-8")
    tokens = WordPieceTokenizer(str(tmp_path / "vocab.txt"), WordPieceRules(lower_case=False))
    assert tokens.tokenize(tf.constant(["good y film"])).to_list() == [
        [[double.index("bad") - 1], [1], [double.index("film")]]
    ]


def test_folder_is_made_whole_or_not_at_all(tmp_path, backbone, pair):

    def interrupted():
        with new_folder(tmp_path / "a" / "pair") as folder:
            (folder / "half").write_text("written")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list((tmp_path / "a").iterdir()) == []
    with pytest.raises(UserError, match="exists already"):
        write_encoder_pair(pair, backbone, UNCASED)
    mine = tmp_path / "mine"
    mine.mkdir()
    with new_folder(mine) as folder:  # an empty folder is taken over
        (folder / "encoder").mkdir()
    with new_folder(mine, overwrite=True) as folder:
        (folder / "preprocess").mkdir()
    assert sorted(p.name for p in mine.iterdir()) == ["manifest.json", "preprocess"]
    (mine / "thesis.txt").write_text("not a pair")
    with pytest.raises(UserError, match=r"thesis\.txt"), new_folder(mine, overwrite=True):
        pass
    with pytest.raises(UserError, match="is a file"), new_folder(mine / "thesis.txt"):
        pass
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "mine"]


@pytest.mark.parametrize(
    ("vocabulary", "options", "message"),
    [
        (VOCABULARY[1:], {}, r"no '\[PAD\]'"),
        ([*VOCABULARY, "more"], {}, "don't belong together"),
        (["a\nb", *VOCABULARY[:-1]], {}, "line feed"),
        (VOCABULARY, {"seq_length": 2}, "at least 3"),
        (VOCABULARY, {"special_tokens": {"unknown": "<unk>"}}, "'<unk>'"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path, backbone, vocabulary, options, message):
    rules = WordPieceRules(lower_case=True, special_tokens=options.get("special_tokens", {}))
    with pytest.raises(UserError, match=message):
        write_encoder_pair(
            tmp_path / "pair",
            backbone,
            WordPieceVocabulary(vocabulary, rules),
            seq_length=options.get("seq_length", 8),
        )
    assert list(tmp_path.iterdir()) == []


def test_a_network_of_other_blocks_is_refused(tmp_path):
    other = keras_hub.models.FNetBackbone(10, 1, 8, 8)
    with pytest.raises(UserError, match="FNetBackbone is not built like BERT"):
        write_encoder_pair(tmp_path / "pair", other, UNCASED)


@pytest.mark.real_data
def test_interface_and_packing_are_model_gardens(shared_dir, encoder, preprocess):
    garden = shared_dir / "models/garden_tiny"
    published = tf.saved_model.load(str(garden / "encoder"))
    inputs = batch(7) | {"input_word_ids": tf.random.uniform((2, 7), 0, 80, tf.int32)}
    theirs, ours = published(inputs, training=False), encoder(inputs, training=False)
    assert {k: np.ndim(v) for k, v in theirs.items() if k != "encoder_outputs"} == {
        k: np.ndim(v) for k, v in ours.items() if k != "encoder_outputs"
    }
    assert {v.name for v in encoder.mlm.variables} <= {v.name for v in published.mlm.variables}
    masked = {**inputs, "masked_lm_positions": tf.zeros((2, 3), tf.int32)}
    assert set(encoder.mlm(masked, training=False)) == set(published.mlm(masked, training=False))
    pack = tf.saved_model.load(str(garden / "preprocess")).bert_pack_inputs
    rng = np.random.default_rng(0)
    for length in (3, 4, 8, 9, 20):
        segments = [
            tf.ragged.constant([rng.integers(5, 90, size).tolist() for size in rng.integers(1, 12, 6)], tf.int32)
            for _ in range(2)
        ]
        for chosen in (segments[:1], segments):
            expected, packed = pack(chosen, seq_length=length), preprocess.bert_pack_inputs(chosen, seq_length=length)
            for name, value in expected.items():
                np.testing.assert_array_equal(packed[name], value, err_msg=f"{name} at {length}")
