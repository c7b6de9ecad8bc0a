"""The whole way from text files to a causal language model: a GPT-2 of KerasHub, with a vocabulary of its own."""

from __future__ import annotations

import logging
from pathlib import Path

import keras_hub

from tl_keras.pretraining.byte_pairs import learn_byte_pairs, read_byte_pairs
from tl_keras.pretraining.corpus import SentenceSample
from tl_keras.pretraining.draft import draft_in
from tl_keras.pretraining.gpt_batches import CausalBatches
from tl_keras.pretraining.gpt_trainer import GptTrainer
from tl_keras.pretraining.loss_plot import plot_losses
from tl_keras.pretraining.model_card import write_gpt_card
from tl_keras.pretraining.run import LanguageModelRun, can_plot
from tl_keras.pretraining.settings import GptSettings
from tl_keras.pretraining.token_vectors import start_from_token_vectors

logger = logging.getLogger(__name__)


class GptPretraining(LanguageModelRun):
    """One pre-training run: prepared on construction, trained by `run`, written as a KerasHub preset by `export`."""

    libraries = ("tl_keras", "keras", "keras-hub", "tokenizers", "numpy", "tensorflow")
    settings: GptSettings
    trainer_class = GptTrainer

    def prepare(self):
        """Learn the byte-level vocabulary, and write the token files."""
        corpora = self.scan_corpora()
        self.byte_pairs = learn_byte_pairs(SentenceSample(corpora), self.settings.vocab_size)
        logger.info("learned a vocabulary of %d tokens", len(self.byte_pairs.vocabulary))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.byte_pairs.write_merges(self.folder)
        return self.write_tokens(corpora, self.byte_pairs)

    def start(self):
        """A model of random weights, or of vectors of its tokens."""
        self.model = self._build()
        start_from_token_vectors(self.model.backbone, self.tokens.train, self.byte_pairs.vocabulary, self.settings)

    def reopen(self):
        """The model of the settings, with the vocabulary of the token files."""
        self.byte_pairs = read_byte_pairs(self.tokens.vocabulary, self.folder)
        self.model = self._build()

    def batch_makers(self, schedule):
        """Rows of next tokens."""
        return tuple(
            CausalBatches(
                part, self.byte_pairs.end, self.byte_pairs.newline, self.settings.batch_tokens, self.settings.seed
            )
            for part in (self.tokens.train, self.tokens.heldout)
        )

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

    def _build(self):
        settings = self.settings
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
