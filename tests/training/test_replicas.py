"""Two devices learn from a batch what one would: MirroredStrategy over two logical CPUs, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SLOW = bool(os.environ.get("TL_KERAS_SLOW"))
# One whose loss is more than a mean over examples; with time, every builder in every way. The last one also gets a batch of one row.
CASES = ["all"] if SLOW else ["token_classifier:freeze"]


@pytest.fixture(scope="module")
def result(request, tiny_pair, tmp_path_factory):
    script = Path(__file__).with_name("replicas_run.py")
    command = [sys.executable, str(script), str(tiny_pair), str(tmp_path_factory.mktemp("replicas")), *CASES]
    command += ["resume", f"bilm={request.getfixturevalue('bilm_folder')}"] if SLOW else []
    run = subprocess.run(command, capture_output=True, text=True, timeout=1500 if SLOW else 300)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.strip().splitlines()[-1])


def test_the_losses_of_one_device(result):
    assert result["replicas"] == 2
    assert SLOW or list(result["apart"]) == CASES
    assert {case: apart for case, apart in result["apart"].items() if not apart < 1e-4} == {}
    # Something was trained, or equal losses would say nothing.
    assert min(result["changed"].values()) > 1e-3, result["changed"]


def test_a_last_batch_of_one_row(result):
    alone, shared = result["partial_batch"]["accuracy"]
    assert alone == pytest.approx(shared, abs=1e-6)
    alone, shared = result["partial_batch"]["loss"]
    assert alone == pytest.approx(shared, abs=1e-5)
    assert result["finite_after_partial_batch"]


def test_a_first_batch_of_odd_size(result):
    validated, alone = result["odd_first_batch"]
    assert validated == pytest.approx(alone, abs=1e-5)


@pytest.mark.slow
def test_resumed_on_two_replicas(result):
    assert result["resumed_apart"] < 1e-5


def test_a_layer_from_outside_the_scope_is_refused(result):
    for trainable in (False, True):
        assert "was loaded outside the tf.distribute strategy" in result[f"refusal_{trainable}"]
