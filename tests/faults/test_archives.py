"""What comes from outside is looked at before anything is written."""

from __future__ import annotations

import io
import tarfile

import pytest

from tl_keras.encoders import download
from tl_keras.encoders.download import ALLOW_HTTP, cache_folder, refuse_unsafe, unpack

pytestmark = pytest.mark.one_keras


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))


def archive(path, sizes):
    with tarfile.open(path, "w:gz") as tar:
        for number, size in enumerate(sizes):
            member = tarfile.TarInfo(f"variables/{number}")
            member.size = size
            tar.addfile(member, io.BytesIO(bytes(size)))
    return path


@pytest.mark.parametrize(
    ("sizes", "message"), [([1 << 21] * 2, "unpack to more than"), ([0] * 30, "more than 20 files")]
)
def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch, refused, sizes, message):
    monkeypatch.setattr(download, "SMALLEST_LIMIT", 1 << 21)
    monkeypatch.setattr(download, "MOST_FILES", 20)
    path = archive(tmp_path / "bomb.tar.gz", sizes)
    assert path.stat().st_size * download.RATIO < 1 << 22
    refused(lambda: unpack(path), "bomb.tar.gz is refused", message)
    assert not cache_folder().exists() or not any(cache_folder().rglob("*"))


def test_an_honest_archive_is_let_through(tmp_path, refused):
    path = archive(tmp_path / "small.tar.gz", [1000])
    # No SavedModel; but it was unpacked to find that out.
    refused(lambda: unpack(path), "does not hold a whole SavedModel")


@pytest.mark.parametrize(
    ("url", "pinned", "allowed"),
    [
        ("http://models.example/bert/1", False, False),
        ("http://models.example/bert/1", True, True),
        ("https://models.example/bert/1", False, True),
        ("http://127.0.0.1:8000/bert/1", False, True),
        ("gs://bucket/bert/1", False, True),
    ],
)
def test_http_only_where_it_can_do_no_harm(url, pinned, allowed, monkeypatch, refused):
    if allowed:
        assert refuse_unsafe(url, pinned) is None
        return
    refused(lambda: refuse_unsafe(url, pinned), "without encryption", "https://")
    monkeypatch.setenv(ALLOW_HTTP, "1")
    assert refuse_unsafe(url, pinned) is None
