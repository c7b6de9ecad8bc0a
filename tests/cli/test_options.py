"""Every option: its help is English on its own, and its value reaches what the command does. Nothing is computed here."""

from __future__ import annotations

import dataclasses
import importlib
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer

from tl_keras import UserError
from tl_keras.cli import app as cli
from tl_keras.cli import commands as making
from tl_keras.cli import pretrain
from tl_keras.cli.running import option_fields
from tl_keras.options import option
from tl_keras.pretraining.settings import BertSettings, BilmSettings, GptSettings
from tl_keras.tasks import task_settings as tasks
from tl_keras.tasks import vector_settings

pytestmark = pytest.mark.one_keras
PROGRAM = typer.main.get_command(cli.app)


def commands(command=PROGRAM, path=()):
    """All commands, by their words."""
    if not hasattr(command, "commands"):
        return {path: command}
    return {key: c for name, sub in command.commands.items() for key, c in commands(sub, (*path, name)).items()}


class Seen(Exception):
    """What a command has handed on."""


def refuse_to_go_on(*args, **kwargs):
    raise Seen(args, kwargs)


def test_help_is_english_on_its_own():
    wrong = {}
    for path, command in commands().items():
        texts = {parameter.name: getattr(parameter, "help", "") or "" for parameter in command.params}
        for name, text in {"": command.help, **texts}.items():
            if (
                not re.match(r"[A-Z.\"]|biLM|fastText|[a-z0-9-]+[:(, ].*\bor\b|chars: |freeze ", text)
                or not re.search(r"[.)\"]$", text)
                # Not half a sentence that the option's name begins.
                or re.match(r"(Of|At|For|While|Until|And|Also|Default:)(\b|$)", text)
                or len(text.split()) < 3
                or re.search(r"several times|\bpieces?\b|so many|likeliest", text)
            ):
                wrong[(*path, name)] = text
    assert wrong == {}


KINDS = {
    ("train", "text-classification"): tasks.TextClassificationSettings,
    ("train", "token-classification"): tasks.TokenClassificationSettings,
    ("train", "question-answering"): tasks.QuestionAnsweringSettings,
    ("train", "sentence-similarity"): vector_settings.SentenceSimilaritySettings,
    ("train", "retrieval"): vector_settings.RetrievalSettings,
    ("train", "text-generation"): tasks.TextGenerationSettings,
    ("train", "zero-shot-classification"): tasks.ZeroShotSettings,
    ("pretrain", "bert"): BertSettings,
    ("pretrain", "bilm"): BilmSettings,
    ("pretrain", "gpt"): GptSettings,
}
# What must be given so that others may be.
NEEDED = {
    "train": ["--train", "x.csv", "--out", "o"],
    "pretrain": ["--corpus", "x.txt", "--out", "o", "--steps", "5"],
    "text-generation": ["--model", "m"],
    "hidden": ["--architecture", "cross-encoder"],
    "dropout": ["--architecture", "cross-encoder"],
}
# Options that mean something beside certain others only, or take values of a form: the words to give, and the value that is expected.
SPECIAL = {
    "init": (["--init", "pair"], "pair"),
    "init_embeddings": (["--init-embeddings", "v.npy"], "v.npy"),
    "lengths": (["--length-schedule", "16@0.5,32@1"], ((0.5, 16), (1.0, 32))),
    "filters": (["--filters", "1:2,3:4"], ((1, 2), (3, 4))),
    "corpus": (["--corpus", "a.txt"], ("x.txt", "a.txt")),
    "licences": (["--licence", "CC0"], ("CC0",)),
    "minutes": (["--minutes", "2.5"], 2.5),
    "vectors": (["--vectors", "v.vec", "--tokens", "words"], "v.vec"),
    "transfer": (["--transfer", "top-2"], "top-2"),
    "unfreeze_every": (["--unfreeze-every", "2 epochs", "--transfer", "gradual"], "2 epochs"),
    "lr_multiplier": (["--lr-multiplier", "head=2", "--lr-multiplier", "embeddings=0.1"], ["head=2", "embeddings=0.1"]),
    "hidden": (["--hidden", "5", "--hidden", "6"], [5, 6]),
    "elmo": (["--elmo", "e", "--encoder", "random"], "e"),
    "elmo_at": (["--elmo-at", "both", "--elmo", "e", "--encoder", "random"], "both"),
    "score_range": (["--score-range", "0", "5"], (0.0, 5.0)),
    "pooling": (["--pooling", "max"], "max"),
    "few_shot_method": (["--few-shot-method", "logistic", "--transfer", "few-shot"], "logistic"),
    "describe": (["--describe", "a=b", "--transfer", "few-shot"], ["a=b"]),
    "unlabelled": (["--unlabelled", "u.txt", "--transfer", "few-shot"], "u.txt"),
    "prompt": (["--prompt", "p", "--completion", "c"], "p"),
    "completion": (["--completion", "c", "--prompt", "p"], "c"),
    "lexical_weight": (["--lexical-weight", "0.5"], "0.5"),
    "template": (["--template", "About {}."], "About {}."),
    "width": (["--width", "128"], 128),
    "encoding": (["--encoding", "cp949"], "cp949"),
    "loss": (["--loss", "ranking"], "ranking"),
    "max_positions": (["--max-positions", "300"], 300),
    "validation": (["--validation", "v.csv"], "v.csv"),
}


