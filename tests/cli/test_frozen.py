"""`train --transfer freeze` runs the encoder once, and comes to the same as if it ran in every epoch."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from tl_keras.features import frozen
from tl_keras.tasks.sentence_similarity import SentenceSimilarityRun
from tl_keras.tasks.text_classification import TextClassificationRun
from tl_keras.training.callbacks import BestWeights


@pytest.fixture
def pair(stacks, tiny_pair, tmp_path):
    shutil.copytree(stacks["plain"][0], tmp_path / "pair" / "encoder")
    shutil.copytree(tiny_pair / "preprocess", tmp_path / "pair" / "preprocess")
    return tmp_path / "pair"


@pytest.fixture
def table(reviews, tmp_path):
    scores = [5 if name == "positive" else 1 for name in reviews.label_names]
    columns = {"text": reviews.texts, "second": reviews.texts[::-1], "label": reviews.label_names, "score": scores}
    pd.DataFrame(columns).to_csv(tmp_path / "reviews.csv", index=False)
    return tmp_path / "reviews.csv"


@pytest.fixture
def train(call, pair, table, tmp_path):
    def run(task, out, *more):
        base = ["--train", table, "--out", tmp_path / out, "--encoder", pair, "--seq-length", 16]
        learning = ["--transfer", "freeze", "--learning-rate", 0.05, "--batch-size", 8, "--validation-split", 0.25]
        code, _, err = call("train", task, *base, *learning, *more)
        assert code == 0, err
        config, metrics = (json.loads((tmp_path / out / name).read_text()) for name in ("config.json", "metrics.json"))
        return config, metrics, pd.read_csv(tmp_path / out / "history.csv")

    return run


@pytest.mark.one_keras
@pytest.mark.parametrize(
    ("task", "run_class", "more", "score"),
    [
        (
            "text-classification",
            TextClassificationRun,
            ["--class-weight", "balanced", "--pooling", "mix", "--hidden", 6, "--dropout", 0.3],
            "accuracy",
        ),
        pytest.param(
            "sentence-similarity",
            SentenceSimilarityRun,
            ["--text-pair", "second", "--architecture", "cross-encoder", "--pooling", "mean"],
            "spearman",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_same_results_as_with_the_encoder_in_every_epoch(
    train, call, table, tmp_path, monkeypatch, task, run_class, more, score
):
    config, metrics, history = train(task, "once", "--epochs", 4, *more)
    assert config["features_computed_once"]
    assert sorted(path.name for path in (tmp_path / "once").iterdir()) == [
        "config.json", "history.csv", "manifest.json", "metrics.json", "plots", "report.md", "saved_model",
    ]  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(run_class, "uses_pooled_output", False)
        slow_config, slow_metrics, slow_history = train(task, "every", "--epochs", 4, *more)
    assert not slow_config["features_computed_once"]
    assert config["learning_rate"] == slow_config["learning_rate"] == 0.05
    assert metrics[score] == pytest.approx(slow_metrics[score], abs=1e-4)
    assert metrics["best_epoch"] == slow_metrics["best_epoch"]
    assert list(history) == list(slow_history)
    np.testing.assert_allclose(history, slow_history, rtol=2e-3)
    # What is exported is the full model, with what the head has learned.
    scores = []
    for out in ("once", "every"):
        _, said, _ = call("evaluate", tmp_path / out, "--data", table, "--json")
        scores.append(json.loads(said.strip().splitlines()[-1])[score])
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)


@pytest.mark.one_keras(2)
def test_a_killed_run_does_not_compute_its_features_again(train, tmp_path, monkeypatch):
    class Killed(BaseException):
        """As sudden as a kill: nothing catches it."""

    def die(self, epoch, logs=None):
        if epoch == 1:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(BestWeights, "on_epoch_end", die)
        with pytest.raises(Killed):
            train("text-classification", "run", "--epochs", 2, "--resume")
    assert (tmp_path / ".run.partial" / "features" / "vectors.npy").is_file()
    with monkeypatch.context() as patch:
        patch.setattr(frozen.TextVectors, "compute", None)
        config, *_ = train("text-classification", "run", "--epochs", 2, "--resume")
    assert config["features_computed_once"]
    assert not [path.name for path in tmp_path.rglob("features")]
