"""Byte-level byte pairs: ids and places held against `tokenizers`, networks against KerasHub, from files to a pair that serves."""

from __future__ import annotations

import json
import random
import shutil

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

import tl_keras as tlk
from tl_keras.encoders.convert import convert
from tl_keras.encoders.convert_wordpiece import read_byte_pairs
from tl_keras.encoders.offset_tokenizer import vocabulary_tokens
from tl_keras.encoders.tokenizers import BytePairTokenizer
from tl_keras.encoders.vocabulary_trim import always_kept, read_pair_vocabulary
from tl_keras.errors import UserError
from tl_keras.text.offsets import OffsetTokenizer

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
LINES = [
    "the great film was dull, isn't it? I'll say we've seen 12 345 films",
    "영화 정말 재미있다, 서울에서 부산까지",
    "aaaa aaa aa a aaaaa",
    "🎉🎉 x🎉 good -- good!! don't they'd \n\n  the end",
]
HARD = [
    "", " ", "    ", "a  b", "  's it's IT'S 's", "x\n\n\ny\t z \n", "\u3000a\u3000\u3000b\u00a0 c \u2003d", "a\x1c b\x85c",
    "①½²٣ 12ab 3.4", "e\u0301 \u200b \ufeff ▁a", "aaaaaaaa aaaaa", "🎉🎉🎉👩\u200d👩\u200d👧", " \r\n", "\n's", "  '", "ʼª",
    "the  great   film was 재미있다!", "<mask> is text</s>",
]  # fmt: skip
WIDTH, INNER, POSITIONS = 8, 12, 34


@pytest.fixture(scope="module")
def fast() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(LINES, trainer)
    tokenizer.add_special_tokens(["<mask>"])
    return tokenizer


@pytest.fixture(scope="module")
def checkpoint(fast, tmp_path_factory):
    """A RoBERTa of one block in Hugging Face's files, with `vocab.json` and `merges.txt`."""
    folder = tmp_path_factory.mktemp("roberta") / "tiny"
    folder.mkdir()
    fast.model.save(str(folder))
    # As published: with <mask>, which only `tokenizer.json` keeps apart.
    vocabulary = json.loads((folder / "vocab.json").read_text("utf-8")) | {"<mask>": fast.token_to_id("<mask>")}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), "utf-8")
    config = {
        "model_type": "roberta", "vocab_size": len(vocabulary), "hidden_size": WIDTH, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": INNER, "max_position_embeddings": POSITIONS, "type_vocab_size": 1,
        "hidden_act": "gelu", "layer_norm_eps": 1e-5, "pad_token_id": 1, "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    shapes = {
        "embeddings.word_embeddings": (len(vocabulary), WIDTH),
        "embeddings.position_embeddings": (POSITIONS, WIDTH),
        "embeddings.token_type_embeddings": (1, WIDTH),
    }
    block = "encoder.layer.0"
    dense = {f"{block}.attention.self.{part}": (WIDTH, WIDTH) for part in ("query", "key", "value")}
    dense |= {f"{block}.attention.output.dense": (WIDTH, WIDTH), f"{block}.intermediate.dense": (INNER, WIDTH)}
    dense[f"{block}.output.dense"] = (WIDTH, INNER)
    norms = ("embeddings.LayerNorm", f"{block}.attention.output.LayerNorm", f"{block}.output.LayerNorm")
    rng = np.random.default_rng(4)
    tensors = {f"{name}.weight": rng.normal(0.0, 0.6, shape) for name, shape in (shapes | dense).items()}
    tensors |= {f"{name}.bias": rng.normal(0.0, 0.6, shape[0]) for name, shape in dense.items()}
    tensors |= {f"{name}.{part}": rng.normal(0.5, 0.6, WIDTH) for name in norms for part in ("weight", "bias")}
    # KerasHub's reader, which ours is held against, leaves the one token type out.
    tensors["embeddings.token_type_embeddings.weight"] *= 0.0
    tensors = {f"roberta.{name}": array for name, array in tensors.items()}
    head = {
        "dense.weight": (WIDTH, WIDTH),
        "dense.bias": (WIDTH,),
        "layer_norm.weight": (WIDTH,),
        "layer_norm.bias": (WIDTH,),
    }
    head["bias"] = (len(vocabulary),)
    tensors |= {f"lm_head.{name}": rng.normal(0.0, 0.6, shape) for name, shape in head.items()}
    save_file({name: array.astype(np.float32) for name, array in tensors.items()}, str(folder / "model.safetensors"))
    return folder


@pytest.fixture(scope="module")
def pair(checkpoint, tmp_path_factory):
    return convert(checkpoint, tmp_path_factory.mktemp("pair") / "tiny", seq_length=16)


def random_texts(count: int) -> list[str]:
    rng = random.Random(3)
    parts = [
        *" " * 6,
        *"\n\t'sdtrevml abfilm0123.,!?-#`",
        "\u3000",
        "\u00a0",
        "영",
        "화",
        "🙂",
        "é",
        "½",
        "Ⅷ",
        "'ll",
        "  ",
        "\u2028",
    ]
    return ["".join(rng.choice(parts) for _ in range(rng.randrange(25))) for _ in range(count)]


