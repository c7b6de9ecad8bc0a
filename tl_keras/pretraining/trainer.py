"""The training loop: steps, held-out measurements, history, checkpoints."""

from __future__ import annotations

import csv
import logging
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import keras
import numpy as np

from tl_keras.pretraining.batches import BatchMaker, Place
from tl_keras.pretraining.checkpoint import restore_checkpoint, save_checkpoint
from tl_keras.pretraining.model import BertPretrainer, as_arrays
from tl_keras.pretraining.schedule import Schedule

logger = logging.getLogger(__name__)

MEASURES = ("mlm_loss", "mlm_accuracy", "nsp_loss", "nsp_accuracy")
HISTORY = (
    "step",
    "seconds",
    "epoch",
    "tokens",
    "learning_rate",
    "tokens_per_second",
    *MEASURES,
    *(f"heldout_{name}" for name in MEASURES),
)


@dataclass(frozen=True)
class Report:
    """Where a run stands, for a progress bar.

    Attributes:
        step: Steps done.
        progress: Share of the run that is over.
        seconds_left: Estimated time until the end.
        tokens_per_second: Speed since the last report.
        measures: Training losses and accuracies since the last history row.
    """

    step: int
    progress: float
    seconds_left: float
    tokens_per_second: float
    measures: dict[str, float]


