"""The command line: each command is a few calls of the public API.

Nothing heavy is imported before a command runs, so that `tl-keras --help` answers at once, and so that Keras can still be chosen.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import sys
import tempfile
from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer

from tl_keras._version import __version__
from tl_keras.errors import UserError
from tl_keras.pretraining.command import app as pretrain_app

app = typer.Typer(
    name="tl-keras",
    help="Transfer learning for text: reuse a pre-trained encoder on your own labelled texts, and serve it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


app.add_typer(pretrain_app, name="pretrain")


class Task(str, Enum):
    """What `train` can train."""

    text_classification = "text-classification"
    token_classification = "token-classification"


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tl_keras {__version__}")
        raise typer.Exit()


@app.callback()
def _before_any_command(
    keras: Annotated[
        Optional[int],  # noqa: UP045  (typer reads annotations at run time, also on Python 3.10)
        typer.Option(
            min=2, max=3, help="Which Keras to run in: 2 (tf_keras) or 3. Default: TF_USE_LEGACY_KERAS, else 2."
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    # This process is ours, so we may choose its Keras; importing the library never does.
    if keras is not None:
        os.environ["TF_USE_LEGACY_KERAS"] = "1" if keras == 2 else "0"
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr)
    logging.getLogger("tl_keras").setLevel(logging.INFO)


@app.command()
def train(
    context: typer.Context,
    task: Annotated[Task, typer.Argument(help="What to learn.")],
    train: Annotated[
        str,
        typer.Option(help="CSV or TSV file with a header line; for tagging CoNLL columns or JSON lines with entities."),
    ],
    out: Annotated[str, typer.Option(help="Run folder to write.")],
    encoder: Annotated[
        str, typer.Option(help="Preset, TF Hub or Kaggle URL, .tar.gz or folder with encoder/ and preprocess/.")
    ],
    validation: Annotated[str | None, typer.Option(help="File to validate on.")] = None,
    validation_split: Annotated[
        float, typer.Option(help="Share of the training file to validate on, without one.")
    ] = 0.1,
    transfer: Annotated[
        str, typer.Option(help="freeze (train the head only) or fine-tune (train everything).")
    ] = "fine-tune",
    text: Annotated[str, typer.Option(help="Column with the text.")] = "text",
    text_pair: Annotated[str | None, typer.Option(help="Column with the second text, for pair tasks.")] = None,
    label: Annotated[str, typer.Option(help="Column with the label.")] = "label",
    label_separator: Annotated[
        str | None, typer.Option(help="Multi-label data: what stands between the labels in a cell.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Default: 3 fine-tuning, 10 frozen; more for small files.")] = None,
    batch_size: Annotated[int, typer.Option(help="Texts in a batch.")] = 32,
    learning_rate: Annotated[
        float | None, typer.Option(help="Peak rate. Default: by encoder width and transfer.")
    ] = None,
    seq_length: Annotated[int, typer.Option(help="Longest input in pieces; longer texts are cut.")] = 128,
    pooling: Annotated[str, typer.Option(help="cls, mean or max.")] = "cls",
    dropout: Annotated[float, typer.Option(help="Before the head.")] = 0.1,
    class_weight: Annotated[
        str, typer.Option(help="none, or balanced: rare classes count as much as common ones.")
    ] = "none",
    patience: Annotated[int | None, typer.Option(help="Stop after so many epochs without a better val_loss.")] = None,
    limit: Annotated[int | None, typer.Option(help="Train on so many examples only, drawn by class.")] = None,
    seed: Annotated[int, typer.Option(help="Of split, shuffling, head and dropout.")] = 0,
    strategy: Annotated[str, typer.Option(help="auto, one-device or mirrored.")] = "auto",
    resume: Annotated[
        bool, typer.Option(help="Back up each epoch; go on from the backup of an interrupted run.")
    ] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace the run folder.")] = False,
    preprocessor: Annotated[
        str | None, typer.Option(help="Preprocessing module, where the encoder's is not known.")
    ] = None,
    encoding: Annotated[str, typer.Option(help="Of the files.")] = "utf-8",
    quoting: Annotated[str, typer.Option(help="auto, standard, or none (quotes are ordinary characters).")] = "auto",
    on_empty: Annotated[str, typer.Option(help="Rows with an empty text: drop, keep or error.")] = "drop",
    format: Annotated[str, typer.Option(help="Tagging: auto, conll, characters (KLUE's) or jsonl.")] = "auto",
    scheme: Annotated[str, typer.Option(help="Tagging: auto, bio, bioes or plain.")] = "auto",
    word_column: Annotated[int, typer.Option(help="Tagging, CoNLL: column of the words, from 0.")] = 0,
    tag_column: Annotated[int, typer.Option(help="Tagging, CoNLL: column of the tags; -1 is the last.")] = -1,
    label_pieces: Annotated[
        str, typer.Option(help="Tagging: which pieces carry tags: first (of each word), all, or auto: by the data.")
    ] = "auto",
    overlaps: Annotated[
        str, typer.Option(help="Tagging: entities that overlap: error, or keep the longest.")
    ] = "error",
) -> None:
    """Train on a file; leave a run folder with metrics, plots, report and SavedModel."""
    arguments = {name: value for name, value in locals().items() if name not in {"context", "task"}}
    _import_tensorflow()
    if task is Task.token_classification:
        from tl_keras.runs.token_classification import TokenClassificationSettings as Settings
        from tl_keras.runs.token_classification import train_token_classification as run_task
    else:
        from tl_keras.runs.text_classification import TextClassificationSettings as Settings
        from tl_keras.runs.text_classification import train_text_classification as run_task

    verbose = 1 if sys.stdout.isatty() else 2
    run = run_task(_settings(Settings, task.value, arguments, context), verbose)
    typer.echo(f"\n{run.report}\n\n{run.seconds:.0f} s of training. Everything is in {run.folder} (report.md first).")


@app.command()
def evaluate(
    run: Annotated[str, typer.Argument(help="Run folder, or an export.")],
    data: Annotated[str, typer.Option(help="Labelled file with the columns of the training file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, as the last line.")] = False,
    text: Annotated[str | None, typer.Option(help="Column with the text. Default: as in training.")] = None,
    text_pair: Annotated[str | None, typer.Option(help="Column with the second text. Default: as in training.")] = None,
    label: Annotated[str | None, typer.Option(help="Column with the label. Default: as in training.")] = None,
) -> None:
    """Score a run's model on a labelled file."""
    _import_tensorflow()
    from tl_keras.evaluation.classification import evaluate as score
    from tl_keras.serving.exported import load_exported

    model = load_exported(run)
    if hasattr(model, "entities"):
        report = score(model, _read_tagged(run, data, model.labels))
    else:
        report = score(model, _read(run, data, text, text_pair, label, classes=model.classes))
    typer.echo(json.dumps({"data": data, **report.to_dict()}, ensure_ascii=False) if as_json else str(report))


