"""`encode` from the command line: the vectors of a file's texts, for any other program that reads NumPy's files."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Optional

import typer

from tl_keras.cli import running
from tl_keras.cli.running import import_tensorflow
from tl_keras.cli.spark import Engine, check_spark, encode_with_spark, refuse_options
from tl_keras.errors import UserError
from tl_keras.files import refuse_input_as_output, whole_file
from tl_keras.tasks.task_settings import TextClassificationSettings

# typer evaluates these at run time, also on Python 3.10, where only Optional[...] reads as it should.
# ruff: noqa: UP045

_FIELDS = {field.name: field.metadata for field in dataclasses.fields(TextClassificationSettings)}


def encode(
    data: Annotated[
        str,
        typer.Option(help="Table of any kind that training reads; with --engine spark Parquet files, or a pattern."),
    ],
    out: Annotated[
        str,
        typer.Option(
            help="File to write: .npz with vectors, and labels if a label column is named; with --engine spark a folder."
        ),
    ],
    encoder: Annotated[
        str,
        typer.Option(help="Pre-trained encoder: preset, URL, .tar.gz or folder; or run folder of a sentence encoder."),
    ] = running.DEFAULT_ENCODER,
    text: Annotated[str, typer.Option(help=_FIELDS["text"]["help"])] = "text",
    text_pair: Annotated[Optional[str], typer.Option(help="Column with a second text, to be read with it.")] = None,
    label: Annotated[
        Optional[str], typer.Option(help="Column with the label; labels are written beside the vectors.")
    ] = None,
    pooling: Annotated[
        Optional[str],
        typer.Option(
            help="Pooling of a pre-trained encoder: mean (the default) or max over the tokens, or cls.",
            callback=running.one_of("--pooling", "mean", "max", "cls"),
        ),
    ] = None,
    seq_length: Annotated[
        Optional[int], typer.Option(min=3, help="Longest text in tokens; longer ones are cut. Default: 128.")
    ] = None,
    layers: Annotated[Optional[int], typer.Option(min=1, help="Use only the first N blocks of the encoder.")] = None,
    normalize: Annotated[bool, typer.Option("--normalize", help="Scale each vector to length 1.")] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts in a batch.")] = 64,
    preprocessor: running.Preprocessor = None,
    encoding: running.Encoding = "utf-8",
    separator: Annotated[Optional[str], typer.Option(help=_FIELDS["separator"]["help"])] = None,
    quoting: Annotated[
        str,
        typer.Option(
            help=_FIELDS["quoting"]["help"], callback=running.one_of("--quoting", *_FIELDS["quoting"]["choices"])
        ),
    ] = "auto",
    on_empty: Annotated[
        str,
        typer.Option(
            help=_FIELDS["on_empty"]["help"], callback=running.one_of("--on-empty", *_FIELDS["on_empty"]["choices"])
        ),
    ] = "keep",
    engine: Engine = None,
) -> None:
    """Turn the texts of a file into vectors: a row of float32 numbers for each text, in the order of the file."""
    if engine == "spark":
        others = {"--text-pair": text_pair, "--label": label, "--separator": separator}
        changed = {"--encoding": encoding != "utf-8", "--quoting": quoting != "auto", "--on-empty": on_empty != "keep"}
        refuse_options("--engine spark", **{name: value is not None for name, value in others.items()}, **changed)
        check_spark()
        import_tensorflow()
        rows = encode_with_spark(
            encoder, data, out, text, batch_size, pooling=pooling, seq_length=seq_length, layers=layers,
            preprocessor=preprocessor, normalize=normalize,
        )  # fmt: skip
        typer.echo(f"{rows} texts encoded: {out}")
        return
    target = Path(out)
    if target.suffix != ".npz":
        raise UserError(f"--out must end in .npz, not be {out}.")
    if not target.parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {target.parent}; make it first.")
    if target.is_dir():
        raise UserError(f"--out {out} is a folder; name a file.")
    refuse_input_as_output(out, [data, encoder])
    from tl_keras.data.table import read_table
    from tl_keras.encoders.resolve import locate

    how = {"separator": separator, "encoding": encoding, "quoting": quoting, "on_empty": on_empty}
    examples = read_table(data, text, label, text_pair, **how)
    for handle in (encoder, preprocessor):
        if handle is not None:
            # One that means nothing is told before the wait for TensorFlow.
            locate(handle)
    import_tensorflow()
    from tl_keras.serving.encode import encode as vectors_of

    vectors = vectors_of(
        encoder,
        examples.texts,
        pooling,
        text_pairs=examples.text_pairs,
        seq_length=seq_length,
        layers=layers,
        preprocessor=preprocessor,
        normalize=normalize,
        batch_size=batch_size,
    )
    arrays = {"vectors": vectors}
    if label is not None:
        arrays["labels"] = examples.label_names
    _write(target, arrays)
    typer.echo(f"{len(vectors)} texts encoded, {vectors.shape[1]} numbers each: {out}")


def _write(target: Path, arrays: dict) -> None:
    """Write beside and rename, so that nobody finds half a file.

    Raises:
        UserError: the file cannot be written.
    """
    import numpy as np

    with whole_file(target) as stream:
        np.savez(stream, **arrays)
