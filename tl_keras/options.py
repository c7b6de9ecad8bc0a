"""What each option may be, said once for Python and the command line (fields of settings classes, ranges), and what it is where nobody says."""

from __future__ import annotations

import codecs
import dataclasses
import math
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


@dataclasses.dataclass(frozen=True)
class Range:
    """Finite numbers between two ends.

    Args:
        least: the lowest value.
        above: what it must be more than, instead.
        most: the highest value.
        below: what it must be less than, instead.

    Example:
        >>> str(Range(above=0)), str(Range(least=0, below=1)), str(Range(above=0, below=1))
        ('above 0', 'at least 0 and below 1', 'between 0 and 1')
        >>> 0.5 in Range(above=0), float("nan") in Range(above=0), float("inf") in Range(above=0)
        (True, False, False)
    """

    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None

    def __contains__(self, value: float) -> bool:
        return (
            math.isfinite(value)
            and (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.most is None or value <= self.most)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        if self.above is not None and self.below is not None:
            return f"between {self.above} and {self.below}"
        ends = (("at least", self.least), ("above", self.above), ("at most", self.most), ("below", self.below))
        return " and ".join(f"{word} {end}" for word, end in ends if end is not None) or "a finite number"


_POSITIVE, _FRACTION, _ONE, _NONE = Range(above=0), Range(least=0, below=1), Range(least=1), Range(least=0)
RANGES: dict[str, Range] = {
    **dict.fromkeys(("learning_rate", "peak_learning_rate", "clip_norm", "minutes", "scale"), _POSITIVE),
    **dict.fromkeys(("dropout", "finetune_dropout", "heldout_fraction", "lowercase_fraction"), _FRACTION),
    **dict.fromkeys(
        (
            "batch_size", "epochs", "steps", "limit", "k", "layers", "width", "dimensions", "max_answer_length", "max_question_length",
            "window", "workers", "steps_per_execution", "min_subword", "max_subword", "buckets",
        ),
        _ONE,
    ),
    **dict.fromkeys(("patience", "overlap", "checkpoint_every", "warmup_steps", "weight_decay", "min_count", "negative"), _NONE),
    "validation_split": Range(above=0, below=1),
    "threshold": Range(least=0, most=1),
    "layer_decay": Range(above=0, most=1),
    # What NumPy and both Kerases take.
    "seed": Range(least=0, most=2**32 - 1),
    # [CLS], a token, [SEP]
    "seq_length": Range(least=3),
    "null_threshold": Range(),
}  # fmt: skip
"""By the name that the option has in Python."""
_OPTION_NAMES = {"k": "--top"}


def check_ranges(options: dict, *, command_line: bool = False) -> None:
    """Refuse options that are out of their range, whatever they are for.

    Args:
        options: values by name; None stands for a default. Names that nothing is known of are passed over.
        command_line: whether to call them as the command line does.

    Raises:
        UserError: names the first, its range and the value.

    Example:
        >>> check_ranges({"seed": -1}, command_line=True)
        Traceback (most recent call last):
        ...
        tl_keras.errors.UserError: --seed must be at least 0 and at most 4294967295, not -1.
    """
    for name, value in options.items():
        shown = _OPTION_NAMES.get(name, f"--{name.replace('_', '-')}") if command_line else name
        fault = _fault(name, value)
        if fault is not None:
            raise UserError(f"{shown} {fault}")


def _fault(name: str, value) -> str | None:
    if value is None:
        return None
    if name == "encoding":
        return _codec_fault(value)
    if name in ("label_separator", "separator"):
        return "must be at least one character, not empty; leave it out for the default." if value == "" else None
    allowed = RANGES.get(name)
    if allowed is None:
        return None
    for number in value if isinstance(value, (list, tuple)) else [value]:
        if isinstance(number, (int, float)) and number not in allowed:
            return (
                f"must be {allowed}, not {number:g}."
                if isinstance(number, float)
                else f"must be {allowed}, not {number}."
            )
    return None


def _codec_fault(value) -> str | None:
    try:
        # Python also knows "encodings" of bytes by bytes, and of text by text (hex, rot13).
        known = (
            isinstance(value, str)
            and codecs.lookup(value)._is_text_encoding
            and codecs.lookup(value).name != "undefined"
        )
    except (LookupError, ValueError, UnicodeError):
        known = False
    return (
        None if known else f"{value!r} is no encoding that is known; usual ones are utf-8, cp949 (Korean) and cp1252."
    )


def default_learning_rate(
    width: int | None, trainable: bool, suggested: float | None = None, *, new_linear: bool = False
) -> float:
    """A peak rate that suits the encoder and what learns.

    Fine-tuning BERT-base (width 768) works at 2e-5 to 5e-5; narrower encoders want more, about in inverse proportion (seen with
    MiniLM, 384: 1e-4). A head on a frozen encoder starts from nothing and takes a hundred times that; four hundred times if it is
    linear, for the pooled vectors of texts differ little from each other (docs/results.md).

    Args:
        width: of the encoder's output; None if unknown.
        trainable: whether the encoder learns.
        suggested: for fine-tuning, by the encoder's makers (`Encoder.suggested`).
        new_linear: whether nothing learns but a linear layer that begins near zero.

    Example:
        >>> default_learning_rate(768, trainable=True), default_learning_rate(384, trainable=True)
        (5e-05, 0.0001)
    """
    if not trainable:
        return 2e-2 if new_linear else 5e-3
    return suggested or min(5e-5 * 768 / (width or 768), 5e-4)


def default_epochs(examples: int, batch_size: int, transfer: str) -> int:
    """Epochs where the user names none: three, or more where so few examples would give too few steps to learn from.

    Example:
        >>> default_epochs(20000, 32, "fine-tune"), default_epochs(320, 32, "fine-tune"), default_epochs(320, 32, "freeze")
        (3, 8, 40)
    """
    steps = math.ceil(examples / batch_size)
    fewest, wanted, most = (3, 80, 10) if transfer != "freeze" else (10, 400, 40)
    return max(fewest, min(math.ceil(wanted / steps), most))
