"""Options that several commands besides `train` share: one name, one meaning, one help text.

Choices are checked here, before TensorFlow is imported, so that a slip costs no waiting.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Annotated, Optional

import typer

from tl_keras.errors import UserError
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
