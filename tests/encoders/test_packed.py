"""Packed encoders: what few bits keep of weights, and the pair that is unpacked from them."""

from __future__ import annotations

import importlib.util
import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras_hub")

import tl_keras as tlk
from tl_keras.encoders import packed_pair
from tl_keras.encoders.packed_pair import is_packed, pack_arrays, pack_pair, read_packed, unpack_arrays, unpacked
from tl_keras.encoders.pair_encoder import read_pair_weights
from tl_keras.encoders.vocabulary_trim import read_pair_vocabulary
from tl_keras.errors import UserError
from tl_keras.manifest import tree_sha256


def kinds(packed):
    return {name: kind for name, _, kind, _ in json.loads(packed["layout"].tobytes())}


def test_weights_of_four_bits_come_back_as_they_were_and_others_nearly():
    rng = np.random.default_rng(0)
    scale = rng.normal(size=(64, 4, 1)).astype(np.float16).astype(np.float32)
    integers = rng.integers(-8, 8, size=(64, 4, 32)).astype(np.float32)
    integers[:, :, 5] = -8  # as quantizers choose the scale
    rows = (scale * integers).reshape(64, 128)
    arrays = {
        "rows": rows,
        "turned": rows.T.reshape(128, 8, 8),
        "free": rng.normal(size=(48, 64)).astype(np.float32) * 0.03,
        "zero": np.zeros((64, 64), np.float32),
        "bias": rng.normal(size=48).astype(np.float32),
    }
    packed = pack_arrays(arrays)
    assert kinds(packed) == {"rows": "int4", "turned": "int4", "free": "int8", "zero": "int4", "bias": "float32"}
    back = unpack_arrays(packed)
    assert list(back) == list(arrays)
    for name in ("rows", "turned", "zero", "bias"):
        np.testing.assert_array_equal(back[name], arrays[name], strict=True)
    # Half a step of 1/127 of each block's largest value, and what float16 takes from the step itself.
    blocks = arrays["free"].reshape(-1, 32)
    error = np.abs(back["free"].reshape(-1, 32) - blocks).max(axis=1)
    assert (error <= 0.51 * np.abs(blocks).max(axis=1) / 127 + 127e-8).all()
    assert error.max() > 0
    with pytest.raises(UserError, match="weight free holds values that are no numbers"):
        pack_arrays({"free": np.full((64, 64), np.nan)})


@pytest.fixture
def packed(sentencepiece_pair, tmp_path, monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    weights, activation, mlm = read_pair_weights(sentencepiece_pair / "encoder")
    assert activation == "gelu_approximate"
    info = {"name": "small", "seq_length": 24, "suggested": {"pooling": "mean"}}
    folder = tmp_path / "small"
    folder.mkdir()
    return pack_pair(folder, weights, activation, read_pair_vocabulary(sentencepiece_pair), mlm, info)


def test_a_packed_encoder_becomes_the_pair_that_it_was_made_of(packed, sentencepiece_pair):
    pairs = []
    threads = [threading.Thread(target=lambda: pairs.append(unpacked(packed))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pairs) == 2
    assert pairs[0] == pairs[1]
    assert [path.name for path in pairs[0].parent.iterdir()] == [pairs[0].name]  # nothing half-written beside it
    texts = ["the great film", "영화 정말"]
    vectors = [
        tlk.encode(tlk.load_encoder(str(folder), seq_length=24), texts, pooling="mean")
        for folder in (pairs[0], sentencepiece_pair)
    ]
    assert np.abs(vectors[0] - vectors[1]).max() < 0.05 * np.abs(vectors[1]).max()
    assert tlk.load_encoder(str(pairs[0])).suggested == {"pooling": "mean"}
    written = (pairs[0] / "info.json").stat().st_mtime_ns
    assert unpacked(packed) == pairs[0]
    assert (pairs[0] / "info.json").stat().st_mtime_ns == written


def test_damage_is_mended_in_the_cache_and_told_in_the_package(packed):
    pair = unpacked(packed)
    (pair / "encoder" / "saved_model.pb").write_bytes(b"")
    assert unpacked(packed) == pair
    assert (pair / "encoder" / "saved_model.pb").stat().st_size
    (packed / "weights.npz").write_bytes((packed / "weights.npz").read_bytes()[:-10])
    assert unpacked(packed) == pair  # what is in the cache is whole
    (pair / "preprocess" / "saved_model.pb").unlink()
    with pytest.raises(UserError, match=r"weights.npz is missing or damaged; install the package again"):
        unpacked(packed)
    assert is_packed(packed)
    assert not is_packed(pair)


def test_a_copy_that_another_process_finished_meanwhile_stays(packed, monkeypatch):
    check, finished = packed_pair._check_files, []

    def check_and_be_late(*arguments):
        check(*arguments)
        if not finished:
            finished.append(None)  # the inner call comes here too
            pair = unpacked(packed)
            finished[:] = [(path, path.stat().st_ino) for path in pair.rglob("*")]

    monkeypatch.setattr(packed_pair, "_check_files", check_and_be_late)
    pair = unpacked(packed)
    assert len(finished) > 5
    assert all(path.stat().st_ino == number for path, number in finished)
    assert [path.name for path in pair.parent.iterdir()] == [pair.name]


def test_the_tool_packs_a_pair_and_takes_nobody_elses_folder(sentencepiece_pair, tmp_path):
    tool = Path(__file__).resolve().parents[2] / "tools" / "pack_encoder.py"
    spec = importlib.util.spec_from_file_location("pack_encoder", tool)
    spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
    pair, out = shutil.copytree(sentencepiece_pair, tmp_path / "pair"), tmp_path / "out"
    for target, message in (
        (pair, "would be lost"),
        (tmp_path, "would be lost"),
        (pair / "encoder", "no packed encoder"),
    ):
        with pytest.raises(UserError, match=message):
            module.pack(pair, target)
    assert tree_sha256(pair) == tree_sha256(sentencepiece_pair)
    with pytest.raises(UserError, match="is no encoder pair"):
        module.pack(tmp_path, out)
    for _ in range(2):  # again, in its own place
        module.pack(pair, out)
        assert is_packed(out)
    assert read_packed(out)[2] == read_pair_vocabulary(pair)
