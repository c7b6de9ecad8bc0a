"""What a checkpoint's folder says beside its network: pooling, layers, case, prompts, added tokens; weights that can't be meant."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import save_file

import tl_keras as tlk
from tl_keras.encoders.convert import convert
from tl_keras.encoders.convert_sentence_transformers import read_prompts
from tl_keras.encoders.convert_tensors import read_tensors
from tl_keras.encoders.vocabulary_trim import read_pair_vocabulary
from tl_keras.errors import UserError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "film", "##s", "Good", "<url>"]
WIDTH, INNER = 8, 12
CONFIG = {
    "model_type": "bert", "vocab_size": len(WORDS), "hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": INNER, "max_position_embeddings": 10, "type_vocab_size": 2, "hidden_act": "gelu",
}  # fmt: skip
TEXTS = ["good film", "films good good"]


def tensors() -> dict[str, np.ndarray]:
    """A BERT of one block, with a pooler, under Hugging Face's names."""
    shapes = {
        "embeddings.word_embeddings": (len(WORDS), WIDTH),
        "embeddings.position_embeddings": (10, WIDTH),
        "embeddings.token_type_embeddings": (2, WIDTH),
        "pooler.dense": (WIDTH, WIDTH),
        "encoder.layer.0.intermediate.dense": (INNER, WIDTH),
        "encoder.layer.0.output.dense": (WIDTH, INNER),
    }
    shapes |= {
        f"encoder.layer.0.attention.{part}": (WIDTH, WIDTH)
        for part in ("self.query", "self.key", "self.value", "output.dense")
    }
    norms = ("embeddings.LayerNorm", "encoder.layer.0.attention.output.LayerNorm", "encoder.layer.0.output.LayerNorm")
    rng = np.random.default_rng(3)
    found = {}
    for name, shape in (shapes | dict.fromkeys(norms, (WIDTH,))).items():
        found[f"{name}.weight"] = rng.normal(0.0, 0.6, shape)
        if "_embeddings" not in name:
            found[f"{name}.bias"] = rng.normal(0.0, 0.6, shape[:1])
    return {name: array.astype(np.float32) for name, array in found.items()}


def write_checkpoint(folder, arrays=None, lower_case: bool = True, **files):
    folder.mkdir(parents=True, exist_ok=True)
    files = {"config": CONFIG, "tokenizer_config": {"do_lower_case": lower_case}, **files}
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    save_file(tensors() if arrays is None else arrays, str(folder / "model.safetensors"))
    return folder


def module(kind: str, path: str) -> dict:
    return {"idx": 0, "name": "0", "path": path, "type": f"sentence_transformers.models.{kind}"}


def write_pooling(folder, *modes: str, **others):
    folder.mkdir(parents=True)
    every = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
    config = {"word_embedding_dimension": WIDTH, **{f"pooling_mode_{mode}": mode in modes for mode in every}}
    (folder / "config.json").write_text(json.dumps(config | others))


def last_outputs(pair) -> tuple[np.ndarray, np.ndarray]:
    """The last block's outputs of the texts, and which places are padding."""
    network, preprocess = (tf.saved_model.load(str(pair / part)) for part in ("encoder", "preprocess"))
    ids = preprocess(tf.constant(TEXTS))
    return network(ids)["sequence_output"].numpy(), ids["input_mask"].numpy() > 0


# bge's folders: a pooler is in the checkpoint, and the vector is the raw output at [CLS] all the same.
@pytest.mark.parametrize(
    ("mode", "pooling", "vector"),
    [
        ("cls_token", "cls", lambda rows: rows[0]),
        ("mean_tokens", "mean", lambda rows: rows.mean(0)),
        ("max_tokens", "max", lambda rows: rows.max(0)),
    ],
)
def test_vectors_are_pooled_as_sentence_transformers_does(tmp_path, mode, pooling, vector):
    folder = write_checkpoint(tmp_path / "c")
    write_pooling(folder / "1_Pooling", mode)
    pair = convert(folder, tmp_path / "pair")
    assert json.loads((pair / "info.json").read_text())["suggested"] == {"pooling": pooling}
    outputs, real = last_outputs(pair)
    expected = np.stack([vector(rows[there]) for rows, there in zip(outputs, real, strict=True)])
    np.testing.assert_allclose(tlk.encode(str(pair), TEXTS, seq_length=10), expected, atol=1e-5)
    unit = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    # So too where vectors are compared: models of similarity, an index.
    model = tlk.sentence_encoder(tlk.load_encoder(str(pair), seq_length=10), "freeze")
    np.testing.assert_allclose(tlk.encode(model, TEXTS), unit, atol=1e-5)


