"""What commands share: how they run, and options, made from settings classes or common to several: one name, one meaning, one help text.

Choices are checked here, before TensorFlow is imported, so that a slip costs no waiting.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import os
import sys
import tempfile
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Optional

import typer

from tl_keras.errors import UserError
from tl_keras.files import write_whole
from tl_keras.options import option, option_name
from tl_keras.printable import printable_lines
from tl_keras.tasks.settings import DEFAULT_ENCODER, POOLINGS, RunSettings  # noqa: F401  (DEFAULT_ENCODER is theirs to use)


class Columns(NamedTuple):
    """Columns, and what stands between them, that the user named for `evaluate` or `predict`; `None` stands for what training used."""

    text: str | None = None
    text_pair: str | None = None
    label: str | None = None
    separator: str | None = None


class Predictions(NamedTuple):
    """What a task's `predict` hands to the command: lines to print or write, and how many texts they answer."""

    content: str
    count: int
    done: str = "texts labelled"


def import_tensorflow() -> None:
    """Import TensorFlow without the start-up notes it writes straight to file descriptor 2, where no setting reaches."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as notes:
        os.dup2(notes.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
        except BaseException:
            # What it said may be the reason it failed.
            notes.seek(0)
            os.write(kept, notes.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def need_extra(extra: str, what: str, *modules: str) -> None:
    """Refuse a command whose packages are not installed.

    Args:
        extra: of this package, which brings them.
        what: the command or option that wants them.
        modules: to look for.

    Raises:
        UserError: one of them is not there.
    """
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise UserError(f'{what} needs {module}: pip install "tl_keras[{extra}]"')


def choose_keras(version: int | None) -> None:
    """Set which Keras TensorFlow will bring, before it is imported: as asked for, else as the environment says, else Keras 2.

    This process is ours, so we may choose its Keras; importing the library never does.
    """
    global _asked
    _asked = version
    if version is not None:
        os.environ["TF_USE_LEGACY_KERAS"] = "1" if version == 2 else "0"
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")


_asked: int | None = None


def prefer_keras_3() -> None:
    """Run in Keras 3 unless `--keras 2` was asked for: KerasHub's models know no other. Before TensorFlow is imported."""
    if _asked is None:
        os.environ["TF_USE_LEGACY_KERAS"] = "0"


def verbosity() -> int:
    """Of `model.fit`: a progress bar on a terminal, else a line an epoch."""
    return 1 if sys.stdout.isatty() else 2


def report_run(run) -> None:
    """Say how a training run ended and where everything is."""
    if not run.chief:
        typer.echo("done; the first worker writes the run folder.")
        return
    typer.echo(f"\n{run.report}\n\n{run.seconds:.0f} s of training. Everything is in {run.folder} (report.md first).")


def run_settings(run: str) -> dict:
    """The settings a run was trained with; empty for a bare export, which has none."""
    from tl_keras.tasks.folder import read_config

    return read_config(run) if (Path(run) / "config.json").is_file() else {}


def columns_as_trained(run: str, columns: Columns, text: str = "text", text_pair: str | None = None) -> dict:
    """What `predict_file` has to know of a file: the columns and settings that the run was trained with, unless others are named.

    Args:
        run: run folder or export.
        columns: named by the user.
        text: column with the text, where neither says.
        text_pair: column with the second text, where neither says; None where the model takes single texts.
    """
    config = run_settings(run)
    pair = None if text_pair is None else columns.text_pair or config.get("text_pair") or text_pair
    return {
        "text": columns.text or config.get("text", text),
        "text_pair": pair,
        "separator": columns.separator or config.get("separator"),
        "quoting": config.get("quoting", "auto"),
        "encoding": config.get("encoding", "utf-8"),
    }


