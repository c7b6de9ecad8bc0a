"""Tagging from the command line: file to run folder to predictions."""

from __future__ import annotations

import json

import pytest

from tl_keras import read_tagged


@pytest.fixture
def files(tmp_path):
    """The same forty texts as words with tags and as JSON lines: after "the" comes a thing, "music good" is a name."""
    words = [
        ["the", "film", "was", "bad"],
        ["i", "love", "music", "good"],
        ["it", "is", "the", "actor"],
        ["boring", "plot"],
    ] * 10
    tags = [["O", "B-THING", "O", "O"], ["O", "O", "B-NAME", "I-NAME"], ["O", "O", "O", "B-THING"], ["O", "O"]] * 10
    conll = "\n\n".join(
        "\n".join(f"{w}\t{t}" for w, t in zip(*row, strict=True)) for row in zip(words, tags, strict=True)
    )
    (tmp_path / "data.conll").write_text(conll + "\n", "utf-8")
    # To learn from, five times: an epoch costs more than the steps in it.
    (tmp_path / "train.conll").write_text("\n\n".join([conll] * 5) + "\n", "utf-8")
    spans = [[(4, 8, "THING")], [(7, 17, "NAME")], [(10, 15, "THING")], []] * 10
    lines = [
        json.dumps(
            {"text": " ".join(w), "entities": [dict(zip(("start", "end", "label"), s, strict=True)) for s in row]}
        )
        for w, row in zip(words, spans, strict=True)
    ]
    (tmp_path / "data.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    return tmp_path


def test_train_evaluate_predict_export(call, files, tiny_pair):
    run = files / "run"
    base = ["train", "token-classification", "--encoder", tiny_pair, "--seq-length", 32, "--learning-rate", 0.02]
    code, out, err = call(*base, "--train", files / "train.conll", "--out", run, "--batch-size", 8, "--epochs", 2)
    assert code == 0, err
    assert "entity F1" in out
    assert {f.name for f in run.iterdir()} == {
        "saved_model", "metrics.json", "history.csv", "config.json", "plots", "report.md", "manifest.json",
    }  # fmt: skip
    config = json.loads((run / "config.json").read_text())
    assert (config["task"], config["labels"], config["label_tokens"]) == (
        "token-classification",
        ["NAME", "THING"],
        "first",
    )
    assert "val_f1" in (run / "history.csv").read_text().splitlines()[0]

    code, out, err = call("evaluate", run, "--data", files / "data.conll", "--json")
    assert code == 0, err
    scored = json.loads(out.strip().splitlines()[-1])
    assert (scored["entities"], scored["compared"]) == (30, "words")
    assert scored["f1"] > 0.9

    code, out, err = call("predict", run, "i love music good")
    assert code == 0, err
    (entity,) = json.loads(out)["entities"]
    assert (entity["start"], entity["end"], entity["label"], entity["text"]) == (7, 17, "NAME", "music good")

    there = read_tagged(files / "data.jsonl")
    (files / "new.jsonl").write_text(
        "".join(json.dumps({"id": 7, "text": text}) + "\n" for text in there.texts), "utf-8"
    )
    code, _, err = call("predict", run, "--data", files / "new.jsonl", "--out", files / "found.jsonl")
    assert code == 0, err
    # What is written can be read again as labelled data.
    assert json.loads((files / "found.jsonl").read_text("utf-8").splitlines()[0])["id"] == 7
    found = read_tagged(files / "found.jsonl")
    assert found.texts.tolist() == there.texts.tolist()
    assert sum(a == b for a, b in zip(found.spans, there.spans, strict=True)) >= 36
    code, _, err = call("predict", run, "--data", files / "data.conll", "--out", files / "part.jsonl", "--resume")
    assert (code, "--resume is for tables (CSV, JSON lines, Parquet, ...)" in err) == (2, True), err
    assert not (files / "part.jsonl").exists()
    assert call("export", run, "--out", files / "models")[0] == 0
    assert (files / "models" / "1" / "saved_model.pb").is_file()

    (files / "other.jsonl").write_text(
        '{"text": "now", "entities": [{"start": 0, "end": 3, "label": "DATE"}]}\n', "utf-8"
    )
    code, _, err = call("evaluate", run, "--data", files / "other.jsonl")
    assert (code, "'DATE'" in err, "Traceback" in err) == (2, True, False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--text-pair", "b"], "no such option: --text-pair"),
        (["--tag-column", "5"], "line 1: 2 columns"),
        (["--scheme", "plain", "--label-tokens", "all"], "plain tags belong to words"),
        (["--format", "xml"], "choose one of: auto, conll, characters, sentences, jsonl"),
    ],
)
def test_wrong_calls_end_with_one_line_and_leave_nothing(call, files, tiny_pair, options, message):
    code, _, err = call(
        "train",
        "token-classification",
        "--train",
        files / "data.conll",
        "--out",
        files / "run",
        "--encoder",
        tiny_pair,
        *options,
    )
    assert (code, message in err, "Traceback" in err) == (2, True, False), err
    assert not (files / "run").exists()


def test_no_entities_at_all(call, tmp_path, tiny_pair):
    (tmp_path / "a.conll").write_text("a\tO\nb\tO\n\nc\tO\n", "utf-8")
    code, _, err = call(
        "train",
        "token-classification",
        "--train",
        tmp_path / "a.conll",
        "--out",
        tmp_path / "run",
        "--encoder",
        tiny_pair,
    )
    assert (code, "holds no entities" in err) == (2, True)
    code, _, err = call(
        "train",
        "text-classification",
        "--train",
        "x.csv",
        "--out",
        tmp_path / "run",
        "--encoder",
        tiny_pair,
        "--scheme",
        "bio",
    )
    assert (code, "no such option: --scheme" in err) == (2, True)
