"""The whole way from text files to a causal language model: a GPT-2 of KerasHub, with a vocabulary of its own."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import keras
import keras_hub

from tl_keras.errors import UserError
from tl_keras.pretraining.byte_pairs import learn_byte_pairs, read_byte_pairs
from tl_keras.pretraining.corpus import SentenceSample
from tl_keras.pretraining.draft import draft_in
from tl_keras.pretraining.gpt_batches import CausalBatches
from tl_keras.pretraining.gpt_card import write_gpt_card
from tl_keras.pretraining.gpt_settings import GptSettings
from tl_keras.pretraining.gpt_trainer import GptTrainer
from tl_keras.pretraining.loop import Intervals
from tl_keras.pretraining.loss_plot import plot_losses
from tl_keras.pretraining.run import PretrainingRun, can_plot
from tl_keras.pretraining.run_log import Report
from tl_keras.pretraining.schedule import Schedule
from tl_keras.pretraining.token_files import open_token_files, prepare_token_files
from tl_keras.pretraining.token_vectors import TokenSentences, read_token_vectors, set_embeddings, train_token_vectors

logger = logging.getLogger(__name__)


class GptPretraining(PretrainingRun):
    """One pre-training run: prepared on construction, trained by `run`, written as a KerasHub preset by `export`.

    Args:
        settings: What to do.
        resume: Go on from the checkpoint in `settings.out`.
        on_report: Called after each step.
        command: The command line, for the card.

    Raises:
        UserError: For whatever is wrong with files or options.
    """

    libraries = ("tl_keras", "keras", "keras-hub", "tokenizers", "numpy", "tensorflow")
    settings: GptSettings

    def __init__(
        self,
        settings: GptSettings,
        resume: bool = False,
        on_report: Callable[[Report], None] | None = None,
        command: str | None = None,
    ):
        super().__init__(settings, resume, command)
        lengths = ((1.0, settings.max_length),)
        schedule = Schedule(
            settings.steps, settings.minutes, settings.peak_learning_rate, settings.warmup_steps, lengths
        )
        keras.utils.set_random_seed(settings.seed)
        if resume:
            self.tokens = open_token_files(self.folder / "tokens")
            self.byte_pairs = read_byte_pairs(self.tokens.vocabulary, self.folder)
        else:
            self._prepare_tokens()
        self.model = self._build(settings)
        if settings.init_embeddings and not resume:
            self._start_from_vectors()
        batches, heldout = (
            CausalBatches(part, self.byte_pairs.end, self.byte_pairs.newline, settings.batch_tokens, settings.seed)
            for part in (self.tokens.train, self.tokens.heldout)
        )
        self.trainer = GptTrainer(
            self.model,
            batches,
            heldout,
            schedule,
            self.folder,
            Intervals.of(settings),
            on_report,
            weight_decay=settings.weight_decay,
        )
        self.begin(resume, {"corpora": self.tokens.meta})

    def write_card(self):
        """Write `model_card.md` and `plots/loss.png`."""
        if can_plot():
            plot_losses(self.folder, {"loss": "next token"}, "tokens", "cross-entropy (nats)")
        write_gpt_card(self.folder)

    def export(self) -> Path:
        """Write the model as a KerasHub preset, `preset/` in the run folder.

        Returns:
            The run folder.
        """
        with draft_in(self.folder) as draft:
            draft.mkdir()
            self.model.save_to_preset(str(draft / "preset"))
        return self.folder

    def _prepare_tokens(self) -> None:
        settings = self.settings
        corpora = self.scan_corpora()
        self.byte_pairs = learn_byte_pairs(SentenceSample(corpora), settings.vocab_size)
        logger.info("learned a vocabulary of %d tokens", len(self.byte_pairs.vocabulary))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.byte_pairs.write_merges(self.folder)
        self.tokens = prepare_token_files(
            self.folder / "tokens", corpora, self.byte_pairs, 0.0, settings.heldout_fraction, settings.seed
        )
        if not self.tokens.train.token_count:
            raise UserError(
                f"{', '.join(settings.corpus)}: nothing is left to learn from once --heldout-fraction is taken; "
                "give more text"
            )

    def _build(self, settings: GptSettings):
        backbone = keras_hub.models.GPT2Backbone(
            vocabulary_size=len(self.byte_pairs.vocabulary),
            num_layers=settings.layers,
            num_heads=settings.heads or max(settings.width // 64, 1),
            hidden_dim=settings.width,
            intermediate_dim=4 * settings.width,
            dropout=settings.dropout,
            max_sequence_length=settings.max_length,
        )
        preprocessor = keras_hub.models.GPT2CausalLMPreprocessor(
            self.byte_pairs.keras_tokenizer(), sequence_length=settings.max_length
        )
        return keras_hub.models.GPT2CausalLM(backbone, preprocessor)

    def _start_from_vectors(self) -> None:
        settings, vocabulary = self.settings, self.byte_pairs.vocabulary
        if settings.init_embeddings == "skip-gram":
            sentences = TokenSentences(self.tokens.train, vocabulary)
            threads = os.cpu_count() or 1
            vectors = train_token_vectors(sentences, vocabulary, settings.width, seed=settings.seed, threads=threads)
        else:
            vectors = read_token_vectors(settings.init_embeddings, vocabulary)
        known = set_embeddings(self.model.backbone, vectors, settings.init_deviation)
        logger.info("%d of %d tokens start from word vectors", known, len(vocabulary))


def pretrain_gpt(
    settings: GptSettings,
    resume: bool = False,
    on_report: Callable[[Report], None] | None = None,
    command: str | None = None,
) -> Path:
    """Pre-train a causal language model on text files and write it as a KerasHub preset.

    Args:
        settings: What to do.
        resume: Go on from the checkpoint in `settings.out`.
        on_report: Called after each step.
        command: The command line, for the card.

    Returns:
        The run folder; its `preset/` is what `keras_hub.models.CausalLM.from_preset` reads.
    """
    pretraining = GptPretraining(settings, resume, on_report, command)
    pretraining.run()
    return pretraining.export()
