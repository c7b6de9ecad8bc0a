"""A page in the browser to try a model in (extra `try`): its view, and examples of what its run got wrong. Nothing leaves this machine."""

from __future__ import annotations

import json
import logging
import os
import re
import threading
from pathlib import Path

# Gradio reads these when it is imported: no statistics to its makers, no look for a newer version.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import gradio as gr

from tl_keras.errors import UserError, on_signals
from tl_keras.serving.by_handle import open_index
from tl_keras.serving.index_files import META, VECTORS
from tl_keras.serving.page_views import View, view_of
from tl_keras.serving.predict import load_exported

logger = logging.getLogger(__name__)

# Section of the report, and its columns that a view takes as inputs. Without the context a question is no example: see below.
SECTIONS = {
    "Most confident errors": ("text",),
    "Largest disagreements in rank": ("text", "other text"),
    "Wrong document first": ("question", "right document"),
}
CUT = "…"
"""Ends a cell that shows only the beginning of a text."""


def run_examples(run: str | os.PathLike, inputs: int) -> list[list[str]]:
    """What a run got wrong on its validation examples, as inputs to try.

    Texts too long for the report are left out; those of question answering are looked up in the run's data, if that is still there.

    Args:
        run: a run folder; anything else has no examples.
        inputs: texts that the model takes at once.

    Returns:
        Lists of `inputs` texts; empty if there are none.
    """
    run = Path(run)
    report, config = run / "report.md", run / "config.json"
    if not report.is_file() or not config.is_file():
        return []
    text, settings = report.read_text("utf-8"), json.loads(config.read_text("utf-8"))
    if settings.get("task") == "question-answering":
        questions = {row["question"] for row in rows_under(text, "Most confident errors")}
        return _with_contexts(questions, settings)
    for title, columns in SECTIONS.items():
        found = [[row[name] for name in columns] for row in rows_under(text, title) if set(columns) <= row.keys()]
        if found:
            # A pair of a classifier stands in one cell.
            rows = [row[0].split(" / ", 1) if (len(row), inputs) == (1, 2) else row for row in found]
            return [row for row in rows if len(row) == inputs and not any(cell.endswith(CUT) for cell in row)]
    return []


def rows_under(markdown: str, title: str) -> list[dict[str, str]]:
    r"""The rows of the table under a title, by column; empty if there is none.

    Example:
        >>> rows_under("## Errors\n\n| text | label |\n|---|---|\n| a \\| b | x |\n", "Errors")
        [{'text': 'a | b', 'label': 'x'}]
    """
    _, found, behind = markdown.partition(f"## {title}\n")
    table = []
    for line in behind.lstrip("\n").splitlines() if found else []:
        if not line.startswith("|"):
            break
        cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
        table.append([cell.strip().replace("\\|", "|") for cell in cells])
    # Head, rule, rows.
    return [dict(zip(table[0], row, strict=False)) for row in table[2:]]


def _with_contexts(questions: set[str], settings: dict) -> list[list[str]]:
    from tl_keras.data.squad import read_squad

    for name in ("validation", "train"):
        path = settings.get(name)
        if not path:
            continue
        try:
            data = read_squad(path)
        except UserError as error:
            logger.warning("No examples: %s", error)
            continue
        pairs = zip(data.questions, data.contexts, strict=True)
        found = [[question, context] for question, context in pairs if " ".join(question.split()) in questions]
        if found:
            return found[:10]
    return []


def load_for_page(path: str | os.PathLike):
    """The model of a run folder or an export, or an index.

    Raises:
        UserError: it is none of them.
    """
    folder = Path(path)
    if (folder / META).is_file() and (folder / VECTORS).is_file():
        return open_index(folder)
    return load_exported(folder)


def build_page(path: str | os.PathLike) -> gr.Interface:
    """The page of a model, not yet shown.

    Args:
        path: run folder, export or index.

    Raises:
        UserError: there is nothing to show.
    """
    view = view_of(load_for_page(path))
    texts = sum(isinstance(field, gr.Textbox) for field in view.inputs)
    return interface(view, run_examples(path, texts), Path(path).name)


def interface(view: View, examples: list[list[str]], name: str) -> gr.Interface:
    """A view as a page.

    Args:
        view: of a model.
        examples: texts for its text fields.
        name: of the model, for the reader.
    """
    # Other fields, such as how many results are wanted, keep their values: None leaves them out of the table.
    others = [None for field in view.inputs if not isinstance(field, gr.Textbox)]
    return gr.Interface(
        view.answer,
        view.inputs,
        view.outputs,
        title=view.title,
        description=f"`{name}`" + (" · the examples below are what the run got wrong" if examples else ""),
        examples=[[*row, *others] for row in examples] or None,
        cache_examples=False,
        preload_example=False,
        flagging_mode="never",
        analytics_enabled=False,
        api_name="answer",
        delete_cache=(3600, 3600),
    )


def show(page: gr.Interface, host: str, port: int, *, open_browser: bool = False) -> str:
    """Begin to show a page, in threads of its own; `page.close()` ends it.

    Returns:
        Its address.
    """
    _, address, _ = page.launch(
        server_name=host,
        server_port=port,
        inbrowser=open_browser,
        prevent_thread_lock=True,
        share=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        footer_links=[],
        quiet=True,
    )
    return address


def show_until_stopped(page: gr.Interface, host: str, port: int, *, open_browser: bool, tell) -> None:
    """Show a page until SIGTERM or Ctrl-C.

    Args:
        page: from `build_page`.
        host: to listen on.
        port: to listen on.
        open_browser: open it there, too.
        tell: called with the address.
    """
    stop = threading.Event()
    with on_signals(lambda number: stop.set()):
        try:
            tell(show(page, host, port, open_browser=open_browser))
            # With a time, so that signals are looked at.
            while not stop.wait(1.0):
                pass
        finally:
            page.close(verbose=False)
