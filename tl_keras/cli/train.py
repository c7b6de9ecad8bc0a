"""Makes a `train` command from a task's settings: one option for each field."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable

from tl_keras.cli.options import option_parameters
from tl_keras.cli.running import import_tensorflow, report_run, verbosity
from tl_keras.tasks.settings import RunSettings


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
