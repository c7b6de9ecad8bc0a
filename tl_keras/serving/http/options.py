"""What a server is told: address and port, names of models, batches and limits."""

from __future__ import annotations

import dataclasses
import errno
import math
import os
import re
import socket
from pathlib import Path

from tl_keras.errors import UserError
from tl_keras.saved_models import versions_of


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


@dataclasses.dataclass(frozen=True)
class ServerSettings:
    """Settings of a server.

    Args:
        max_batch_size: most rows that go through a model together.
        batch_delay_ms: how long a row may wait, in milliseconds, for others to share a batch with.
        parallel_batches: batches that are computed at the same time; TensorFlow shares out each of them among the cores too.
        max_rows: most rows of one request.
        max_body_mb: largest body of a request, in MiB.
        max_queue: most rows that may wait for their answers; a request beyond that is refused with 503.
        timeout: seconds in which the body of a request must have arrived, and a stopping server waits for answers under way.
        poll: seconds between looks for new version folders.
        keep_versions: how many of the highest versions are served at once.

    Raises:
        UserError: a value is out of range.
    """

    max_batch_size: int = 64
    batch_delay_ms: float = 2.0
    parallel_batches: int = max(1, (os.cpu_count() or 1) // 4)
    max_rows: int = 10_000
    max_body_mb: float = 10.0
    max_queue: int = 20_000
    timeout: float = 30.0
    poll: float = 2.0
    keep_versions: int = 1

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value, least = getattr(self, field.name), 0 if field.name == "batch_delay_ms" else 1
            above_zero = field.name in ("max_body_mb", "timeout", "poll")
            if not math.isfinite(value) or (value <= 0 if above_zero else value < least):
                wanted = "above 0" if above_zero else f"at least {least}"
                raise UserError(f"--{field.name.replace('_', '-')} must be {wanted}, not {value:g}.")
        if self.max_queue < self.max_rows:
            raise UserError(
                f"--max-queue {self.max_queue} is below --max-rows {self.max_rows}: the largest request could never be taken."
            )

    @property
    def max_body(self) -> int:
        """Largest body, in bytes."""
        return int(self.max_body_mb * 2**20)