@app.command()
def predict(
    run: Annotated[str, typer.Argument(help="Run folder, or an export.")],
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="TEXT ...", help="Texts to label; for a pair model, two by two.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="File with texts.")] = None,
    out: Annotated[
        str | None, typer.Option(help="File to write: CSV with text, label, score; a tagger writes JSON lines.")
    ] = None,
    text: Annotated[str | None, typer.Option(help="Column with the text. Default: as in training.")] = None,
    text_pair: Annotated[str | None, typer.Option(help="Column with the second text. Default: as in training.")] = None,
) -> None:
    """Label texts, from the command line or from a file."""
    if bool(texts) == (data is not None):
        raise UserError("give either texts, or a file with --data FILE --out FILE.")
    if (data is None) != (out is None):
        raise UserError("--data and --out go together: the file to read and the file to write.")
    _import_tensorflow()
    from tl_keras.serving.exported import load_exported
    from tl_keras.serving.predict import predict as label_texts

    model = load_exported(run)
    if hasattr(model, "entities"):
        _predict_entities(model, run, texts, data, out, text)
        return
    if data is None:
        pairs = None
        if "text_pair" in model.inputs:
            if len(texts) % 2:
                raise UserError(f"this model takes pairs of texts: give an even number of them, not {len(texts)}.")
            texts, pairs = texts[::2], texts[1::2]
        typer.echo(label_texts(model, texts, pairs).to_csv(index=False, sep="\t", float_format="%.4f").rstrip("\n"))
        return
    # Every row gets an answer, so that the output has the input's order and length.
    examples = _read(run, data, text, text_pair, None, on_empty="keep")
    frame = label_texts(
        model, examples.texts.tolist(), None if examples.text_pairs is None else examples.text_pairs.tolist()
    )
    _write_file(out, frame.to_csv(index=False))
    typer.echo(f"{len(frame)} texts labelled: {out}")


@app.command()
def export(
    run: Annotated[str, typer.Argument(help="Run folder.")],
    out: Annotated[str, typer.Option(help="Folder for numbered versions, as TensorFlow Serving expects.")],
) -> None:
    """Copy a run's SavedModel to the next version folder."""
    _import_tensorflow()
    from tl_keras.serving.versions import add_version

    typer.echo(f"exported to {add_version(run, out)}")


@app.command()
def convert(
    checkpoint: Annotated[
        str, typer.Argument(help="Hugging Face folder, KerasHub preset, or an installed weights package.")
    ],
    out: Annotated[str, typer.Option(help="Folder for the encoder pair.")],
    seq_length: Annotated[int, typer.Option(help="Default length of the preprocessing module.")] = 128,
    overwrite: Annotated[bool, typer.Option(help="Replace the folder.")] = False,
) -> None:
    """Make an encoder pair (encoder/ and preprocess/) from another library's checkpoint."""
    _import_tensorflow()
    from tl_keras.hub.convert import convert as run_conversion

    typer.echo(f"encoder pair written to {run_conversion(checkpoint, out, seq_length=seq_length, overwrite=overwrite)}")


