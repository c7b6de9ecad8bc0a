"""How functions become commands: `train` commands made from settings, `launch`; on the terminal: exit codes, one line a fault, progress, Ctrl-C."""

from __future__ import annotations

import functools
import importlib
import inspect
import logging
import os
import re
import shlex
import sys
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tl_keras.cli.running import import_tensorflow, option_parameters, report_run, verbosity
from tl_keras.errors import UserError, on_signals, os_error_line, tensorflow_error_line
from tl_keras.options import check_ranges
from tl_keras.printable import printable
from tl_keras.tasks.settings import RunSettings
from tl_keras.training.cluster import run_workers

if TYPE_CHECKING:
    from tl_keras.pretraining.run import PretrainingRun
    from tl_keras.pretraining.run_files import Report

DONE, BUG, WRONG, PIPE_CLOSED, INTERRUPTED = 0, 1, 2, 141, 130
TRACEBACK = "TL_KERAS_TRACEBACK"
"""Environment variable: with it set, a fault shows where it was found, not one line only."""
# typer brings its own copy of click from some version on.
_ClickError = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
_LONGEST = 2000


def run_to_end(app: typer.Typer, arguments: Sequence[str]) -> int:
    """Run the command line's program; what goes wrong is said on stderr, in one line.

    Args:
        app: the program.
        arguments: of the call, its name left out.

    Returns:
        The exit code: 0 done, 2 the call or the input is wrong, 130 Ctrl-C, 141 whoever read the output has gone.

    Raises:
        Exception: what is our bug, to be seen with its traceback (exit code 1).
    """
    try:
        code = app(list(arguments), standalone_mode=False, prog_name="tl-keras")
        sys.stdout.flush()
        return code if isinstance(code, int) else DONE
    except BrokenPipeError:
        return _pipe_closed()
    except SystemExit as end:
        # So typer ends when the pipe is closed; a command of ours that wants to end itself has another reason.
        if isinstance(end.__context__, BrokenPipeError):
            return _pipe_closed()
        raise
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        line = fault_line(error)
        if line is None or os.environ.get(TRACEBACK):
            raise
        if line:
            say(line)
        return WRONG


def as_command(function: Callable) -> Callable:
    """A function for typer as a command that checks its options' ranges before it does anything else.

    Args:
        function: with the options as keyword arguments.
    """

    @functools.wraps(function)
    def command(*args, **options):
        check_ranges(options, command_line=True)
        try:
            return function(*args, **options)
        except EOFError as error:
            # typer takes it for an answer that nobody gave, and hides it.
            raise UserError(fault_line(error)) from error

    return command


def fault_line(error: BaseException) -> str | None:
    """What is wrong with the call or the input, as one line; None where it is not the user's to mend.

    Args:
        error: what ended the command.
    """
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, _ClickError):
        return _call_line(error)
    if isinstance(error, typer.Abort):
        return "stopped."
    if isinstance(error, OSError):
        return os_error_line(error)
    if isinstance(error, (EOFError, zlib.error)):
        return f"a compressed file is cut off or damaged ({error}); copy or download it again."
    if isinstance(error, RecursionError) and "JSON" in str(error):
        return "the JSON that was read is nested too deeply; no file in one of the known formats is."
    if isinstance(error, MemoryError):
        return "the memory does not suffice; choose a smaller --batch-size, --seq-length or --limit."
    if isinstance(error, UnicodeEncodeError) and error.reason.startswith("surrogates"):
        return (
            f"half a character (U+{ord(error.object[error.start]):04X}, a lone surrogate) stands in the text "
            f"{printable(error.object)[:60]!r}; take it out, or name the file's --encoding."
        )
    return tensorflow_error_line(error)


def _call_line(error) -> str:
    """A wrong call, with the place where the options are listed."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return ""
    said = " ".join(error.format_message().split())
    said = said[:1].lower() + said[1:].rstrip(".") if not said.startswith("--") else said.rstrip(".")
    context = getattr(error, "ctx", None)
    option = getattr(error, "option_name", None)
    if context is not None and option and not re.fullmatch("--[a-z][a-z0-9-]*", option):
        return f'{said}; a text that begins with - stands behind --, as in: {context.command_path} ... -- "- not bad".'
    return f"{said}; {context.command_path} --help lists what there is." if context is not None else f"{said}."


def say(line: str) -> None:
    """Print a fault on stderr: one line, and nothing in it that a terminal obeys."""
    line = printable(line)
    if len(line) > _LONGEST:
        line = f"{line[:_LONGEST]} ..."
    stream = sys.stderr
    text = f"tl-keras: {line}\n"
    stream.write(text.encode(stream.encoding or "utf-8", "backslashreplace").decode(stream.encoding or "utf-8"))


class OneLine(logging.Formatter):
    """Log messages as `say` prints faults."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The record's line; a traceback behind it stays as it is."""
        return printable(super().formatMessage(record))


def _pipe_closed() -> int:
    # Python would flush at its end, and complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return PIPE_CLOSED


def train_command(
    settings: type[RunSettings], run: str, summary: str, before: Callable[[], None] | None = None
) -> Callable:
    """A function for typer that trains.

    Args:
        settings: the task's class; its fields become the options.
        run: where the task's run is, as `"module:class"`; imported after TensorFlow, when the settings have proved right.
        summary: for `--help`.
        before: called first, while Keras can still be chosen.
    """

    def train(**values) -> None:
        chosen = settings(**values)
        if before is not None:
            before()
        import_tensorflow()
        module, name = run.split(":")
        report_run(getattr(importlib.import_module(module), name)(chosen).execute(verbosity()))

    train.__doc__ = summary
    # typer reads the options from the signature.
    train.__signature__ = inspect.Signature(option_parameters(settings))
    return train


def add_options(function: Callable, options: Sequence[inspect.Parameter]) -> None:
    """Give a command whose last parameter is `**` the options that typer is to pass on there.

    Args:
        function: the command.
        options: of `option_parameters`.
    """
    own = list(inspect.signature(function, eval_str=True).parameters.values())[:-1]
    own = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own]
    function.__signature__ = inspect.Signature([*own, *options])


CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True}
"""For `app.command(context_settings=...)`: what stands behind `--` is the workers' command."""


def launch(
    context: typer.Context,
    workers: Annotated[int, typer.Option(min=1, help="How many processes train together.")] = 2,
    restarts: Annotated[
        int,
        typer.Option(
            min=0, help="How often to start all workers again after one has failed; give the command --resume."
        ),
    ] = 0,
) -> None:
    """Try out several workers here: tl-keras launch --workers 2 -- train text-classification --train FILE --out RUN."""
    arguments = [argument for argument in context.args if argument != "--"]
    if not arguments:
        raise UserError("what are the workers to run? tl-keras launch --workers 2 -- train TASK --train FILE --out RUN")
    if arguments[0] == "launch":
        raise UserError("workers cannot launch workers; name another command behind `--`.")
    # The workers take this process's choice of Keras with its environment.
    code = run_workers(
        [sys.executable, "-m", "tl_keras", *arguments], workers, restarts=restarts, say=typer.echo
    )  # fmt: skip
    if code:
        raise typer.Exit(code)


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
