"""Writing that is whole or not at all, and outputs that are no inputs."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import glob
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from tl_keras.errors import UserError, no_os_error

try:
    import fcntl
except ImportError:  # Windows: no locks, so two processes must not write one folder there
    fcntl = None

_PARTIAL = "partial"


def file_sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


# Inputs and outputs.


def refuse_input_as_output(
    out: str | os.PathLike, inputs: Iterable[str | os.PathLike | None], option: str = "--out"
) -> None:
    """Refuse an output that is one of the inputs, by whatever path or link, or a folder that one of them lies in.

    Args:
        out: to be written, file or folder.
        inputs: files and folders that are read, also as patterns, with commas between or pinned (`#sha256=`), as options give them; None,
            and what does not exist (a preset's name), are passed over.
        option: what the user calls it.

    Raises:
        UserError: it is one.
    """
    target = Path(out)
    for source in (Path(path) for entry in inputs if entry is not None for path in _all_meant(os.fspath(entry))):
        there = target.exists()
        same = there and os.path.samefile(target, source)
        inside = there and target.is_dir() and Path(os.path.realpath(target)) in Path(os.path.realpath(source)).parents
        if same or inside:
            what = f"is {source}" if same else f"holds {source}"
            raise UserError(f"{option} {out} {what}, which is read here and would be lost; choose another {option}.")


def _all_meant(entry: str) -> list[str]:
    """The paths that are there of those that an option names."""
    if os.path.exists(entry):
        return [entry]
    parts = [part.strip() for part in entry.split("#sha256=")[0].split(",")]
    return [path for part in parts for path in ([part] if os.path.exists(part) else glob.glob(part, recursive=True))]


def need_space(folder: str | os.PathLike, size: int, what: str) -> None:
    """Refuse to begin what the disk has no room for.

    Args:
        folder: to be written, or a folder above it that exists.
        size: bytes that will be needed.
        what: for the message.

    Raises:
        UserError: there is less free.
    """
    place = Path(folder).absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        free = shutil.disk_usage(place).free
    except OSError:
        return  # a file system that does not say
    if free < size:
        raise UserError(
            f"{folder}: {what} needs about {size / 1e6:,.0f} MB, and {free / 1e6:,.0f} MB are free on that disk; free some, or write to "
            "another disk."
        )


# Files.


@contextlib.contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Give a stream whose content gets the file's name when the block ends without an error; else nothing changes.

    Args:
        path: of the file; its folder is made.

    Raises:
        UserError: it cannot be written.
    """
    target = Path(path)
    beside = None
    try:
        with no_os_error(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_dir():
                raise IsADirectoryError(errno.EISDIR, "Is a directory", str(target))
            if target.exists() and not target.is_file():
                # A device or pipe (/dev/stdout) is written as it is; putting a file in its place would destroy it.
                with open(target, "wb") as stream:
                    yield stream
                return
            handle, beside = tempfile.mkstemp(prefix=f".{target.name[:100]}.", suffix=f".{_PARTIAL}", dir=target.parent)
            with os.fdopen(handle, "wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(beside, target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask())
            # Through a link, as writing in place would.
            os.replace(beside, os.path.realpath(target))
            beside = None
    finally:
        if beside is not None:
            with contextlib.suppress(OSError):
                os.unlink(beside)


def write_whole(path: str | os.PathLike, content: str | bytes) -> None:
    """Write a file that is there whole or not at all.

    Args:
        path: of the file.
        content: text is written as UTF-8, its line ends as they are.

    Raises:
        UserError: it cannot be written, or the text cannot be encoded.
    """
    if isinstance(content, str):
        content = content.encode("utf-8", "surrogatepass")
    with whole_file(path) as stream:
        stream.write(content)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# Folders.


def lock_folder(folder: str | os.PathLike) -> int | None:
    """Keep other processes of ours from writing a folder or file, until this one ends or `unlock` is called.

    Returns:
        The lock; None where the system has none.

    Raises:
        UserError: another process has it.
    """
    if fcntl is None:
        return None
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # It may have been renamed by the process that had it until just now.
        if not os.path.samestat(os.fstat(handle), os.stat(folder)):
            raise BlockingIOError
    except (BlockingIOError, FileNotFoundError):
        os.close(handle)
        raise UserError(f"{folder}: another process writes there now; wait for it, or choose another place.") from None
    except OSError:
        os.close(handle)  # a file system without locks
        return None
    return handle


def unlock(lock: int | None) -> None:
    """Give a folder free."""
    if lock is not None:
        os.close(lock)


@contextlib.contextmanager
def whole_folder(
    path: str | os.PathLike,
    *,
    replace: bool = False,
) -> Iterator[Path]:
    """Give an empty folder that takes its name when the block ends without an error.

    What a process that was killed left beside is removed when the same folder is written again.

    Args:
        path: the name it will have; the folders above it are made.
        replace: put it in the place of one that is there.

    Raises:
        UserError: it cannot be written, or it is there, not empty, and not to be replaced.
    """
    target = Path(path)
    with no_os_error(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{target.name[:100]}.{_PARTIAL}-"
        for left in target.parent.glob(f"{_escaped(prefix)}*"):
            _remove_abandoned(left)
        beside, lock = _locked_folder(target.parent, prefix)
    try:
        yield beside
        with no_os_error(target):
            swap_in(beside, target, replace=replace)
    finally:
        unlock(lock)
        shutil.rmtree(beside, ignore_errors=True)


def _locked_folder(parent: Path, prefix: str) -> tuple[Path, int | None]:
    """A new folder that no other process takes for abandoned, and its lock."""
    for _ in range(20):
        # Beside, not under /tmp: renaming is only one step on the same file system.
        beside = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        beside.chmod(0o777 & ~_umask())
        # Before it is locked, one that begins at the same moment may tidy it away.
        with contextlib.suppress(UserError, FileNotFoundError):
            return beside, lock_folder(beside)
    raise UserError(f"{parent}: other processes keep removing what is written there; write to another folder.")


def swap_in(beside: Path, target: Path, *, replace: bool) -> None:
    """Give a finished folder its name, in one step; the one that had it goes.

    Raises:
        UserError: there is one that is not empty, and it is not to be replaced.
    """
    if not os.path.lexists(target):
        beside.rename(target)
        return
    if not replace and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target} exists; another process has written it meanwhile.")
    if _exchange(beside, target):
        shutil.rmtree(beside, ignore_errors=True)
        return
    old = target.with_name(f"{beside.name}.old")
    target.rename(old)
    try:
        beside.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change names in a single step, where the system can (Linux)."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return renameat2(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _remove_abandoned(folder: Path) -> None:
    """Remove a folder that nobody writes any more."""
    try:
        lock = lock_folder(folder)
    except (UserError, FileNotFoundError):
        return  # it is written, or has got its name
    if lock is not None:
        shutil.rmtree(folder, ignore_errors=True)
        unlock(lock)
