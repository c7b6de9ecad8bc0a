"""Checkpoints on the disk: whole or not there, whatever happens while they are written."""

from __future__ import annotations

import random
import subprocess
import sys
import time

import numpy as np
import pytest

from tl_keras import UserError
from tl_keras.training.checkpoint_files import CheckpointFolder, SavedState

pytestmark = pytest.mark.one_keras

WRITER = """
import sys, numpy as np
from tl_keras.training.checkpoint_files import CheckpointFolder, SavedState
folder = CheckpointFolder(sys.argv[1])
start = folder.newest()
for step in range(start.step if start else 1, 10**6):
    folder.write(SavedState(0, step, {"a": [np.full(50_000, step), np.full(3, -step)]}, {"loss": step / 2}))
    print(step, flush=True)
"""


def test_killed_at_any_moment_the_newest_is_whole_and_new(tmp_path):
    random.seed(4)
    for _ in range(4):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        try:
            said = int(writer.stdout.readline())
            time.sleep(random.uniform(0.0, 0.15))
        finally:
            writer.kill()
        rest = [int(line) for line in writer.stdout.read().split("\n") if line]
        writer.wait(timeout=20)
        state = CheckpointFolder(tmp_path).newest()
        # What was said to be written is there, or the one whose line did not come out any more.
        assert state.step - max([said, *rest]) in (0, 1)
        assert set(np.unique(state.arrays["a"][0])) == {state.step}
        assert state.arrays["a"][1].tolist() == [-state.step] * 3
        assert state.facts == {"loss": state.step / 2}
        assert len(CheckpointFolder(tmp_path).places()) <= 3


def test_two_are_kept_and_a_damaged_one_is_passed_over(tmp_path, caplog):
    folder = CheckpointFolder(tmp_path / "deep" / "backup")
    assert folder.newest() is None
    for epoch, step in ((0, 9), (0, 10), (1, 0)):
        folder.write(SavedState(epoch, step, {"w": [np.arange(1000.0) + step]}, {}))
    assert [place.name for place in folder.places()] == ["epoch-0000-step-0000010", "epoch-0001-step-0000000"]
    newest = folder.places()[-1] / "arrays.npz"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 255
    newest.write_bytes(content)
    assert folder.newest().arrays["w"][0][0] == 10.0
    assert "damaged" in caplog.text
    (folder.places()[0] / "state.json").write_text("{")
    with pytest.raises(UserError, match=r"no checkpoint in .* can be read"):
        folder.newest()


def test_a_full_disk_leaves_the_older_one(tmp_path, monkeypatch):
    folder = CheckpointFolder(tmp_path)
    folder.write(SavedState(0, 1, {"w": [np.ones(2)]}, {}))

    def full(stream, **arrays):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(UserError, match="no space is left"):
        folder.write(SavedState(0, 2, {"w": [np.ones(2)]}, {}))
    assert folder.newest().step == 1
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-0000-step-0000001"]
