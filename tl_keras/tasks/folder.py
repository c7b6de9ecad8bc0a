"""The folder a run leaves behind, filled beside its place and renamed when whole, and what a run comes to: its metrics as files there."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import shutil
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

from tl_keras.errors import UserError, no_os_error
from tl_keras.files import lock_folder, swap_in, unlock
from tl_keras.manifest import check_manifest, write_manifest
from tl_keras.tasks.settings import RunSettings

LIBRARIES = (
    "tl_keras", "tensorflow", "tensorflow-text", "tensorflow-hub", "keras", "tf-keras", "numpy", "pandas", "scikit-learn",
)  # fmt: skip


BACKUP, FEATURES = "backup", "features"
MACHINE_WRITTEN = ("config.json", "metrics.json", "history.csv")
"""What the manifest of a run lists beside its SavedModel, which has its own; report and plots are people's, to edit as they like."""


class RunFolder:
    """A context in which a run writes its files; at the end the folder appears whole, or not at all.

    Args:
        path: the run folder to be.
        overwrite: replace one that is there.
        resume: keep what an interrupted run left beside (its checkpoints), instead of starting clean.
        chief: whether this process writes the run folder. Another one of several workers gets a temporary folder to write to, which
            disappears.

    Raises:
        UserError: the folder exists, or what an interrupted run has learned; it cannot be written, or another process writes it now.
    """

    def __init__(self, path: str | os.PathLike, *, overwrite: bool = False, resume: bool = False, chief: bool = True):
        self.path = Path(path)
        self.chief = chief
        # Beside, not under /tmp: renaming is only atomic on the same file system.
        beside = self.path.parent / f".{self.path.name}.partial"
        self.work = beside if chief else Path(tempfile.gettempdir()) / f"tl_keras-worker-{os.getpid()}"
        self.backup = beside / BACKUP
        """Where the checkpoints of a resumable run are, for all workers."""
        self.overwrite = overwrite
        self.resume = resume
        self._lock = None
        if self.path.exists():
            if not self.path.is_dir():
                raise UserError(f"{self.path} is a file; choose another folder for the run.")
            if not overwrite:
                if resume and (self.path / "config.json").is_file():
                    self._clear(self.path)
                    raise UserError(f"{self.path} is a finished run; there is nothing to resume.")
                raise UserError(f"{self.path} exists; choose another --out, or pass --overwrite to replace it.")
            if any(self.path.iterdir()) and not (self.path / "config.json").is_file():
                raise UserError(f"{self.path} is no run folder (it has no config.json), so it is not overwritten.")
        if not (resume or overwrite) and any(self.backup.glob("epoch-*")):
            raise UserError(
                f"{beside} holds what a run that was interrupted has learned: pass --resume to go on with it, or --overwrite to begin anew."
            )

    @property
    def features(self) -> Path:
        """Where a resumable run keeps what a frozen encoder made of its texts."""
        return self.work / FEATURES

    def __enter__(self) -> RunFolder:
        with no_os_error(self.work):
            self.work.mkdir(parents=True, exist_ok=True)
            if self.chief:
                self._lock = lock_folder(self.work)
            kept = (BACKUP, FEATURES) if self.resume and self.chief else ()
            # What else a run that was killed had written is made again: it may be cut off in the middle.
            for entry in self.work.iterdir():
                if entry.name not in kept:
                    shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        return self

    def __exit__(self, kind, value, traceback) -> None:
        try:
            if not self.chief:
                shutil.rmtree(self.work, ignore_errors=True)
            elif kind is None:
                with no_os_error(self.path):
                    write_manifest(self.work, lambda name: name not in MACHINE_WRITTEN)
                    # In one step, and the checkpoints go last: whenever this is cut off, either they or the whole run are there.
                    swap_in(self.work, self.path, replace=self.overwrite)
                    self._clear(self.path)
            elif not any(self.backup.glob("epoch-*")):
                shutil.rmtree(self.work, ignore_errors=True)
        finally:
            unlock(self._lock)

    @staticmethod
    def _clear(run: Path) -> None:
        """Remove from a finished run what only an unfinished one needs."""
        for name in (BACKUP, FEATURES):
            shutil.rmtree(run / name, ignore_errors=True)

    def write_json(self, name: str, content: dict) -> None:
        """Write a JSON file, readable by people: indented, Hangul as it is."""
        (self.work / name).write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", "utf-8")


def library_versions() -> dict[str, str]:
    """Python and the libraries that results depend on, for `config.json`."""
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed as a package"
    return versions


def read_config(run: str | os.PathLike) -> dict:
    """The settings of a finished run.

    Raises:
        UserError: it is no run folder, or is damaged.
    """
    path = Path(run) / "config.json"
    if not path.is_file():
        raise UserError(
            f"{run} is no run folder: it has no config.json." if Path(run).exists() else f"no folder {run}."
        )
    check_manifest(run, "train it again, or take a copy that is whole")
    try:
        config = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged; train the run again, or take a copy that is whole.") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} is damaged: it holds no settings; train the run again, or take a copy that is whole.")
    return config


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