def make_optimizer(weight_decay: float = 0.01) -> keras.optimizers.Optimizer:
    """AdamW as BERT uses it: no decay on biases and layer norms, gradients clipped to norm 1.

    `beta_2` is 0.98 and epsilon 1e-6 as in Liu et al. 2019, https://arxiv.org/abs/1907.11692, section 3.1: steadier at
    the high rates of short runs.
    """
    optimizer = keras.optimizers.AdamW(
        learning_rate=1e-3, weight_decay=weight_decay, beta_2=0.98, epsilon=1e-6, global_clipnorm=1.0
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma", "layer_norm"])
    return optimizer


class Trainer:
    """Trains a `BertPretrainer` on a `BatchMaker`'s batches until the schedule is over or someone asks it to stop.

    Args:
        model: The model.
        batches: Training batches.
        heldout: The batches of the held-out documents.
        schedule: Length of the run, rates, row lengths.
        folder: Where `checkpoint.npz` and `history.csv` go.
        weight_decay: For AdamW.
        checkpoint_steps: Steps between checkpoints.
        history_steps: Steps between rows of the history.
        heldout_steps: Steps between measurements on the held-out documents; the end is always measured.
        heldout_batches: Batches measured each time; the end takes all.
        on_report: Called after each step.
    """

    def __init__(
        self,
        model: BertPretrainer,
        batches: BatchMaker,
        heldout: BatchMaker,
        schedule: Schedule,
        folder: str | Path,
        weight_decay: float = 0.01,
        checkpoint_steps: int = 200,
        history_steps: int = 50,
        heldout_steps: int = 400,
        heldout_batches: int | None = 64,
        on_report: Callable[[Report], None] | None = None,
    ):
        self.model, self.batches, self.heldout, self.schedule = model, batches, heldout, schedule
        self.folder = Path(folder)
        self.checkpoint_steps, self.history_steps = checkpoint_steps, history_steps
        self.heldout_steps, self.heldout_batches, self.on_report = heldout_steps, heldout_batches, on_report
        self.stop_requested = False
        self.means = Means()
        self.step = self.tokens = 0
        self.seconds = 0.0
        self.place = Place(max_length=schedule.row_length(0, 0.0))
        model.compile(optimizer=make_optimizer(weight_decay), jit_compile="auto")
        model.optimizer.build(model.trainable_variables)

    def resume(self) -> None:
        """Go back to the last checkpoint; rows of the history that came after it are dropped."""
        state = restore_checkpoint(self.folder, self.model)
        self.step, self.tokens, self.seconds = state["step"], state["tokens"], state["seconds"]
        self.place, self.means = Place(**state["place"]), Means(state["means"])
        rows = [row for row in read_history(self.folder) if int(row["step"]) <= self.step]
        _write_history(self.folder, rows)

    def run(self) -> bool:
        """Train to the end of the schedule.

        Returns:
            Whether the end was reached; False after `stop_requested`, with a checkpoint to resume from.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.step:
            _write_history(self.folder, [])
        clock, tokens_then, time_then, speed = Clock(self.seconds), self.tokens, self.seconds, 0.0
        stream = self.batches.from_place(self.place)
        while not self.schedule.done(self.step, self.seconds) and not self.stop_requested:
            length = self.schedule.row_length(self.step, self.seconds)
            if self.place.batch == 0 and self.place.max_length != length:
                self.place = replace(self.place, max_length=length)
                stream = self.batches.from_place(self.place)
            self.place, batch = next(stream)
            rate = self.schedule.learning_rate(self.step, self.seconds)
            self.model.optimizer.learning_rate = rate
            x, y = as_arrays(batch)
            self.means.add(self.model.train_on_batch(x, y, return_dict=True), y)
            self.step, self.tokens = self.step + 1, self.tokens + batch.tokens
            self.seconds = clock.tick()
            recent = (self.tokens - tokens_then) / max(self.seconds - time_then, 1e-9)
            done = self.schedule.done(self.step, self.seconds)
            if self.step % self.history_steps == 0 or done:
                self._log(rate, recent, final=done)
                tokens_then, time_then, speed = self.tokens, self.seconds, recent
            if self.step % self.checkpoint_steps == 0:
                self.save()
            if self.on_report:
                per_step = batch.tokens / max(speed or recent, 1e-9)
                left = self.schedule.seconds_left(self.step, self.seconds, per_step)
                progress = self.schedule.progress(self.step, self.seconds)
                self.on_report(Report(self.step, progress, left, speed or recent, self.means.values()))
        self.save()
        return self.schedule.done(self.step, self.seconds)

    def save(self) -> None:
        """Write a checkpoint of this very moment."""
        state = {"step": self.step, "tokens": self.tokens, "seconds": self.seconds}
        state |= {"place": asdict(self.place), "means": self.means.sums}
        save_checkpoint(self.folder, self.model, state)

    def measure_heldout(self, limit: int | None = None) -> dict[str, float]:
        """Losses and accuracies on the held-out documents, with the same masks each time.

        Args:
            limit: Number of batches; all of them by default.
        """
        place = Place(max_length=self.schedule.longest)
        means, done = Means(), 0
        for window in range(self.heldout.windows()):
            place = replace(place, window=window)
            for index, plan in enumerate(self.heldout.window_plans(place)):
                if limit is not None and done >= limit:
                    break
                batch = self.heldout.realise(*plan, [self.heldout.seed, 0, window, index])
                x, y = as_arrays(batch)
                means.add(self.model.test_on_batch(x, y, return_dict=True), y)
                done += 1
        return means.values()

    def _log(self, rate: float, speed: float, final: bool) -> None:
        row = {
            "step": self.step,
            "seconds": round(self.seconds, 1),
            "epoch": self.place.epoch,
            "tokens": self.tokens,
            "learning_rate": f"{rate:.3e}",
            "tokens_per_second": round(speed),
        }
        row |= {name: f"{value:.4f}" for name, value in self.means.values().items()}
        if final or self.step % self.heldout_steps == 0:
            measured = self.measure_heldout(None if final else self.heldout_batches)
            row |= {f"heldout_{name}": f"{value:.4f}" for name, value in measured.items()}
        self.means = Means()
        with (self.folder / "history.csv").open("a", encoding="utf-8", newline="") as stream:
            csv.DictWriter(stream, HISTORY).writerow(row)
        logger.info(
            "step %d: %s", self.step, ", ".join(f"{key} {value}" for key, value in row.items() if key != "step")
        )


def read_history(folder: str | Path) -> list[dict[str, str]]:
    """The rows of `history.csv`, none if there is no such file."""
    path = Path(folder) / "history.csv"
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _write_history(folder: Path, rows: list[dict]) -> None:
    draft = folder / ".history.csv.part"
    with draft.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, HISTORY)
        writer.writeheader()
        writer.writerows(rows)
    os.replace(draft, folder / "history.csv")


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
    """Means over batches of different size: each loss counts by the pieces, or pairs, it was taken over.

    `train_on_batch` returns the figures of one batch alone.

    Args:
        sums: The state of an earlier object: for each measure the weighted sum and the weight.
    """

    def __init__(self, sums: dict[str, list[float]] | None = None):
        self.sums = {name: [0.0, 0.0] for name in MEASURES} if sums is None else sums

    def add(self, measures: dict, labels: dict) -> None:
        """Take in the figures of one batch."""
        for name in MEASURES:
            weight = float(labels[f"{name[:3]}_weights"].sum())
            self.sums[name][0] += weight * float(np.asarray(measures[name]))
            self.sums[name][1] += weight

    def values(self) -> dict[str, float]:
        """The means so far; a measure that nothing was counted for is left out."""
        return {name: total / weight for name, (total, weight) in self.sums.items() if weight}
