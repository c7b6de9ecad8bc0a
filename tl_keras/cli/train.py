"""Makes a `train` command from a task's settings, one option for each field; and `launch`: several workers that run one command together."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from tl_keras.cli.running import import_tensorflow, option_parameters, report_run, verbosity
from tl_keras.errors import UserError
from tl_keras.tasks.settings import RunSettings
from tl_keras.training.cluster import run_workers


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
