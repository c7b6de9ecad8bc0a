"""Writing texts: what is chosen and with what chance, the cache, the stream, the export, perplexity, training from files."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf
from typer.testing import CliRunner

from tl_keras._keras import IS_KERAS_3
from tl_keras.errors import UserError
from tl_keras.models.language_model import load_language_model

pytest.importorskip("keras_hub")
pytest.importorskip("tokenizers")
needs_keras_3 = pytest.mark.skipif(not IS_KERAS_3, reason="KerasHub's models are Keras 3")

LINES = ["영화가 정말 좋아요", "good films are good", "정말 좋아요 정말", "films are long"]

# GPT-2's spelling of bytes: printable ones are themselves, the others stand for letters from U+0100 on, in order.
_PRINTED = [*range(33, 127), *range(161, 173), *range(174, 256)]
BYTES = {chr(byte): byte for byte in _PRINTED}
BYTES |= {chr(256 + place): byte for place, byte in enumerate(byte for byte in range(256) if byte not in _PRINTED)}


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """A folder that holds a GPT-2 of one block with random weights, as a run of pre-training leaves it."""
    if not IS_KERAS_3:
        pytest.skip("KerasHub's models are Keras 3")
    import keras
    import keras_hub

    from tl_keras.pretraining.vocabulary import learn_byte_pairs

    # Rewriting a graph for speed takes longer than a tiny model ever runs.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    keras.utils.set_random_seed(0)
    tokenizer = learn_byte_pairs(LINES, 275).keras_tokenizer()
    backbone = keras_hub.models.GPT2Backbone(275, 1, 2, 8, 16, dropout=0.0, max_sequence_length=24)
    for variable in backbone.trainable_variables:
        variable.assign(variable + keras.random.normal(variable.shape, stddev=0.5))
    preprocessor = keras_hub.models.GPT2CausalLMPreprocessor(tokenizer, sequence_length=24)
    folder = tmp_path_factory.mktemp("gpt")
    keras_hub.models.GPT2CausalLM(backbone, preprocessor).save_to_preset(str(folder / "preset"))
    return folder


@pytest.fixture(scope="module")
def model(preset):
    from tl_keras.models.builders import text_generator

    return text_generator(load_language_model(preset))


@pytest.fixture(scope="module")
def generator(model):
    from tl_keras.serving.predict import as_predictor

    return as_predictor(model)


@pytest.mark.skipif(IS_KERAS_3, reason="what Keras 2 is told")
def test_keras_2_is_refused_in_one_line():
    with pytest.raises(
        UserError, match=r"Keras 3 only: start Python without TF_USE_LEGACY_KERAS=1 .*--keras 3"
    ) as error:
        load_language_model("gpt2_base_en")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p", "expected"),
    [
        (1.0, 0, 1.0, [0.5, 0.1, 0.15, 0.25]),
        (1.0, 2, 1.0, [2 / 3, 0, 0, 1 / 3]),
        (1.0, 0, 0.8, [0.5 / 0.9, 0, 0.15 / 0.9, 0.25 / 0.9]),  # 0.5 and 0.25 are too few
        (1.0, 3, 0.5, [1, 0, 0, 0]),
        (0.5, 0, 1.0, [0.25 / 0.345, 0.01 / 0.345, 0.0225 / 0.345, 0.0625 / 0.345]),  # squares
        (0.0, 0, 1.0, [1, 0, 0, 0]),
    ],
)
def test_tokens_are_chosen_as_often_as_their_probabilities_say(temperature, top_k, top_p, expected):
    from tl_keras.serving.generation_graph import InputSampler

    draws = (np.arange(4000, dtype="float32") + 0.5) / 4000
    settings = (tf.fill([4000], temperature), tf.fill([4000], top_k), tf.fill([4000], top_p))
    sampler = InputSampler(*settings, tf.constant(draws)[:, tf.newaxis])
    logits = tf.math.log(tf.constant([[0.5, 0.1, 0.15, 0.25]] * 4000)) + 3.0
    tokens = sampler.get_next_token(sampler.compute_probabilities(logits)).numpy()
    np.testing.assert_allclose(np.bincount(tokens, minlength=4) / 4000, expected, atol=1e-3)


def test_the_likeliest_tokens_are_those_of_a_loop_without_cache(model, generator):
    from tl_keras.models.language_model import LanguageModel

    language_model = LanguageModel.of(model)
    prompts = ["영화", "good films", ""]
    written = generator.generate(prompts, temperature=0.0, max_length=20)
    for prompt, text, count in zip(prompts, written["text"], written["tokens"], strict=True):
        ids = [*language_model.start, *language_model.encode([prompt])[0]]
        given = len(ids)
        while len(ids) < 20:
            row = np.array([ids])
            ids.append(int(np.argmax(model({"token_ids": row, "padding_mask": np.ones_like(row)})[0, -1])))
            if ids[-1] == language_model.tokenizer.end_token_id:
                break
        assert count == len(ids) - given
        spelled = "".join(language_model.tokenizer.id_to_token(i) for i in ids[given:] if i != ids[0])
        assert text == bytes(BYTES[letter] for letter in spelled).decode("utf-8", "replace")


def test_a_text_depends_on_its_seed_and_not_on_its_neighbours(generator):
    both = generator.generate(["영화", "good films"], seed=5, top_p=0.9)
    assert generator.generate(["good films"], seed=6, top_p=0.9)["text"][0] == both["text"][1]
    texts = generator.generate(["영화"] * 6, seed=1)["text"]
    assert len(set(texts)) > 3, "equal prompts have seeds of their own"
    longer, shorter = (generator.generate(["영화"], seed=2, max_length=n)["text"][0] for n in (24, 12))
    assert longer.startswith(shorter.rstrip("\ufffd"))


def test_streamed_it_is_the_same_text_and_stops_before_a_stop(generator):
    # A network of random weights often ends at once.
    written = generator.generate(["good"] * 40, seed=0, temperature=0.7)["text"]
    seed = next(place for place, text in enumerate(written) if len(text) > 10)
    whole, settings = written[seed], {"seed": seed, "temperature": 0.7}
    bits = list(generator.stream("good", **settings))
    assert "".join(bits) == whole
    assert len(bits) > 3
    # Only a stop of several characters holds any back: one that is never written changes nothing.
    assert list(generator.stream("good", stop=["☃"], **settings)) == bits
    stop = whole[5:7]
    expected = whole[: whole.index(stop)]
    assert generator.generate(["good"], stop=[stop], **settings)["text"][0] == expected
    assert "".join(generator.stream("good", stop=[stop], **settings)) == expected


def test_perplexity_counts_each_token_and_the_end(model, generator):
    from tl_keras.models.language_model import LanguageModel

    language_model = LanguageModel.of(model)

    def loss(text, prompt=""):
        first = [*language_model.start, *language_model.encode([prompt])[0]]
        ids = np.array([[*first, *language_model.encode([text])[0], language_model.tokenizer.end_token_id]])
        logits = np.asarray(model({"token_ids": ids[:, :-1], "padding_mask": np.ones_like(ids[:, :-1])}))[0].astype(
            "float64"
        )
        each = np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, ids[0, 1:, None], 1)[:, 0]
        return each[len(first) - 1 :]

    texts = ["good films", "좋아요"]
    expected = np.concatenate([loss(text) for text in texts])
    report = generator.perplexity(texts)
    assert report.tokens == len(expected)
    assert report.loss == pytest.approx(expected.mean(), rel=1e-4)
    assert report.perplexity == pytest.approx(np.exp(expected.mean()), rel=1e-4)
    after = loss("films", "good ")
    report = generator.perplexity(["good "], ["films"])
    assert (report.tokens, report.loss) == (len(after), pytest.approx(after.mean(), rel=1e-4))


def test_completions_are_learned_and_prompts_are_not(preset):
    from tl_keras.data.examples import Examples

    language_model = load_language_model(preset)
    pairs = Examples.from_lists(["good "], text_pairs=["films"])
    inputs, targets, weights = next(iter(language_model.batches(pairs)))
    ids = [*language_model.start, *language_model.encode(["good "])[0], *language_model.encode(["films"])[0]]
    assert inputs["token_ids"].numpy().tolist() == [ids]
    assert targets.numpy().tolist() == [[*ids[1:], language_model.tokenizer.end_token_id]]
    before = len(language_model.encode(["good "])[0])
    assert weights.numpy().tolist() == [[0.0] * before + [1.0] * (len(ids) - before)]
    with pytest.raises(
        UserError, match=r"example 1: its prompt has \d+ tokens, which leaves no room for a completion in 4"
    ):
        language_model.batches(pairs.from_lists(["good films are long"], text_pairs=["x"]), seq_length=4)
    # A text longer than a row goes on in the next one: no token is left out, none is learned twice.
    rows = list(language_model.batches(Examples.from_lists(["정말 좋아요 정말"]), seq_length=4).unbatch())
    learned = [t for _, target, weight in rows for t, w in zip(target.numpy(), weight.numpy(), strict=True) if w]
    assert learned == [*language_model.encode(["정말 좋아요 정말"])[0], language_model.tokenizer.end_token_id]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"temperature": -0.1}, "the temperature must be at least 0"),
        ({"temperature": float("nan")}, "the temperature must be at least 0"),
        ({"top_p": 0.0}, "top_p must be above 0 and at most 1"),
        ({"top_p": 1.5}, "top_p must be above 0 and at most 1"),
        ({"top_k": -1}, "top_k must be at least 0"),
        ({"max_length": 25}, "max_length must lie between 1 and 24"),
        ({"max_length": 3}, r"prompt 2 \('good films are good'\) has \d+ tokens, which leaves no room"),
    ],
)
def test_settings_that_will_not_do(generator, settings, reason):
    with pytest.raises(UserError, match=reason) as error:
        generator.generate(["", "good films are good"], **settings)
    assert "\n" not in str(error.value)


@needs_keras_3
@pytest.mark.parametrize(
    ("learned_from", "data", "text", "text_pair", "read"),
    [
        ("p", "a.csv", None, None, ("text", "p", "c")),
        ("p", "a.csv", "q", "d", ("q", "q", "d")),
        ("p", "a.txt.gz", None, None, ("text", None, "c")),  # a run of prompts scores plain text, too
        (None, "a.csv", "q", None, ("q", None, "c")),
        (None, "a.csv", "q", "d", ("q", "q", "d")),
    ],
)
def test_which_columns_of_a_file_are_read(monkeypatch, learned_from, data, text, text_pair, read):
    from tl_keras.cli import text_generation
    from tl_keras.cli.running import Columns

    config = {"text": "text", "prompt": learned_from, "completion": "c"}
    monkeypatch.setattr(text_generation, "run_settings", lambda run: config)
    found = text_generation._columns("run", data, Columns(text, text_pair))
    assert (found["text"], found["prompt"], found["completion"]) == read


def test_the_command_line_from_a_file_to_texts(preset, tmp_path, monkeypatch):
    from tl_keras.cli.app import app
    from tl_keras.serving.predict import load_exported

    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts.txt").write_text("".join(f"{line}\n" for line in ["good films are good"] * 16), "utf-8")

    def call(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout

    call("train", "text-generation", "--train", "texts.txt", "--model", preset, "--out", "run", "--seq-length", 24, "--epochs", 12,
         "--learning-rate", 0.05, "--batch-size", 4)  # fmt: skip
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["perplexity"] < 2, "one text again and again is learned by heart"
    assert "perplexity" in (tmp_path / "run" / "report.md").read_text("utf-8")
    assert call("generate", "run", "--prompt", "good", "--temperature", 0) == "good films are good\n"
    assert call("generate", "run", "--temperature", 0, "--count", 2) == "good films are good\n" * 2
    assert "tokens of 16 texts" in call("evaluate", "run", "--data", "texts.txt")
    (tmp_path / "texts.csv").write_text("id,body\n1,good films are good\n", "utf-8")
    assert "tokens of 1 texts" in call("evaluate", "run", "--data", "texts.csv", "--text", "body")
    assert call("predict", "run", "good films").startswith("prompt,text,tokens\ngood films,")
    exported = load_exported(tmp_path / "run")
    signature = exported.module.signatures["serving_default"]
    one = {
        "max_length": tf.constant([0]),
        "temperature": tf.constant([0.0]),
        "top_k": tf.constant([0]),
        "top_p": tf.constant([1.0]),
    }
    out = signature(text=tf.constant(["good films", ""]), seed=tf.constant([0], tf.int64), **one)
    assert [text.decode() for text in out["text"].numpy()] == [" are good", "good films are good"]
    written = len(load_language_model("run").encode(["good films are good"])[0]) + 1
    assert out["tokens"].numpy()[1] == written, "the end is a token, too"
    with pytest.raises(UserError, match="--seq-length 128 is more than the 24 tokens"):
        call("train", "text-generation", "--train", "texts.txt", "--model", preset, "--out", "other")
    assert not (tmp_path / "other").exists()
