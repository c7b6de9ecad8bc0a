"""One pre-training run, from text files to what the trained model is written as: what all kinds do alike."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import logging
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tl_keras.errors import UserError
from tl_keras.files import write_whole
from tl_keras.pretraining.batches import WindowedBatches
from tl_keras.pretraining.checkpoint import NAME as CHECKPOINT
from tl_keras.pretraining.corpus import CorpusFile, scan_corpora
from tl_keras.pretraining.loop import Intervals, TrainingLoop
from tl_keras.pretraining.run_files import Report
from tl_keras.pretraining.schedule import Schedule
from tl_keras.pretraining.settings import PretrainingSettings
from tl_keras.pretraining.token_files import TokenFolder, open_token_files, prepare_token_files

logger = logging.getLogger(__name__)


class PretrainingRun:
    """A run: prepared on construction, trained by `run`, written as a SavedModel by `export`.

    Args:
        settings: What to do.
        resume: Go on from the checkpoint in `settings.out`.
        command: The command line, for the card.

    Raises:
        UserError: The folder holds a run already, or none to resume.
    """

    libraries: tuple[str, ...]
    """Whose versions are noted."""
    model: Any
    trainer: TrainingLoop

    def __init__(self, settings: PretrainingSettings, resume: bool, command: str | None):
        self.settings, self.folder, self.command = settings, Path(settings.out), command
        started = (self.folder / CHECKPOINT).is_file()
        if started and not resume:
            raise UserError(
                f"{self.folder} holds a run already; add --resume to go on with it, or choose another --out"
            )
        if resume and not started:
            raise UserError(f"{self.folder} holds no {CHECKPOINT}: there is no run to resume")
        self.earlier = json.loads((self.folder / "config.json").read_text("utf-8")) if resume else {}
        """What `config.json` says of the part of the run that is over."""

    # What a kind of run fills in.

    def export(self) -> Path:
        """Write the trained model into the run folder; gives the folder."""
        raise NotImplementedError

    def metrics(self) -> dict:
        """What the kind adds to `metrics.json`."""
        return {}

    def versions(self) -> dict[str, str]:
        """What the run was made with."""
        versions = {"python": platform.python_version()}
        for library in self.libraries:
            try:
                versions[library] = importlib.metadata.version(library)
            except importlib.metadata.PackageNotFoundError:
                continue
        return versions

    def write_card(self) -> None:
        """Write what others need to know of the model, and plot its losses where matplotlib is there."""
        raise NotImplementedError

    # What all do alike.

    def run(self) -> bool:
        """Train to the end, and write `history.csv`, `plots/loss.png`, `metrics.json` and the card.

        Returns:
            Whether the end was reached; False after `trainer.stop_requested`.
        """
        trainer = self.trainer
        if trainer.schedule.done(trainer.step, trainer.seconds) and (self.folder / "metrics.json").is_file():
            return True  # resumed to export it: its figures stand
        finished = trainer.run()
        if finished:
            heldout = trainer.measure_heldout()
            facts = {
                "steps": trainer.step,
                "epochs": trainer.place.epoch,
                "tokens": trainer.tokens,
                "seconds": round(trainer.seconds, 1),
                "tokens_per_second": round(trainer.speed, 1),
                "parameters": int(sum(np.prod(v.shape) for v in self.model.trainable_variables)),
                "heldout": {name: round(value, 4) for name, value in heldout.items()},
                "command": self.command,
            }
            self.write_json("metrics.json", facts | self.metrics())
            self.write_card()
        return finished

    def begin(self, resume: bool, facts: dict) -> None:
        """Go back to the checkpoint, if there is one, and write `config.json`; the last thing a constructor does."""
        if resume:
            self.trainer.resume()
            # The command that began the run is the one to repeat it with.
            self.command = self.earlier.get("command") or self.command
        facts = {"command": self.command, "versions": self.versions(), **facts}
        self.write_json("config.json", self.settings.as_dict() | facts)

    def scan_corpora(self) -> list[CorpusFile]:
        """The corpora, looked through."""
        settings = self.settings
        return scan_corpora(settings.corpus, settings.licences, settings.text)

    def write_json(self, name: str, values: dict) -> None:
        """Write a file of the run folder, whole or not at all."""
        write_whole(self.folder / name, json.dumps(values, indent=1, ensure_ascii=False) + "\n")


class LanguageModelRun(PretrainingRun):
    """A run that learns a language model and its vocabulary from text files.

    Args:
        settings: What to do.
        resume: Go on from the checkpoint in `settings.out`. The token files bring the vocabulary and the checkpoint the weights:
            the corpora need not be there still.
        on_report: Called after each step.
        command: The command line, for the card.

    Raises:
        UserError: For whatever is wrong with files or options.
    """

    trainer_class: type[TrainingLoop]

    def __init__(
        self,
        settings: PretrainingSettings,
        resume: bool = False,
        on_report: Callable[[Report], None] | None = None,
        command: str | None = None,
    ):
        super().__init__(settings, resume, command)
        schedule = Schedule.of(settings)
        keras.utils.set_random_seed(settings.seed)
        if resume:
            self.tokens = open_token_files(self.token_folder)
            self.reopen()
        else:
            self.tokens = self.prepare()
            self.start()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.trainer = self.trainer_class(
            self.model,
            *self.batch_makers(schedule),
            schedule,
            self.folder,
            Intervals.of(settings),
            on_report,
            **self.trainer_options(),
        )
        self.begin(resume, {"corpora": self.tokens.meta, **self.extra_config()})

    # What a kind of run fills in.

    def prepare(self) -> TokenFolder:
        """Make the vocabulary and the token files of a new run."""
        raise NotImplementedError

    def start(self) -> None:
        """Make the model of a new run."""
        raise NotImplementedError

    def reopen(self) -> None:
        """Make the model of the run that is resumed, and its vocabulary, from what the folder says."""
        raise NotImplementedError

    def batch_makers(self, schedule: Schedule) -> tuple[WindowedBatches, WindowedBatches]:
        """Batches to learn from, and those of the held-out documents."""
        raise NotImplementedError

    def trainer_options(self) -> dict:
        """Further arguments of the kind's `trainer_class`."""
        return {"weight_decay": self.settings.weight_decay}

    def extra_config(self) -> dict:
        """What `config.json` holds beside the settings."""
        return {}

    # What all do alike.

    @property
    def token_folder(self) -> Path:
        """Where the token files lie."""
        return self.folder / "tokens"

    def write_tokens(self, corpora: list[CorpusFile], tokenizer, lowercase_fraction: float = 0.0) -> TokenFolder:
        """Write the token files of the corpora.

        Raises:
            UserError: There is no text but what is held out.
        """
        settings = self.settings
        self.folder.mkdir(parents=True, exist_ok=True)
        tokens = prepare_token_files(
            self.token_folder, corpora, tokenizer, lowercase_fraction, settings.heldout_fraction, settings.seed
        )
        if not tokens.train.token_count:
            raise UserError(
                f"{', '.join(settings.corpus)}: nothing is left to learn from once --heldout-fraction is taken; "
                "give more text"
            )
        return tokens


def can_plot() -> bool:
    """Whether matplotlib is there; says so where it is not."""
    if importlib.util.find_spec("matplotlib"):
        return True
    logger.warning("no plots: they need matplotlib (pip install matplotlib)")
    return False
