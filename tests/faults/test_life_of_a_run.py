"""A run that is cut off behind its last epoch, wherever that is, ends as one that nobody disturbed when the same command is given again."""

from __future__ import annotations

import dataclasses
import errno
import json

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tl_keras import UserError
from tl_keras import files as tl_files
from tl_keras.encoders.resolve import PIN
from tl_keras.files import lock_folder, unlock
from tl_keras.manifest import MANIFEST, check_manifest, tree_sha256
from tl_keras.serving import predict as export_module
from tl_keras.tasks import folder as folder_module
from tl_keras.tasks import run as run_module
from tl_keras.tasks.task_settings import TextClassificationSettings
from tl_keras.tasks.text_classification import TextClassificationRun


class Killed(BaseException):
    """Stands for `kill -9`: nothing that would tidy up may run behind it."""


@pytest.fixture
def dies(monkeypatch):
    """Let the process "die": what a context would do on its way out is left undone."""
    leave, remove = folder_module.RunFolder.__exit__, tl_files.shutil.rmtree

    def exit_dead(self, kind, value, traceback):
        if kind is not Killed:
            return leave(self, kind, value, traceback)
        unlock(self._lock)  # as the system does

    dead = {"now": False}
    monkeypatch.setattr(folder_module.RunFolder, "__exit__", exit_dead)
    monkeypatch.setattr(tl_files.shutil, "rmtree", lambda *a, **k: None if dead["now"] else remove(*a, **k))

    def die(*_, **__):
        dead["now"] = True
        raise Killed

    die.over = lambda: dead.update(now=False)
    return die


@pytest.fixture(scope="module")
def settings(reviews, tiny_pair, tmp_path_factory):
    folder = tmp_path_factory.mktemp("life")
    pd.DataFrame({"text": reviews.texts, "label": reviews.label_names}).to_csv(folder / "train.csv", index=False)

    def make(out, **more):
        return TextClassificationSettings(
            train=str(folder / "train.csv"), out=str(out), encoder=str(tiny_pair), seq_length=16, epochs=2, batch_size=16,
            transfer="freeze", learning_rate=0.02, **more,
        )  # fmt: skip

    return make


