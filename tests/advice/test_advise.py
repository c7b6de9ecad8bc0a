"""`advise` from file to recommendation, in Python and on the command line."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from tl_keras.advice import rules
from tl_keras.advice.advise import FrozenEncoder, advise
from tl_keras.data.examples import Examples
from tl_keras.errors import UserError


@pytest.fixture(scope="module")
def texts():
    """Two hundred texts whose label one word tells; three rows repeat an earlier one, one of them with another label."""
    rng = np.random.default_rng(0)
    words = {"긍정": ["good", "great", "fine", "love"], "부정": ["bad", "awful", "dull", "hate"]}
    filler = ["the", "film", "was", "very", "it", "is", "this", "plot", "actor", "music", "a", "i"]
    rows, seen = [], set()
    while len(rows) < 200:
        label = list(words)[len(rows) % 2]
        text = " ".join([*rng.choice(filler, rng.integers(2, 8)), rng.choice(words[label])])
        if text not in seen:
            seen.add(text)
            rows.append((text, label))
    rows += [(rows[0][0].upper(), "긍정"), (rows[1][0], "부정"), (rows[0][0] + "!", "부정")]
    return pd.DataFrame(rows, columns=["document", "label"])


@pytest.fixture
def table(texts, tmp_path):
    path = tmp_path / "reviews.csv"
    texts.to_csv(path, index=False)
    return path


def keys(value, prefix=""):
    """The schema: every path of keys in nested dicts, lists by their first entry."""
    if isinstance(value, dict):
        return {path for name, inner in value.items() for path in {prefix + name} | keys(inner, f"{prefix}{name}.")}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return keys(value[0], f"{prefix}[].")
    return set()


def test_from_file_to_command(call, table, mlm_pair, tmp_path):
    out = tmp_path / "advice"
    code, said, err = call(
        "advise",
        "--train",
        table,
        "--text",
        "document",
        "--encoder",
        mlm_pair,
        "--seq-length",
        16,
        "--json",
        "--out",
        out,
    )
    assert code == 0, err
    found = json.loads(said.strip().splitlines()[-1])
    assert found == json.loads((out / "advice.json").read_text("utf-8"))

    labels = found["labels"]
    assert (labels["examples"], labels["counts"], labels["repeats"]) == (203, {"긍정": 101, "부정": 102}, 3)
    assert (labels["conflicting"], labels["conflicting_examples"]) == (1, 3)
    assert labels["conflicts"][0]["labels"] == {"긍정": 2, "부정": 1}
    assert found["sampled"] == 200
    assert found["lengths"]["texts"] == 200
    assert found["domain_similarity"]["own"]["loss"] > 0
    assert found["domain_similarity"]["perplexity_ratio"] > 0  # English, so there is a reference
    assert found["domain_similarity"]["distance"] is None
    frozen, words = found["curves"]
    assert [point["labels"] for point in words["points"]] == [19, 38, 75, 150]
    assert words["points"][-1]["accuracy"] > 0.9
    assert [entry["labels"] for entry in words["forecasts"]] == [200, 400, 800]
    # What is recommended is what the rules say to this evidence.
    evidence = rules.Evidence(
        200, False, 1, 16, None, frozen["forecasts"][0]["accuracy"], words["forecasts"][0]["accuracy"], 102 / 203,
        found["lengths"]["unknown_words"], found["domain_similarity"]["perplexity_ratio"],
    )  # fmt: skip
    wanted = rules.recommend(evidence)
    recommendation = found["recommendation"]
    assert (recommendation["transfer"], recommendation["reasons"]) == (wanted.transfer, list(wanted.reasons))
    assert recommendation["without_encoder"] is True
    assert f"--train {table} --encoder {mlm_pair} --text document" in recommendation["command"].replace("'", "")
    assert f"--transfer {wanted.transfer} --epochs {wanted.epochs}" in recommendation["command"]

    page = (out / "report.md").read_text("utf-8")
    assert recommendation["command"] in page
    assert {path.name for path in (out / "plots").iterdir()} == {"texts.png", "learning_curve.png"}
    assert all(path.stat().st_size > 10_000 for path in (out / "plots").iterdir())
    # The contract of --json.
    assert {
        "source", "encoder", "labels.counts", "labels.majority", "labels.imbalance", "labels.repeats", "labels.conflicts",
        "lengths.percentiles.95", "lengths.cut", "lengths.unknown_tokens", "lengths.unknown_words", "domain_similarity.reference",
        "domain_similarity.perplexity_ratio", "domain_similarity.own.perplexity", "domain_similarity.known.bits_per_character", "curves", "sampled",
        "recommendation.transfer", "recommendation.epochs", "recommendation.learning_rate", "recommendation.expected.freeze",
        "recommendation.pretrain_first", "recommendation.other_encoder", "recommendation.command", "notes",
    } <= keys(found)  # fmt: skip
    assert {"method", "points", "forecasts", "points.[].labels", "points.[].accuracy", "forecasts.[].low"} <= keys(
        frozen
    )

    # The folder is kept unless told.
    code, _, err = call("advise", "--train", table, "--text", "document", "--encoder", mlm_pair, "--out", out)
    assert (code, "--overwrite" in err) == (2, True)


def test_pairs_few_texts_and_an_encoder_without_a_head(mlm_encoder, monkeypatch):
    """Twenty pairs give no curve, but everything else; without a head a classifier measures the distance."""
    monkeypatch.setattr(FrozenEncoder, "mlm", None)
    words = ["good", "bad", "film", "plot", "music", "actor", "dull", "fine", "great", "love"]
    first = [f"the {a} was {b}" for a in words[:4] for b in words[5:]]
    pairs = Examples.from_lists(first, ["same", "other"] * 10, text_pairs=first[::-1])
    found = advise(pairs, mlm_encoder, reference=[f"i hate this {word}" for word in words * 3])
    assert found.curves == ()
    assert found.recommendation.expected == {}
    assert found.recommendation.transfer in {"freeze", "top-1", "fine-tune"}
    page = str(found)
    assert "too few different texts" in page
    assert "20 examples, 2 classes" in page
    assert found.domain.reference == "the given reference"
    assert 0 <= found.domain.distance.distance <= 2
    assert "--train FILE --text-pair text_pair" in found.command_line
    with pytest.raises(UserError, match="too few to compare"):
        advise(pairs, mlm_encoder, reference=["one"])


@pytest.mark.parametrize(
    ("content", "more", "message"),
    [
        ("text,label\na,x\nb,x\n", [], "every row has the label 'x'"),
        ("text,label\na,x\nA!,y\na,y\n", [], "all 3 rows hold the same text"),
        ("text,label\n", [], "holds no rows"),
        ("text,klass\na,x\n", [], "no column 'label'"),
        (None, [], "no file"),
        ("text,label\na,x\nb,y\n", ["--reference", "nowhere.txt"], "no file nowhere.txt"),
        ("text,label\na,x\nb,y\n", ["--encoder", "nothing_like_it"], "nothing_like_it"),
        ("text,label\na,x\nb,y\n", ["--out", "{table}"], "which is read here and would be lost"),
        ("text,label\na,x\nb,y\n", ["--out", "{file}"], "is a file"),
    ],
)
def test_bad_input_is_one_line(call, tmp_path, content, more, message):
    table = tmp_path / "t.csv"
    if content is not None:
        table.write_text(content, "utf-8")
    file = tmp_path / "notes"
    file.touch()
    more = [str(option).format(table=table, file=file) for option in more]
    code, _, err = call("advise", "--train", table, *more)
    assert code == 2
    lines = [line for line in err.strip().splitlines() if line.startswith("tl-keras: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert "Traceback" not in err