def given(field: dataclasses.Field, kind: type) -> tuple[list[str], object]:
    """Words that set an option to what is not its default, and that value."""
    if field.name in SPECIAL:
        return SPECIAL[field.name]
    choices = [value for value in field.metadata["choices"] if value != field.default]
    if choices:
        value = choices[0]
    elif field.default is False:
        return [option(field)], True
    elif "int" in str(field.type):
        value = (field.default or 3) + 1
    elif "float" in str(field.type):
        value = (field.default or 0.2) / 2
    else:
        value = "something"
    return [option(field), str(value)], value


@pytest.mark.parametrize("path", KINDS, ids=" ".join)
def test_options_made_from_settings_reach_them(path, monkeypatch):
    kind = KINDS[path]
    if path[0] == "train":
        # The settings are handed to the run's class, which is imported last.
        monkeypatch.setattr(making, "import_tensorflow", lambda: None)
        monkeypatch.setattr(making, "importlib", SimpleNamespace(import_module=lambda name: _Anything()))
    else:
        monkeypatch.setattr("tl_keras.cli.running.import_tensorflow", lambda: None)
        monkeypatch.setattr("tl_keras.pretraining.pretrain.run_class", lambda settings: refuse_to_go_on)
    command = commands()[path]
    for field in option_fields(kind):
        words, expected = given(field, kind)
        base = [*NEEDED[path[0]], *NEEDED.get(path[1], [])]
        if path[1] == "sentence-similarity":
            base += NEEDED.get(field.name, [])
        if field.name == "minutes":
            base = base[:-2]
        with pytest.raises(Seen) as seen:
            command.main([*base, *words], standalone_mode=False)
        settings = seen.value.args[0][0]
        assert isinstance(settings, kind)
        assert getattr(settings, field.name) == expected, field.name
        assert getattr(settings, field.name) != field.default, f"{field.name}: the test gives its default"


LEAST = {
    "limit": 1,
    "layers": 1,
    "epochs": 1,
    "batch_size": 1,
    "steps_per_execution": 1,
    "checkpoint_every": 0,
    "per_class": 1,
    "seq_length": 3,
}


@pytest.mark.parametrize(("name", "least"), LEAST.items())
def test_the_least_that_options_of_training_may_be(name, least):
    def settings(value):
        return tasks.TextClassificationSettings(train="x.csv", out="o", **{name: value})

    assert getattr(settings(least), name) == least
    with pytest.raises(UserError, match=f"--{name.replace('_', '-')} must be at least {least}, not {least - 1}"):
        settings(least - 1)


class _Anything:
    """A module whose every class hands on what it is made with."""

    def __getattr__(self, name):
        return refuse_to_go_on


def test_resuming_a_pre_training_takes_nothing_but_its_length(tmp_path):
    with pytest.raises(UserError, match="--resume takes --vocab-size, --seed from the run"):
        pretrain.app(
            ["gpt", "--out", str(tmp_path), "--resume", "--vocab-size", "300", "--seed", "1"], standalone_mode=False
        )


