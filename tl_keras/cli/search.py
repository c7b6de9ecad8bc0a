"""`index` and `search` from the command line: encode a collection once, then ask it."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated, Optional

import typer

from tl_keras.cli import running
from tl_keras.cli.running import import_tensorflow, show
from tl_keras.errors import UserError
from tl_keras.files import refuse_input_as_output

logger = logging.getLogger(__name__)

# typer evaluates these at run time, also on Python 3.10, where only Optional[...] reads as it should.
# ruff: noqa: UP045


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
    seq_length: Annotated[
        int, typer.Option(help="With a pre-trained encoder: longest text in tokens; longer ones are cut.")
    ] = 256,
    pooling: running.Pooling = "mean",
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

        made_with.update(how)
        if lexical_weight is None:
            lexical_weight = float(encoder_of(model.model).suggested.get("lexical_weight", 0.0))
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
