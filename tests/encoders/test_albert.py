"""ALBERT: ids held against `sentencepiece` and `tokenizers`, the network against KerasHub's, places by hand."""

from __future__ import annotations

import io
import json
import shutil
import unicodedata

import numpy as np
import pytest
import sentencepiece as spm
import tensorflow as tf
from safetensors.numpy import save_file
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from tl_keras import load_encoder
from tl_keras.encoders.convert import convert
from tl_keras.encoders.sentencepiece_files import read_sentencepiece, read_unigram_json
from tl_keras.encoders.tokenizers import SentencePieceTokenizer
from tl_keras.encoders.vocabularies import parse_model
from tl_keras.encoders.vocabulary_trim import read_pair_vocabulary
from tl_keras.errors import UserError
from tl_keras.text.offsets import OffsetTokenizer

pytestmark = pytest.mark.one_keras

TEXTS = [
    "The Great FILM was dull.", "", "  ", "``Good'' films, café naïve ﬁne ½ Straße İx I", "''' ````' x", "[MASK] [CLS] film",
    "a\x01b  \u3000c\u200b e\u0301 x", "ΣΑΣ good", "🎉 film🎉", "the 'film' is ``great", "\u0301", "x\u0301\u0302 ",
]  # fmt: skip
WIDTH, NARROW, INNER, POSITIONS = 8, 6, 12, 20


@pytest.fixture(scope="module")
def model() -> bytes:
    words = [
        "the",
        "great",
        "film",
        "was",
        "dull",
        "good",
        "bad",
        "fine",
        "cafe",
        "naive",
        "music",
        "and",
        "plot",
        "is",
        "it",
        "a",
        "an",
        "of",
        "to",
    ]
    stream = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter([f'{a} {b} "{c}", {a} {c}.' for a in words for b in words for c in words[::4]]),
        model_writer=stream, vocab_size=90, character_coverage=1.0, normalization_rule_name="nmt_nfkc", hard_vocab_limit=False,
        minloglevel=2, num_threads=1, pad_id=0, unk_id=1, bos_id=-1, eos_id=-1, user_defined_symbols=["[CLS]", "[SEP]", "[MASK]"],
        required_chars="abcdefghijklmnopqrstuvwxyz12⁄'`",
    )  # fmt: skip
    return stream.getvalue()


