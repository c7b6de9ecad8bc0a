"""`advise` from the command line: look before training."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, Optional

import typer

from tl_keras.cli import running
from tl_keras.cli.running import import_tensorflow
from tl_keras.tasks.task_settings import TextClassificationSettings

# typer evaluates these at run time, also on Python 3.10, where only Optional[...] reads as it should.
# ruff: noqa: UP045

_FIELDS = {field.name: field.metadata for field in dataclasses.fields(TextClassificationSettings)}
Text = Annotated[str, typer.Option(help=_FIELDS["text"]["help"])]
TextPair = Annotated[Optional[str], typer.Option(help=_FIELDS["text_pair"]["help"])]
Label = Annotated[str, typer.Option(help=_FIELDS["label"]["help"])]
Separator = Annotated[Optional[str], typer.Option(help=_FIELDS["separator"]["help"])]
Quoting = Annotated[
    str,
    typer.Option(help=_FIELDS["quoting"]["help"], callback=running.one_of("--quoting", *_FIELDS["quoting"]["choices"])),
]
OnEmpty = Annotated[
    str,
    typer.Option(
        help=_FIELDS["on_empty"]["help"], callback=running.one_of("--on-empty", *_FIELDS["on_empty"]["choices"])
    ),
]


def advise(
    train: Annotated[
        str, typer.Option("--train", help="File with labelled texts, as for `train text-classification`.")
    ],
    encoder: running.EncoderHandle = running.DEFAULT_ENCODER,
    text: Text = "text",
    text_pair: TextPair = None,
    label: Label = "label",
    seq_length: running.SeqLength = 128,
    reference: Annotated[
        Optional[str],
        typer.Option(help="File with texts like those the encoder was made from: a text on each line, or a table."),
    ] = None,
    sample: Annotated[
        int, typer.Option(min=2, help="Texts to measure the learning curve on. More take longer.")
    ] = 3000,
    seed: Annotated[int, typer.Option(help="Random seed of samples, splits and masks.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, as the last line.")] = False,
    out: Annotated[Optional[str], typer.Option(help="Folder for report.md, advice.json and two plots.")] = None,
    overwrite: running.Overwrite = False,
    preprocessor: running.Preprocessor = None,
    encoding: running.Encoding = "utf-8",
    separator: Separator = None,
    quoting: Quoting = "auto",
    on_empty: OnEmpty = "drop",
) -> None:
    """Look at labelled texts and an encoder, forecast the accuracy, and recommend how to train."""
    # Whatever is wrong with the files is said before TensorFlow is imported.
    from tl_keras.advice.labels import label_report
    from tl_keras.advice.report import check_free, write_advice
    from tl_keras.data.pairs import read_collection
    from tl_keras.data.table import read_table

    if out is not None:
        check_free(out, overwrite=overwrite)
    known = None if reference is None else read_collection(reference, None, encoding)
    examples = read_table(
        train, text, label, text_pair, separator=separator, quoting=quoting, encoding=encoding, on_empty=on_empty
    )
    label_report(examples)
    import_tensorflow()
    from tl_keras.advice.advise import advise as look
    from tl_keras.encoders.load import load_encoder

    to_train = {"text": text, "label": label}
    given = {
        "text-pair": text_pair,
        "preprocessor": preprocessor,
        "encoding": encoding,
        "separator": separator,
        "quoting": quoting,
        "on-empty": on_empty,
    }
    usual = {"encoding": "utf-8", "quoting": "auto", "on-empty": "drop"}
    to_train |= {name: value for name, value in given.items() if value is not None and value != usual.get(name)}
    found = look(
        examples,
        load_encoder(encoder, seq_length, preprocessor),
        reference=known,
        sample=sample,
        seed=seed,
        options={"train": train, **to_train},
    )
    if out is not None:
        write_advice(found, out, overwrite=overwrite)
    typer.echo(json.dumps(found.to_dict(), ensure_ascii=False) if as_json else str(found))
    if out is not None and not as_json:
        typer.echo(f"\nreport.md, advice.json and plots/ are in {out}")
