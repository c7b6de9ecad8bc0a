"""Question answering from the command line: file to run folder to answers."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tl_keras import UserError
from tl_keras.cli import tasks
from tl_keras.cli.running import Columns
from tl_keras.data.squad import read_squad


@pytest.fixture
def files(tmp_path):
    """Forty questions about ten contexts: the answer is an adjective and a noun; every fourth context holds none."""
    rng = np.random.default_rng(0)
    documents = []
    for d in range(10):
        words = list(rng.choice(["the", "was", "it", "i", "this"], size=6))
        answer = f"{rng.choice(['good', 'bad'])} {rng.choice(['film', 'plot'])}" if d % 4 else None
        at = int(rng.integers(6))
        context = " ".join([*words[:at], *([answer] if answer else []), *words[at:], "."])
        answers = [{"text": answer, "answer_start": context.index(answer)}] if answer else []
        qas = [
            {"id": f"{d}-{q}", "question": "what " + "is " * q + "?", "answers": answers, "is_impossible": not answer}
            for q in range(4)
        ]
        documents.append({"title": str(d), "paragraphs": [{"context": context, "qas": qas}]})
    (tmp_path / "data.json").write_text(json.dumps({"version": "v2.0", "data": documents}), "utf-8")
    return tmp_path


def test_train_evaluate_predict_export(call, files, tiny_pair, caplog):
    run = files / "run"
    code, out, err = call(
        "train", "question-answering", "--train", files / "data.json", "--validation", files / "data.json", "--out", run,
        "--encoder", tiny_pair, "--transfer", "freeze", "--learning-rate", 0.1, "--seq-length", 32, "--batch-size", 40,
        "--epochs", 1,
    )  # fmt: skip
    assert code == 0, err
    assert "exact match" in out
    assert "10 contexts of" in caplog.text
    assert {f.name for f in run.iterdir()} == {
        "saved_model", "metrics.json", "history.csv", "config.json", "plots", "report.md", "manifest.json",
    }  # fmt: skip
    config, metrics = (json.loads((run / name).read_text()) for name in ("config.json", "metrics.json"))
    assert (config["task"], config["null_answers"], config["max_question_length"]) == ("question-answering", True, 16)
    assert config["normalisation"] == "squad"
    # The threshold in use is the one that the validation questions ask for.
    assert metrics["null_threshold"] == pytest.approx(config["null_threshold"])
    assert metrics["f1"] == pytest.approx(metrics["best_f1"])
    assert "val_f1" in (run / "history.csv").read_text().splitlines()[0]
    assert "null threshold" in (run / "report.md").read_text()

    code, out, err = call("evaluate", run, "--data", files / "data.json", "--json")
    assert code == 0, err
    scored = json.loads(out.strip().splitlines()[-1])
    assert (scored["examples"], scored["no_answer"]["examples"]) == (40, 12)
    assert scored["f1"] == pytest.approx(metrics["f1"])

    code, out, err = call("predict", run, "what ?", "it was a good film .")
    assert code == 0, err
    row = json.loads(out)
    assert row["answer"] == ("it was a good film ."[row["start"] : row["end"]] if row["answer"] else "")

    code, _, err = call("predict", run, "--data", files / "data.json", "--out", files / "found.jsonl")
    assert code == 0, err
    rows = [json.loads(line) for line in (files / "found.jsonl").read_text("utf-8").splitlines()]
    examples = read_squad(files / "data.json")
    assert [row["id"] for row in rows] == examples.ids.tolist()
    assert all(row["answer"] == c[row["start"] : row["end"]] for row, c in zip(rows, examples.contexts, strict=True))
    # A table goes row by row, with all that belongs to it; SQuAD's JSON is read whole.
    (files / "new.csv").write_text("n,question,context\n7,what ?,it was a good film .\n8,what is ?,the plot\n", "utf-8")
    code, out, err = call(
        "predict", run, "--data", files / "new.csv", "--out", files / "new.jsonl", "--keep", "n", "--resume"
    )
    assert (code, out) == (0, f"2 rows answered: {files / 'new.jsonl'}\n"), err
    rows = [json.loads(line) for line in (files / "new.jsonl").read_text("utf-8").splitlines()]
    assert [(new["n"], new["question"]) for new in rows] == [("7", "what ?"), ("8", "what is ?")]
    assert rows[0]["answer"] == row["answer"]
    code, _, err = call("predict", run, "--data", files / "data.json", "--out", files / "part.jsonl", "--shard", "0/2")
    assert (code, "--shard is for tables (CSV, JSON lines, Parquet, ...)" in err) == (2, True), err
    assert not (files / "part.jsonl").exists()
    assert call("export", run, "--out", files / "models")[0] == 0
    with pytest.raises(UserError, match="two by two"):
        tasks.QuestionAnswering.predict(None, str(run), ["only a question"], None, Columns())


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (None, ["--max-question-length", "40"], "leaves no room for the context"),
        (None, ["--normalisation", "klue"], "--normalisation 'klue' is not known; choose one of: auto, squad, korquad"),
        ("[1]", [], "row 1: expected an object with names"),
        (
            '{"data": [{"paragraphs": [{"context": "a b", "qas": [{"question": "q"}]}]}]}',
            [],
            "no answers to learn from",
        ),
    ],
)
def test_wrong_calls_end_with_one_line_and_leave_nothing(call, files, tiny_pair, content, options, message):
    if content is not None:
        (files / "data.json").write_text(content, "utf-8")
    code, _, err = call(
        "train", "question-answering", "--train", files / "data.json", "--out", files / "run", "--encoder", tiny_pair,
        "--seq-length", 32, *options,
    )  # fmt: skip
    assert (code, message in err, "Traceback" in err) == (2, True, False), err
    assert not (files / "run").exists()