@pytest.mark.one_keras
@pytest.mark.parametrize(
    ("activation", "taken"), [("torch.nn.modules.activation.Tanh", True), ("torch.nn.modules.linear.Identity", False)]
)
def test_a_dense_layer_behind_cls_is_a_pooler(tmp_path, caplog, activation, taken):
    """As LaBSE has it."""
    folder = write_checkpoint(tmp_path / "c", lower_case=False)
    modules = [
        module("Transformer", ""),
        module("Pooling", "1_Pooling"),
        module("Dense", "2_Dense"),
        module("Normalize", "3"),
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    write_pooling(folder / "1_Pooling", "cls_token")
    (folder / "2_Dense").mkdir()
    (folder / "2_Dense" / "config.json").write_text(json.dumps({"activation_function": activation}))
    rng = np.random.default_rng(4)
    weight, bias = (rng.normal(size=shape).astype(np.float32) for shape in ((WIDTH, WIDTH), (WIDTH,)))
    save_file({"linear.weight": weight, "linear.bias": bias}, str(folder / "2_Dense" / "model.safetensors"))
    pair = convert(folder, tmp_path / "pair")
    outputs, _ = last_outputs(pair)
    expected = np.tanh(outputs[:, 0] @ weight.T + bias) if taken else outputs[:, 0]
    np.testing.assert_allclose(tlk.encode(str(pair), TEXTS, seq_length=10), expected, atol=1e-5)
    assert ("more behind its network" in caplog.text) is not taken


@pytest.mark.one_keras
def test_pooler_stays_where_nobody_says_that_it_is_not_used(tmp_path):
    pair = convert(write_checkpoint(tmp_path / "c"), tmp_path / "pair")
    assert json.loads((pair / "info.json").read_text())["pooler"] is True


@pytest.mark.one_keras
@pytest.mark.parametrize(
    ("modes", "others", "behind", "suggested", "said"),
    [
        (["mean_tokens"], {}, ["Normalize"], {"pooling": "mean"}, None),
        (["mean_sqrt_len_tokens"], {}, [], {"pooling": "mean"}, None),
        ([], {"pooling_mode": "cls"}, [], {"pooling": "cls"}, None),
        (["mean_tokens"], {}, ["Dense", "Normalize"], {"pooling": "mean"}, r"more behind its network than a pooling \(p/2_Dense\)"),
        (["weightedmean_tokens"], {}, [], {}, "pools by weightedmean_tokens"),
        (["mean_tokens", "max_tokens"], {}, [], {}, "pools by mean_tokens and max_tokens"),
    ],
)  # fmt: skip
def test_what_has_no_place_in_a_pair_is_said(tmp_path, caplog, modes, others, behind, suggested, said):
    folder = tmp_path / "st"
    modules = [
        module("Transformer", "0_Transformer"),
        module("Pooling", "p/1"),
        *(module(k, f"p/2_{k}") for k in behind),
    ]
    # As the first versions wrote it: the network in a folder of its own.
    write_checkpoint(folder / "0_Transformer", lower_case=False)
    (folder / "modules.json").write_text(json.dumps(modules))
    write_pooling(folder / "p" / "1", *modes, **others)
    pair = convert(folder, tmp_path / "pair")
    facts = json.loads((pair / "info.json").read_text())
    assert (facts["suggested"], facts["converted_from"]) == (suggested, "st")
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == (said is not None)
    assert said is None or re.search(said, caplog.text)


@pytest.mark.one_keras
def test_case_that_is_lowered_before_the_tokenizer(tmp_path):
    folder = write_checkpoint(tmp_path / "c", lower_case=False, sentence_bert_config={"do_lower_case": True})
    pair = convert(folder, tmp_path / "pair")
    rules = read_pair_vocabulary(pair).rules
    assert (rules.lower_case, rules.strip_accents) == (True, False)
    preprocess = tf.saved_model.load(str(pair / "preprocess"))
    assert preprocess(["Good FILMS"])["input_word_ids"].numpy()[0, :5].tolist() == [2, 5, 6, 7, 3]


def test_default_prompt_stands_before_whatever_has_none(tmp_path):
    prompts = {"sts": "Compare: ", "query": "Ask: ", "corpus": ""}
    (tmp_path / "config_sentence_transformers.json").write_text(
        json.dumps({"prompts": prompts, "default_prompt_name": "sts"})
    )
    assert read_prompts(tmp_path) == {"query": "Ask: ", "passage": "Compare: "}


@pytest.mark.one_keras
@pytest.mark.parametrize(
    "files",
    [
        {"added_tokens": {"<url>": 9}},
        {"tokenizer_config": {"do_lower_case": False, "added_tokens_decoder": {"9": {"content": "<url>"}, "0": {"content": "[PAD]"}}}},
        {"tokenizer": {"model": {"vocab": {w: i for i, w in enumerate(WORDS)}}, "added_tokens": [{"id": 9, "content": "<url>"}]}},
    ],
)  # fmt: skip
def test_tokens_that_were_added_are_named(tmp_path, caplog, files):
    convert(write_checkpoint(tmp_path / "c", lower_case=False, **files), tmp_path / "pair")
    assert [re.findall(r"(\d+) tokens that were added .* such as '(.*?)'", r.getMessage()) for r in caplog.records if r.levelname == "WARNING"] == [[("1", "<url>")]]  # fmt: skip


@pytest.mark.one_keras
def test_tokenizer_json_goes_before_vocab_txt(tmp_path, caplog):
    words = [*WORDS[:5], *reversed(WORDS[5:])]
    fast = {"model": {"type": "WordPiece", "vocab": {word: i for i, word in enumerate(words)}}}
    pair = convert(write_checkpoint(tmp_path / "c", lower_case=False, tokenizer=fast), tmp_path / "pair")
    assert read_pair_vocabulary(pair).tokens == words
    assert "vocab.txt and tokenizer.json hold different tokens" in caplog.text


@pytest.mark.one_keras
@pytest.mark.parametrize("prefix", ["", "bert.", "model.bert.", "0.auto_model."])
def test_prefix_is_taken_off_whatever_it_is(tmp_path, prefix):
    head = prefix.removesuffix("bert.") + "cls.predictions.bias"
    position_ids = np.arange(10)[np.newaxis]
    arrays = {f"{prefix}{name}": array for name, array in tensors().items()}
    folder = write_checkpoint(
        tmp_path / "c", {**arrays, head: np.ones(10, np.float16), "embeddings.position_ids": position_ids}
    )
    found = read_tensors(folder, "bert")
    assert {*found} == {*tensors(), "cls.predictions.bias"}
    assert all((found[name] == array).all() for name, array in tensors().items())


QUERY = "encoder.layer.0.attention.self.query.weight"


@pytest.mark.one_keras
@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({QUERY: np.ones((WIDTH, WIDTH), np.int8)}, f"{QUERY} in .* is of int8: quantized"),
        ({QUERY: np.full((WIDTH, WIDTH), np.nan, np.float16)}, f"{QUERY} in .* no numbers"),
        ({f"teacher.{name}": array for name, array in tensors().items()}, "several networks, under '', 'teacher.'"),
    ],
)
def test_weights_that_cannot_be_meant_are_refused(tmp_path, more, message):
    with pytest.raises(UserError, match=message):
        convert(write_checkpoint(tmp_path / "c", tensors() | more), tmp_path / "pair")
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


@pytest.mark.one_keras
@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"model.safetensors.index": {}}, "index.json is damaged: it has no weight_map"),
        ({"modules": {"0": 1}}, "modules.json is damaged"),
        ({"tokenizer_config": {"mask_token": "<mask>"}}, "no '<mask>' .*tokenizer_config.json"),
    ],
)
def test_damaged_files_are_named(tmp_path, files, message):
    with pytest.raises(UserError, match=message):
        convert(write_checkpoint(tmp_path / "c", **files), tmp_path / "pair")


@pytest.mark.one_keras
def test_an_adapter_is_no_network(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="merge it with its base"):
        convert(tmp_path, tmp_path / "pair")
