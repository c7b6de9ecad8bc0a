"""Nothing that was written is loaded when a byte of it has changed: the file is named, in one line."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from tl_keras import load_encoder, text_classifier
from tl_keras.encoders.resolve import PIN, resolve_pair
from tl_keras.manifest import MANIFEST, check_manifest, tree_sha256, verify_everything, write_manifest
from tl_keras.serving.predict import export, load_exported
from tl_keras.tasks.folder import read_config
from tl_keras.training.checkpoint_files import CheckpointFolder, SavedState


def flip(path):
    """Change one bit in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def lose(path):
    path.unlink()


def grow(path):
    path.write_bytes(path.read_bytes() + b"\n")


HARMS = (flip, cut, lose, grow)


def files_of(folder):
    return [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]


def every_harm(folder, tmp_path, load, refused, spared=()):
    """Harm each file in each way, in a copy; `load` must name it. The copy itself must load."""
    load(folder)
    for name in files_of(folder):
        if name.name in spared:
            continue
        for harm in HARMS:
            if name.name == MANIFEST and harm in (lose, grow):
                continue  # without it a folder counts as one of an earlier version
            copy = shutil.copytree(folder, tmp_path / "copy")
            harm(copy / name)
            refused(lambda copy=copy: load(copy), name.name, "damaged")
            shutil.rmtree(copy)


def test_every_file_of_an_encoder_pair(tiny_pair, tmp_path, refused):
    every_harm(tiny_pair, tmp_path, resolve_pair, refused, spared=("info.json", MANIFEST))
    (tmp_path / "old").mkdir()
    old = shutil.copytree(tiny_pair, tmp_path / "old" / "pair")
    (old / MANIFEST).unlink()
    assert load_encoder(str(old)).preprocessor is not None
    # Where no hash says so, TensorFlow does.
    cut(old / "encoder" / "saved_model.pb")
    refused(lambda: load_encoder(str(old)), "damaged")


def test_every_file_of_an_export(tiny_pair, tmp_path, refused):
    model = text_classifier(load_encoder(str(tiny_pair), seq_length=16), ["a", "b"], "freeze")
    folder = export(model, tmp_path / "export" / "1")
    # Loading the whole one once is enough: the check stands before it.
    assert load_exported(folder).classes == ("a", "b")

    def check(path):
        check_manifest(path)

    every_harm(folder, tmp_path, check, refused, spared=(MANIFEST,))
    flip(folder / "assets" / next(path.name for path in (folder / "assets").iterdir()))
    refused(lambda: load_exported(folder), "is not as it was written")


def test_a_run_whose_settings_have_changed(tmp_path, refused):
    (tmp_path / "config.json").write_text(json.dumps({"task": "text-classification", "text": "document"}))
    write_manifest(tmp_path)
    assert read_config(tmp_path)["text"] == "document"
    for harm in HARMS[:2]:
        kept = (tmp_path / "config.json").read_bytes()
        harm(tmp_path / "config.json")
        refused(lambda: read_config(tmp_path), "config.json")
        (tmp_path / "config.json").write_bytes(kept)
    (tmp_path / MANIFEST).unlink()
    for content in ("{", "[1]", "null", "[" * 100_000):
        (tmp_path / "config.json").write_text(content)
        refused(lambda: read_config(tmp_path), "config.json is damaged")


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("name", ["arrays.npz", "state.json"])
def test_a_damaged_checkpoint_is_passed_over(tmp_path, harm, name, refused):
    folder = CheckpointFolder(tmp_path)
    for step in (1, 2):
        folder.write(SavedState(0, step, {"w": [np.full(3, float(step))]}, {}))
    harm(folder.places()[-1] / name)
    assert folder.newest().step == 1
    harm(folder.places()[0] / name)
    refused(folder.newest, "no checkpoint", "can be read")


def test_large_files_by_size_and_by_hash_when_asked(tmp_path, monkeypatch, refused):
    import tl_keras.manifest as module

    monkeypatch.setattr(module, "READ_THROUGH", 10)
    monkeypatch.setattr(module, "SMALL", 10)
    (tmp_path / "large").write_bytes(bytes(range(100)))
    write_manifest(tmp_path)
    flip(tmp_path / "large")
    check_manifest(tmp_path)
    verify_everything()
    try:
        refused(lambda: check_manifest(tmp_path), "large is not as it was written")
    finally:
        verify_everything(False)
    cut(tmp_path / "large")
    refused(lambda: check_manifest(tmp_path), "large has 50 bytes, not 100")


def test_a_pinned_handle_is_that_model_or_none(tiny_pair, tmp_path, refused):
    right = tree_sha256(tiny_pair)
    assert resolve_pair(f"{tiny_pair}{PIN}{right}") == resolve_pair(tiny_pair)
    # Wherever it lies, and whatever its makers suggest.
    moved = shutil.copytree(tiny_pair, tmp_path / "moved")
    (moved / "info.json").write_text("{}")
    assert tree_sha256(moved) == right
    flip(moved / "preprocess" / "saved_model.pb")
    (moved / MANIFEST).unlink()
    refused(lambda: resolve_pair(f"{moved}{PIN}{right}"), "has the hash", right)
