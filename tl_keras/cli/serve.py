"""Models in use: `serve` over HTTP, `try` on a page in the browser, `zero-shot` labels, and `explain`: a weight for each word of a text."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from tl_keras.cli import running
from tl_keras.cli.commands import add_options
from tl_keras.cli.running import check_texts_or_file, import_tensorflow, need_extra, option_parameters, write_file
from tl_keras.errors import UserError
from tl_keras.files import refuse_input_as_output
from tl_keras.serving.http.options import ServerSettings, bind, named
from tl_keras.tasks.task_settings import described_labels

# typer evaluates these at run time, also on Python 3.10, where only Optional[...] reads as it should.
# ruff: noqa: UP045


def serve(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN ...", help="Run folders, exports, or folders of numbered versions.")
    ],
    name: Annotated[
        Optional[list[str]],
        typer.Option(help="Name of a model in the address, one for each RUN. Default: the folder's name."),
    ] = None,
    port: Annotated[int, typer.Option(help="Port to listen on; 0 for any that is free.")] = 8501,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all of this machine's.")] = "127.0.0.1",
    **limits,
) -> None:
    """Serve models over HTTP, as TensorFlow Serving does; new versions are taken up while it runs."""
    need_extra("serve", "tl-keras serve", "starlette", "uvicorn", "orjson", "prometheus_client")
    settings = ServerSettings(**{name: value for name, value in limits.items() if value is not None})
    paths, listening = named(runs, name or []), bind(host, port)
    with listening:
        import_tensorflow()
        from tl_keras.serving.http.app import run_server

        run_server(paths, listening, settings)


add_options(serve, option_parameters(ServerSettings))


def try_page(
    run: Annotated[str, typer.Argument(help="Run folder, export, or index.")],
    port: Annotated[int, typer.Option(help="Port to listen on; 0 for any that is free.")] = 7860,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all of this machine's.")] = "127.0.0.1",
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Try a model on a page in the browser: probabilities, entities, answers, likeness, search."""
    need_extra("try", "tl-keras try", "gradio")
    from tl_keras.saved_models import versions_of

    # What is wrong with the folder or the address is noticed before the wait for TensorFlow; Gradio binds it anew.
    if not (Path(run) / "vectors.npy").is_file():
        versions_of(run)
    with bind(host, port) as found:
        port = found.getsockname()[1]
    import_tensorflow()
    from tl_keras.serving.page import build_page, show_until_stopped

    page = build_page(run)
    show_until_stopped(
        page, host, port, open_browser=open_browser, tell=lambda address: typer.echo(f"{address} (Ctrl-C ends it)")
    )


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
    seq_length: running.TextLength = 128,
    data: Annotated[Optional[str], typer.Option(help="CSV or TSV file with texts.")] = None,
    text: Annotated[str, typer.Option(help="Column with the text.")] = "text",
    out: Annotated[Optional[str], typer.Option(help="CSV file to write.")] = None,
) -> None:
    """Label texts with labels that no model was trained on."""
    check_texts_or_file(texts, data, out)
    if not label:
        raise UserError('name the candidate labels: --label sports --label "LOC=a place, a city or a country".')
    if out is not None:
        refuse_input_as_output(out, [data, model])
    named = described_labels(label)
    if len(named) < 2 and not multi_label:
        raise UserError("at least two labels are needed to choose between; name another with --label.")
    import_tensorflow()
    from tl_keras.serving.by_handle import zero_shot_classifier

    if data is not None:
        from tl_keras.data.table import read_table

        texts = read_table(data, text, label=None, on_empty="keep").texts.tolist()
    answers = zero_shot_classifier(model, named, template=template, seq_length=seq_length).predict(
        texts, multi_label=multi_label
    )
    if out is None:
        typer.echo(answers.to_csv(index=False, sep="\t", float_format="%.4f").rstrip("\n"))
        return
    write_file(out, answers.to_csv(index=False))
    typer.echo(f"{len(answers)} texts labelled: {out}")


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
