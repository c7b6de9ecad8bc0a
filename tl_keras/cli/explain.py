"""`explain` from the command line: a weight for each word of a text."""

from __future__ import annotations

import json
import os
import sys
from typing import Annotated, Optional

import typer

from tl_keras.cli.running import import_tensorflow, write_file
from tl_keras.errors import UserError

# typer evaluates these at run time, also on Python 3.10, where only Optional[...] reads as it should.
# ruff: noqa: UP045


def explain(
    run: Annotated[str, typer.Argument(help="Run folder, or an export, of a classifier or of sentence similarity.")],
    texts: Annotated[list[str], typer.Argument(metavar="TEXT [TEXT]", help="The text; for pairs, two of them.")],
    label: Annotated[
        Optional[str], typer.Option(help="Label whose score to explain. Default: the most likely one.")
    ] = None,
    evaluations: Annotated[
        int,
        typer.Option(
            min=1, help="How many texts to ask the model about, at most (roughly); more make the weights more certain."
        ),
    ] = 2000,
    seed: Annotated[int, typer.Option(help="Random seed of the orders in which words are put in.")] = 0,
    out: Annotated[Optional[str], typer.Option(help="HTML file to write, with the words in colours.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, as the last line.")] = False,
) -> None:
    """Say which words speak for a label, or for two texts being alike, and which against it."""
    if len(texts) > 2:
        raise UserError(f"explain takes one text, or two for a pair, not {len(texts)}.")
    import_tensorflow()
    from tl_keras.serving.explain import explain as weigh

    found = weigh(run, *texts, label=label, evaluations=evaluations, seed=seed)
    if out is not None:
        head = '<!doctype html><meta charset="utf-8"><title>tl-keras explain</title>'
        write_file(out, f"{head}\n{found.to_html()}\n")
    if as_json:
        typer.echo(json.dumps(found.to_dict(), ensure_ascii=False))
        return
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        typer.echo(found.to_terminal() + "\n")
    typer.echo(str(found))
