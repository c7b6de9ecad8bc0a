"""What can be set of the server: batches, limits, and how often it looks for new versions."""

from __future__ import annotations

import dataclasses
import math
import os

from tl_keras.errors import UserError


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
