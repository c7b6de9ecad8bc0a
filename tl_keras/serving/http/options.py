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
from tl_keras.options import option, setting
from tl_keras.saved_models import versions_of

LIMITS = "Batches and limits"


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
    """Settings of a server; the fields are options of `serve`.

    Raises:
        UserError: a value is out of range.
    """

    keep_versions: int = setting(1, help="How many of the highest versions are served at once.")
    poll: float = setting(2.0, help="Seconds between looks for new versions.")
    max_batch_size: int = setting(64, help="Most rows that go through a model together.", panel=LIMITS)
    batch_delay_ms: float = setting(
        2.0, help="Longest time a row waits for others to share a batch with, in milliseconds.", panel=LIMITS
    )
    parallel_batches: int = setting(
        max(1, (os.cpu_count() or 1) // 4),
        help="Batches computed at the same time. Default: one for every four cores.",
        panel=LIMITS,
        type=int | None,
    )
    max_rows: int = setting(10_000, help="Most rows of one request.", panel=LIMITS)
    max_body_mb: float = setting(10.0, help="Largest body of a request, in MiB.", panel=LIMITS)
    max_queue: int = setting(20_000, help="Most rows that wait for answers; more are refused (503).", panel=LIMITS)
    timeout: float = setting(
        30.0, help="Seconds for a request's body to arrive, and to stop after SIGTERM.", panel=LIMITS
    )

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value, least = getattr(self, field.name), 0 if field.name == "batch_delay_ms" else 1
            above_zero = field.name in ("max_body_mb", "timeout", "poll")
            if not math.isfinite(value) or (value <= 0 if above_zero else value < least):
                wanted = "above 0" if above_zero else f"at least {least}"
                raise UserError(f"{option(field)} must be {wanted}, not {value:g}.")
        if self.max_queue < self.max_rows:
            raise UserError(
                f"--max-queue {self.max_queue} is below --max-rows {self.max_rows}: the largest request could never be taken."
            )

    @property
    def max_body(self) -> int:
        """Largest body, in bytes."""
        return int(self.max_body_mb * 2**20)
