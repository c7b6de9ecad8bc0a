"""Signals that ask a process to end: noted, so that what is under way ends well."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

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
