"""The files for clusters: they can be read, and name options that there are."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tl_keras.options import option
from tl_keras.tasks.task_settings import TextClassificationSettings
from tl_keras.training.cluster import STRATEGIES

pytestmark = pytest.mark.one_keras

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
OPTIONS = {option(field) for field in dataclasses.fields(TextClassificationSettings)}


@pytest.mark.parametrize("name", ["tfjob.yaml", "slurm.sh", "tpu_vm.sh"])
def test_it_names_options_and_strategies_that_there_are(name):
    lines = [line for line in (DEPLOY / name).read_text("utf-8").splitlines() if not line.lstrip().startswith("#")]
    text = "\n".join(lines)
    command = text[re.search(r"tl-keras( |\n\s+- )train", text).start() :]
    # Up to the end of the command: what follows belongs to other programs.
    command = re.split(r"\n(?!\s|-)|resources:|'\n", command)[0]
    used = re.findall(r"(--[a-z][a-z-]+)", command)
    assert used
    assert not set(used) - OPTIONS
    assert "--resume" in used
    assert set(re.findall(r"--strategy[= ]([a-z-]+)", command)) <= set(STRATEGIES)


@pytest.mark.parametrize("name", ["slurm.sh", "tpu_vm.sh"])
@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_can_read_it(name):
    subprocess.run(["bash", "-n", DEPLOY / name], check=True, timeout=20)


def test_the_manifest_is_a_tfjob_of_workers_only():
    yaml = pytest.importorskip("yaml")
    job = yaml.safe_load((DEPLOY / "tfjob.yaml").read_text("utf-8"))
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v1", "TFJob")
    (kind, worker), *others = job["spec"]["tfReplicaSpecs"].items()
    assert (kind, worker["restartPolicy"], others) == ("Worker", "ExitCode", [])
    (container,) = worker["template"]["spec"]["containers"]
    # The operator looks for this name.
    assert container["name"] == "tensorflow"
    assert {"name": "TF_USE_LEGACY_KERAS", "value": "1"} in container["env"]
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"] for volume in worker["template"]["spec"]["volumes"]}
