"""The whole way from text files to a biLM that gives ELMo vectors."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tl_keras.encoders.word_vectors.coverage import count_words
from tl_keras.errors import UserError
from tl_keras.pretraining.bilm.batches import SentenceBatches
from tl_keras.pretraining.bilm.card import write_readme
from tl_keras.pretraining.bilm.export import export_bilm
from tl_keras.pretraining.bilm.model import Bilm, BilmShape
from tl_keras.pretraining.bilm.settings import BilmSettings
from tl_keras.pretraining.bilm.trainer import BilmTrainer, unknown_fraction
from tl_keras.pretraining.bilm.words import UNKNOWN, Lexicon, make_lexicon
from tl_keras.pretraining.corpus import SentenceSample
from tl_keras.pretraining.loop import Intervals
from tl_keras.pretraining.loss_plot import plot_losses
from tl_keras.pretraining.run import PretrainingRun, can_plot
from tl_keras.pretraining.run_log import Report
from tl_keras.pretraining.schedule import Schedule
from tl_keras.pretraining.token_files import TokenFolder, open_token_files, prepare_token_files

logger = logging.getLogger(__name__)


class BilmPretraining(PretrainingRun):
    """One pre-training run: prepared on construction, trained by `run`, turned into a SavedModel by `export`.

    Args:
        settings: What to do.
        resume: Go on from the checkpoint in `settings.out`.
        on_report: Called after each step.
        command: The command line, for the README.

    Raises:
        UserError: For whatever is wrong with files or options.
    """

    libraries = ("tl_keras", "tensorflow", "tensorflow-text", "numpy")
    settings: BilmSettings

    def __init__(
        self,
        settings: BilmSettings,
        resume: bool = False,
        on_report: Callable[[Report], None] | None = None,
        command: str | None = None,
    ):
        super().__init__(settings, resume, command)
        lengths = ((1.0, settings.max_length),)
        schedule = Schedule(
            settings.steps, settings.minutes, settings.peak_learning_rate, settings.warmup_steps, lengths
        )
        # The token files bring the words and the checkpoint the weights: the corpus need not be there still.
        self.tokens = open_token_files(self.folder / "tokens") if resume else self._prepare_tokens()
        size = self.earlier.get("vocabulary_size") or self._lexicon.size
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
            Intervals.of(settings),
            on_report,
            dropout=settings.dropout,
            clip_norm=settings.clip_norm,
        )
        self.begin(resume, {"corpora": self.tokens.meta, "vocabulary_size": size, "softmax_samples": samples})

    def metrics(self):
        """How much of the held-out text is none of the words that are predicted."""
        return {"heldout_unknown_fraction": round(unknown_fraction(self.tokens.heldout, self.lexicon), 4)}

    def write_card(self):
        """Write `README.md` and `plots/loss.png`."""
        if can_plot():
            losses = {f"{direction}_loss": direction for direction in ("forward", "backward")}
            plot_losses(self.folder, losses, "words", "loss of a word (nats)", shared=True)
        write_readme(self.folder)

    def export(self) -> Path:
        """Write the SavedModel into the run folder.

        Returns:
            The folder.
        """
        info = {"name": self.settings.name or self.folder.name, "lower_case": self.settings.lower_case}
        return export_bilm(self.folder, self.model, self.lexicon, info)

    def _prepare_tokens(self) -> TokenFolder:
        settings = self.settings
        corpora = self.scan_corpora()
        counts = count_words(SentenceSample(corpora), settings.lower_case)
        self._lexicon = make_lexicon(
            counts, settings.vocab_size, settings.min_count, settings.lower_case, settings.tokens == "words"
        )
        logger.info("%d words to predict, of %d in the corpus", self._lexicon.size, len(counts))
        self.folder.mkdir(parents=True, exist_ok=True)
        tokens = prepare_token_files(
            self.folder / "tokens", corpora, self._lexicon, 0.0, settings.heldout_fraction, settings.seed
        )
        if not tokens.train.token_count:
            raise UserError(
                f"{', '.join(settings.corpus)}: nothing is left to learn from once --heldout-fraction is taken; "
                "give more text"
            )
        return tokens

    def _start_from_vectors(self) -> None:
        """Put word vectors into the rows of the words they are for."""
        from tl_keras.encoders.word_vectors.read import read_vectors

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
