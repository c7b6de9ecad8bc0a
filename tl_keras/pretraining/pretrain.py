"""Pre-training in one call, whatever the settings are for; and on the terminal: progress, and Ctrl-C that loses nothing."""

from __future__ import annotations

import importlib
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tl_keras.errors import UserError, on_signals
from tl_keras.pretraining.settings import PretrainingSettings

if TYPE_CHECKING:
    from tl_keras.pretraining.run import PretrainingRun
    from tl_keras.pretraining.run_files import Report


# By the kind of settings; imported when asked for, because each brings libraries of its own.
RUNS = {
    "bert": ("tl_keras.pretraining.bert", "BertPretraining"),
    "bilm": ("tl_keras.pretraining.bilm.bilm", "BilmPretraining"),
    "gpt": ("tl_keras.pretraining.gpt", "GptPretraining"),
}


def run_class(settings: PretrainingSettings) -> type:
    """The class of runs that settings are for.

    Raises:
        UserError: A package that it needs is not installed.
    """
    module, name = RUNS[settings.kind]
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise UserError(f"pre-training needs the package {error.name}: pip install 'tl_keras[pretrain]'") from error


def pretrain(
    settings: PretrainingSettings,
    resume: bool = False,
    on_report: Callable | None = None,
    command: str | None = None,
) -> Path:
    """Pre-train a model on text files, and write it into the run folder.

    Args:
        settings: `BertSettings` for an encoder pair, `BilmSettings` for a SavedModel that gives ELMo vectors, `GptSettings` for a
            causal language model (a KerasHub preset in `preset/`).
        resume: Go on from the checkpoint in `settings.out`.
        on_report: Called with a `Report` after each step.
        command: The command line, for the card.

    Returns:
        The run folder.

    Raises:
        UserError: For whatever is wrong with files or options.
    """
    run = run_class(settings)(settings, resume, on_report, command)
    run.run()
    return run.export()


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
