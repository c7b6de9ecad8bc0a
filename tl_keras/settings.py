"""Fields of settings classes that are options of the command line too: default, help text and panel stand in one place."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

from tl_keras.errors import UserError

_REQUIRED = object()


def setting(default: Any = _REQUIRED, *, help: str, choices: tuple[str, ...] = (), least: int | None = None, **how):
    """A field of a settings class.

    Args:
        default: without one, the user must give it.
        help: one line for `--help`.
        choices: the values it may take.
        least: its lowest value.
        **how: `panel` of `--help` it stands in; `metavar`; and where the option differs from the field: `option`, its name in Python;
            `type`, what it takes; `read`, how that becomes the field's value.
    """
    metadata = {"help": help, "choices": choices, "least": least, **how}
    return dataclasses.field(**({} if default is _REQUIRED else {"default": default}), metadata=metadata)


data_setting, model_setting, learning_setting, run_setting = (
    partial(setting, panel=name) for name in ("Data", "Model", "Learning", "Run")
)
RARE = "Rarely needed"
"""The panel of `--help` for options that most runs leave alone."""


def option_name(field: dataclasses.Field) -> str:
    """The name that a setting's option has in Python."""
    return field.metadata.get("option", field.name)


def option(field: dataclasses.Field) -> str:
    """The command line's name of a setting.

    Example:
        >>> @dataclasses.dataclass
        ... class Settings:
        ...     batch_size: int = learning_setting(32, help="Examples in a batch.")
        >>> option(dataclasses.fields(Settings)[0])
        '--batch-size'
    """
    return f"--{option_name(field).replace('_', '-')}"


def check_choices(settings: Any) -> None:
    """Refuse values that the fields of a settings object do not allow.

    Raises:
        UserError: names the first, the value and what is allowed.
    """
    for field in dataclasses.fields(settings):
        value, choices, least = (
            getattr(settings, field.name),
            field.metadata.get("choices"),
            field.metadata.get("least"),
        )
        if value is None:
            continue
        if choices and value not in choices:
            raise UserError(f"{option(field)} {value!r} is not known; choose one of: {', '.join(choices)}.")
        if least is not None and any(v < least for v in (value if isinstance(value, list) else [value])):
            raise UserError(f"{option(field)} must be at least {least}, not {value}.")
