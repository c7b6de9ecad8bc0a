"""The command line: its commands, and what holds for all of them. Each task's part is in `tasks`.

Nothing heavy is imported before a command runs, so that `tl-keras --help` answers at once, and so that Keras can still be chosen.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from typing import Annotated, Optional

import typer

from tl_keras._version import __version__
from tl_keras.cli import (
    commands,
    encoders,
    pretrain,
    search,
    serve,
    tasks,
    text_generation,
)
from tl_keras.cli.commands import OneLine, as_command, run_to_end
from tl_keras.cli.running import Columns, check_texts_or_file, choose_keras, import_tensorflow, show, write_file
from tl_keras.cli.spark import Engine, check_spark, predict_with_spark, refuse_options
from tl_keras.errors import UserError
from tl_keras.files import refuse_input_as_output

HELP = {"help_option_names": ["-h", "--help"]}
# Each has `train` (a command), and `evaluate`, `predict` and `stream`: see `tasks.Task`.
TASKS = {
    "text-classification": tasks.TextClassification,
    "token-classification": tasks.TokenClassification,
    "question-answering": tasks.QuestionAnswering,
    "sentence-similarity": tasks.SentenceSimilarity,
    "retrieval": tasks.Retrieval,
    "text-generation": text_generation,
    "zero-shot-classification": tasks.ZeroShotClassification,
}

app = typer.Typer(
    name="tl-keras",
    help="Transfer learning for text: reuse a pre-trained encoder on your own labelled texts, and serve it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings=HELP,
)
train_app = typer.Typer(
    help="Train on a file; leave a run folder with metrics, plots, report and SavedModel.",
    no_args_is_help=True,
    context_settings=HELP,
)
for _name, _module in TASKS.items():
    train_app.command(_name, context_settings=HELP)(as_command(_module.train))
app.add_typer(train_app, name="train")
app.add_typer(pretrain.app, name="pretrain")
app.command(context_settings=HELP)(as_command(encoders.advise))
app.command(context_settings=HELP)(as_command(encoders.compress))
app.command(context_settings=HELP)(as_command(search.encode))
app.command(context_settings=HELP)(as_command(serve.explain))
app.command(context_settings=HELP)(as_command(encoders.convert))
app.command(context_settings=HELP)(as_command(encoders.encoders))
app.command(context_settings=HELP)(as_command(text_generation.fill_mask))
app.command(context_settings=HELP)(as_command(text_generation.generate))
app.command(context_settings=HELP)(as_command(search.index))
app.command(context_settings=HELP)(as_command(search.search))
app.command(context_settings=HELP)(as_command(serve.zero_shot))
app.command(context_settings=HELP)(as_command(serve.serve))
app.command("try", context_settings=HELP)(as_command(serve.try_page))
app.command(context_settings={**HELP, **commands.CONTEXT})(as_command(commands.launch))

Run = Annotated[str, typer.Argument(help="Run folder, or an export.")]
# typer reads annotations at run time, also on Python 3.10: hence Optional[...].
OtherColumn = Optional[str]  # noqa: UP045
Separator = Annotated[
    OtherColumn,
    typer.Option(
        help="Separator between the columns of a text file. Default: as in training, or the one in its header."
    ),
]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tl_keras {__version__}")
        raise typer.Exit()


def _warn_in_one_line(message, category, filename, lineno, file=None, line=None) -> None:
    """Python's warnings, which libraries give, as every other: without the place in their code, which helps no user."""
    logging.getLogger("tl_keras").warning("%s: %s", category.__name__, message)


@app.callback()
def _before_any_command(
    keras: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            min=2, max=3, help="Which Keras to run in: 2 (tf_keras) or 3. Default: TF_USE_LEGACY_KERAS, else 2."
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Compare all files of what is loaded with their manifests, also large ones."),
    ] = False,
) -> None:
    if verify:
        from tl_keras.manifest import verify_everything

        verify_everything()
    choose_keras(keras)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("tl_keras").setLevel(logging.INFO)
    warnings.showwarning = _warn_in_one_line


@app.command(context_settings=HELP)
@as_command
def evaluate(
    run: Run,
    data: Annotated[str, typer.Option(help="Labelled file, of the form of the training file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, as the last line.")] = False,
    text: Annotated[OtherColumn, typer.Option(help="Column with the text. Default: as in training.")] = None,
    text_pair: Annotated[
        OtherColumn, typer.Option(help="Column with the second text. Default: as in training.")
    ] = None,
    label: Annotated[OtherColumn, typer.Option(help="Column with the label. Default: as in training.")] = None,
    separator: Separator = None,
) -> None:
    """Score a run's model on a labelled file."""
    model = _load(run)
    report = TASKS[model.task].evaluate(model, run, data, Columns(text, text_pair, label, separator))
    show(json.dumps({"data": data, **report.to_dict()}, ensure_ascii=False) if as_json else str(report))


