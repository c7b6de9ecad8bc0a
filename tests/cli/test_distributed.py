"""Strategies, several workers, runs that survive, and large files, from the command line."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from tl_keras import UserError, load_exported, predict
from tl_keras._keras import IS_KERAS_3, keras
from tl_keras.tasks.task_settings import TextClassificationSettings
from tl_keras.tasks.text_classification import TextClassificationRun
from tl_keras.training.guards import StopWhenNotFinite

OPTIONS = {
    "seq_length": 32, "transfer": "freeze", "epochs": 2, "batch_size": 8, "validation_split": 0.25, "dropout": 0.0,
    "scale_learning_rate": "sqrt",
}  # fmt: skip


@pytest.fixture(scope="module")
def table(reviews, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "reviews.csv"
    pd.DataFrame({"id": range(64), "text": reviews.texts, "label": reviews.label_names}).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def whole(table, tiny_pair, tmp_path_factory):
    """The run that nobody interrupts, with several steps for each call of the training function."""
    out = tmp_path_factory.mktemp("whole") / "run"
    TextClassificationRun(
        TextClassificationSettings(
            train=str(table), out=str(out), encoder=str(tiny_pair), steps_per_execution=2, **OPTIONS
        )
    ).execute(0)
    return out


@pytest.fixture
def command(table, tiny_pair, tmp_path):
    """The same run on the command line."""
    options = [str(part) for name, value in OPTIONS.items() for part in (f"--{name.replace('_', '-')}", value)]
    return lambda out: [
        "train", "text-classification", "--train", str(table), "--out", str(tmp_path / out), "--encoder", str(tiny_pair), *options
    ]  # fmt: skip


def assert_same_run(one, other, within):
    np.testing.assert_allclose(*(pd.read_csv(run / "history.csv") for run in (one, other)), atol=within)
    scores = [predict(load_exported(run), ["good film", "dull", ""]).score for run in (one, other)]
    np.testing.assert_allclose(*scores, atol=within)


def test_sigterm_in_the_middle_of_an_epoch_and_on(whole, call, command, tmp_path, monkeypatch, caplog):
    look = StopWhenNotFinite.on_train_batch_end

    def preempted(self, batch, logs=None):
        look(self, batch, logs)
        if (self._epoch, batch) == (1, 3):
            os.kill(os.getpid(), signal.SIGTERM)

    run = [*command("run"), "--resume", "--checkpoint-every", 1]
    with monkeypatch.context() as patch, caplog.at_level("INFO", "tl_keras"):
        patch.setattr(StopWhenNotFinite, "on_train_batch_end", preempted)
        assert call(*run)[0] == 143
    assert "Global batch 8: 1 replica(s) of 8 each; peak learning rate 0.01" in caplog.text
    assert not (tmp_path / "run").exists()
    newest = sorted(path.name for path in (tmp_path / ".run.partial" / "backup").iterdir())[-1]
    assert newest == "epoch-0001-step-0000004"
    code, _, err = call(*run)
    assert code == 0, err
    assert not (tmp_path / ".run.partial").exists()
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["learning_rate"], config["replicas"]) == (pytest.approx(0.01), 1)
    assert_same_run(whole, tmp_path / "run", 1e-5)
    code, _, err = call(*run)
    assert (code, "finished run" in err) == (2, True)


@pytest.mark.one_keras
def test_a_loss_that_is_no_number_names_the_rows_of_the_file(call, command, table, tmp_path, monkeypatch):
    look = StopWhenNotFinite.on_train_batch_end

    def spoil(self, batch, logs=None):
        look(self, batch, {"loss": float("nan")} if (self._epoch, batch) == (0, 2) else logs)

    monkeypatch.setattr(StopWhenNotFinite, "on_train_batch_end", spoil)
    code, _, err = call(*command("run"), "--resume", "--checkpoint-every", 1)
    assert code == 2
    assert "the loss is nan at step 3 of epoch 1. Its batch holds the rows " in err
    assert f"of {table} (counted from 0)" in err
    assert "epoch-0000-step-0000002" in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--strategy", "multi-worker"], "needs Keras 2" if IS_KERAS_3 else "tl-keras launch --workers 2"),
        (["--strategy", "tpu"], "there is no TPU"),
        (["--strategy", "horovod"], "choose one of: auto, one-device, mirrored, multi-worker, tpu"),
        (["--checkpoint-every", -1], "--checkpoint-every must be at least 0"),
        (["--steps-per-execution", 0], "--steps-per-execution must be at least 1"),
        (["--scale-learning-rate", "log"], "choose one of: none, linear, sqrt"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(call, command, tmp_path, monkeypatch, options, message):
    for name in ("TF_CONFIG", "TPU_NAME", "COLAB_TPU_ADDR", "KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS"):
        monkeypatch.delenv(name, raising=False)
    code, _, err = call(*command("run"), *options)
    assert code == 2
    assert message in err
    assert not [path.name for path in tmp_path.iterdir() if "run" in path.name]


def test_mixed_precision_for_one_run_only(call, command, monkeypatch):
    found = []

    def built(self, folder, verbose):
        found.append(self.model.get_layer("logits").compute_dtype)
        raise UserError("seen")

    monkeypatch.setattr(TextClassificationRun, "_fit", built)
    assert call(*command("run"), "--mixed-precision")[0] == 2
    assert found == ["bfloat16"]
    assert keras.layers.Dense(1).compute_dtype == "float32"


@pytest.mark.skipif(IS_KERAS_3, reason="refused in Keras 3: see tests/training/test_workers.py")
@pytest.mark.parametrize("killed", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_two_workers_write_one_run_folder(whole, command, tmp_path, killed):
    """Nobody killed, or one in the first epoch and all started again: the same as one process."""
    # Python runs it when it starts. It kills the second worker, once, when the first checkpoint is there.
    kill = (
        "import json, os, pathlib, threading, time\n"
        "here = pathlib.Path(__file__).parent\n"
        "def wait():\n"
        "    while not list((here / '.run.partial' / 'backup').glob('epoch-*')): time.sleep(0.01)\n"
        "    (here / 'killed').touch(); os.kill(os.getpid(), 9)\n"
        "config = os.environ.get('TF_CONFIG')\n"
        "if config and json.loads(config)['task']['index'] == 1 and not (here / 'killed').exists():\n"
        "    threading.Thread(target=wait, daemon=True).start()\n"
    )
    (tmp_path / "sitecustomize.py").write_text(kill if killed else "")
    launch = [sys.executable, "-m", "tl_keras", "launch", "--workers", "2", "--restarts", "1", "--"]
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    run = subprocess.run(
        [*launch, *command("run"), "--resume", "--checkpoint-every", "1"],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-3000:]
    assert (tmp_path / "killed").exists() == killed
    assert ("starting all 2 again" in run.stdout) == killed
    assert "[worker 0] INFO: Global batch 8: 2 replica(s) of 4 each" in run.stdout
    assert "[worker 1] done; the first worker writes the run folder." in run.stdout
    assert not [path.name for path in tmp_path.iterdir() if "partial" in path.name]
    assert json.loads((tmp_path / "run" / "config.json").read_text())["replicas"] == 2
    assert_same_run(whole, tmp_path / "run", 1e-3)


@pytest.mark.one_keras(2)
def test_predict_a_file_in_parts_and_keep_its_ids(whole, call, reviews, tmp_path):
    with gzip.open(tmp_path / "new.csv.gz", "wt", encoding="utf-8") as stream:
        pd.DataFrame({"id": range(100, 164), "text": reviews.texts}).to_csv(stream, index=False)
    base = ("predict", whole, "--data", tmp_path / "new.csv.gz", "--keep", "id", "--batch-size", 16)
    found = []
    for i in range(2):
        out = tmp_path / f"{i}.csv"
        code, said, err = call(*base, "--out", out, "--shard", f"{i}/2")
        assert (code, said) == (0, f"32 rows answered: {out}\n"), err
        found.append(pd.read_csv(out))
    found = pd.concat(found, ignore_index=True)
    assert list(found) == ["id", "text", "label", "score"]
    assert found.id.tolist() == list(range(100, 164))
    np.testing.assert_allclose(found.score, predict(whole, reviews.texts.tolist()).score, atol=1e-5)
    for arguments, message in (
        ((*base, "--out", tmp_path / "0.csv", "--shard", "2/2"), "--shard is written"),
        (("predict", whole, "a text", "--resume"), "--resume is for files"),
    ):
        code, _, err = call(*arguments)
        assert (code, message in err) == (2, True), err


@pytest.mark.one_keras
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "what are the workers to run?"),
        (["--", "launch"], "workers cannot launch workers"),
    ],
)
def test_launch_wants_a_command(call, arguments, message):
    code, _, err = call("launch", *arguments)
    assert (code, message in err) == (2, True)
