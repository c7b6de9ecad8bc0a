from __future__ import annotations

import contextlib
import errno
import os

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("keras_hub")

from tl_keras.errors import UserError  # noqa: E402
from tl_keras.pretraining.checkpoint import restore_checkpoint, save_checkpoint  # noqa: E402
from tl_keras.pretraining.loop import make_optimizer  # noqa: E402
from tl_keras.pretraining.model import BertPretrainer, build_backbone  # noqa: E402

pytestmark = pytest.mark.one_keras


def small(width=8):
    model = BertPretrainer(build_backbone(20, layers=1, width=width, heads=1, max_positions=8))
    model.compile(optimizer=make_optimizer())
    model.optimizer.build(model.trainable_variables)
    return model


def values(model):
    return [np.asarray(variable) for variable in (*model.variables, *model.optimizer.variables)]


def test_all_state_comes_back(tmp_path):
    model, other = small(), small()
    for number, variable in enumerate((*model.variables, *model.optimizer.variables)):
        variable.assign(np.full(variable.shape, number).astype(variable.dtype))
    save_checkpoint(tmp_path, model, {"step": 7, "place": {"epoch": 1}})
    assert restore_checkpoint(tmp_path, other) == {"step": 7, "place": {"epoch": 1}}
    for mine, theirs in zip(values(model), values(other), strict=True):
        assert (mine == theirs).all()


@pytest.mark.parametrize("moment", ["write", "sync", "rename"])
def test_the_last_good_one_survives_a_full_disk(tmp_path, monkeypatch, moment):
    model = small()
    save_checkpoint(tmp_path, model, {"step": 1})
    before = (tmp_path / "checkpoint.npz").read_bytes()

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(*{"write": (np, "savez"), "sync": (os, "fsync"), "rename": (os, "replace")}[moment], full)
    with pytest.raises(UserError, match="No space left on device; the last good one is kept"):
        save_checkpoint(tmp_path, model, {"step": 2})
    monkeypatch.undo()
    assert (tmp_path / "checkpoint.npz").read_bytes() == before
    assert os.listdir(tmp_path) == ["checkpoint.npz"]
    assert restore_checkpoint(tmp_path, model) == {"step": 1}


def test_a_disk_that_is_full_at_the_first_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(UserError, match="there is no earlier one"):
        save_checkpoint(tmp_path, small(), {})


def test_what_cannot_be_restored(tmp_path):
    with pytest.raises(UserError, match="no run to resume"):
        restore_checkpoint(tmp_path, small())
    save_checkpoint(tmp_path, small(), {})
    with pytest.raises(UserError, match=r"token_embedding.* wants shape \(20, 16\) and finds shape \(20, 8\)"):
        restore_checkpoint(tmp_path, small(width=16))
    (tmp_path / "checkpoint.npz").write_bytes(b"PK\3\4 cut short")
    with pytest.raises(UserError, match="cannot be read"):
        restore_checkpoint(tmp_path, small())


def test_no_byte_changes_unnoticed(tmp_path):
    model = small()
    whole = save_checkpoint(tmp_path, model, {"step": 3}).read_bytes()
    before = values(model)
    # Every ninetieth byte, the directory at the end among them, and cuts.
    damages = [whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :] for place in range(0, len(whole), 90)]
    damages += [whole[: len(whole) * part // 5] for part in range(5)]
    noticed = 0
    for content in damages:
        (tmp_path / "checkpoint.npz").write_bytes(content)
        with contextlib.suppress(UserError):
            assert restore_checkpoint(tmp_path, model) == {"step": 3}
            # A byte that stands for nothing (a date in the archive): all values are as they were.
            assert all((mine == theirs).all() for mine, theirs in zip(values(model), before, strict=True))
            noticed -= 1
        noticed += 1
    assert noticed > len(damages) / 2
    # What an earlier version wrote has no hashes, and loads.
    with np.load(save_checkpoint(tmp_path, model, {"step": 3})) as stored:
        arrays = {name: stored[name] for name in stored if name != "sha256"}
    np.savez(tmp_path / "checkpoint.npz", **arrays)
    assert restore_checkpoint(tmp_path, model) == {"step": 3}