@pytest.fixture(scope="module")
def checkpoint(model, tmp_path_factory):
    """Four layers of two groups, each group of two blocks: eight blocks run through, of four that are stored."""
    folder = tmp_path_factory.mktemp("albert") / "tiny"
    folder.mkdir()
    (folder / "spiece.model").write_bytes(model)
    size = len(parse_model(model).pieces)
    config = {
        "model_type": "albert", "vocab_size": size, "hidden_size": WIDTH, "embedding_size": NARROW, "num_hidden_layers": 4,
        "num_hidden_groups": 2, "inner_group_num": 2, "num_attention_heads": 2, "intermediate_size": INNER,
        "max_position_embeddings": POSITIONS, "type_vocab_size": 2, "hidden_act": "gelu_new", "hidden_dropout_prob": 0,
        "attention_probs_dropout_prob": 0, "layer_norm_eps": 1e-12,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    shapes = {f"albert.embeddings.{name}_embeddings.weight": (rows, NARROW)
              for name, rows in (("word", size), ("position", POSITIONS), ("token_type", 2))}  # fmt: skip
    dense = {"albert.encoder.embedding_hidden_mapping_in": (WIDTH, NARROW), "albert.pooler": (WIDTH, WIDTH)}
    norms = {"albert.embeddings.LayerNorm": NARROW, "predictions.LayerNorm": NARROW}
    for block in (f"albert.encoder.albert_layer_groups.{g}.albert_layers.{i}" for g in (0, 1) for i in (0, 1)):
        dense |= {f"{block}.attention.{part}": (WIDTH, WIDTH) for part in ("query", "key", "value", "dense")}
        dense |= {f"{block}.ffn": (INNER, WIDTH), f"{block}.ffn_output": (WIDTH, INNER)}
        norms |= {f"{block}.attention.LayerNorm": WIDTH, f"{block}.full_layer_layer_norm": WIDTH}
    dense["predictions.dense"] = (NARROW, WIDTH)
    shapes |= {f"{name}.weight": shape for name, shape in dense.items()}
    shapes |= {f"{name}.bias": shape[:1] for name, shape in dense.items()}
    shapes |= {f"{name}.{part}": (width,) for name, width in norms.items() for part in ("weight", "bias")}
    shapes["predictions.bias"] = (size,)
    rng = np.random.default_rng(6)
    save_file(
        {name: rng.normal(0.0, 0.6, shape).astype(np.float32) for name, shape in shapes.items()},
        str(folder / "model.safetensors"),
    )
    return folder


@pytest.fixture(scope="module")
def vocabulary(checkpoint):
    return read_sentencepiece(checkpoint / "spiece.model", {}, "albert")


def normal(text: str) -> str:
    """ALBERT's rules in Python, character by character."""
    text = unicodedata.normalize("NFKD", text.replace("``", '"').replace("''", '"'))
    return "".join(c.lower() for c in text if not unicodedata.category(c).startswith("M"))


def test_ids_are_those_of_the_library(vocabulary):
    processor = spm.SentencePieceProcessor(model_proto=vocabulary.model)
    tokenizer = SentencePieceTokenizer(vocabulary.model, vocabulary.rules)
    expected = [processor.encode(normal(text)) for text in TEXTS]
    assert tokenizer.tokenize(tf.constant(TEXTS)).to_list() == expected
    assert tokenizer.tokenize_with_offsets(tf.constant(TEXTS))[0].to_list() == expected
    # "[MASK]" typed in a text is text.
    assert not set(expected[5]) & {vocabulary.tokens.index(token) for token in ("[MASK]", "[CLS]")}


def test_fast_tokenizers_file_gives_the_same(vocabulary, model, tmp_path):
    proto = parse_model(model)
    fast = Tokenizer(models.Unigram([(piece.piece, piece.score) for piece in proto.pieces], unk_id=1))
    steps = [
        normalizers.Replace("``", '"'),
        normalizers.Replace("''", '"'),
        normalizers.NFKD(),
        normalizers.StripAccents(),
    ]
    steps += [normalizers.Lowercase(), normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap)]
    fast.normalizer = normalizers.Sequence([*steps, normalizers.Replace(Regex(" {2,}"), " ")])
    fast.pre_tokenizer = pre_tokenizers.Metaspace()
    fast.add_special_tokens(["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"])
    fast.save(str(tmp_path / "tokenizer.json"))
    read = read_unigram_json(tmp_path / "tokenizer.json")
    assert (read.rules, read.packing, read.special_ids()) == (
        vocabulary.rules, vocabulary.packing, vocabulary.special_ids(),
    )  # fmt: skip
    texts = [
        text for text in TEXTS if "[" not in text and text.strip() == text and "  " not in text and "🎉" not in text
    ]
    ids = SentencePieceTokenizer(read.model, read.rules).tokenize(tf.constant(texts)).to_list()
    assert ids == [fast.encode(text, add_special_tokens=False).ids for text in texts]
    content = json.loads((tmp_path / "tokenizer.json").read_text("utf-8"))
    content["normalizer"]["normalizers"].insert(0, {"type": "NFC"})
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), "utf-8")
    with pytest.raises(UserError, match="otherwise than XLM-R or ALBERT does"):
        read_unigram_json(tmp_path / "tokenizer.json")


