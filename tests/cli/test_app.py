"""The command line from file to served model, and what it says to tired users."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from tl_keras import UserError
from tl_keras.training.callbacks import BestWeights


@pytest.fixture
def table(reviews, tmp_path):
    path = tmp_path / "reviews.csv"
    pd.DataFrame({"id": range(64), "document": reviews.texts, "label": reviews.label_names}).to_csv(path, index=False)
    return path


@pytest.fixture
def train(call, table, tiny_pair, tmp_path):
    def run(*more, out=tmp_path / "run"):
        base = [
            "train",
            "text-classification",
            "--train",
            table,
            "--text",
            "document",
            "--out",
            out,
            "--encoder",
            tiny_pair,
        ]
        # Frozen, because tracing gradients through the encoder is most of a small run's time.
        return call(*base, "--seq-length", 32, "--transfer", "freeze", "--epochs", 2, *more)

    return run


def test_train_evaluate_predict_export(train, call, table, tmp_path):
    code, out, _ = train(
        "--transfer", "fine-tune", "--learning-rate", 0.03, "--pooling", "mean", "--batch-size", 8, "--epochs", 15,
        "--validation-split", 0.25,
    )  # fmt: skip
    assert code == 0
    assert "accuracy" in out
    run = tmp_path / "run"
    assert {f.name for f in run.iterdir()} == {
        "saved_model", "metrics.json", "history.csv", "config.json", "plots", "report.md", "manifest.json",
    }  # fmt: skip
    assert {f.name for f in (run / "plots").iterdir()} == {"training.png", "confusion_matrix.png"}
    config = json.loads((run / "config.json").read_text())
    assert config["classes"] == ["negative", "positive"]
    assert config["train_examples"] == 48
    assert config["data_sha256"] == {str(table): hashlib.sha256(table.read_bytes()).hexdigest()}
    assert len(pd.read_csv(run / "history.csv")) == 15
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["examples"] == 16
    assert not [f for f in tmp_path.iterdir() if "partial" in f.name]

    code, out, _ = call("evaluate", run, "--data", table, "--json")
    scored = json.loads(out.strip().splitlines()[-1])
    assert (code, scored["examples"]) == (0, 64)
    assert scored["accuracy"] > 0.8

    code, out, _ = call("predict", run, "the film was great!", "awful")
    assert [line.split("\t")[1] for line in out.strip().splitlines()] == ["label", "positive", "negative"]

    code, out, err = call("explain", run, "the film was great!", "--out", tmp_path / "why.html", "--json")
    assert code == 0, err
    why = json.loads(out.strip().splitlines()[-1])
    assert (why["label"], [word["word"] for word in why["words"]]) == ("positive", ["the", "film", "was", "great!"])
    assert max(why["words"], key=lambda word: word["weight"])["word"] == "great!"
    assert sum(word["weight"] for word in why["words"]) == pytest.approx(why["score"] - why["base"], abs=1e-5)
    assert "great!</span>" in (tmp_path / "why.html").read_text("utf-8")

    (tmp_path / "new.csv").write_text('document\ngreat film\n""\nawful\n', "utf-8")
    code, _, _ = call("predict", run, "--data", tmp_path / "new.csv", "--out", tmp_path / "labels.csv")
    labels = pd.read_csv(tmp_path / "labels.csv", keep_default_na=False)
    assert labels.document.tolist() == ["great film", "", "awful"]
    assert [labels.label[0], labels.label[2]] == ["positive", "negative"]

    code, out, _ = call("export", run, "--out", tmp_path / "models")
    assert (tmp_path / "models" / "1" / "saved_model.pb").is_file()


@pytest.mark.one_keras(2)
def test_pairs_and_several_labels_from_the_command_line(call, tiny_pair, tmp_path, caplog):
    frame = pd.DataFrame(
        {"a": ["good film", "bad film"] * 8, "b": ["good", "great"] * 8, "label": ["same", "different"] * 8}
    )
    frame.to_csv(tmp_path / "pairs.csv", index=False)
    base = ["--encoder", tiny_pair, "--seq-length", 16, "--epochs", 1, "--transfer", "freeze"]
    code, _, err = call(
        "train", "text-classification", "--train", tmp_path / "pairs.csv", "--text", "a", "--text-pair", "b",
        "--out", tmp_path / "run", *base,
    )  # fmt: skip
    assert code == 0, err
    assert call("evaluate", tmp_path / "run", "--data", tmp_path / "pairs.csv")[0] == 0
    assert call("predict", tmp_path / "run", "good", "bad")[0] == 0
    code, _, err = call("predict", tmp_path / "run", "good")
    assert (code, "even number" in err) == (2, True)

    many = pd.DataFrame({"g": [1, 0, 1] * 8, "b": [0, 1, 1] * 8, "text": ["good", "bad", "good bad"] * 8})
    many.to_parquet(tmp_path / "m-1.parquet")
    (tmp_path / "m-2.csv").write_text("text;g;b\n;1;1\nnot bad;1;0\n", "utf-8")
    code, _, err = call(
        "train",
        "text-classification",
        "--train",
        tmp_path / "m-*",
        "--label",
        "g,b",
        "--out",
        tmp_path / "multi",
        *base,
    )
    assert code == 0, err
    metrics = json.loads((tmp_path / "multi" / "metrics.json").read_text())
    assert metrics["confusion_matrix"] is None
    assert list(metrics["per_class"]) == ["g", "b"]
    assert "1 row(s) with an empty text dropped (first: m-2.csv, line 2)" in caplog.text
    # Of 25 rows 3 have a text that no other has.
    assert "training rows repeat the text of another" in caplog.text
    assert "validation rows stand in the training data too" in caplog.text
    assert set(json.loads((tmp_path / "multi" / "config.json").read_text())["data_sha256"]) == {
        str(tmp_path / "m-1.parquet"), str(tmp_path / "m-2.csv"),
    }  # fmt: skip
    assert call("evaluate", tmp_path / "multi", "--data", tmp_path / "m-2.csv")[0] == 0
    data = f"{tmp_path / 'm-2.csv'},{tmp_path / 'm-1.parquet'}"
    assert call("predict", tmp_path / "multi", "--data", data, "--out", tmp_path / "m.jsonl")[0] == 0
    rows = [json.loads(line) for line in (tmp_path / "m.jsonl").read_text("utf-8").splitlines()]
    assert len(rows) == 26
    assert [list(rows[i]) for i in (0, 5)] == [["text", "g", "b", "label", "score"]] * 2


@pytest.mark.one_keras
def test_a_separate_validation_file_limit_and_class_weights(train, table, tmp_path):
    validation = tmp_path / "valid.csv"
    validation.write_text("document,label\ngood film,positive\nbad,negative\n", "utf-8")
    code, _, err = train("--validation", validation, "--limit", 20, "--class-weight", "balanced")
    assert code == 0, err
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["train_examples"], config["validation_examples"]) == (20, 2)
    validation.write_text("document,label\ngood film,positive\nbad,neutral\n", "utf-8")
    code, _, err = train("--validation", validation, out=tmp_path / "other")
    assert code == 2
    assert "'neutral'" in err
    assert not (tmp_path / "other").exists()


@pytest.mark.one_keras
@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--text", "review"], "no column 'review'; its columns are: id, document, label"),
        (["--text", "id"], "is a number"),
        (["--train", "nothing.csv"], "no file nothing.csv"),
        (["--transfer", "thaw"], "choose one of"),
        (["--encoder", "small_bert"], "small_bert"),
        (["--batch-size", 0], "--batch-size must be at least 1"),
        (["--validation-split", 1.5], "between 0 and 1"),
        (["--validation", 0.2], "a fraction is --validation-split"),
        (["--strategy", "tpu-pod"], "choose one of"),
        (["--class-weight", "heavy"], "balanced"),
        (["--label", "id"], "64 different values in 64 rows"),
    ],
)
def test_wrong_calls_end_with_one_line_and_leave_nothing(train, tmp_path, more, message):
    before = {f.name for f in tmp_path.iterdir()}
    code, _, err = train(*more)
    assert code == 2
    lines = [line for line in err.strip().splitlines() if line.startswith("tl-keras: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert "Traceback" not in err
    assert {f.name for f in tmp_path.iterdir()} == before


@pytest.mark.one_keras
def test_one_class_only(call, tiny_pair, tmp_path):
    (tmp_path / "one.csv").write_text("text,label\na,x\nb,x\n", "utf-8")
    code, _, err = call(
        "train",
        "text-classification",
        "--train",
        tmp_path / "one.csv",
        "--out",
        tmp_path / "run",
        "--encoder",
        tiny_pair,
    )
    assert code == 2
    assert "every row has the label 'x'" in err


@pytest.mark.one_keras(2)
def test_an_existing_run_is_kept_unless_told(train, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text('{"of": "an earlier run"}')
    code, _, err = train()
    assert (code, "--overwrite" in err) == (2, True)
    assert "earlier" in (tmp_path / "run" / "config.json").read_text()
    assert train("--overwrite")[0] == 0
    assert "earlier" not in (tmp_path / "run" / "config.json").read_text()
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("years of work")
    code, _, err = train("--overwrite", out=tmp_path / "precious")
    assert (code, "no run folder" in err) == (2, True)
    assert (tmp_path / "precious" / "thesis.txt").is_file()


@pytest.mark.one_keras
def test_a_failure_half_way_leaves_no_run_and_keeps_what_was_trained(train, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise UserError("the disk is full")

    monkeypatch.setattr("tl_keras.tasks.run.export", fail)
    before = {f.name for f in tmp_path.iterdir()}
    assert train()[0] == 2
    assert {f.name for f in tmp_path.iterdir()} == before | {".run.partial"}
    assert [f.name for f in (tmp_path / ".run.partial").iterdir()] == ["backup"]


def test_control_c_keeps_the_best_weights_so_far(train, call, table, tmp_path, monkeypatch, caplog):
    original = BestWeights.on_epoch_end
    figures = iter([0.9, 0.1])
    kept = {}

    def epoch_end(self, epoch, logs=None):
        original(self, epoch, {**logs, "val_accuracy": next(figures)})
        if epoch == 0:
            kept["weights"] = [w.copy() for w in self.model.get_weights()]
        if epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(BestWeights, "on_epoch_end", epoch_end)
    restored = {}
    monkeypatch.setattr(
        BestWeights,
        "restore",
        (lambda real: lambda self: (real(self), restored.update(weights=self.model.get_weights()))[0])(
            BestWeights.restore
        ),
    )
    code, _, err = train("--epochs", 5)
    assert code == 0, err
    assert "Interrupted: finishing the run with the weights of epoch 1." in caplog.text
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert (metrics["interrupted"], metrics["best_epoch"]) == (True, 1)
    assert all(np.array_equal(a, b) for a, b in zip(kept["weights"], restored["weights"], strict=True))
    assert call("evaluate", tmp_path / "run", "--data", table)[0] == 0


@pytest.mark.one_keras
def test_starting_the_program_is_quick_and_loads_no_tensorflow():
    code = "import sys, tl_keras, tl_keras.cli.app; print({'tensorflow', 'keras', 'tf_keras', 'pandas'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


def test_importing_sets_no_environment_variable():
    code = "import os; before = dict(os.environ); import tl_keras; tl_keras.data.Examples; print(before == dict(os.environ))"
    environment = {k: v for k, v in os.environ.items() if k != "TF_USE_LEGACY_KERAS"}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert out.stdout.strip() == "True"


@pytest.mark.one_keras
def test_usage_errors_and_help(call):
    assert call("train", "text-clasification", "--train", "x", "--out", "y", "--encoder", "z")[0] == 2
    code, out, _ = call("--version")
    assert (code, out.startswith("tl_keras ")) == (0, True)
    code, out, _ = call("encoders", "klue", "--json")
    assert {"klue_bert_cased_L-12_H-768_A-12"} <= {p["name"] for p in json.loads(out)} or "klue" in out
    assert call("encoders", "klingon")[0] == 2


@pytest.mark.parametrize("arguments", [["--keras", "3", "encoders", "klue"], ["encoders", "klue", "--keras", "3"]])
def test_keras_can_be_chosen_before_and_after_the_command(call, monkeypatch, arguments):
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")
    assert call(*arguments)[0] == 0
    assert os.environ["TF_USE_LEGACY_KERAS"] == "0"
