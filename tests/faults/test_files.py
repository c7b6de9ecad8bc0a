"""Writing whole or not at all; inputs that outlive outputs; what the system says."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading

import pytest

from tl_keras import files
from tl_keras.errors import no_os_error, os_error_line, tensorflow_error_line
from tl_keras.files import lock_folder, refuse_input_as_output, swap_in, unlock, whole_file, whole_folder, write_whole


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_the_old_one_or_the_new_one(tmp_path):
    path = tmp_path / "a.csv"
    write_whole(path, "old")
    path.chmod(0o640)

    def fails():
        with whole_file(path) as stream:
            stream.write(b"half of the n")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert (path.read_text(), names(tmp_path)) == ("old", ["a.csv"])
    write_whole(path, "new")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o640)
    (tmp_path / "link").symlink_to(path)
    write_whole(tmp_path / "link", "through the link")
    assert (path.read_text(), (tmp_path / "link").is_symlink()) == ("through the link", True)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full")
def test_a_full_disk_is_one_line_and_a_device_stays_one(refused):
    refused(lambda: write_whole("/dev/full", "x"), "/dev/full", "no space is left")
    assert not os.path.isfile("/dev/full")


def test_a_folder_is_the_old_one_or_the_new_one(tmp_path, refused):
    target = tmp_path / "x"
    with whole_folder(target) as work:
        (work / "a").write_text("1")

    def fails():
        with whole_folder(target, replace=True) as work:
            (work / "a").write_text("2")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert ((target / "a").read_text(), names(tmp_path)) == ("1", ["x"])

    def written_meanwhile():
        with whole_folder(target) as work:
            (work / "a").write_text("3")

    refused(written_meanwhile, "exists")
    assert ((target / "a").read_text(), names(tmp_path)) == ("1", ["x"])


def test_whoever_looks_always_finds_a_whole_folder(tmp_path):
    target, stop, seen = tmp_path / "x", threading.Event(), set()
    target.mkdir()
    (target / "a").write_text("0")

    def look():
        while not stop.is_set():
            seen.add((target / "a").read_text())

    watcher = threading.Thread(target=look)
    watcher.start()
    for number in range(1, 200):
        beside = tmp_path / f"new{number}"
        beside.mkdir()
        (beside / "a").write_text(str(number))
        swap_in(beside, target, replace=True)
    stop.set()
    watcher.join()
    # A moment without the folder would have ended the watcher with an error, and left it few numbers.
    assert names(tmp_path) == ["x"]
    assert {int(number) for number in seen} <= set(range(200))
    assert len(seen) > 1


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    (tmp_path / ".x.partial-dead").mkdir()
    living = tmp_path / ".x.partial-living"
    living.mkdir()
    lock = lock_folder(living)
    with whole_folder(tmp_path / "x"):
        assert not (tmp_path / ".x.partial-dead").exists()
        assert living.exists()
    unlock(lock)


def test_two_that_begin_at_the_same_moment_do_not_tidy_each_other_away(tmp_path, monkeypatch):
    """The other one comes between the making of a folder and its lock."""
    lock, came = files.lock_folder, []

    def late(folder):
        if not came:
            came.append(folder)
            with files.whole_folder(tmp_path / "x") as other:
                (other / "a").write_text("of the other")
            assert not folder.exists()  # tidied away
        return lock(folder)

    monkeypatch.setattr(files, "lock_folder", late)
    with whole_folder(tmp_path / "x", replace=True) as mine:
        (mine / "a").write_text("mine")
    assert (tmp_path / "x" / "a").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_lock_ends_with_its_process(tmp_path, refused):
    code = (
        f"from tl_keras.files import lock_folder; lock_folder({str(tmp_path)!r}); print('locked', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "locked\n"
        refused(lambda: lock_folder(tmp_path), "another process writes there now")
        other.kill()
    unlock(lock_folder(tmp_path))


def test_an_output_that_is_an_input_is_refused_by_whatever_name(tmp_path, refused, monkeypatch):
    (tmp_path / "runs").mkdir()
    data = tmp_path / "runs" / "a.csv"
    data.write_text("text\n")
    (tmp_path / "soft").symlink_to(data)
    os.link(data, tmp_path / "hard")
    monkeypatch.chdir(tmp_path)
    for out in (data, "runs/a.csv", "runs/../runs/a.csv", "soft", "hard"):
        refused(lambda out=out: refuse_input_as_output(out, [data]), "--out", "is")
    refused(lambda: refuse_input_as_output("runs", [None, "soft"]), "holds soft")
    # Options name files in other ways, too.
    for given in ("runs/*.csv", "none.csv, runs/a.csv", "**/a.csv", "runs/a.csv#sha256=00", "none-*,runs/?.csv"):
        refused(lambda given=given: refuse_input_as_output(data, [given]), "--out", "is")
        refused(lambda given=given: refuse_input_as_output("runs", [given]), "holds runs/a.csv")
    refuse_input_as_output("other.csv", [data, "ko-en-small", "none-*.csv", "a,b", None])


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.ENOSPC, "no space is left"),
        (errno.EACCES, "permission denied"),
        (errno.ENAMETOOLONG, "too long"),
        (errno.EROFS, "only be read"),
        (errno.EMFILE, "ulimit"),
        (errno.EIO, "health"),
    ],
)
def test_what_the_system_says_names_the_file_and_the_remedy(code, message, refused):
    def fails():
        with no_os_error("some/file"):
            raise OSError(code, os.strerror(code))

    refused(fails, "some/file", message)


def test_what_tensorflow_says_of_files():
    import tensorflow as tf

    full = tf.errors.ResourceExhaustedError(None, None, "/runs/x/variables.data; No space left on device")
    assert tensorflow_error_line(full) == os_error_line(OSError(errno.ENOSPC, ""), "/runs/x/variables.data")
    cut = tf.errors.DataLossError(None, None, "/models/v: Checksum does not match")
    assert tensorflow_error_line(cut).startswith("/models/v is damaged or cut off")
    # Ours, not the user's.
    assert tensorflow_error_line(tf.errors.InvalidArgumentError(None, None, "shapes must be equal")) is None
    with pytest.raises(tf.errors.NotFoundError) as missing:
        tf.io.read_file("/nowhere/at/all").numpy()
    assert tensorflow_error_line(missing.value) == "/nowhere/at/all: there is no such file or folder."
