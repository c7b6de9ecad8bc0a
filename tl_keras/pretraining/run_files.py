"""What a run writes: history.csv, its means and speed, the plot of its losses; and what it exports, part by part, each of them whole."""

from __future__ import annotations

import contextlib
import csv
import io
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import ops

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


def matmul_rate(size: int = 2048, repeats: int = 5, dtype: str = "float32") -> float:
    """Measure the rate of one large matrix product.

    Args:
        size: Rows and columns of both matrices.
        repeats: Measurements; the fastest counts, since other programs can only slow it down.
        dtype: Of the matrices.

    Returns:
        FLOP per second: 2 x `size`³ over the seconds of the fastest product.
    """
    rng = np.random.default_rng(0)
    a, b = (ops.cast(ops.convert_to_tensor(rng.standard_normal((size, size), "float32")), dtype) for _ in "ab")
    fastest = float("inf")
    for _ in range(repeats + 1):
        begun = time.perf_counter()
        # Fetching one number waits for the result, which some backends compute in the background.
        keras.ops.convert_to_numpy(ops.matmul(a, b)[0, 0])
        fastest = min(fastest, time.perf_counter() - begun)
    return 2.0 * size**3 / fastest


def plot_losses(folder: str | Path, losses: Mapping[str, str], tokens: str, unit: str, shared: bool = False) -> Path:
    """Draw losses over the tokens seen, in training and on the held-out documents.

    Args:
        folder: A run folder with `history.csv`.
        losses: Columns of the history, with a title for each.
        tokens: What the tokens are: words, tokens.
        unit: What the losses are.
        shared: Whether the losses are of one kind, and drawn to one scale.

    Returns:
        The picture, `plots/loss.png`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = read_history(folder)
    # A figure of its own, not pyplot's: drawing must not change the caller's backend.
    figure = Figure(figsize=(8, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(losses), sharey=shared, squeeze=False)[0]
    for axis, (loss, title) in zip(axes, losses.items(), strict=True):
        for column, label in ((loss, "training"), (f"heldout_{loss}", "held out")):
            points = [(int(row["tokens"]) / 1e6, float(row[column])) for row in rows if row[column]]
            if points:
                axis.plot(*zip(*points, strict=True), label=label, marker="." if len(points) < 40 else None)
        axis.set(title=title, xlabel=f"million {tokens} seen", ylabel=unit)
        if axis.lines:
            axis.legend()
    path = Path(folder) / "plots" / "loss.png"
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)
    return path


MAIN_FILE = "saved_model.pb"


@contextlib.contextmanager
def draft_in(folder: Path) -> Iterator[Path]:
    """A folder to write into; what is in it when the block ends takes the place of what has the same name in `folder`.

    After an error nothing has been replaced, and the draft is gone.

    Args:
        folder: the run folder.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with draft_in(folder) as draft:
        ...     draft.mkdir()
        ...     _ = (draft / "a.txt").write_text("new")
        >>> [path.name for path in folder.iterdir()]
        ['a.txt']
    """
    draft = folder / f".draft{os.getpid()}"
    shutil.rmtree(draft, ignore_errors=True)
    try:
        yield draft
        # The main file last: without it, a folder is no SavedModel yet.
        for part in sorted(draft.iterdir(), key=lambda path: path.name == MAIN_FILE):
            target = folder / part.name
            shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
            part.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