@app.command(context_settings=HELP)
@as_command
def predict(
    run: Run,
    texts: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(metavar="TEXT ...", help="Texts to answer for; for pairs, two by two."),
    ] = None,
    data: Annotated[
        OtherColumn,
        typer.Option(
            help="File with texts, of any kind that training reads; a pattern in quotes, or several with commas between."
        ),
    ] = None,
    out: Annotated[
        OtherColumn, typer.Option(help="File to write: CSV, or JSON lines where an answer is more than a label.")
    ] = None,
    text: Annotated[OtherColumn, typer.Option(help="Column with the text. Default: as in training.")] = None,
    text_pair: Annotated[
        OtherColumn, typer.Option(help="Column with the second text. Default: as in training.")
    ] = None,
    keep: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            help="Copy only this column of the file, and the text, into the answers. Can be repeated. Default: all columns."
        ),
    ] = None,
    separator: Separator = None,
    spreadsheet_safe: Annotated[
        bool,
        typer.Option(
            "--spreadsheet-safe", help="Write the table for a spreadsheet: no cell is a formula, Excel sees UTF-8."
        ),
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a killed job stopped.")] = False,
    shard: Annotated[str, typer.Option(help="Answer the i-th of n parts of the file only, i from 0.")] = "0/1",
    batch_size: Annotated[int, typer.Option(min=1, help="Texts in a batch.")] = 64,
    engine: Engine = None,
) -> None:
    """Answer for texts, from the command line or from a file of any size."""
    check_texts_or_file(texts, data, out)
    if out is not None:
        refuse_input_as_output(out, [data])
    from tl_keras.data.formats import parse_shard

    part = parse_shard(shard)
    special = [
        name
        for name, given in (
            ("--keep", keep),
            ("--resume", resume),
            ("--shard", part != (0, 1)),
            ("--spreadsheet-safe", spreadsheet_safe),
        )
        if given
    ]
    if special and data is None:
        raise UserError(f"{special[0]} is for files; give one with --data FILE --out FILE.")
    if engine == "spark":
        if data is None:
            raise UserError("--engine spark is for files: give --data 'PATTERN.parquet' --out FOLDER.")
        refuse_options(
            "--engine spark", **{"--resume": resume, "--shard": part != (0, 1), "--separator": separator is not None,
                                 "--spreadsheet-safe": spreadsheet_safe},
        )  # fmt: skip
        check_spark()
        model = _load(run)
        how = TASKS[model.task].stream(model, run, data, Columns(text, text_pair))
        if how is None:
            raise UserError(f"--engine spark does not do {model.task}; leave it out.")
        rows = predict_with_spark(model, data, out, how["text"], how["text_pair"], keep or None, batch_size)
        typer.echo(f"{rows} rows answered: {out}")
        return
    model = _load(run)
    task, columns = TASKS[model.task], Columns(text, text_pair, separator=separator)
    how = None if data is None else task.stream(model, run, data, columns)
    if how is not None:
        from tl_keras.serving.stream import predict_file

        done = predict_file(
            model,
            data,
            out,
            **how,
            keep=keep or None,
            resume=resume,
            shard=part,
            batch_size=batch_size,
            spreadsheet_safe=spreadsheet_safe,
        )
        typer.echo(f"{done.rows} rows answered: {done.out}")
        return
    if special:
        raise UserError(f"{special[0]} is for tables (CSV, JSON lines, Parquet, ...), which {data} is not.")
    answers = task.predict(model, run, texts, data, columns)
    if out is None:
        show(answers.content.rstrip("\n"))
        return
    write_file(out, answers.content)
    typer.echo(f"{answers.count} {answers.done}: {out}")


@app.command(context_settings=HELP)
@as_command
def export(
    run: Annotated[str, typer.Argument(help="Run folder to export from.")],
    out: Annotated[str, typer.Option(help="Folder for numbered versions, as TensorFlow Serving expects.")],
) -> None:
    """Copy a run's SavedModel to the next version folder."""
    import_tensorflow()
    from tl_keras.saved_models import add_version

    typer.echo(f"exported to {add_version(run, out)}")


def _load(run: str):
    """The model of a run folder or export; `model.task` names its part of the command line."""
    import_tensorflow()
    from tl_keras.serving.predict import load_exported

    return load_exported(run)


def main() -> None:
    """Run the command line. Exit codes: 0 done, 2 the call or the input is wrong, 1 our bug; see `tl_keras.cli.commands`."""
    arguments = sys.argv[1:]
    if "--keras" in arguments[1:] and "--" not in arguments:
        # It belongs before the command, but after it is where people look for it.
        at = arguments.index("--keras")
        arguments = [*arguments[at : at + 2], *arguments[:at], *arguments[at + 2 :]]
    code = run_to_end(app, arguments)
    if code:
        sys.exit(code)


if __name__ == "__main__":
    main()
