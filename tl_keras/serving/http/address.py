"""Which models are served, under which names, and where: what can be wrong is said before TensorFlow is waited for."""

from __future__ import annotations

import errno
import re
import socket
from pathlib import Path

from tl_keras.errors import UserError
from tl_keras.serving.versions import versions_of


def name_of(path: Path) -> str:
    """What a model is called if nobody says: the name of its folder; of a version or a run's `saved_model` the one above.

    Example:
        >>> name_of(Path("models/reviews/3")), name_of(Path("runs/tags"))
        ('reviews', 'tags')
    """
    path = path.resolve()
    while path.name.isdecimal() or path.name == "saved_model":
        path = path.parent
    return path.name


def named(runs: list[str], names: list[str]) -> dict[str, Path]:
    """Names and paths of the models to serve.

    Args:
        runs: run folders, exports, folders of versions.
        names: as many, or none.

    Raises:
        UserError: not as many names as models, a name twice, a name that cannot stand in an address, or nothing to serve at a path.
    """
    if names and len(names) != len(runs):
        raise UserError(
            f"--name is given {len(names)} times for {len(runs)} models; give it once for each, or not at all."
        )
    paths: dict[str, Path] = {}
    for run, name in zip(runs, names or [name_of(Path(run)) for run in runs], strict=True):
        if not re.fullmatch(r"[\w.-]+", name, re.ASCII):
            raise UserError(
                f"{name!r} cannot be a model's name; give one of letters, digits, '_', '-' and '.' with --name."
            )
        if name in paths:
            raise UserError(f"two models are called {name!r}; give each its own with --name.")
        versions_of(Path(run))
        paths[name] = Path(run)
    return paths


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to an address, so that a port in use is noticed before models are loaded. It does not listen yet.

    Raises:
        UserError: the address cannot be had.
    """
    if not 0 <= port <= 65535:
        raise UserError(f"--port must be 0 to 65535, not {port}.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError) as error:
        raise UserError(f"--host {host}: there is no such address.") from error
    found = socket.socket(family, kind, protocol)
    # Else the port stays taken for a minute after a server has stopped.
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind(address)
    except OSError as error:
        found.close()
        if error.errno == errno.EADDRINUSE:
            raise UserError(f"port {port} is in use; choose another with --port.") from error
        if error.errno == errno.EACCES:
            raise UserError(f"port {port} needs rights you do not have; choose one above 1023 with --port.") from error
        raise UserError(f"cannot listen on {host}, port {port}: {error.strerror}.") from error
    return found