@pytest.mark.parametrize(
    ("words", "place", "expected"),
    [
        (
            "convert CHECKPOINT --out O --query-prompt query: --passage-prompt passage: --seq-length 9 --overwrite",
            "tl_keras.encoders.convert.convert",
            {"prompts": {"query": "query:", "passage": "passage:"}, "seq_length": 9, "overwrite": True},
        ),
        ("convert CHECKPOINT --out O", "tl_keras.encoders.convert.convert", {"prompts": None, "seq_length": 128}),
        (
            "compress ENCODER --out O --languages ko,en --words 7 --min-count 2 --layers 1,3 --distil-on FILE --steps 3 --learning-rate 0.5 "
            "--batch-tokens 99 --seq-length 17 --masked-rows 0.25 --heldout-fraction 0.5 --checkpoint-steps 5 --history-steps 6 --seed 8",
            "tl_keras.pretraining.compress.compress",
            {
                "languages": ["ko", "en"], "words": 7, "min_count": 2, "layers": [1, 3], "distil_on": [Path("FILE")], "steps": 3,
                "peak_learning_rate": 0.5, "batch_tokens": 99, "seq_length": 17, "masked_rows": 0.25, "heldout_fraction": 0.5,
                "checkpoint_steps": 5, "history_steps": 6, "seed": 8,
            },
        ),
        (
            "compress ENCODER --out O --vocabulary-from FILE --overwrite",
            "tl_keras.pretraining.compress.compress",
            {"vocabulary_from": [Path("FILE")], "distil_on": (), "overwrite": True},
        ),
        (
            "explain RUN TEXT --label L --evaluations 9 --seed 4",
            "tl_keras.serving.explain.explain",
            {"label": "L", "evaluations": 9, "seed": 4},
        ),
        ("search INDEX QUERY --encoder E --exact", "tl_keras.serving.by_handle.open_index", {"exact": True}),
        (
            "zero-shot MODEL TEXT --label A --label B=b --template {}! --seq-length 7",
            "tl_keras.serving.by_handle.zero_shot_classifier",
            {"template": "{}!", "seq_length": 7},
        ),
        (
            "index --encoder E --data FILE --out O --seq-length 9 --pooling max --preprocessor P",
            "tl_keras.serving.by_handle.load_text_encoder",
            {"seq_length": 9, "pooling": "max", "preprocessor": "P"},
        ),
        (
            "pretrain word-vectors --corpus FILE --out O.vec --window 3 --negative 7",
            "tl_keras.cli.pretrain.WordVectorSettings",
            {"window": 3, "negative": 7},
        ),
        ("--verify encoders", "tl_keras.manifest.verify_everything", {}),
        (
            "advise --train FILE --sample 5 --seed 3 --on-empty keep",
            "tl_keras.advice.advise.advise",
            {"sample": 5, "seed": 3, "options": {"train": "FILE", "text": "text", "label": "label", "on-empty": "keep"}},
        ),
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) and " " in value else "",
)  # fmt: skip
def test_options_of_other_commands_reach_the_library(words, place, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("text,label\na,x\nb,y\nc,x\nd,y\n", "utf-8")
    module, name = place.rsplit(".", 1)
    monkeypatch.setattr(importlib.import_module(module), name, refuse_to_go_on)
    with pytest.raises(Seen) as seen:
        PROGRAM.main(words.split(), standalone_mode=False)
    kwargs = seen.value.args[1]
    assert {key: kwargs[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("words", "passed", "place", "expected"),
    [
        (
            "index --encoder E --data FILE --out O --approximate --batch-size 5",
            {"tl_keras.serving.by_handle.load_text_encoder": SimpleNamespace(folder="E")},
            "tl_keras.serving.index.TextIndex.build",
            {"approximate": True, "batch_size": 5},
        ),
        (
            "encode --encoder E --data FILE.csv --out O.npz --layers 2 --preprocessor P --seq-length 7 --batch-size 5",
            {"tl_keras.encoders.resolve.locate": None},
            "tl_keras.serving.encode.encode",
            {"layers": 2, "preprocessor": "P", "seq_length": 7, "batch_size": 5},
        ),
        (
            "advise --train FILE.csv --encoder E --seq-length 7 --preprocessor P",
            {},
            "tl_keras.encoders.load.load_encoder",
            ("E", 7, "P"),
        ),
        (
            "zero-shot MODEL TEXT --label A --multi-label",
            {"tl_keras.serving.by_handle.zero_shot_classifier": SimpleNamespace(predict=refuse_to_go_on)},
            None,
            {"multi_label": True},
        ),
        ("serve RUN --host 1.2.3.4 --port 5", {"tl_keras.cli.serve.named": {}}, "tl_keras.cli.serve.bind", ("1.2.3.4", 5)),
        ("try RUN --host 1.2.3.4 --port 5", {"tl_keras.saved_models.versions_of": None}, "tl_keras.cli.serve.bind", ("1.2.3.4", 5)),
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) and " " in value else "",
)  # fmt: skip
def test_options_reach_what_is_done_with_what_was_loaded(words, passed, place, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("FILE", "FILE.csv"):
        (tmp_path / name).write_text("text,label\na,x\nb,y\nc,x\nd,y\n", "utf-8")
    for name, result in passed.items():
        monkeypatch.setattr(name, lambda *args, result=result, **kwargs: result)
    if place is not None:
        monkeypatch.setattr(place, refuse_to_go_on)
    with pytest.raises(Seen) as seen:
        PROGRAM.main(words.split(), standalone_mode=False)
    args, kwargs = seen.value.args
    if isinstance(expected, tuple):
        assert args[: len(expected)] == expected
    else:
        assert {key: kwargs[key] for key in expected} == expected


def test_the_page_is_opened_where_it_is_asked_for(tmp_path, monkeypatch):
    pytest.importorskip("gradio")
    monkeypatch.setattr("tl_keras.saved_models.versions_of", lambda run: None)
    monkeypatch.setattr("tl_keras.serving.page.build_page", lambda run: f"page of {run}")
    monkeypatch.setattr("tl_keras.serving.page.show_until_stopped", refuse_to_go_on)
    for words, expected in (([], False), (["--open"], True)):
        with pytest.raises(Seen) as seen:
            PROGRAM.main(["try", "RUN", "--port", "0", *words], standalone_mode=False)
        (page, host, port), kwargs = seen.value.args
        assert (page, host, port > 0, kwargs["open_browser"]) == ("page of RUN", "127.0.0.1", True, expected)


def test_options_of_the_server_reach_its_settings(tmp_path, monkeypatch):
    pytest.importorskip("starlette")
    from tl_keras.cli import serve
    from tl_keras.serving.http import app

    monkeypatch.setattr(serve, "named", lambda runs, names: (runs, names))
    monkeypatch.setattr(app, "run_server", refuse_to_go_on)
    values = {
        "max_batch_size": 3, "batch_delay_ms": 4.0, "parallel_batches": 5, "max_rows": 6, "max_body_mb": 7.0, "max_queue": 8,
        "timeout": 9.0, "poll": 1.5, "keep_versions": 2,
    }  # fmt: skip
    words = [word for name, value in values.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    with pytest.raises(Seen) as seen:
        PROGRAM.main(["serve", "RUN", "--name", "N", "--port", "0", *words], standalone_mode=False)
    paths, _, settings = seen.value.args[0]
    assert paths == (["RUN"], ["N"])
    assert {name: getattr(settings, name) for name in values} == values


@pytest.mark.parametrize(("more", "method"), [([], "stream"), (["--count", "2"], "generate")])
def test_options_of_generate_reach_what_writes(more, method, monkeypatch):
    from tl_keras.cli import text_generation

    for name in ("prefer_keras_3", "import_tensorflow"):
        monkeypatch.setattr(text_generation, name, lambda: None)
    monkeypatch.setattr(text_generation, "_load", lambda run: SimpleNamespace(**{method: refuse_to_go_on}))
    values = {"max_length": 5, "temperature": 0.5, "top_k": 3, "top_p": 0.25, "seed": 7}
    words = [word for name, value in values.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    with pytest.raises(Seen) as seen:
        PROGRAM.main(
            ["generate", "RUN", "--prompt", "P", "--stop", ".", "--stop", "!?", *words, *more], standalone_mode=False
        )
    (prompts,), settings = seen.value.args
    assert prompts == (["P", "P"] if more else "P")
    assert settings == {**values, "stop": (".", "!?")}


@pytest.mark.parametrize(
    ("words", "reason"), [(["a=x", "a=y"], "named twice"), (["a", "=y"], "'y' describes no label")]
)
def test_descriptions_of_labels_that_will_not_do(words, reason):
    assert tasks.described_labels(["a", "b=c=d"]) == {"a": "a", "b": "c=d"}
    with pytest.raises(UserError, match=reason):
        tasks.described_labels(words)


@pytest.mark.parametrize("weight", ["1", "1.0", "-0.1", "nan", "half"])
def test_weights_of_shared_words_that_will_not_do(weight):
    def settings(value):
        return vector_settings.RetrievalSettings(train="x.csv", out="o", lexical_weight=value)

    assert [settings(value).lexical_weight for value in ("0", "0.99", "auto", None)] == ["0", "0.99", "auto", None]
    with pytest.raises(UserError, match=f"--lexical-weight must be auto, or at least 0 and below 1, not {weight}"):
        settings(weight)
