"""Ways of transfer from the command line."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest


@pytest.fixture
def train(call, stacks, tiny_pair, reviews, tmp_path):
    pair = tmp_path / "pair"
    shutil.copytree(stacks["plain"][0], pair / "encoder")
    shutil.copytree(tiny_pair / "preprocess", pair / "preprocess")
    table = tmp_path / "reviews.csv"
    pd.DataFrame({"text": reviews.texts, "label": reviews.label_names}).to_csv(table, index=False)

    def run(*more):
        base = ["--train", table, "--out", tmp_path / "run", "--encoder", pair, "--seq-length", 16, "--epochs", 1]
        return call("train", "text-classification", *base, *more)

    return run


def test_every_option_reaches_the_run(train, tmp_path, caplog):
    options = [
        "--transfer", "gradual", "--unfreeze-every", "1 step", "--layer-decay", 0.5, "--lr-multiplier", "embeddings=0.1",
        "--layers", 2, "--pooling", "mix", "--hidden", 12,
    ]  # fmt: skip
    code, _, err = train(*options)
    assert code == 0, err
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    wanted = {"transfer": "gradual", "unfreeze_every": "1 step", "layer_decay": 0.5, "lr_multiplier": ["embeddings=0.1"],
              "layers": 2, "pooling": "mix", "hidden": [12]}  # fmt: skip
    assert {name: config[name] for name in wanted} == wanted
    assert "too short to reach block 0, embeddings" in caplog.text  # two steps
    assert "Now also learning: block 1, pooler" in caplog.text


@pytest.mark.one_keras(2)
@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--transfer", "top-4"], "3 blocks, not 4"),
        (["--transfer", "top-two"], "choose one of: freeze, fine-tune, top-K"),
        (["--layers", 4], "3 blocks, not 4"),
        (["--lr-multiplier", "layer 1=0.1"], "no part of the model is called 'layer 1'"),
        (["--lr-multiplier", "embeddings"], "must be PART=FACTOR"),
        (["--unfreeze-every", "soon"], "no interval"),
        (["--unfreeze-every", "2"], 'is for transfer="gradual"'),
        (["--layer-decay", "2"], "--layer-decay must be above 0"),
    ],
)
def test_wrong_calls(train, tmp_path, more, message):
    code, _, err = train(*more)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()
