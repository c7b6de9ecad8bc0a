"""`zero-shot-classification` from the command line: labels that are named when it is asked. Importing this loads no TensorFlow."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from tl_keras.cli.commands import train_command
from tl_keras.cli.running import import_tensorflow, write_file
from tl_keras.errors import UserError
from tl_keras.tasks.task_settings import ZeroShotSettings, described_labels

# ruff: noqa: UP045  (typer reads annotations at run time, also on Python 3.10)

train = train_command(
    ZeroShotSettings,
    "tl_keras.tasks.few_labels:ZeroShotRun",
    "Learn entailment from pairs (NLI data); the result answers for any labels: tl-keras zero-shot RUN TEXT --label A --label B.",
)


def _no_labels_yet(model, run: str, *others):
    """Refused: labels are named when it is asked."""
    raise UserError(f"{run} has no labels of its own; name them: tl-keras zero-shot {run} TEXT --label A --label B.")


evaluate = predict = stream = _no_labels_yet


def zero_shot(
    model: Annotated[
        str,
        typer.Argument(
            help="Pre-trained encoder or sentence encoder (similarity), or run of zero-shot-classification (entailment)."
        ),
    ],
    texts: Annotated[Optional[list[str]], typer.Argument(metavar="TEXT ...", help="Texts to label.")] = None,
    label: Annotated[
        Optional[list[str]],
        typer.Option(
            help='A candidate label, or one with a description: "LOC=a place, a city or a country". Repeat for each.'
        ),
    ] = None,
    template: Annotated[Optional[str], typer.Option(help="Sentence that a description is put into, at {}.")] = None,
    multi_label: Annotated[
        bool, typer.Option("--multi-label", help="A text may have several labels, or none (entailment only).")
    ] = False,
    seq_length: Annotated[
        int, typer.Option(help="With a pre-trained encoder: longest text in tokens; longer ones are cut.")
    ] = 128,
    data: Annotated[Optional[str], typer.Option(help="CSV or TSV file with texts.")] = None,
    text: Annotated[str, typer.Option(help="Column with the text.")] = "text",
    out: Annotated[Optional[str], typer.Option(help="CSV file to write.")] = None,
) -> None:
    """Label texts with labels that no model was trained on."""
    if bool(texts) == (data is not None):
        raise UserError("give either texts, or a file with --data FILE --out FILE.")
    if (data is None) != (out is None):
        raise UserError("--data and --out go together: the file to read and the file to write.")
    if not label:
        raise UserError('name the candidate labels: --label sports --label "LOC=a place, a city or a country".')
    named = described_labels(label)
    import_tensorflow()
    from tl_keras.serving.by_handle import zero_shot_classifier

    if data is not None:
        from tl_keras.data.table import read_table

        texts = read_table(data, text, on_empty="keep").texts.tolist()
    answers = zero_shot_classifier(model, named, template=template, seq_length=seq_length).predict(
        texts, multi_label=multi_label
    )
    if out is None:
        typer.echo(answers.to_csv(index=False, sep="\t", float_format="%.4f").rstrip("\n"))
        return
    write_file(out, answers.to_csv(index=False))
    typer.echo(f"{len(answers)} texts labelled: {out}")
