"""Options: those that are made from settings classes, and those that several commands share: one name, one meaning, one help text.

Choices are checked here, before TensorFlow is imported, so that a slip costs no waiting.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable
from typing import Annotated, Any, Optional

import typer

from tl_keras.errors import UserError
from tl_keras.settings import option, option_name
from tl_keras.tasks.settings import DEFAULT_ENCODER, POOLINGS, RunSettings  # noqa: F401  (DEFAULT_ENCODER is theirs to use)

# typer evaluates these at run time, also on Python 3.10, where only Optional[...] reads as it should.
# ruff: noqa: UP045

_HELP = {field.name: field.metadata["help"] for field in dataclasses.fields(RunSettings)}


def one_of(option: str, *choices: str) -> Callable[[str | None], str | None]:
    """A check for an option of few values.

    Example:
        >>> one_of("--pooling", "cls", "mean")("mean")
        'mean'
    """

    def check(value: str | None) -> str | None:
        if value is not None and value not in choices:
            raise UserError(f"{option} {value!r} is not known; choose one of: {', '.join(choices)}.")
        return value

    return check


def option_parameters(settings: type) -> list[inspect.Parameter]:
    """The options of a command that fills in a settings class: one for each field with a help text.

    Args:
        settings: a dataclass with fields made by `setting`; `not_options` of the class names those that are no options.
    """
    types = typing.get_type_hints(settings)
    return [
        inspect.Parameter(
            option_name(field),
            inspect.Parameter.KEYWORD_ONLY,
            default=_default(field),
            annotation=Annotated[field.metadata.get("type", types[field.name]), _typer_option(field)],
        )
        for field in option_fields(settings)
    ]


def option_fields(settings: type) -> list[dataclasses.Field]:
    """The fields of a settings class that are options."""
    return [
        field
        for field in dataclasses.fields(settings)
        if "help" in field.metadata and field.name not in settings.not_options
    ]


def _default(field: dataclasses.Field) -> Any:
    if field.default is dataclasses.MISSING:
        return inspect.Parameter.empty
    # What typer takes is another type than the field's; its help text says what None stands for.
    return None if "type" in field.metadata else field.default


def _typer_option(field: dataclasses.Field):
    # A plain flag: nobody asks for --no-resume.
    names = [option(field)] if field.default is False else []
    metadata = field.metadata
    return typer.Option(
        *names, help=metadata["help"], metavar=metadata.get("metavar"), rich_help_panel=metadata.get("panel")
    )


EncoderHandle = Annotated[str, typer.Option("--encoder", help=_HELP["encoder"])]
Preprocessor = Annotated[Optional[str], typer.Option(help=_HELP["preprocessor"])]
SeqLength = Annotated[int, typer.Option(help=_HELP["seq_length"])]
Encoding = Annotated[str, typer.Option(help=_HELP["encoding"])]
Overwrite = Annotated[bool, typer.Option("--overwrite", help=_HELP["overwrite"])]
Pooling = Annotated[
    str,
    typer.Option(
        help="How a text's vector is made: cls, mean, max, or mix or mix-cls (a learned mix of all blocks).",
        callback=one_of("--pooling", *POOLINGS),
    ),
]
