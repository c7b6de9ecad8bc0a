"""Real processes on 127.0.0.1: two workers learn what one process learns, one of them is killed, and all go on."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tl_keras import UserError, load_exported, predict
from tl_keras._keras import IS_KERAS_3
from tl_keras.errors import WorkerLost
from tl_keras.training.cluster import run_workers
from tl_keras.training.guards import end_with_others
from tl_keras.training.strategy import get_strategy

sys.path.insert(0, str(Path(__file__).parent))
from workers_run import train

SCRIPT = Path(__file__).with_name("workers_run.py")
TWO = '{"cluster": {"worker": ["127.0.0.1:1", "127.0.0.1:2"]}, "task": {"type": "worker", "index": 0}}'


@pytest.mark.skipif(IS_KERAS_3, reason="Keras 3's fit fails under MultiWorkerMirroredStrategy: refused, see below")
@pytest.mark.parametrize(
    ("count", "transfer", "place"),
    [(2, "freeze", ()), (2, "fine-tune", ()), (2, "freeze", ("1", "2")), (3, "fine-tune", ("2", "3"))],
)
@pytest.mark.slow
def test_workers_learn_what_one_process_learns(tiny_pair, tmp_path, count, transfer, place):
    """Fine-tuned within 1e-3: where all weights learn, other orders of adding up gradients show sooner."""
    lines, within = [], 1e-4 if transfer == "freeze" else 1e-3
    command = [sys.executable, str(SCRIPT), str(tiny_pair), str(tmp_path / "workers"), "multi-worker", transfer, *place]
    code = run_workers(command, count, restarts=1 if place else 0, say=lines.append, grace=1, timeout=300)
    assert code == 0, "\n".join(lines[-40:])
    workers = [json.loads(line.split("] ", 1)[1]) for line in lines if '{"history"' in line]
    assert [worker["replicas"] for worker in workers] == [count] * count
    assert (tmp_path / "workers" / "killed").exists() == bool(place)
    alone = train(tiny_pair, tmp_path / "alone", get_strategy("one-device"), transfer)
    for worker in workers:
        assert worker["history"] == workers[0]["history"]
        np.testing.assert_allclose(worker["history"]["loss"], alone["history"]["loss"], atol=within)
        np.testing.assert_allclose(worker["history"]["accuracy"], alone["history"]["accuracy"], atol=1e-6)
        # Over all 31 rows.
        assert worker["evaluated"]["accuracy"] == pytest.approx(alone["evaluated"]["accuracy"], abs=1e-6)
    assert alone["history"]["loss"][-1] < alone["history"]["loss"][0]
    exports = [
        predict(load_exported(tmp_path / name / "export"), ["good film", "bad"]) for name in ("alone", "workers")
    ]
    np.testing.assert_allclose(exports[0]["score"], exports[1]["score"], atol=within)


@pytest.mark.skipif(not IS_KERAS_3, reason="Keras 2 can")
@pytest.mark.parametrize("name", ["multi-worker", "auto"])
def test_keras_3_names_the_way_out(monkeypatch, name):
    monkeypatch.setenv("TF_CONFIG", TWO)
    with pytest.raises(UserError, match=r"needs Keras 2: `tl-keras --keras 2 ...`, or set TF_USE_LEGACY_KERAS=1"):
        get_strategy(name)


def test_one_that_another_worker_has_left_ends_in_one_line(caplog):
    gone = tf.errors.UnavailableError(None, None, "Collective ops is aborted by: recvmsg:Connection reset by peer")
    workers = object.__new__(tf.distribute.MultiWorkerMirroredStrategy)
    with pytest.raises(WorkerLost) as end, end_with_others(workers):
        raise gone
    # Kubeflow starts codes of 128 and above again.
    assert end.value.code == 138
    assert "another worker has gone" in caplog.text
    with pytest.raises(tf.errors.UnavailableError), end_with_others(tf.distribute.get_strategy()):
        raise gone
    with pytest.raises(tf.errors.InvalidArgumentError), end_with_others(workers):
        raise tf.errors.InvalidArgumentError(None, None, "shapes")


def test_what_is_not_there(monkeypatch):
    for variable in ("TF_CONFIG", "TPU_NAME", "COLAB_TPU_ADDR"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(UserError, match="there is no TPU"):
        get_strategy("tpu")
    with pytest.raises(UserError, match="choose one of: auto, one-device, mirrored, multi-worker, tpu"):
        get_strategy("horovod")
    if not IS_KERAS_3:
        with pytest.raises(UserError, match="tl-keras launch --workers 2"):
            get_strategy("multi-worker")
