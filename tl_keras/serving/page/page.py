"""The page: a model's view with its examples, shown on this machine. Nothing is sent anywhere else."""

from __future__ import annotations

import os
import threading
from pathlib import Path

# Gradio reads these when it is imported: no statistics to its makers, no look for a newer version.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import gradio as gr

from tl_keras.errors import on_signals
from tl_keras.serving.by_handle import open_index
from tl_keras.serving.index_files import META, VECTORS
from tl_keras.serving.page.examples import run_examples
from tl_keras.serving.page.views import View, view_of
from tl_keras.serving.predict import load_exported


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
