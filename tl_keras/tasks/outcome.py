"""What a run comes to, and its metrics as files of the run folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd

from tl_keras.tasks.folder import RunFolder
from tl_keras.tasks.settings import RunSettings


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """What a run hands back: its folder, the validation report, seconds of training, whether Ctrl-C ended it.

    `chief` is false for those of several workers that write no run folder.
    """

    folder: Path
    report: Any
    seconds: float
    interrupted: bool
    chief: bool = True


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


def write_numbers(folder: RunFolder, settings: RunSettings, outcome: Outcome) -> None:
    """Write `history.csv`, `config.json` and `metrics.json`.

    Args:
        folder: of the run.
        settings: of the run.
        outcome: what it came to.
    """
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
