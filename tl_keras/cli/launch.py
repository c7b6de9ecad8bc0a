"""`launch`: several workers on this machine, each running the same `tl-keras` command."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tl_keras.errors import UserError
from tl_keras.training.cluster import run_workers

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
