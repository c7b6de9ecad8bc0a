"""What the runs of all tasks have in common: fitting until done or interrupted, and the numbers left behind."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from tl_keras._keras import KERAS_NAME, keras
from tl_keras.data.table import file_sha256
from tl_keras.errors import UserError
from tl_keras.evaluation.classification import ClassificationReport
from tl_keras.evaluation.tagging import TaggingReport
from tl_keras.runs.folder import RunFolder, library_versions
from tl_keras.training.callbacks import BestWeights
from tl_keras.transfer.plan import Transfer, parse_rates

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """What a run hands back: its folder, the validation report, seconds of training, whether Ctrl-C ended it."""

    folder: Path
    report: ClassificationReport | TaggingReport
    seconds: float
    interrupted: bool


def check_counts(settings) -> None:
    """Refuse epochs, batch sizes and limits below one.

    Raises:
        UserError: one of them is.
    """
    for name in ("epochs", "batch_size", "limit"):
        value = getattr(settings, name)
        if value is not None and value < 1:
            raise UserError(f"--{name.replace('_', '-')} must be at least 1, not {value}.")


def transfer_plan(settings) -> Transfer:
    """What is to learn, and how fast, as the settings say.

    Raises:
        UserError: they contradict each other.
    """
    return Transfer(settings.transfer, settings.unfreeze_every, settings.layer_decay, parse_rates(settings.rate))


def default_epochs(examples: int, batch_size: int, transfer: str) -> int:
    """Epochs where the user names none: three, or more where so few examples would give too few steps to learn from.

    Example:
        >>> default_epochs(20000, 32, "fine-tune"), default_epochs(320, 32, "fine-tune"), default_epochs(320, 32, "freeze")
        (3, 8, 40)
    """
    steps = math.ceil(examples / batch_size)
    fewest, wanted, most = (3, 80, 10) if transfer != "freeze" else (10, 400, 40)
    return max(fewest, min(math.ceil(wanted / steps), most))


class EpochScore(keras.callbacks.Callback):
    """Adds a score of the validation examples to each epoch's logs, where the callbacks behind this one find it.

    The loss often rises again while the answers still get better, so the best epoch is chosen by such a score.

    Args:
        name: in the logs, e.g. `"val_spearman"`.
        score: computes it.
    """

    def __init__(self, name: str, score: Callable[[], float]):
        super().__init__()
        self.name = name
        self.score = score

    def on_epoch_end(self, epoch, logs=None):
        """Score."""
        if logs is not None:
            logs[self.name] = self.score()


def backup_callbacks(settings, folder: RunFolder) -> list[keras.callbacks.Callback]:
    """What `--resume` adds to a run: a backup of each finished epoch."""
    return [keras.callbacks.BackupAndRestore(str(folder.backup))] if settings.resume else []


def fit_until_interrupted(model, best: BestWeights, **arguments) -> tuple[dict, float, bool]:
    """Fit; Ctrl-C ends training early and puts the best weights so far back.

    Args:
        model: compiled.
        best: the callback that keeps the best weights, which is also among `callbacks`.
        **arguments: of `model.fit`.

    Returns:
        `(history, seconds, interrupted)`.
    """
    started, interrupted = time.perf_counter(), False
    try:
        model.fit(**arguments)
    except KeyboardInterrupt:
        interrupted = True
        epoch = best.restore()
        kept = "the weights of this moment" if epoch is None else f"the weights of epoch {epoch + 1}"
        logger.warning("Interrupted: keeping %s.", kept)
    return dict(model.history.history), time.perf_counter() - started, interrupted


def write_numbers(
    folder: RunFolder,
    settings,
    config: dict,
    report,
    history: dict,
    best_epoch: int | None,
    seconds: float,
    interrupted: bool,
) -> None:
    """Write `history.csv`, `config.json` and `metrics.json`."""
    rows = pd.DataFrame({name: list(values) for name, values in history.items()})
    rows.insert(0, "epoch", range(1, len(rows) + 1))
    rows.to_csv(folder.work / "history.csv", index=False)
    folder.write_json("config.json", config)
    result = {
        "data": settings.validation or f"{settings.validation_split:g} of {settings.train}",
        **report.to_dict(),
        "best_epoch": None if best_epoch is None else best_epoch + 1,
        "train_seconds": round(seconds, 2),
        "interrupted": interrupted,
    }
    folder.write_json("metrics.json", result)


def run_config(task: str, settings, of_task: dict, train, valid, model, epochs: int) -> dict:
    """What `config.json` holds: every setting, what was chosen for it, `of_task`, data hashes and library versions."""
    data = {settings.train: file_sha256(settings.train)}
    if settings.validation:
        data[settings.validation] = file_sha256(settings.validation)
    return {
        "task": task,
        **dataclasses.asdict(settings),
        "epochs": epochs,
        "learning_rate": _peak_rate(model),
        **of_task,
        "train_examples": len(train),
        "validation_examples": len(valid),
        "keras": KERAS_NAME,
        "libraries": library_versions(),
        "data_sha256": data,
    }


def _peak_rate(model) -> float:
    schedule = model.optimizer._learning_rate
    return float(getattr(schedule, "peak", None) or model.optimizer.learning_rate)
