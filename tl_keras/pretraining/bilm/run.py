"""The whole way from text files to a biLM that gives ELMo vectors."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import logging
import os
import platform
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tl_keras.errors import UserError
from tl_keras.pretraining.bilm.batches import SentenceBatches
from tl_keras.pretraining.bilm.card import plot_losses, write_readme
from tl_keras.pretraining.bilm.export import export_bilm
from tl_keras.pretraining.bilm.model import Bilm, BilmShape
from tl_keras.pretraining.bilm.settings import BilmSettings
from tl_keras.pretraining.bilm.trainer import BilmTrainer, unknown_share
from tl_keras.pretraining.bilm.words import UNKNOWN, Lexicon, make_lexicon
from tl_keras.pretraining.checkpoint import NAME as CHECKPOINT
from tl_keras.pretraining.corpus import SentenceSample, scan_corpus
from tl_keras.pretraining.run_log import Report
from tl_keras.pretraining.schedule import Schedule
from tl_keras.pretraining.token_files import TokenFolder, open_token_files, prepare_token_files
from tl_keras.vectors.coverage import count_words

logger = logging.getLogger(__name__)

KIND = "bilm"
_LIBRARIES = ("tl_keras", "tensorflow", "tensorflow-text", "numpy")


class BilmPretraining:
    """One pre-training run: prepared on construction, trained by `run`, turned into a SavedModel by `export`.

    Args:
        settings: What to do.
        resume: Go on from the checkpoint in `settings.out`.
        on_report: Called after each step.
        command: The command line, for the README.

    Raises:
        UserError: For whatever is wrong with files or options.
    """

    def __init__(
        self,
        settings: BilmSettings,
        resume: bool = False,
        on_report: Callable[[Report], None] | None = None,
        command: str | None = None,
    ):
        self.settings, self.folder, self.command = settings, Path(settings.out), command
        started = (self.folder / CHECKPOINT).is_file()
        if started and not resume:
            raise UserError(
                f"{self.folder} holds a run already; add --resume to go on with it, or choose another --out"
            )
        if resume and not started:
            raise UserError(f"{self.folder} holds no {CHECKPOINT}: there is no run to resume")
        lengths = ((1.0, max(settings.max_length, 8)),)
        schedule = Schedule(settings.steps, settings.minutes, settings.peak_rate, settings.warmup_steps, lengths)
        earlier = json.loads((self.folder / "config.json").read_text("utf-8")) if resume else {}
        # The token files bring the words and the checkpoint the weights: the corpus need not be there still.
        self.tokens = open_token_files(self.folder / "tokens") if resume else self._prepare_tokens()
        size = earlier.get("vocabulary_size") or self._lexicon.size
        self.lexicon = Lexicon(self.tokens.vocabulary, size, settings.lower_case)
        samples = settings.sample_count(size)
        self.model = Bilm(BilmShape.of(settings, size), settings.seed)
        if settings.vectors and not resume:
            self._start_from_vectors()
        batches = [
            SentenceBatches(part, settings.batch_tokens, samples, size, settings.seed)
            for part in (self.tokens.train, self.tokens.heldout)
        ]
        self.trainer = BilmTrainer(
            self.model,
            self.lexicon,
            *batches,
            schedule,
            self.folder,
            max_length=settings.max_length,
            dropout=settings.dropout,
            clip_norm=settings.clip_norm,
            checkpoint_steps=settings.checkpoint_steps,
            history_steps=settings.history_steps,
            heldout_steps=settings.heldout_steps,
            on_report=on_report,
        )
        if resume:
            self.trainer.resume()
            # The command that began the run is the one to repeat it with.
            self.command = earlier.get("command") or command
        facts = {
            "kind": KIND,
            "command": self.command,
            "versions": _versions(),
            "corpora": self.tokens.meta,
            "vocabulary_size": size,
            "softmax_samples": samples,
        }
        self._write_json("config.json", self.settings.as_dict() | facts)

    def run(self) -> bool:
        """Train to the end, and write `history.csv`, `plots/loss.png` and `metrics.json`.

        Returns:
            Whether the end was reached; False after `trainer.stop_requested`.
        """
        trainer = self.trainer
        if trainer.schedule.done(trainer.step, trainer.seconds) and (self.folder / "metrics.json").is_file():
            return True  # resumed to export it: its figures stand
        at_start = (trainer.tokens, trainer.seconds)
        finished = trainer.run()
        if finished:
            self._write_json("metrics.json", self._metrics(*at_start))
            if importlib.util.find_spec("matplotlib"):
                plot_losses(self.folder)
            else:
                logger.warning("no plots: they need matplotlib (pip install matplotlib)")
            write_readme(self.folder)
        return finished

    def export(self) -> Path:
        """Write the SavedModel into the run folder.

        Returns:
            The folder.
        """
        info = {"name": self.settings.name or self.folder.name, "lower_case": self.settings.lower_case}
        return export_bilm(self.folder, self.model, self.lexicon, info)

    def _prepare_tokens(self) -> TokenFolder:
        settings = self.settings
        licences = settings.licences or ("not stated",) * len(settings.corpus)
        corpora = [scan_corpus(path, licence) for path, licence in zip(settings.corpus, licences, strict=True)]
        counts = count_words(SentenceSample(corpora), settings.lower_case)
        self._lexicon = make_lexicon(
            counts, settings.vocab_size, settings.min_count, settings.lower_case, settings.tokens == "words"
        )
        logger.info("%d words to predict, of %d in the corpus", self._lexicon.size, len(counts))
        self.folder.mkdir(parents=True, exist_ok=True)
        tokens = prepare_token_files(
            self.folder / "tokens", corpora, self._lexicon, 0.0, settings.heldout_share, settings.seed
        )
        if not tokens.train.token_count:
            raise UserError(
                f"{', '.join(settings.corpus)}: nothing is left to learn from once --heldout-share is taken; "
                "give more text"
            )
        return tokens

    def _start_from_vectors(self) -> None:
        """Put word vectors into the rows of the words they are for."""
        from tl_keras.vectors.read import read_vectors

        vectors, table = read_vectors(self.settings.vectors), self.model.embeddings.numpy()
        if vectors.width != table.shape[1]:
            raise UserError(
                f"--vectors {self.settings.vectors} has vectors of width {vectors.width}, but --width is "
                f"{table.shape[1]}; give --width {vectors.width}"
            )
        found = {index: vectors.vector(word) for index, word in enumerate(self.lexicon.predicted) if index > UNKNOWN}
        found = {index: vector for index, vector in found.items() if vector is not None}
        if not found:
            raise UserError(f"--vectors {self.settings.vectors} has a vector for none of the corpus's words")
        values = np.stack(list(found.values()))
        # To the spread of the other rows: some files hold vectors of length 1, others of length 10.
        table[list(found)] = values * (table.std() / max(float(values.std()), 1e-12))
        self.model.embeddings.assign(table)
        logger.info("%d of %d words start from word vectors", len(found), len(table))

    def _metrics(self, tokens_before: int, seconds_before: float) -> dict:
        trainer = self.trainer
        heldout = trainer.measure_heldout()
        speed = (trainer.tokens - tokens_before) / max(trainer.seconds - seconds_before, 1e-9)
        return {
            "steps": trainer.step,
            "epochs": trainer.place.epoch,
            "tokens": trainer.tokens,
            "seconds": round(trainer.seconds, 1),
            "tokens_per_second": round(speed, 1),
            "parameters": int(sum(np.prod(v.shape) for v in self.model.trainable_variables)),
            "heldout": {name: round(value, 4) for name, value in heldout.items()},
            "heldout_unknown_share": round(unknown_share(self.tokens.heldout, self.lexicon), 4),
            "command": self.command,
        }

    def _write_json(self, name: str, values: dict) -> None:
        draft = self.folder / f".{name}.part"
        draft.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(draft, self.folder / name)


def pretrain_bilm(
    settings: BilmSettings,
    resume: bool = False,
    on_report: Callable[[Report], None] | None = None,
    command: str | None = None,
) -> Path:
    """Pre-train a biLM on text files and write it as a SavedModel that gives ELMo vectors.

    Args:
        settings: What to do.
        resume: Go on from the checkpoint in `settings.out`.
        on_report: Called after each step.
        command: The command line, for the README.

    Returns:
        The run folder, which `tl_keras.load_elmo` and `tl_keras.KerasLayer` take.
    """
    pretraining = BilmPretraining(settings, resume, on_report, command)
    pretraining.run()
    return pretraining.export()


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            versions[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
