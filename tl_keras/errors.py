"""The error that means that the call or the input is wrong, what ends a training early, and what a system says of files and memory, in one line."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator

PREEMPTED = 143
"""The exit code after SIGTERM: 128 + 15, as a shell reports it. Schedulers such as Kubeflow start such a task again."""
WORKER_LOST = 138
"""The exit code of a worker that another one has left: of those that Kubeflow starts again, the one that is a program's own."""


class UserError(ValueError):
    """Something the user can mend: a missing file, a wrong column, an option that does not fit.

    The message is one sentence or two that name the file, row or option, and the fix. The command line prints it
    without a traceback and ends with exit code 2; in Python it is an ordinary `ValueError`.
    """


class NotFiniteError(UserError):
    """The loss or a weight is not a finite number; going on would be of no use."""


class Preempted(SystemExit):
    """SIGTERM came; what could be saved is saved. Ends the program with exit code 143."""

    def __init__(self):
        super().__init__(PREEMPTED)


class WorkerLost(SystemExit):
    """Another worker has gone, so no step can end any more. Ends the program with exit code 138."""

    def __init__(self):
        super().__init__(WORKER_LOST)


def os_error_line(error: OSError, path: str | os.PathLike | None = None) -> str:
    """An operating system's error as a sentence that names the file and what to do.

    Args:
        error: what was raised.
        path: the file, where the error does not say.

    Example:
        >>> os_error_line(OSError(errno.ENOSPC, "No space left on device"), "run")
        'run: no space is left on the disk; free some, or write to another disk.'
    """
    name = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else path
    where = f"{os.fspath(name)}: " if name is not None else ""
    said = {
        errno.ENOSPC: "no space is left on the disk; free some, or write to another disk.",
        errno.EDQUOT: "your share of the disk is used up; free some, or write to another disk.",
        errno.EFBIG: "the file would be larger than is allowed here; free some space, or write to another disk.",
        errno.EACCES: "permission denied; look at who owns it, or name another place.",
        errno.EPERM: "the operation is not permitted; look at who owns it, or name another place.",
        errno.EROFS: "that disk can only be read; name another place.",
        errno.ENAMETOOLONG: f"the name is too long ({len(os.fspath(name)) if name is not None else 'over 255'} characters); choose a shorter one.",
        errno.ENOENT: "there is no such file or folder.",
        errno.EISDIR: "this is a folder; name a file.",
        errno.ENOTDIR: "a part of that path is a file, not a folder.",
        errno.ENOTEMPTY: "another process has just written it.",
        errno.EEXIST: "it exists.",
        errno.EMFILE: "too many files are open in this process; raise the limit (ulimit -n).",
        errno.EIO: "the disk cannot be read or written there; look at its health, or take a copy from elsewhere.",
        errno.ELOOP: "the link leads in a circle.",
    }.get(error.errno)
    if said is None:
        reason = " ".join(str(error.strerror or error or type(error).__name__).split())
        said = f"{reason}."
    return where + said


@contextlib.contextmanager
def no_os_error(path: str | os.PathLike | None = None) -> Iterator[None]:
    """Turn an operating system's error inside the block into one line for the user.

    Args:
        path: what the block reads or writes, where the error does not say.

    Raises:
        UserError: in place of an `OSError`.
    """
    try:
        yield
    except BrokenPipeError:
        raise  # whoever read our output has gone; the command line ends quietly
    except OSError as error:
        raise UserError(os_error_line(error, path)) from error


_SAYS = {
    os.strerror(code): code
    for code in (
        errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ENOENT, errno.EISDIR,
        errno.ENOTDIR, errno.EMFILE, errno.EIO, errno.ELOOP,
    )
}  # fmt: skip
_DAMAGED = {"DataLossError", "OutOfRangeError"}
# TensorFlow writes `path; what the system says`, after notes on nodes and devices in braces.
_NOTES = re.compile(r"\{\{.*?\}\}|/job:\S*")
_FILE_IN_MESSAGE = re.compile(r"(/[^;:\n\[\]{}]+?)\s*[;:]")


def tensorflow_error_line(error: BaseException, path: str | os.PathLike | None = None) -> str | None:
    """A TensorFlow error that files, disks or memory are the reason of, as one sentence; None for any other error.

    Args:
        error: what was raised. TensorFlow is not imported for looking at it.
        path: what was read or written, where the error does not say.
    """
    if not any(kind.__module__ == "tensorflow.python.framework.errors_impl" for kind in type(error).__mro__):
        return None
    message = _NOTES.sub("", str(getattr(error, "message", error)))
    found = _FILE_IN_MESSAGE.search(message)
    where = path if path is not None else found.group(1) if found else None
    for text, code in _SAYS.items():
        if text in message:
            return os_error_line(OSError(code, text), where)
    name = type(error).__name__
    if name == "ResourceExhaustedError":
        return "the memory does not suffice; choose a smaller --batch-size or --seq-length, or fewer --layers."
    if name in _DAMAGED or "checksum" in message.lower():
        return f"{'a file' if where is None else where} is damaged or cut off; copy it again, or make it anew."
    return None


@contextlib.contextmanager
def no_tensorflow_error(path: str | os.PathLike) -> Iterator[None]:
    """As `no_os_error`, also for what TensorFlow raises while it reads or writes files.

    Args:
        path: what the block reads or writes.

    Raises:
        UserError: in place of such an error.
    """
    with no_os_error(path):
        try:
            yield
        except Exception as error:
            line = tensorflow_error_line(error, path)
            if line is None:
                raise
            raise UserError(line) from error


ENDING = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def on_signals(handle: Callable[[int], object], numbers: tuple[int, ...] = ENDING) -> Iterator[None]:
    """Call `handle` with the number of a signal that comes, instead of ending at once, as long as the block lasts.

    Outside the main thread, where Python gives no signals, it changes nothing.

    Args:
        handle: may run between any two steps of the block.
        numbers: of the signals; by default Ctrl-C and SIGTERM.

    Example:
        >>> import os
        >>> came = []
        >>> with on_signals(came.append):
        ...     os.kill(os.getpid(), signal.SIGTERM)
        >>> came == [signal.SIGTERM]
        True
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda received, frame: handle(received)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None stands for a handler that was not set from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
