"""One training run, from files to a run folder: what all tasks do alike, and what each fills in."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from pathlib import Path
from typing import Any

import pandas as pd

from tl_keras._keras import KERAS_NAME, keras
from tl_keras.data.table import file_sha256
from tl_keras.hub.encoder import load_encoder
from tl_keras.runs.folder import RunFolder, library_versions
from tl_keras.runs.settings import RunSettings
from tl_keras.serving.export import export
from tl_keras.training.callbacks import BestWeights, EpochScore
from tl_keras.training.strategy import get_strategy

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """What a run hands back: its folder, the validation report, seconds of training, whether Ctrl-C ended it."""

    folder: Path
    report: Any
    seconds: float
    interrupted: bool


@dataclasses.dataclass
class Outcome:
    """What training came to: the material of `config.json`, `metrics.json`, `history.csv` and the report page.

    Args:
        config: what `config.json` holds.
        report: on the validation examples.
        history: of `fit`.
        best_epoch: from 0; `None` where the weights are not those of an epoch.
        seconds: of training.
        interrupted: whether Ctrl-C ended it.
    """

    config: dict
    report: Any
    history: dict
    best_epoch: int | None
    seconds: float
    interrupted: bool = False


class Run:
    """A run; each task has a subclass that says what is read, built, scored and reported.

    Args:
        settings: of the run.
    """

    task: str
    monitor = "val_loss"
    """By which figure of the logs the best epoch is chosen."""
    measure = "loss"
    """The monitored figure's name, for people."""
    epochs_factor = 1.0
    """How much longer than a classifier of texts this task needs to learn."""
    may_keep_start = False
    """Whether the untrained model already answers, so that its weights are kept where no epoch beats them."""

    def __init__(self, settings: RunSettings):
        self.settings = settings
        self.train = self.valid = self.encoder = self.model = self.trained = None

    # What a task fills in.

    def read(self) -> tuple[Any, Any]:
        """Training and validation examples as the settings say.

        Raises:
            UserError: a file cannot be read, or cannot be learned from.
        """
        raise NotImplementedError

    def build(self) -> keras.Model:
        """The compiled model, made of `self.encoder`; called in the strategy's scope."""
        raise NotImplementedError

    def in_training(self, model: keras.Model) -> keras.Model:
        """The model that is fitted, where it is another one around `model`."""
        return model

    def batches(self, examples, training: bool):
        """A dataset for `fit`."""
        raise NotImplementedError

    def evaluate(self):
        """Score `self.model` on `self.valid`; gives the task's report."""
        raise NotImplementedError

    def figure(self, report) -> float:
        """The monitored figure of a report, where `fit` does not compute it by itself."""
        raise NotImplementedError

    def settle(self, report):
        """Choose what can only be chosen after training (a threshold); gives the report that then holds."""
        return report

    def facts(self, report) -> dict:
        """What the task adds to `config.json`."""
        return {}

    def fit_arguments(self) -> dict:
        """What the task adds to the arguments of `fit`."""
        return {}

    def write_page(self, folder: Path, outcome: Outcome) -> None:
        """Write `report.md` and the plots."""
        raise NotImplementedError

    # What all do alike.

    def execute(self, verbose: int | str = "auto") -> FinishedRun:
        """Read, train, evaluate, plot, export.

        Ctrl-C during training ends it early: the best weights so far are evaluated and exported like a finished run.

        Args:
            verbose: of `model.fit`: 0 silent, 1 progress bar, 2 a line an epoch.

        Raises:
            UserError: something in the settings or the data is wrong; nothing is left behind then.
        """
        settings = self.settings
        with RunFolder(settings.out, overwrite=settings.overwrite, resume=settings.resume) as folder:
            self.train, self.valid = self.read()
            keras.utils.set_random_seed(settings.seed)
            with get_strategy(settings.strategy).scope():
                self.encoder = load_encoder(
                    settings.encoder, settings.seq_length, settings.preprocessor, settings.layers
                )
                self.model = self.build()
                self.trained = self.in_training(self.model)
            outcome = self._fit(folder, verbose)
            self._write_numbers(folder, outcome)
            export(self.model, folder.work / "saved_model" / "1", **self.export_options())
            self.write_page(folder.work, outcome)
        return FinishedRun(folder.path, outcome.report, outcome.seconds, outcome.interrupted)

    def export_options(self) -> dict:
        """What the task tells `export`."""
        return {}

    def _fit(self, folder: RunFolder, verbose: int | str) -> Outcome:
        settings = self.settings
        epochs = settings.epochs or round(
            self.epochs_factor * default_epochs(len(self.train), settings.batch_size, settings.transfer)
        )
        before = self.evaluate() if self.may_keep_start else None
        start = self.trained.get_weights() if self.may_keep_start else None
        best = BestWeights(self.monitor, settings.patience)
        callbacks = [best, *([keras.callbacks.BackupAndRestore(str(folder.backup))] if settings.resume else [])]
        if self.monitor != "val_loss":
            callbacks.insert(0, EpochScore(self.monitor, lambda: self.figure(self.evaluate())))
        started, interrupted = time.perf_counter(), False
        try:
            self.trained.fit(
                x=self.batches(self.train, training=True),
                validation_data=self.batches(self.valid, training=False),
                epochs=epochs,
                callbacks=callbacks,
                verbose=verbose,
                **self.fit_arguments(),
            )
        except KeyboardInterrupt:
            interrupted = True
            epoch = best.restore()
            kept = "the weights of this moment" if epoch is None else f"the weights of epoch {epoch + 1}"
            logger.warning("Interrupted: keeping %s.", kept)
        seconds = time.perf_counter() - started
        report, best_epoch = self.settle(self.evaluate()), best.best_epoch
        facts = {}
        if before is not None:
            if self._worse_than_before(start, before, report):
                report, best_epoch = before, None
            facts = {
                "before_training": before.to_dict(),
                "kept_weights_from_before_training": report is before,
            }
        config = self._config(epochs, {**self.facts(report), **facts})
        return Outcome(config, report, dict(self.trained.history.history), best_epoch, seconds, interrupted)

    def _worse_than_before(self, start: list, before, after) -> bool:
        """Put the weights from before training back, if the best epoch was worse.

        An encoder made for sentences is often better than what few or noisy pairs make of it.
        """
        if self.figure(after) >= self.figure(before):
            return False
        self.trained.set_weights(start)
        logger.warning(
            "Training made it worse: %s %.4f on the validation examples, %.4f before. The weights from before training are "
            "kept. A lower learning rate, fewer epochs or more examples may help.",
            self.measure, self.figure(after), self.figure(before),
        )  # fmt: skip
        return True

    def _config(self, epochs: int, facts: dict) -> dict:
        """Every setting, what was chosen for it, what the task adds, data hashes and library versions."""
        settings = self.settings
        files = [settings.train, *([settings.validation] if settings.validation else [])]
        return {
            "task": self.task,
            **dataclasses.asdict(settings),
            "epochs": epochs,
            "learning_rate": _peak_rate(self.trained),
            **facts,
            "train_examples": len(self.train),
            "validation_examples": len(self.valid),
            "keras": KERAS_NAME,
            "libraries": library_versions(),
            "data_sha256": {file: file_sha256(file) for file in files},
        }

    def _write_numbers(self, folder: RunFolder, outcome: Outcome) -> None:
        settings = self.settings
        rows = pd.DataFrame({name: list(values) for name, values in outcome.history.items()})
        rows.insert(0, "epoch", range(1, len(rows) + 1))
        rows.to_csv(folder.work / "history.csv", index=False)
        folder.write_json("config.json", outcome.config)
        result = {
            "data": settings.validation or f"{settings.validation_split:g} of {settings.train}",
            **outcome.report.to_dict(),
            "best_epoch": None if outcome.best_epoch is None else outcome.best_epoch + 1,
            "train_seconds": round(outcome.seconds, 2),
            "interrupted": outcome.interrupted,
        }
        folder.write_json("metrics.json", result)


def default_epochs(examples: int, batch_size: int, transfer: str) -> int:
    """Epochs where the user names none: three, or more where so few examples would give too few steps to learn from.

    Example:
        >>> default_epochs(20000, 32, "fine-tune"), default_epochs(320, 32, "fine-tune"), default_epochs(320, 32, "freeze")
        (3, 8, 40)
    """
    steps = math.ceil(examples / batch_size)
    fewest, wanted, most = (3, 80, 10) if transfer != "freeze" else (10, 400, 40)
    return max(fewest, min(math.ceil(wanted / steps), most))


def _peak_rate(model: keras.Model) -> float:
    schedule = model.optimizer._learning_rate
    return float(getattr(schedule, "peak", None) or model.optimizer.learning_rate)