@app.command()
def encoders(
    match: Annotated[str, typer.Argument(help="Only those whose name or language holds this.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """List the presets: language, size, licence, where they come from."""
    from tl_keras.hub.presets import list_presets

    presets = [p for p in list_presets() if match.lower() in p.name.lower() or match.lower() in p.language.lower()]
    if not presets:
        raise UserError(f"no preset's name or language holds {match!r}; tl-keras encoders lists all.")
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(preset) for preset in presets], ensure_ascii=False, indent=1))
        return
    width = max(len(preset.name) for preset in presets)
    typer.echo(
        f"{'name':{width}}  {'language':12}  {'blocks':>6}  {'width':>5}  {'million weights':>15}  licence, address"
    )
    for p in presets:
        # A language list of a hundred codes would push everything else off the screen.
        language = p.language if len(p.language) <= 12 else "multilingual"
        size = "" if p.parameters is None else f"{p.parameters / 1e6:.1f}"
        line = f"{p.name:{width}}  {language:12}  {p.layers or '':>6}  {p.width or '':>5}  {size:>15}  {p.licence or ''}, {p.handle}"
        typer.echo(line)


def _import_tensorflow() -> None:
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


def _read(run, data, text, text_pair, label, classes=None, on_empty="drop"):
    """Read a file with the columns that the run was trained with, unless others are named."""
    from tl_keras.data.table import read_table
    from tl_keras.runs.folder import read_config

    config = read_config(run) if (Path(run) / "config.json").is_file() else {"text": "text", "label": "label"}
    wants_label = classes is not None
    return read_table(
        data,
        text or config["text"],
        (label or config["label"]) if wants_label else None,
        text_pair or config.get("text_pair"),
        classes=classes,
        label_separator=config.get("label_separator") if wants_label else None,
        quoting=config.get("quoting", "auto"),
        encoding=config.get("encoding", "utf-8"),
        on_empty=on_empty,
    )


def _read_tagged(run, data, labels=None):
    """Read a tagged file as the run's training file was read."""
    from tl_keras.data.tagging_files import read_tagged
    from tl_keras.runs.folder import read_config

    config = read_config(run) if (Path(run) / "config.json").is_file() else {}
    names = ("scheme", "word_column", "tag_column", "overlaps", "encoding")
    # The format is found anew: a run trained on CoNLL columns may well be scored on JSON lines.
    return read_tagged(data, labels=labels, **{name: config[name] for name in names if name in config})


def _predict_entities(model, run, texts, data, out, text) -> None:
    """Tag texts: JSON lines to the screen or to a file, in the form that `train` reads."""
    if data is not None:
        if Path(data).suffix in {".csv", ".tsv"} or text is not None:
            from tl_keras.data.table import read_table

            texts = read_table(data, text or "text", None, on_empty="keep").texts.tolist()
        else:
            texts = _read_tagged(run, data).texts.tolist()
    rows = zip(texts, model.entities(texts), strict=True)
    lines = [json.dumps({"text": text, "entities": found}, ensure_ascii=False) for text, found in rows]
    if out is None:
        typer.echo("\n".join(lines))
        return
    _write_file(out, "".join(line + "\n" for line in lines))
    typer.echo(f"{len(lines)} texts tagged: {out}")


def _write_file(path: str, content: str) -> None:
    """Write beside and rename, so that nobody finds half a file."""
    target = Path(path)
    beside = target.with_name(f".{target.name}.partial")
    try:
        beside.write_text(content, "utf-8", newline="")
        beside.replace(target)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}.") from error


def _settings(cls, task: str, arguments: dict, context: typer.Context):
    """The settings of a task from all options; one that the task does not have must not be given."""
    fields = {field.name for field in dataclasses.fields(cls)}
    for name in arguments:
        source = context.get_parameter_source(name)
        if name not in fields and source is not None and source.name == "COMMANDLINE":
            raise UserError(f"{task} has no option --{name.replace('_', '-')}.")
    return cls(**{name: value for name, value in arguments.items() if name in fields})


def main() -> None:
    """Run the command line. Exit codes: 0 done, 2 the call or the input is wrong, 1 our bug."""
    arguments = sys.argv[1:]
    if "--keras" in arguments[1:] and "--" not in arguments:
        # It belongs before the command, but after it is where people look for it.
        at = arguments.index("--keras")
        arguments = [*arguments[at : at + 2], *arguments[:at], *arguments[at + 2 :]]
    try:
        app(arguments)
    except UserError as error:
        print(f"tl-keras: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
