"""Start a server and stop it: the models, the signals."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

import uvicorn

from tl_keras.serving.http.app import Server
from tl_keras.serving.http.options import ServerSettings
from tl_keras.signals import on_signals

logger = logging.getLogger(__name__)


def run_server(paths: dict[str, Path], listening: socket.socket, settings: ServerSettings) -> None:
    """Load the models and answer until SIGTERM or SIGINT; requests under way are answered before it returns.

    Args:
        paths: of the models, by name.
        listening: from `bind`.
        settings: batches and limits.

    Raises:
        UserError: a model cannot be loaded.
    """
    server = Server(paths, settings)
    server.models.load_all()
    config = uvicorn.Config(
        server.app(),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=max(1, round(settings.timeout)),
        server_header=False,
        proxy_headers=False,
    )
    host, port = listening.getsockname()[:2]
    logger.info(
        "Serving %s on http://%s:%d/v1/models/NAME", ", ".join(paths), f"[{host}]" if ":" in host else host, port
    )
    # uvicorn sends itself the signal again when it has stopped cleanly; that shall not count as a crash.
    with on_signals(lambda number: None):
        uvicorn.Server(config).run(sockets=[listening])