def test_places_are_characters_of_the_users_text(vocabulary):
    tokenizer = SentencePieceTokenizer(vocabulary.model, vocabulary.rules)
    tokens = OffsetTokenizer(tokenizer.tokenize_with_offsets, tracked=tokenizer)(tf.constant(TEXTS))
    for row, text in enumerate(TEXTS):
        parts = zip(*(part[row].numpy().tolist() for part in tokens[:3]), strict=True)
        previous = 0
        for token_id, start, end in parts:
            assert 0 <= start < end <= len(text), (text, start, end)
            assert start >= previous or end == previous, (text, start, end)
            previous = start
            surface = normal(text[start:end])
            token = vocabulary.tokens[token_id].removeprefix("▁")
            if token_id != 1 and token and not {"½", "ﬁ"} & set(text[start:end]):
                assert unicodedata.normalize("NFKC", surface).strip("\x01 ") == token, (text, start, end, token)
    text = TEXTS[3]
    found = [text[a:b] for a, b in zip(tokens.starts[3].numpy(), tokens.ends[3].numpy(), strict=True)]
    assert "café" in "".join(found)
    assert {"``", "''"} <= {part if part[0] in "`'" else "" for part in found}


def test_converted_pair_computes_albert(checkpoint, vocabulary, tmp_path):
    import keras_hub

    pair = convert(checkpoint, tmp_path / "pair", seq_length=16)
    again = read_pair_vocabulary(pair)
    assert (again.model, again.rules, again.lower_case) == (vocabulary.model, vocabulary.rules, True)
    encoder, preprocess = (tf.saved_model.load(str(pair / part)) for part in ("encoder", "preprocess"))
    segments = [preprocess.tokenize(tf.constant([text])) for text in ("The FILM", "café")]
    first, second = (segment.to_list()[0] for segment in segments)
    packed = preprocess.bert_pack_inputs(segments, tf.constant(POSITIONS))
    row = [2, *first, 3, *second, 3]
    assert packed["input_word_ids"].numpy()[0].tolist() == row + [0] * (POSITIONS - len(row))
    types = [0] * (len(first) + 2) + [1] * (len(second) + 1)
    assert packed["input_type_ids"].numpy()[0].tolist() == types + [0] * (POSITIONS - len(row))
    assert int(preprocess.tokenize.get_special_tokens_dict()["mask_id"]) == 4
    backbone = keras_hub.models.Backbone.from_preset(str(checkpoint))
    names = {"token_ids": "input_word_ids", "segment_ids": "input_type_ids", "padding_mask": "input_mask"}
    expected = backbone({theirs: packed[ours] for theirs, ours in names.items()})
    outputs = encoder.mlm({**packed, "masked_lm_positions": tf.constant([[1]])})
    assert len(outputs["encoder_outputs"]) == 8
    real = slice(len(row))
    np.testing.assert_allclose(
        outputs["sequence_output"][0, real], np.asarray(expected["sequence_output"])[0, real], atol=1e-5
    )
    np.testing.assert_allclose(outputs["pooled_output"], np.asarray(expected["pooled_output"]), atol=1e-5)
    assert outputs["mlm_logits"].shape == (1, 1, len(vocabulary.tokens))
    tokens = load_encoder(str(pair), seq_length=16).offset_tokenizer(tf.constant(["The CAFÉ"]))
    assert tokens.ids.to_list() == preprocess.tokenize(tf.constant(["the cafe"])).to_list()
    assert (tokens.starts[0, 0].numpy(), tokens.ends[0, -1].numpy()) == (0, 8)


def test_what_is_none_is_refused(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint, tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    for change, message in (
        ({"num_hidden_groups": 3}, "4 layers in 3 groups"),
        ({"model_type": "xlnet"}, "another architecture .*what can be read is BERT"),
    ):
        (folder / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(UserError, match=message):
            convert(folder, tmp_path / "out")
    proto = parse_model((folder / "spiece.model").read_bytes())
    proto.pieces[4].piece = "[OTHER]"
    # The name that other families give the same file.
    (folder / "spiece.model").rename(folder / "tokenizer.model")
    (folder / "tokenizer.model").write_bytes(proto.SerializeToString())
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"tokenizer\.model has no '\[MASK\]' among its tokens"):
        convert(folder, tmp_path / "out")
