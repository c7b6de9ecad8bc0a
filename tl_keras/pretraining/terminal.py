"""What the pre-training commands share on the terminal: a line of progress, Ctrl-C that loses nothing, the command to repeat."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tl_keras.signals import on_signals

if TYPE_CHECKING:
    from tl_keras.pretraining.run import PretrainingRun
    from tl_keras.pretraining.run_log import Report


def progress_line() -> Callable[[Report], None] | None:
    """What shows progress, where someone looks at it."""
    return _progress_line if sys.stderr.isatty() else None


def train_or_stop(pretraining: PretrainingRun) -> None:
    """Train to the end; on Ctrl-C and SIGTERM stop with a checkpoint, and say how to go on.

    Raises:
        SystemExit: Stopped before the end, with 128 + the signal's number, as a shell reports it: what was asked for is
            not there yet.
    """
    came: list[int] = []

    def stop(number: int) -> None:
        came.append(number)
        pretraining.trainer.stop_requested = True

    with on_signals(stop):
        finished = pretraining.run()
    if not finished:
        folder = pretraining.settings.out
        print(f"stopped at step {pretraining.trainer.step}; go on with --out {folder} --resume", file=sys.stderr)
        raise SystemExit(128 + came[0])


def _progress_line(report: Report) -> None:
    """Write one line of progress over the last one, on stderr."""
    filled = int(20 * report.progress)
    left = int(max(report.seconds_left, 0))
    losses = " ".join(f"{key[:-5]} {value:.2f}" for key, value in report.measures.items() if key.endswith("loss"))
    line = (
        f"\r[{'#' * filled}{'.' * (20 - filled)}] {report.progress:4.0%} step {report.step} "
        f"{report.tokens_per_second:,.0f} tokens/s {left // 3600}:{left // 60 % 60:02}:{left % 60:02} left, {losses}"
    )
    sys.stderr.write(f"{line:<100}" + ("\n" if report.progress >= 1.0 else ""))
    sys.stderr.flush()


def this_command() -> str:
    """The command line as it was given, with file names alone: a machine's folders are nobody's business."""
    return shlex.join(["tl-keras", *(Path(part).name if part.startswith("/") else part for part in sys.argv[1:])])
