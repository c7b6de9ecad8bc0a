"""The folder a run leaves behind: filled beside its place and renamed when whole."""

from __future__ import annotations

import json
import os
import platform
import shutil
import tempfile
from importlib import metadata
from pathlib import Path

from tl_keras.errors import UserError

LIBRARIES = (
    "tl_keras", "tensorflow", "tensorflow-text", "tensorflow-hub", "keras", "tf-keras", "numpy", "pandas", "scikit-learn",
)  # fmt: skip


class RunFolder:
    """A context in which a run writes its files; at the end the folder appears whole, or not at all.

    Args:
        path: the run folder to be.
        overwrite: replace one that is there.
        resume: keep what an interrupted run left beside (its checkpoints), instead of starting clean.
        chief: whether this process writes the run folder. Another one of several workers gets a temporary folder to write to, which
            disappears.

    Raises:
        UserError: the folder exists, or cannot be written.
    """

    def __init__(self, path: str | os.PathLike, *, overwrite: bool = False, resume: bool = False, chief: bool = True):
        self.path = Path(path)
        self.chief = chief
        # Beside, not under /tmp: renaming is only atomic on the same file system.
        beside = self.path.parent / f".{self.path.name}.partial"
        self.work = beside if chief else Path(tempfile.gettempdir()) / f"tl_keras-worker-{os.getpid()}"
        self.backup = beside / "backup"
        """Where the checkpoints of a resumable run are, for all workers."""
        self.overwrite = overwrite
        self.resume = resume
        if self.path.exists():
            if not self.path.is_dir():
                raise UserError(f"{self.path} is a file; choose another folder for the run.")
            if resume:
                raise UserError(f"{self.path} is a finished run; there is nothing to resume.")
            if not overwrite:
                raise UserError(f"{self.path} exists; choose another --out, or pass --overwrite to replace it.")
            if any(self.path.iterdir()) and not (self.path / "config.json").is_file():
                raise UserError(f"{self.path} is no run folder (it has no config.json), so it is not overwritten.")

    @property
    def features(self) -> Path:
        """Where a resumable run keeps what a frozen encoder made of its texts."""
        return self.work / "features"

    def __enter__(self) -> RunFolder:
        try:
            if not (self.resume and self.chief):
                shutil.rmtree(self.work, ignore_errors=True)
            self.work.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot write to {self.path.parent}: {error.strerror}.") from error
        return self

    def __exit__(self, kind, value, traceback) -> None:
        if not self.chief:
            shutil.rmtree(self.work, ignore_errors=True)
        elif kind is None:
            shutil.rmtree(self.backup, ignore_errors=True)
            shutil.rmtree(self.features, ignore_errors=True)
            if self.path.exists():
                shutil.rmtree(self.path)
            self.work.rename(self.path)
        elif not (self.resume and self.backup.exists()):
            shutil.rmtree(self.work, ignore_errors=True)

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
        UserError: it is no run folder.
    """
    path = Path(run) / "config.json"
    if not path.is_file():
        raise UserError(
            f"{run} is no run folder: it has no config.json." if Path(run).exists() else f"no folder {run}."
        )
    return json.loads(path.read_text("utf-8"))
