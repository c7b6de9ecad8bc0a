"""Similarity and search from the command line: file to run folder to answers."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from tl_keras.serving.encode import encode

WORDS = ["good", "bad", "film", "plot", "music", "actor", "dull", "great", "영화", "정말"]


@pytest.fixture
def files(tmp_path):
    """Scored pairs (the fraction of common words, times five), and a question for each pair of words."""
    rows = []
    for i in range(40):
        first = [WORDS[(i + j) % 10] for j in range(4)]
        second = first[: i % 5] + [WORDS[(i + 5 + j) % 10] for j in range(4 - i % 5)]
        rows.append((" ".join(first), " ".join(second), 1.25 * (i % 5)))
    pd.DataFrame(rows, columns=["a", "b", "value"]).to_csv(tmp_path / "pairs.csv", index=False)
    questions = [(f"which {a} {b}", f"the {a} was {b} , very {a}") for a in WORDS[:5] for b in WORDS[5:]]
    pd.DataFrame(questions, columns=["question", "document"]).to_csv(tmp_path / "questions.csv", index=False)
    return tmp_path


@pytest.fixture
def base(tiny_pair):
    # Frozen, because tracing gradients through the encoder is most of a small run's time.
    return ["--encoder", tiny_pair, "--seq-length", 32, "--transfer", "freeze", "--epochs", 1]


@pytest.fixture
def lexical_pair(suggesting_pair):
    """The same encoder, whose makers suggest shared words."""
    return suggesting_pair(lexical_weight=0.99)


@pytest.mark.one_keras(2)
def test_similarity_train_evaluate_predict(call, files, base, caplog):
    table = ["--train", files / "pairs.csv", "--text", "a", "--text-pair", "b", "--label", "value"]
    run = files / "run"
    code, out, err = call(
        "train", "sentence-similarity", *table, *base, "--score-range", 0, 5, "--lexical-weight", 0.9, "--learning-rate", 1e-9, "--out", run
    )  # fmt: skip
    assert code == 0, err
    assert {f.name for f in run.iterdir()} == {
        "saved_model", "metrics.json", "history.csv", "config.json", "plots", "report.md", "manifest.json",
    }  # fmt: skip
    config = json.loads((run / "config.json").read_text())
    assert (config["task"], config["architecture"], config["pooling"], config["score_range"]) == (
        "sentence-similarity", "bi-encoder", "mean", [0.0, 5.0],
    )  # fmt: skip
    # At this learning rate nothing got worse, so what was trained is kept.
    assert not config["kept_weights_from_before_training"]
    assert "Training made it worse" not in caplog.text
    assert "val_spearman" in (run / "history.csv").read_text().splitlines()[0]
    assert "Largest disagreements" in (run / "report.md").read_text("utf-8")
    code, out, err = call("evaluate", run, "--data", files / "pairs.csv", "--json")
    assert code == 0, err
    scored = json.loads(out.strip().splitlines()[-1])
    # Nine tenths of the cosine are shared words, which the scores are made of.
    assert (scored["examples"], scored["spearman"] > 0.9) == (40, True)
    code, out, _ = call("predict", run, "good film", "good film", "bad", "music")
    lines = [line.split("\t") for line in out.strip().splitlines()]
    assert lines[0] == ["text", "text_pair", "score"]
    assert (lines[1][2], float(lines[2][2]) < 0.5) == ("1.0000", True)


@pytest.mark.one_keras
def test_cross_encoder(call, files, base):
    kinds = [
        ("music", "good film", 4.5),
        ("actor", "dull plot", 0.5),
        ("actor", "good film", 3.0),
        ("music", "dull plot", 1.5),
    ]
    rows = kinds * 12
    pd.DataFrame(rows, columns=["a", "b", "value"]).to_csv(files / "pairs.csv", index=False)
    table = [
        "--train",
        files / "pairs.csv",
        "--validation",
        files / "pairs.csv",
        "--text",
        "a",
        "--text-pair",
        "b",
        "--label",
        "value",
    ]
    cross = ["train", "sentence-similarity", "--architecture", "cross-encoder", *table, *base]
    code, _, err = call(*cross, "--lexical-weight", 0.5, "--out", files / "run")
    assert (code, "gives no vectors" in err) == (2, True)
    code, _, err = call(
        *cross[:-1], 10, "--transfer", "fine-tune", "--learning-rate", 0.02, "--batch-size", 16, "--out", files / "run"
    )
    assert code == 0, err
    code, _, err = call("predict", files / "run", "--data", files / "pairs.csv", "--out", files / "scores.csv")
    assert code == 0, err
    answered = pd.read_csv(files / "scores.csv")
    # The four kinds of pairs stand in their order; an untrained head has them in any of 24.
    assert (len(answered), answered.groupby("value").score.mean().is_monotonic_increasing) == (48, True)


@pytest.mark.one_keras
def test_retrieval_train_index_search(call, files, base, lexical_pair):
    run, index = files / "run", files / "index"
    learn = ["train", "retrieval", "--train", files / "questions.csv", "--encoder", lexical_pair, *base[2:]]
    code, out, err = call(*learn, "--out", run)
    assert code == 0, err
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["documents"] == round(0.1 * 25)
    config = json.loads((run / "config.json").read_text())
    assert (config["task"], config["before_training"]["documents"]) == ("retrieval", 2)
    # Suggested by the encoder's makers, chosen on the validation pairs.
    assert config["lexical_weight"] is not None
    code, out, err = call("evaluate", run, "--data", files / "questions.csv", "--json")
    assert code == 0, err
    assert json.loads(out.strip().splitlines()[-1])["documents"] == 25

    collection = ["index", "--data", files / "questions.csv", "--text", "document", "--out", index]
    code, out, err = call(*collection, "--encoder", run)
    assert code == 0, err
    assert "25 texts indexed" in out
    code, out, err = call("search", index, "the good was actor , very good", "-k", 2)
    assert code == 0, err
    assert out.splitlines()[1].split(maxsplit=2) == ["1", "1.0000", "the good was actor , very good"]
    assert json.loads((index / "meta.json").read_text())["made_with"] == {"encoder": str(run)}
    found = []
    for part in ("0/2", "1/2"):
        out = files / "scores.csv"
        code, _, err = call("predict", run, "--data", files / "questions.csv", "--out", out, "--shard", part)
        assert code == 0, err
        found.append(pd.read_csv(out))
    found, questions = pd.concat(found, ignore_index=True), pd.read_csv(files / "questions.csv")
    assert found.question.tolist() == questions.question.tolist()
    assert found.score.between(-1.0001, 1.0001).all()
    (files / "questions.json").write_text("{}", "utf-8")
    code, _, err = call("predict", run, "--data", files / "questions.json", "--out", files / "x.csv")
    assert (code, "holds no objects with names" in err) == (2, True), err
    run.rename(files / "moved")
    code, out, err = call("search", index, "which bad")
    assert (code, "Say where it is with --encoder" in err) == (2, True)
    code, _, err = call(*collection, "--encoder", files / "moved")
    assert (code, "--overwrite" in err) == (2, True)
    code, _, err = call(*collection[:-1], files / "other", "--encoder", files / "moved", "--lexical-weight", 0.5)
    assert (code, "leave --lexical-weight out" in err) == (2, True)


@pytest.mark.one_keras(2)
def test_an_index_with_an_encoder_as_it_is(call, files, tiny_pair):
    (files / "lines.txt").write_text("good film\nbad plot\n\nmusic\n", "utf-8")
    code, _, err = call(
        "index", "--encoder", tiny_pair, "--seq-length", 16, "--data", files / "lines.txt", "--out", files / "index"
    )
    assert code == 0, err
    code, out, err = call("search", files / "index", "music", "--json")
    assert code == 0, err
    results = json.loads(out.strip().splitlines()[-1])["results"]
    assert (results[0]["rank"], results[0]["text"]) == (1, "music")
    assert len(results) == 3


@pytest.mark.one_keras(2)
def test_an_index_by_meaning_and_shared_words(call, files, lexical_pair, caplog):
    (files / "lines.txt").write_text("good film good film\nbad plot\ndull music\n영화는 정말\n", "utf-8")
    made = ["index", "--encoder", lexical_pair, "--data", files / "lines.txt", "--out", files / "index"]
    code, _, err = call(*made, "--seq-length", 16)
    assert code == 0, err
    assert "Shared words count 0.99 and meaning 0.01" in caplog.text
    (files / "index").rename(files / "elsewhere")
    code, out, err = call("search", files / "elsewhere", "film good", "bad music", "영화", "--json")
    assert code == 0, err
    results = json.loads(out.strip().splitlines()[-1])["results"]
    # One text of four has the words: BM25 is 0 but for it, so it lies sqrt(3) deviations above the mean.
    assert (results[0]["text"], results[0]["score"]) == ("good film good film", pytest.approx(3**0.5, abs=0.05))
    assert {row["text"] for row in results[4:6]} == {"bad plot", "dull music"}
    assert results[8]["text"] == "영화는 정말"
    code, _, err = call(*made, "--lexical-weight", 1.5)
    assert (code, "--lexical-weight must be at least 0 and below 1, not 1.5" in err) == (2, True)
    assert not (files / "index").exists()


@pytest.mark.one_keras(2)
@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["train", "sentence-similarity", "--architecture", "both"], "choose one of: bi-encoder, cross-encoder"),
        (["train", "sentence-similarity", "--label", "a"], "is to be both the text and its label"),
        (["train", "sentence-similarity", "--text-pair", "value", "--label", "b"], "is no number"),
        (["train", "sentence-similarity", "--score-range", 0, 2], "outside the range 0 to 2"),
        (["train", "retrieval", "--text", "a", "--text-pair", "nothing"], "no column 'nothing'"),
    ],
)
def test_wrong_calls(call, files, base, command, message):
    columns = ["--text", "a", "--text-pair", "b", "--label", "value"] if "retrieval" not in command else []
    code, _, err = call(
        *command[:2], "--train", files / "pairs.csv", *base, "--out", files / "run", *columns, *command[2:]
    )
    assert code == 2
    assert message in err
    assert not (files / "run").exists()


def test_an_index_pools_as_the_encoder_was_made_to(call, suggesting_pair, tmp_path):
    pair = suggesting_pair(pooling="max")
    (tmp_path / "texts.txt").write_text("good film\nthe music was dull\n")
    call(
        "index",
        "--encoder",
        str(pair),
        "--data",
        str(tmp_path / "texts.txt"),
        "--out",
        str(tmp_path / "i"),
        "--seq-length",
        "32",
    )
    assert json.loads((tmp_path / "i" / "meta.json").read_text())["made_with"]["pooling"] == "max"
    wanted = encode(str(pair), ["good film", "the music was dull"], "max", seq_length=32, normalize=True)
    np.testing.assert_allclose(np.load(tmp_path / "i" / "vectors.npy"), wanted, atol=1e-6)
