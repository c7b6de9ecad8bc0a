"""What every pre-training run keeps of its course: the history file, means between its rows, the clock, progress reports."""

from __future__ import annotations

import csv
import io
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tl_keras.files import write_whole

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Report:
    """Where a run stands, for a progress bar.

    Attributes:
        step: Steps done.
        progress: Fraction of the run that is over.
        seconds_left: Estimated time until the end.
        tokens_per_second: Speed since the last report.
        measures: Training losses and accuracies since the last history row.
    """

    step: int
    progress: float
    seconds_left: float
    tokens_per_second: float
    measures: dict[str, float]


def read_history(folder: str | Path) -> list[dict[str, str]]:
    """The rows of `history.csv`, none if there is no such file."""
    path = Path(folder) / "history.csv"
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def write_history(folder: Path, columns: Sequence[str], rows: Iterable[Mapping]) -> None:
    """Write `history.csv` anew, whole or not at all."""
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, columns)
    writer.writeheader()
    writer.writerows(rows)
    write_whole(folder / "history.csv", stream.getvalue())


def append_history(folder: Path, columns: Sequence[str], row: Mapping) -> None:
    """Add one row to `history.csv`."""
    with (folder / "history.csv").open("a", encoding="utf-8", newline="") as stream:
        csv.DictWriter(stream, columns).writerow(row)


class Clock:
    """Counts the seconds of a run, step by step, and leaves out pauses.

    A process that was stopped, or a machine that slept, did not train: a run measured in minutes shall not end for it.

    Args:
        seconds: What was counted before.
        now: The time in seconds; replaced in tests.
    """

    PAUSE = 20.0  # a step this many times longer than usual, and longer than half a minute, was a pause

    def __init__(self, seconds: float = 0.0, now: Callable[[], float] = time.monotonic):
        self.seconds, self._now, self._last, self._usual = seconds, now, now(), None

    def tick(self) -> float:
        """Call after each step; returns the seconds counted so far."""
        now = self._now()
        step, self._last = now - self._last, now
        if self._usual is not None and step > max(self.PAUSE * self._usual, 30.0):
            logger.info("a pause of %.0f seconds is not counted", step)
            step = self._usual
        # The first step compiles, so it says little about the usual one; the mean forgets it.
        self._usual = step if self._usual is None else 0.8 * self._usual + 0.2 * step
        self.seconds += step
        return self.seconds


class Means:
    """Means over batches of different size: each measure counts by the number of things it was taken over.

    Args:
        sums: The state of an earlier object: for each measure the weighted sum and the weight.

    Example:
        >>> means = Means()
        >>> means.add("loss", 2.0, weight=3)
        >>> means.add("loss", 4.0, weight=1)
        >>> means.values()
        {'loss': 2.5}
    """

    def __init__(self, sums: Mapping[str, Sequence[float]] | None = None):
        self.sums = {name: list(pair) for name, pair in (sums or {}).items()}

    def add(self, name: str, value, weight: float) -> None:
        """Take in one figure of one batch."""
        pair = self.sums.setdefault(name, [0.0, 0.0])
        pair[0] += weight * float(np.asarray(value))
        pair[1] += weight

    def values(self) -> dict[str, float]:
        """The means so far; a measure that nothing was counted for is left out."""
        return {name: total / weight for name, (total, weight) in self.sums.items() if weight}
