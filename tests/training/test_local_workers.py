"""Several processes on this machine: told of one another, ended together, their output told apart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tl_keras import UserError
from tl_keras.training.cluster import cluster_from_environment, free_ports, run_workers

pytestmark = pytest.mark.one_keras

ME = """
import json, os, sys, time
from tl_keras.training.cluster import cluster_from_environment
me = cluster_from_environment()
"""


def run(body: str, count: int = 2, **options) -> tuple[int, list[str], float]:
    """Exit code, lines, seconds."""
    lines, started = [], time.monotonic()
    code = run_workers([sys.executable, "-c", ME + body], count, say=lines.append, **options)
    return code, sorted(lines), time.monotonic() - started


def test_each_knows_its_place_and_all_addresses():
    code, lines, _ = run(
        "print(me.index, me.workers, me.is_chief, len(json.loads(os.environ['TF_CONFIG'])['cluster']['worker']))", 3
    )
    assert code == 0
    assert lines == ["[worker 0] 0 3 True 3", "[worker 1] 1 3 False 3", "[worker 2] 2 3 False 3"]


# Worker 1 goes on when worker 0 has said something, however slow the machine is.
AFTER_0 = """
def wait_for_0():
    while not os.path.exists({path!r}):
        time.sleep(0.02)
def said():
    open({path!r}, 'w').close()
"""


def test_one_that_fails_ends_the_others_and_gives_its_code(tmp_path):
    body = """
if me.index:
    wait_for_0()
print('on', flush=True)
if me.index:
    sys.exit(7)
said()
time.sleep(60)
"""
    code, lines, seconds = run(AFTER_0.format(path=str(tmp_path / "said")) + body)
    assert (code, lines) == (7, ["[worker 0] on", "[worker 1] on"])
    assert seconds < 20


def test_one_that_does_not_listen_is_killed_with_its_children(tmp_path):
    body = """
import signal, subprocess
if me.index:
    wait_for_0(); os.kill(os.getpid(), 9)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])
print(child.pid, flush=True)
said()
time.sleep(60)
"""
    code, lines, seconds = run(AFTER_0.format(path=str(tmp_path / "said")) + body, grace=0.5)
    assert code == 128 + 9
    assert seconds < 20
    child = int(lines[0].split()[-1])
    for _ in range(50):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            break
        # A killed child whose parent is gone is a zombie until init takes it.
        with open(f"/proc/{child}/stat") as stat:
            if stat.read().split(")")[1].split()[0] == "Z":
                break
        time.sleep(0.1)
    else:
        pytest.fail("the child still runs")


def test_all_are_started_again(tmp_path):
    body = f"""
from pathlib import Path
mark = Path({str(tmp_path)!r}) / str(me.index)
if me.index and not mark.exists():
    mark.touch(); sys.exit(3)
print('done')
"""
    code, lines, _ = run(body, restarts=2)
    assert code == 0
    assert "[worker 1] done" in lines
    assert sum("starting all 2 again" in line for line in lines) == 1


@pytest.mark.parametrize("count", [0, -1])
def test_there_is_at_least_one(count):
    with pytest.raises(UserError, match=f"there must be at least 1 worker, not {count}"):
        run_workers(["nothing"], count)


def test_ctrl_c_ends_all():
    script = (
        "import sys; from tl_keras.training.cluster import run_workers; "
        "sys.exit(run_workers([sys.executable, '-c', 'import time; print(1, flush=True); time.sleep(60)'], 2))"
    )
    launcher = subprocess.Popen([sys.executable, "-u", "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert sorted(launcher.stdout.readline() for _ in range(2)) == ["[worker 0] 1\n", "[worker 1] 1\n"]
        launcher.send_signal(signal.SIGINT)
        assert launcher.wait(20) == 130
    finally:
        launcher.kill()


def test_the_cluster_as_others_write_it(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert cluster_from_environment() is None
    cluster = '{"chief": ["a:1"], "worker": ["b:1", "c:1"]}'
    monkeypatch.setenv("TF_CONFIG", f'{{"cluster": {cluster}, "task": {{"type": "worker", "index": 1}}}}')
    found = cluster_from_environment()
    assert (found.workers, found.index, found.is_chief) == (3, 2, False)
    monkeypatch.setenv("TF_CONFIG", "{broken")
    with pytest.raises(UserError, match="TF_CONFIG cannot be read"):
        cluster_from_environment()
    monkeypatch.delenv("TF_CONFIG")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    monkeypatch.setenv("SLURM_PROCID", "0")
    found = cluster_from_environment()
    assert (found.workers, found.slurm, found.is_chief) == (4, True, True)


def test_ports_are_different():
    assert len(set(free_ports(20))) == 20