def read_as_trained(run: str, data: str, columns: Columns, *, labelled: bool, classes=None, on_empty: str = "drop"):
    """Read a table with the columns and settings that the run was trained with, unless others are named.

    Args:
        run: run folder or export.
        data: the file.
        columns: named by the user.
        labelled: whether the label column is wanted.
        classes: those of the model.
        on_empty: `"keep"` gives every row an answer, so that the output has the input's order and length.
    """
    from tl_keras.data.table import read_table

    config = {"text": "text", "label": "label", **run_settings(run)}
    return read_table(
        data,
        columns.text or config["text"],
        (columns.label or config["label"]) if labelled else None,
        columns.text_pair or config.get("text_pair"),
        classes=classes,
        label_separator=config.get("label_separator") if labelled else None,
        separator=columns.separator or config.get("separator"),
        quoting=config.get("quoting", "auto"),
        encoding=config.get("encoding", "utf-8"),
        on_empty=on_empty,
    )


def refuse_columns(task: str, columns: Columns, *names: str) -> None:
    """Refuse the columns that a task has no use for.

    Raises:
        UserError: one of `names` was given.
    """
    for name in names:
        if getattr(columns, name) is not None:
            raise UserError(f"{task} has no --{name.replace('_', '-')}; leave it out.")


def check_texts_or_file(texts: list[str] | None, data: str | None, out: str | None) -> None:
    """Refuse texts together with a file of them, neither, one file without the other, and a file's name as a text."""
    if texts and not data and len(texts) == 1 and len(texts[0]) < 256 and os.path.isfile(texts[0]):
        raise UserError(f"{texts[0]} is a file; to answer for its rows: --data {texts[0]} --out FILE.")
    if bool(texts) == (data is not None):
        raise UserError("give either texts, or a file with --data FILE --out FILE.")
    if (data is None) != (out is None):
        raise UserError("--data and --out go together: the file to read and the file to write.")


def is_rows(path: str) -> bool:
    """Whether files can be answered row by row: they are tables, and not SQuAD's JSON."""
    from tl_keras.data.formats import is_table
    from tl_keras.data.squad import is_squad

    return is_table(path) and not is_squad(path)


def show(text: str) -> None:
    """Print to stdout; on a terminal without what would move its cursor or change its colours."""
    typer.echo(printable_lines(text) if sys.stdout.isatty() else text)


def write_file(path: str, content: str) -> None:
    """Write beside and rename, so that nobody finds half a file.

    Raises:
        UserError: the file cannot be written.
    """
    write_whole(path, content)


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


def option_parameters(settings: type, only: Sequence[str] | None = None, **defaults) -> list[inspect.Parameter]:
    """The options of a command that fills in a settings class: one for each field with a help text.

    Args:
        settings: a dataclass with fields made by `setting`; `not_options` of the class names those that are no options.
        only: names of fields, where not all are wanted.
        **defaults: other ones than those of the class, by the option's name in Python.
    """
    types = typing.get_type_hints(settings)
    return [
        inspect.Parameter(
            option_name(field),
            inspect.Parameter.KEYWORD_ONLY,
            default=defaults.get(option_name(field), _default(field)),
            annotation=Annotated[field.metadata.get("type", types[field.name]), _typer_option(field)],
        )
        for field in option_fields(settings)
        if only is None or field.name in only
    ]


def option_fields(settings: type) -> list[dataclasses.Field]:
    """The fields of a settings class that are options."""
    return [
        field
        for field in dataclasses.fields(settings)
        if "help" in field.metadata and field.name not in getattr(settings, "not_options", ())
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
TextLength = Annotated[
    int, typer.Option(help="With a pre-trained encoder: longest text in tokens; longer ones are cut.")
]
Encoding = Annotated[str, typer.Option(help=_HELP["encoding"])]
Overwrite = Annotated[bool, typer.Option("--overwrite", help=_HELP["overwrite"])]
Pooling = Annotated[
    Optional[str],
    typer.Option(
        help="With a pre-trained encoder: how a text's vector is made: cls, mean, max, or mix or mix-cls (a mix of all blocks). "
        "Default: what the encoder was made for, else mean.",
        callback=one_of("--pooling", *POOLINGS),
    ),
]
