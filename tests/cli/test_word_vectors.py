"""Word vectors, and a biLM beside them, from the command line: train, look, evaluate, predict, export; and calls that are refused."""

from __future__ import annotations

import json

import pytest

VECTORS = "5 2\nfilm 1 0\nRome 0 1\nthe 1 1\ngood 2 1\nbad -2 1\n"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with vectors (`v.vec`), classified texts (`t.csv`) and tagged ones (`t.conll`)."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "v.vec").write_text(VECTORS, "utf-8")
    rows = [f"{text},{label}" for text, label in (("the good film", "yes"), ("the bad film", "no"), ("dull,", "no"))]
    (folder / "t.csv").write_text(
        "text,label\n" + "\n".join(row.replace(",,", ",") for row in rows * 8) + "\n", "utf-8"
    )
    tagged = ["the O", "film O", "Rome B-LOC", ". O", ""]
    (folder / "t.conll").write_text("\n".join(tagged * 12).replace(" ", "\t") + "\n", "utf-8")
    return folder


def train(call, files, out, *options, task="text-classification"):
    data = files / ("t.conll" if task == "token-classification" else "t.csv")
    return call(
        "train", task, "--train", data, "--out", out, "--epochs", 4, "--batch-size", 4, "--dropout", 0, *options
    )


@pytest.mark.one_keras
def test_vectors_that_learn_slowly(call, files, tmp_path, caplog):
    run = tmp_path / "run"
    options = ("--encoder", files / "v.vec", "--transfer", "slow", "--recurrent", "gru", "--learning-rate", 0.03)
    code, _, err = train(call, files, run, *options)
    assert code == 0, err
    assert "80.0% of 5 different ones have a vector; the most frequent without: dull (" in caplog.text
    config = json.loads((run / "config.json").read_text("utf-8"))
    assert (config["recurrent"], config["transfer"], config["pooling"]) == ("gru", "slow", "max")
    report = (run / "report.md").read_text("utf-8")
    assert "GRU, slow, pooling max" in report
    assert config["coverage"]["summary"] in report
    code, out, err = call("evaluate", run, "--data", files / "t.csv", "--json")
    assert code == 0, err
    assert json.loads(out.strip().splitlines()[-1])["accuracy"] > 0.6
    code, _, err = call("export", run, "--out", tmp_path / "served")
    assert code == 0, err
    code, out, err = call("predict", tmp_path / "served" / "1", "the good film", "unheard of")
    assert code == 0, err
    assert len(out.strip().splitlines()) == 3


@pytest.mark.one_keras(2)
def test_tagging_beside_a_bilm(call, files, tmp_path, bilm_folder):
    options = ("--encoder", "random", "--elmo", bilm_folder, "--elmo-at", "both", "--learning-rate", 0.05)
    code, _, err = train(call, files, tmp_path / "run", *options, task="token-classification")
    assert code == 0, err
    config = json.loads((tmp_path / "run" / "config.json").read_text("utf-8"))
    assert (config["elmo_at"], config["recurrent"]) == ("both", "lstm")
    code, out, err = call("predict", tmp_path / "run", "the film Rome .")
    assert code == 0, err
    assert '"text": "Rome"' in out


@pytest.mark.one_keras
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--transfer", "slow"), "--transfer slow is a way of word vectors, and ko-en-small is none"),
        (("--elmo", "bilm"), "--elmo joins its vectors to word vectors, not to ko-en-small"),
        (("--encoder", "v.vec", "--transfer", "top-2"), "word vectors have no blocks"),
        (("--encoder", "none"), "--encoder none leaves nothing to read"),
        (("--encoder", "none", "--elmo", "bilm", "--elmo-at", "output"), "--encoder none leaves nothing to read"),
        (("--encoder", "random", "--elmo", "b", "--elmo-at", "both", "--recurrent", "none"), "choose --recurrent lstm"),
        (("--encoder", "random", "--recurrent", "rnn"), "--recurrent 'rnn' is not known"),
        (("--encoder", "missing.vec"), "no file missing.vec"),
        (("--encoder", "v.vec", "--layers", 2), "neither a preprocessing module nor layers"),
        (("--encoder", "random", "--elmo", "nowhere"), "nowhere"),
        (("--encoder", "damaged.vec"), "line 3: 1 numbers behind the word, but the header says 2"),
        (("--encoder", "strange.vec"), "none of the 5 words of the texts"),
    ],
)
def test_a_call_that_will_not_do(call, files, tmp_path, monkeypatch, options, reason):
    monkeypatch.chdir(files)
    (files / "damaged.vec").write_text("2 2\nfilm 1 0\nRome 0\n", "utf-8")
    (files / "strange.vec").write_text("1 2\nzug 1 0\n", "utf-8")
    code, _, err = train(call, files, tmp_path / "run", *options)
    assert code == 2, err
    assert reason in err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())