@pytest.fixture(scope="module")
def undisturbed(settings, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    TextClassificationRun(settings(out, resume=True)).execute(0)
    return contents(out)


def contents(run):
    """Numbers of a run: its metrics, its history, and every weight of its export."""
    metrics = json.loads((run / "metrics.json").read_text())
    metrics.pop("train_seconds")
    reader = tf.train.load_checkpoint(str(run / "saved_model" / "1" / "variables" / "variables"))
    names = [name for name in reader.get_variable_to_shape_map() if name.endswith("VARIABLE_VALUE")]
    weights = {name: reader.get_tensor(name) for name in names}
    assert weights
    return metrics, (run / "history.csv").read_text(), weights


def same(one, other):
    assert one[:2] == other[:2]
    assert set(one[2]) == set(other[2])
    for name, value in one[2].items():
        np.testing.assert_array_equal(value, other[2][name], err_msg=name)


def half_saved(root, folder, **_):
    """As far as a SavedModel comes before its main file."""
    tf.io.gfile.makedirs(f"{folder}/variables")
    with open(f"{folder}/variables/variables.index", "wb") as stream:
        stream.write(b"half")


def test_killed_at_the_steps_behind_training(settings, undisturbed, dies, tmp_path, monkeypatch):
    out = tmp_path / "run"
    swap, save = folder_module.swap_in, tf.saved_model.save

    def swapped(*arguments, **named):
        swap(*arguments, **named)
        dies()

    def half(*arguments, **named):
        half_saved(*arguments, **named)
        dies()

    # One of each kind; `make torture` kills everywhere.
    moments = [
        (export_module.tf.saved_model, "save", half),  # trained; in the middle of the export
        (run_module, "write_numbers", dies),  # exported
        (folder_module, "swap_in", dies),  # all but the name
    ]
    for place, name, act in moments:
        with monkeypatch.context() as patched:
            patched.setattr(place, name, act)
            with pytest.raises(Killed):
                TextClassificationRun(settings(out, resume=True)).execute(0)
        dies.over()
        assert not out.exists(), name
        assert list((tmp_path / ".run.partial" / "backup").glob("epoch-*")), name
    assert tf.saved_model.save is save
    # Named, but the checkpoints are not gone yet: the run is finished, and said to be.
    with monkeypatch.context() as patched:
        patched.setattr(folder_module, "swap_in", swapped)
        with pytest.raises(Killed):
            TextClassificationRun(settings(out, resume=True)).execute(0)
    dies.over()
    same(contents(out), undisturbed)
    with pytest.raises(UserError, match="is a finished run"):
        TextClassificationRun(settings(out, resume=True)).execute(0)
    assert {path.name for path in out.iterdir()} - {"plots"} == {
        "saved_model", "metrics.json", "history.csv", "config.json", "report.md", MANIFEST,
    }  # fmt: skip
    check_manifest(out)
    # Nothing is left beside it, either.
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_disk_that_is_full_at_the_end_costs_no_training(settings, tmp_path, monkeypatch, caplog):
    out = tmp_path / "run"

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", str(out / "report.md"))

    with monkeypatch.context() as patched:
        patched.setattr(TextClassificationRun, "write_page", full)
        with pytest.raises(OSError, match="No space left"):
            TextClassificationRun(settings(out)).execute(0)
    assert "the same command with --resume finishes the run" in caplog.text
    with monkeypatch.context() as patched:
        # It does not train again.
        patched.setattr(run_module, "BestWeights", _never_learns(run_module.BestWeights))
        TextClassificationRun(settings(out, resume=True)).execute(0)
    # Its batches came in another order than those of a resumable run; trained again, the numbers would be those of that one.
    assert json.loads((out / "metrics.json").read_text())["best_epoch"] in (1, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_frozen_encoders_are_those_that_are_named(settings, tiny_pair, tmp_path, monkeypatch, refused):
    class Built(Exception):
        pass

    def build(_):
        raise Built

    monkeypatch.setattr(TextClassificationRun, "build", build)
    out, right = tmp_path / "run", tree_sha256(tiny_pair)

    def execute(**more):
        TextClassificationRun(dataclasses.replace(settings(out, frozen_encoders=True, overwrite=True), **more)).execute(
            0
        )

    # Nothing says which it is to be; what the line tells to write is taken.
    said = refused(execute, "--frozen-encoders", "nothing says which")
    pinned = said.split("write --encoder ")[1].split()[0]
    assert pinned == f"{tiny_pair}{PIN}{right}"
    with pytest.raises(Built):
        execute(encoder=pinned)
    refused(lambda: execute(encoder=pinned[:-1] + ("0" if pinned[-1] != "0" else "1")), "has the hash", right)
    # The run that is to be replaced says it.
    out.mkdir()
    for recorded in (right, "0" * 64):
        (out / "config.json").write_text(json.dumps({"task": "text-classification", "encoder_sha256": recorded}))
        if recorded == right:
            with pytest.raises(Built):
                execute()
        else:
            refused(execute, f"used {recorded}", right)


def _never_learns(kind):
    class Watching(kind):
        def on_epoch_begin(self, epoch, logs=None):
            raise AssertionError("an epoch was trained again")

    return Watching


def test_a_second_process_is_refused_and_harms_nothing(settings, tmp_path):
    out = tmp_path / "run"
    work = tmp_path / ".run.partial"
    work.mkdir()
    (work / "precious").write_text("of the first process")
    lock = lock_folder(work)
    with pytest.raises(UserError, match="another process writes there now"):
        TextClassificationRun(settings(out)).execute(0)
    assert (work / "precious").read_text() == "of the first process"
    unlock(lock)


def test_what_was_learned_is_not_removed_without_being_asked(settings, tmp_path, refused):
    kept = tmp_path / ".run.partial" / "backup" / "epoch-000001"
    kept.mkdir(parents=True)
    refused(lambda: TextClassificationRun(settings(tmp_path / "run")).execute(0), "--resume to go on", "--overwrite")
    assert kept.is_dir()
    # Whoever wants it to be removed says so.
    with folder_module.RunFolder(tmp_path / "run", overwrite=True):
        assert not kept.exists()