@pytest.mark.one_keras
@pytest.mark.parametrize("add_prefix_space", [False, True])
def test_ids_and_places_are_those_of_tokenizers(fast, checkpoint, add_prefix_space):
    vocabulary = read_byte_pairs(checkpoint)
    assert vocabulary.tokens == [fast.id_to_token(i) for i in range(fast.get_vocab_size())]
    reference = Tokenizer(fast.model)
    reference.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    tokenizer = BytePairTokenizer(vocabulary.tokens, vocabulary.merges, add_prefix_space)
    texts = [*HARD, *LINES, *random_texts(600)]
    expected = [reference.encode(text, add_special_tokens=False) for text in texts]
    ids, starts, limits = tf.function(tokenizer.tokenize_with_offsets)(tf.constant(texts))
    assert ids.to_list() == [encoding.ids for encoding in expected]
    # Tokens cover the text's bytes without a gap.
    for text, first, last in zip(texts, starts.to_list(), limits.to_list(), strict=True):
        size = len(text.encode())
        assert (first[:1], last[-1:]) == (([0], [size]) if text else ([], []))
        assert first[1:] == last[:-1]
    tokens = OffsetTokenizer(tokenizer.tokenize_with_offsets, tracked=tokenizer)(tf.constant(texts))
    for row, (text, encoding) in enumerate(zip(texts, expected, strict=True)):
        places = zip(tokens.starts[row].numpy().tolist(), tokens.ends[row].numpy().tolist(), strict=True)
        for place, (start, end) in zip(places, encoding.offsets, strict=True):
            # Blanks alone are given to what follows here; marks and invisible characters have rules of their own.
            surface = text[start:end].lstrip()
            if surface and not set(text) & set("\u0301\u200b\ufeff▁\u200d"):
                assert place == (end - len(surface), end), (text, place, start, end)


@pytest.mark.one_keras
def test_a_null_character_is_read_as_the_one_behind_it(fast, checkpoint):
    vocabulary = read_byte_pairs(checkpoint)
    ids = (
        BytePairTokenizer(vocabulary.tokens, vocabulary.merges)
        .tokenize(tf.constant(["a\0b film", "a\1b film"]))
        .to_list()
    )
    assert ids[0] == ids[1] == fast.encode("a\1b film").ids


@pytest.mark.one_keras
def test_fast_tokenizers_file_gives_the_same_vocabulary(fast, checkpoint, tmp_path):
    path = tmp_path / "tokenizer.json"
    fast.save(str(path))
    assert read_byte_pairs(tmp_path) == read_byte_pairs(checkpoint)
    content = json.loads(path.read_text("utf-8"))
    # Older files have a pair as one string.
    content["model"]["merges"] = [
        pair if isinstance(pair, str) else " ".join(pair) for pair in content["model"]["merges"]
    ]
    path.write_text(json.dumps(content), "utf-8")
    assert read_byte_pairs(tmp_path) == read_byte_pairs(checkpoint)
    content["normalizer"] = {"type": "NFC"}
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(UserError, match=r"another kind .normalizer 'NFC'.; what can be read is RoBERTa's"):
        read_byte_pairs(tmp_path)


@pytest.mark.one_keras
def test_converted_pair_computes_roberta(fast, checkpoint, pair):
    import keras_hub

    encoder = tf.saved_model.load(str(pair / "encoder"))
    preprocess = tf.saved_model.load(str(pair / "preprocess"))
    first, second = (fast.encode(text).ids for text in ("the great film", "don't 좋다"))
    segments = [preprocess.tokenize(tf.constant([text])) for text in ("the great film", "don't 좋다")]
    packed = preprocess.bert_pack_inputs(segments, tf.constant(32))
    row = [0, *first, 2, 2, *second, 2]
    assert packed["input_word_ids"].numpy()[0].tolist() == row + [1] * (32 - len(row))
    special = {name: int(value) for name, value in preprocess.tokenize.get_special_tokens_dict().items()}
    assert special["mask_id"] == fast.token_to_id("<mask>")
    # KerasHub's own reader of RoBERTa; ours reads its blocks as a BERT's.
    backbone = keras_hub.models.Backbone.from_preset(str(checkpoint))
    mask = packed["input_mask"]
    expected = np.asarray(backbone({"token_ids": packed["input_word_ids"], "padding_mask": mask}))[0, : len(row)]
    outputs = encoder.mlm({**packed, "masked_lm_positions": tf.constant([[1, 3]])})
    np.testing.assert_allclose(outputs["sequence_output"].numpy()[0, : len(row)], expected, atol=1e-5)
    assert outputs["mlm_logits"].shape == (1, 2, fast.get_vocab_size())


def test_a_moved_pair_gives_vectors_places_and_its_vocabulary_back(fast, pair, checkpoint, tmp_path):
    moved = shutil.copytree(pair, tmp_path / "moved")
    assert read_pair_vocabulary(moved) == read_byte_pairs(checkpoint)
    encoder = tlk.load_encoder(str(moved), seq_length=16)
    assert encoder.preprocessor.unknown_id == -1
    text = "the  great 재미있다"
    tokens = encoder.offset_tokenizer(tf.constant([text]))
    found = {text[a:b] for a, b in zip(tokens.starts[0].numpy(), tokens.ends[0].numpy(), strict=True)}
    assert {"the", "great"} <= found
    lines = vocabulary_tokens(encoder.folder)
    assert (lines[fast.token_to_id("Ġfilm")], lines[fast.token_to_id("<mask>")]) == ("▁film", "<mask>")
    with pytest.raises(UserError, match="can't be trimmed"):
        always_kept(read_pair_vocabulary(moved))


@pytest.mark.one_keras
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("merges.txt", "#version: 0.2\nq\n", r"Merge 1 of .*merges\.txt, 'q'"),
        ("merges.txt", b"\xff\xfe", "not UTF-8"),
        ("vocab.json", None, "no vocab.json"),
        ("vocab.json", "[]", "should hold a JSON object"),
        ("vocab.json", '{"a": 0}', "is not made of two"),
    ],
)
def test_damaged_files_are_named(checkpoint, tmp_path, name, content, message):
    folder = shutil.copytree(checkpoint, tmp_path / "copy")
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message) as caught:
        convert(folder, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
