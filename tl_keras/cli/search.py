"""Vectors from the command line: `encode`, and `index` and `search`, to encode a collection once and then ask it."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated, Optional

import typer

from tl_keras.cli import running
from tl_keras.cli.commands import add_options
from tl_keras.cli.running import import_tensorflow, option_parameters, show
from tl_keras.cli.spark import Engine, check_spark, encode_with_spark, refuse_options
from tl_keras.errors import UserError
from tl_keras.files import refuse_input_as_output, whole_file
from tl_keras.tasks.settings import TableSettings

# typer evaluates these at run time, also on Python 3.10, where only Optional[...] reads as it should.
# ruff: noqa: UP045


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
    text_pair: Annotated[Optional[str], typer.Option(help="Column with a second text, to be read with it.")] = None,
    label: Annotated[
        Optional[str], typer.Option(help="Column with the label; labels are written beside the vectors.")
    ] = None,
    pooling: Annotated[
        Optional[str],
        typer.Option(
            help="Pooling of a pre-trained encoder: mean or max over the tokens, or cls. "
            "Default: what it was made for, else mean.",
            callback=running.one_of("--pooling", "mean", "max", "cls"),
        ),
    ] = None,
    seq_length: Annotated[
        Optional[int], typer.Option(min=3, help="Longest text in tokens; longer ones are cut. Default: 128.")
    ] = None,
    layers: Annotated[Optional[int], typer.Option(min=1, help="Use only the first N blocks of the encoder.")] = None,
    normalize: Annotated[bool, typer.Option("--normalize", help="Scale each vector to length 1.")] = False,
    role: Annotated[
        str,
        typer.Option(
            help="What the texts are, to an encoder that knows prompts: passage (documents that will be searched) or query (all others).",
            callback=running.one_of("--role", "query", "passage"),
        ),
    ] = "query",
    batch_size: Annotated[int, typer.Option(min=1, help="Texts in a batch.")] = 64,
    engine: Engine = None,
    **table,
) -> None:
    """Turn the texts of a file into vectors: a row of float32 numbers for each text, in the order of the file."""
    TableSettings(train=data, out=out, **table)
    preprocessor = table.pop("preprocessor")
    if engine == "spark":
        text = table.pop("text")
        given = {"--text-pair": text_pair, "--label": label}
        given |= {f"--{name.replace('_', '-')}": value for name, value in table.items() if value != _USUAL[name]}
        refuse_options("--engine spark", **{name: value is not None for name, value in given.items()})
        check_spark()
        import_tensorflow()
        rows = encode_with_spark(
            encoder, data, out, text, batch_size, pooling=pooling, seq_length=seq_length, layers=layers,
            preprocessor=preprocessor, normalize=normalize, role=role,
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

    examples = read_table(data, label=label, text_pair=text_pair, **table)
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
        role=role,
        batch_size=batch_size,
    )
    arrays = {"vectors": vectors}
    if label is not None:
        arrays["labels"] = examples.label_names
    _write(target, arrays)
    typer.echo(f"{len(vectors)} texts encoded, {vectors.shape[1]} numbers each: {out}")


_TABLE = option_parameters(
    TableSettings, ("text", "preprocessor", "encoding", "separator", "quoting", "on_empty"), on_empty="keep"
)
_USUAL = {one.name: one.default for one in _TABLE}
add_options(encode, _TABLE)


def _write(target: Path, arrays: dict) -> None:
    """Write beside and rename, so that nobody finds half a file.

    Raises:
        UserError: the file cannot be written.
    """
    import numpy as np

    with whole_file(target) as stream:
        np.savez(stream, **arrays)


logger = logging.getLogger(__name__)


def index(
    encoder: Annotated[
        str, typer.Option(help="Run folder or export of sentence-similarity or retrieval, or a pre-trained encoder.")
    ],
    data: Annotated[
        str,
        typer.Option(
            help="The texts: a table of any kind that training reads, .json as SQuAD's, or a file with a text on each line."
        ),
    ],
    out: Annotated[str, typer.Option(help="Folder for the index.")],
    text: Annotated[Optional[str], typer.Option(help="Column with the text, where DATA is a table.")] = None,
    approximate: Annotated[
        bool, typer.Option("--approximate", help="Build a graph of neighbours too, for far more than 100,000 texts.")
    ] = False,
    seq_length: running.TextLength = 256,
    pooling: running.Pooling = None,
    lexical_weight: Annotated[
        Optional[float],
        typer.Option(
            help="With a pre-trained encoder: how much of the score is shared words (BM25), 0 to 1. "
            "Default: what the encoder's makers suggest, else 0.",
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Texts in a batch.")] = 64,
    overwrite: running.Overwrite = False,
    preprocessor: running.Preprocessor = None,
    encoding: running.Encoding = "utf-8",
) -> None:
    """Encode a collection of texts, to be searched."""
    folder = Path(out)
    refuse_input_as_output(out, [data, encoder])
    if folder.exists() and not overwrite:
        raise UserError(f"{folder} exists; choose another --out, or pass --overwrite to replace it.")
    if batch_size < 1:
        raise UserError(f"--batch-size must be at least 1, not {batch_size}.")
    if lexical_weight is not None and not 0.0 <= lexical_weight < 1.0:
        raise UserError(f"--lexical-weight must be at least 0 and below 1, not {lexical_weight:g}.")
    from tl_keras.data.pairs import read_collection

    texts = read_collection(data, text, encoding)
    import_tensorflow()
    from tl_keras.serving.by_handle import load_text_encoder
    from tl_keras.serving.index import TextIndex

    how = {"seq_length": seq_length, "pooling": pooling, "preprocessor": preprocessor}
    model = load_text_encoder(encoder, **how)
    # So that `search` finds it again, from wherever it is called.
    made_with = {"encoder": str(Path(encoder).resolve()) if Path(encoder).exists() else encoder}
    if model.folder:  # an export
        if lexical_weight is not None:
            raise UserError(
                f"how much shared words count in {encoder} was decided when it was trained; leave --lexical-weight out."
            )
        lexical_weight = 0.0
    else:
        from tl_keras.encoders.load import encoder_of
        from tl_keras.serving.encode import fixed_pooling

        used = encoder_of(model.model)
        made_with.update(how | {"pooling": pooling or fixed_pooling(used, None)})
        if lexical_weight is None:
            lexical_weight = float(used.suggested.get("lexical_weight", 0.0))
            if lexical_weight:
                logger.info(
                    "Shared words count %g and meaning %g, as the makers of %s suggest; --lexical-weight 0 leaves them out.",
                    lexical_weight, 1 - lexical_weight, encoder,
                )  # fmt: skip
    built = TextIndex.build(
        model, texts, approximate=approximate, batch_size=batch_size, made_with=made_with, lexical_weight=lexical_weight
    )
    built.save(out, overwrite=overwrite)
    typer.echo(f"{len(built)} texts indexed: {out}")


def search(
    index: Annotated[str, typer.Argument(help="Folder that `tl-keras index` wrote.")],
    queries: Annotated[Optional[list[str]], typer.Argument(metavar="QUERY ...", help="Texts to search for.")] = None,
    data: Annotated[Optional[str], typer.Option(help="File with a query on each line, or a table.")] = None,
    text: Annotated[Optional[str], typer.Option(help="Column with the query, where DATA is a table.")] = None,
    k: Annotated[int, typer.Option("--top", "-k", help="How many texts to find for each query.")] = 5,
    encoder: Annotated[
        Optional[str], typer.Option(help="Where the encoder is now. Default: where it was when the index was built.")
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Compare with every text, also where there is an approximate index.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, as the last line.")] = False,
    encoding: running.Encoding = "utf-8",
) -> None:
    """Find the texts nearest to each query, in meaning and, as the index was built, in shared words."""
    if bool(queries) == (data is not None):
        raise UserError("give either queries, or a file of them with --data FILE.")
    if k < 1:
        raise UserError(f"--top must be at least 1, not {k}.")
    if data is not None:
        from tl_keras.data.pairs import read_collection

        queries = list(read_collection(data, text, encoding))
    import_tensorflow()
    from tl_keras.serving.by_handle import open_index

    found = open_index(index, encoder, exact=exact).search(queries, k)
    if as_json:
        typer.echo(json.dumps({"index": index, "results": found.to_dict("records")}, ensure_ascii=False))
        return
    for query, rows in found.groupby("query", sort=False):
        show(query)
        for row in rows.itertuples():
            show(f"{row.rank:4}  {row.score:.4f}  {' '.join(row.text.split())}")
