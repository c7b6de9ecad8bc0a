"""Makes a `train` command from a task's settings: one option for each field."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import typing
from collections.abc import Callable
from typing import Annotated

import typer

from tl_keras.cli.running import import_tensorflow, report_run, verbosity
from tl_keras.tasks.settings import RunSettings, option


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
    train.__signature__ = inspect.Signature(_parameters(settings))
    return train


def _parameters(settings: type[RunSettings]) -> list[inspect.Parameter]:
    types = typing.get_type_hints(settings)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default,
            annotation=Annotated[types[field.name], _typer_option(field)],
        )
        for field in dataclasses.fields(settings)
        if field.name not in settings.not_options
    ]


def _typer_option(field: dataclasses.Field):
    # A plain flag: nobody asks for --no-resume.
    names = [option(field)] if field.default is False else []
    metadata = field.metadata
    return typer.Option(
        *names, help=metadata["help"], metavar=metadata.get("metavar"), rich_help_panel=metadata.get("panel")
    )
