"""Options that several commands share: one name, one meaning, one help text.

Choices are checked here, before TensorFlow is imported, so that a slip costs no waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Optional

import typer

from tl_keras.errors import UserError
from tl_keras.transfer.plan import check_mode, interval, parse_rates

# typer evaluates these at run time, also on Python 3.10, where only Optional[...] reads as it should.
# ruff: noqa: UP045


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


def _interval(value: str | None) -> str | None:
    interval(value)
    return value


def _rates(values: list[str] | None) -> list[str] | None:
    parse_rates(values)
    return values


POOLINGS = ("cls", "mean", "max", "mix", "mix-cls")

DEFAULT_ENCODER = "ko-en-mini"
"""The one that comes with the package: nothing to download."""

# Of `train`.
TrainFile = Annotated[str, typer.Option("--train", help="Training file.")]
RunFolder = Annotated[str, typer.Option("--out", help="Run folder to write.")]
EncoderHandle = Annotated[
    str,
    typer.Option("--encoder", help="Preset, TF Hub or Kaggle URL, .tar.gz or folder with encoder/ and preprocess/."),
]
Validation = Annotated[Optional[str], typer.Option(help="File to validate on.")]
ValidationSplit = Annotated[
    float, typer.Option(help="Share of the training file to validate on, where no file is given.")
]
Transfer = Annotated[
    str,
    typer.Option(
        help="freeze (train the head only), fine-tune (everything), top-1, top-2, ... (so many upper blocks and the head), or gradual "
        "(the head first, then one block more at a time, from the top).",
        callback=check_mode,
    ),
]
UnfreezeEvery = Annotated[
    Optional[str],
    typer.Option(
        help='gradual: between two blocks, e.g. "2 epochs" or "200 steps". Default: 1 epoch.', callback=_interval
    ),
]
LayerDecay = Annotated[
    float, typer.Option(help="Each block learns at this share of the rate of the block above; 1 for all alike.")
]
Rate = Annotated[
    Optional[list[str]],
    typer.Option(
        metavar="PART=SHARE",
        help='Share of the learning rate for a part, e.g. embeddings=0.1, "block *=0.5", head=2. Can be repeated.',
        callback=_rates,
    ),
]
Layers = Annotated[
    Optional[int], typer.Option(min=1, help="Use the encoder's first so many blocks only; the rest is not saved.")
]
Hidden = Annotated[
    Optional[list[int]],
    typer.Option(min=1, help="Width of a dense layer in the head. Can be repeated. Default: none, a linear head."),
]
Epochs = Annotated[Optional[int], typer.Option(help="Default: by the number of examples and by transfer.")]
BatchSize = Annotated[int, typer.Option(help="Examples in a batch.")]
LearningRate = Annotated[Optional[float], typer.Option(help="Peak rate. Default: by encoder width and transfer.")]
SeqLength = Annotated[int, typer.Option(help="Longest input in pieces; longer ones are cut.")]
Pooling = Annotated[
    str,
    typer.Option(
        help="How a text's vector is made: cls, mean, max, or mix or mix-cls (a learned mix of all blocks).",
        callback=one_of("--pooling", *POOLINGS),
    ),
]
Dropout = Annotated[float, typer.Option(help="Before the head.")]
Patience = Annotated[Optional[int], typer.Option(help="Stop after so many epochs without a better validation score.")]
Limit = Annotated[Optional[int], typer.Option(help="Train on so many examples only, drawn at random.")]
Seed = Annotated[int, typer.Option(help="Of split, shuffling, head and dropout.")]
Strategy = Annotated[
    str,
    typer.Option(help="auto, one-device or mirrored.", callback=one_of("--strategy", "auto", "one-device", "mirrored")),
]
Resume = Annotated[bool, typer.Option(help="Back up each epoch; go on from the backup of an interrupted run.")]
Overwrite = Annotated[bool, typer.Option(help="Replace what is there.")]
Preprocessor = Annotated[Optional[str], typer.Option(help="Preprocessing module, where the encoder's is not known.")]
Encoding = Annotated[str, typer.Option(help="Of the files.")]

# Of tables.
Text = Annotated[str, typer.Option(help="Column with the text.")]
TextPair = Annotated[Optional[str], typer.Option(help="Column with the second text, for pair tasks.")]
Label = Annotated[str, typer.Option(help="Column with the label.")]
Quoting = Annotated[
    str,
    typer.Option(
        help="auto, standard, or none (quotes are ordinary characters).",
        callback=one_of("--quoting", "auto", "standard", "none"),
    ),
]
OnEmpty = Annotated[
    str,
    typer.Option(
        help="Rows with an empty text: drop, keep or error.", callback=one_of("--on-empty", "drop", "keep", "error")
    ),
]
