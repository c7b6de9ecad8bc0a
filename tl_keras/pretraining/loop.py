"""The loop of every pre-training run: steps, held-out measurements, history, checkpoints."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras

from tl_keras.pretraining.batches import Place, WindowedBatches
from tl_keras.pretraining.checkpoint import restore_checkpoint, save_checkpoint
from tl_keras.pretraining.run_files import Clock, Means, Report, append_history, read_history, write_history
from tl_keras.pretraining.schedule import Schedule
from tl_keras.training.memory import keep_freed_memory

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Intervals:
    """Steps between what a run does now and then.

    Attributes:
        checkpoint_steps: Steps between checkpoints.
        history_steps: Steps between rows of the history.
        heldout_steps: Steps between measurements on the held-out documents; the end is always measured.
        heldout_batches: Batches measured each time; the end takes all.
    """

    checkpoint_steps: int = 200
    history_steps: int = 50
    heldout_steps: int = 400
    heldout_batches: int | None = 64

    @classmethod
    def of(cls, settings) -> Intervals:
        """Those that a run's settings ask for."""
        return cls(settings.checkpoint_steps, settings.history_steps, settings.heldout_steps)


class TrainingLoop:
    """Trains until the schedule is over or someone asks it to stop; subclasses say what a step and a measurement are.

    Args:
        batches: Training batches.
        heldout: The batches of the held-out documents.
        schedule: Length of the run, rates, row lengths.
        folder: Where `checkpoint.npz` and `history.csv` go.
        intervals: How often what is done.
        on_report: Called after each step.
    """

    measures: tuple[str, ...]
    """What a step measures; columns of the history."""
    heldout_measures: tuple[str, ...]
    """What is measured on held-out documents; columns of the history, behind `heldout_`."""
    trained: Any
    """What a checkpoint holds: an object with `variables` and `optimizer.variables`."""

    def __init__(
        self,
        batches: WindowedBatches,
        heldout: WindowedBatches,
        schedule: Schedule,
        folder: str | Path,
        intervals: Intervals | None = None,
        on_report: Callable[[Report], None] | None = None,
    ):
        self.batches, self.heldout, self.schedule = batches, heldout, schedule
        self.folder, self.intervals, self.on_report = Path(folder), intervals or Intervals(), on_report
        self.stop_requested = False
        self.means = Means()
        self.step = self.tokens = 0
        self.seconds = 0.0
        self.place = Place(max_length=schedule.row_length(0, 0.0))
        self._began = (0, 0.0)

    def train_on(self, batch: Any, rate: float) -> int:
        """Take one step, and put what it measured into `self.means`.

        Args:
            batch: One of `batches`.
            rate: Learning rate.

        Returns:
            The tokens it has learned from.
        """
        raise NotImplementedError

    def measure_heldout(self, limit: int | None = None) -> dict[str, float]:
        """Measure on the held-out documents, the same way each time.

        Args:
            limit: Number of batches; all of them by default.
        """
        raise NotImplementedError

    @property
    def columns(self) -> tuple[str, ...]:
        """Of `history.csv`."""
        course = ("step", "seconds", "epoch", "tokens", "learning_rate", "tokens_per_second")
        return (*course, *self.measures, *(f"heldout_{name}" for name in self.heldout_measures))

    @property
    def speed(self) -> float:
        """Tokens in a second since this process began to train."""
        return (self.tokens - self._began[0]) / max(self.seconds - self._began[1], 1e-9)

    def resume(self) -> None:
        """Go back to the last checkpoint; rows of the history that came after it are dropped."""
        state = restore_checkpoint(self.folder, self.trained)
        self.step, self.tokens, self.seconds = state["step"], state["tokens"], state["seconds"]
        self.place, self.means = Place(**state["place"]), Means(state["means"])
        rows = [row for row in read_history(self.folder) if int(row["step"]) <= self.step]
        write_history(self.folder, self.columns, rows)

    def run(self) -> bool:
        """Train to the end of the schedule.

        Returns:
            Whether the end was reached; False after `stop_requested`, with a checkpoint to resume from.
        """
        keep_freed_memory()
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.step:
            write_history(self.folder, self.columns, [])
        self._began = (self.tokens, self.seconds)
        clock, tokens_then, time_then, speed = Clock(self.seconds), self.tokens, self.seconds, 0.0
        stream = self.batches.from_place(self.place)
        while not self.schedule.done(self.step, self.seconds) and not self.stop_requested:
            length = self.schedule.row_length(self.step, self.seconds)
            if self.place.batch == 0 and self.place.max_length != length:
                self.place = replace(self.place, max_length=length)
                stream = self.batches.from_place(self.place)
            self.place, batch = next(stream)
            rate = self.schedule.learning_rate(self.step, self.seconds)
            tokens = self.train_on(batch, rate)
            self.step, self.tokens = self.step + 1, self.tokens + tokens
            self.seconds = clock.tick()
            recent = (self.tokens - tokens_then) / max(self.seconds - time_then, 1e-9)
            done = self.schedule.done(self.step, self.seconds)
            if self.step % self.intervals.history_steps == 0 or done:
                self._log(rate, recent, final=done)
                # Measuring takes time of the run, but says nothing about the speed of training.
                tokens_then, time_then, speed = self.tokens, clock.tick(), recent
            if self.step % self.intervals.checkpoint_steps == 0:
                self.save()
            if self.on_report:
                per_step = tokens / max(speed or recent, 1e-9)
                left = self.schedule.seconds_left(self.step, self.seconds, per_step)
                progress = self.schedule.progress(self.step, self.seconds)
                self.on_report(Report(self.step, progress, left, speed or recent, self.means.values()))
        self.save()
        return self.schedule.done(self.step, self.seconds)

    def save(self) -> None:
        """Write a checkpoint of this very moment."""
        state = {"step": self.step, "tokens": self.tokens, "seconds": self.seconds}
        state |= {"place": asdict(self.place), "means": self.means.sums}
        save_checkpoint(self.folder, self.trained, state)

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
        if final or self.step % self.intervals.heldout_steps == 0:
            measured = self.measure_heldout(None if final else self.intervals.heldout_batches)
            row |= {f"heldout_{name}": f"{value:.4f}" for name, value in measured.items()}
        self.means = Means()
        append_history(self.folder, self.columns, row)
        logger.info(
            "step %d: %s", self.step, ", ".join(f"{key} {value}" for key, value in row.items() if key != "step")
        )


class KerasModelLoop(TrainingLoop):
    """Trains a Keras model with AdamW.

    Args:
        model: The model.
        *args, **kwargs: Of `TrainingLoop`.
        weight_decay: Of AdamW.
    """

    def __init__(
        self,
        model: keras.Model,
        *args,
        weight_decay: float = 0.01,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        self.model = self.trained = model
        model.compile(optimizer=make_optimizer(weight_decay))
        model.optimizer.build(model.trainable_variables)


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
