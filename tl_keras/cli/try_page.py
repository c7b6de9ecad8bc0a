"""`try` from the command line: a page in the browser to try a model in."""

from __future__ import annotations

from typing import Annotated

import typer

from tl_keras.cli.running import import_tensorflow, need_extra


def try_page(
    run: Annotated[str, typer.Argument(help="Run folder, export, or index.")],
    port: Annotated[int, typer.Option(help="Port to listen on; 0 for any that is free.")] = 7860,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all of this machine's.")] = "127.0.0.1",
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Try a model on a page in the browser: probabilities, entities, answers, likeness, search."""
    need_extra("try", "tl-keras try", "gradio")
    from tl_keras.serving.http.options import bind
    from tl_keras.serving.page.examples import check_for_page

    check_for_page(run)
    # Noticed before the wait for TensorFlow; Gradio binds it anew.
    with bind(host, port) as found:
        port = found.getsockname()[1]
    import_tensorflow()
    from tl_keras.serving.page.page import build_page, show_until_stopped

    page = build_page(run)
    show_until_stopped(
        page, host, port, open_browser=open_browser, tell=lambda address: typer.echo(f"{address} (Ctrl-C ends it)")
    )
