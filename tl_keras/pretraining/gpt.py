"""The whole way from text files to a causal language model: a GPT-2 of KerasHub, with a vocabulary of its own."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path

import keras_hub
import numpy as np
import tensorflow as tf

from tl_keras.pretraining.batches import Place, WindowedBatches, budget_slices, ranges
from tl_keras.pretraining.corpus import SentenceSample
from tl_keras.pretraining.loop import KerasModelLoop
from tl_keras.pretraining.model_card import write_gpt_card
from tl_keras.pretraining.run import LanguageModelRun, can_plot
from tl_keras.pretraining.run_files import draft_in, plot_losses
from tl_keras.pretraining.settings import GptSettings
from tl_keras.pretraining.token_files import TokenFile
from tl_keras.pretraining.token_vectors import start_from_token_vectors
from tl_keras.pretraining.vocabulary import learn_byte_pairs, read_byte_pairs


@dataclass(frozen=True)
class CausalBatch:
    """Rows of tokens and what follows each of them, padded to the longest.

    Attributes:
        token_ids: int32 `[rows, length]`.
        targets: int32 `[rows, length]`, the token that comes next.
        lengths: int32 `[rows]`, tokens of each row that are no padding.
    """

    token_ids: np.ndarray
    targets: np.ndarray
    lengths: np.ndarray

    @property
    def predictions(self) -> int:
        """Tokens to predict."""
        return int(self.lengths.sum())


@dataclass(frozen=True)
class CausalBatches(WindowedBatches):
    """Makes the batches of a token file: a document is its sentences, a newline between two, an end-of-text token at both ends.

    A document longer than a row goes on in the next one. Rows of like length share a batch.

    Attributes:
        part: The token file.
        end: Id of the end-of-text token.
        newline: Id of the newline.
        token_budget: Tokens in a batch, padding included.
        seed: Where chance begins.
    """

    part: TokenFile
    end: int
    newline: int
    token_budget: int = 2048
    seed: int = 0

    def window_plans(self, place: Place) -> list[tuple[np.ndarray]]:
        """The batches of a window, each as rows `[rows, 3]`: document, first token, tokens to predict."""
        rng = np.random.default_rng([self.seed, place.epoch, place.window])
        rows = self.rows(self.window_documents(place), place.max_length)
        rows = rows[rng.permutation(len(rows))]
        # A stable sort of shuffled rows: those of one length meet other neighbours in each epoch.
        rows = rows[np.argsort(rows[:, 2], kind="stable")]
        plans = [(rows[part],) for part in budget_slices(rows[:, 2], self.token_budget)]
        return [plans[index] for index in rng.permutation(len(plans))]

    def rows(self, documents: np.ndarray, max_length: int) -> np.ndarray:
        """Where the rows of some documents begin, and how many tokens they predict: int64 `[rows, 3]`."""
        part = self.part
        first, last = part.documents[documents], part.documents[documents + 1]
        # The sentences, a newline between two of them, and the end.
        sizes = np.asarray(part.sentences[last] - part.sentences[first]) + (last - first)
        counts = -(-sizes // max_length)
        starts = ranges(np.zeros_like(counts), counts) * max_length
        return np.stack(
            [np.repeat(documents, counts), starts, np.minimum(np.repeat(sizes, counts) - starts, max_length)], axis=1
        )

    def realise(self, rows: np.ndarray, seed: list[int]) -> CausalBatch:
        """Fill in the ids; nothing is left to chance."""
        shape = len(rows), int(rows[:, 2].max())
        ids, targets = np.full(shape, self.end, np.int32), np.full(shape, self.end, np.int32)
        for row, (document, start, size) in enumerate(rows):
            tokens = self.document(document)[start : start + size + 1]
            ids[row, :size], targets[row, :size] = tokens[:-1], tokens[1:]
        return CausalBatch(ids, targets, rows[:, 2].astype(np.int32))

    def document(self, number: int) -> np.ndarray:
        """All tokens of a document, int64, its ends among them."""
        part = self.part
        borders = part.sentences[part.documents[number] : part.documents[number + 1] + 1]
        tokens = np.asarray(part.tokens[borders[0] : borders[-1]], np.int64)
        inside = np.insert(tokens, np.asarray(borders[1:-1] - borders[0]), self.newline)
        return np.concatenate([[self.end], inside, [self.end]])


class GptTrainer(KerasModelLoop):
    """Trains a causal language model of KerasHub (`CausalLM`), on `CausalBatches`.

    Called with token ids and a padding mask, the model gives logits. One graph serves all batches, whatever their shape: nothing is traced
    anew for another length.
    """

    measures = ("loss",)
    heldout_measures = ("loss", "perplexity")

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        ids, lengths = tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32)
        self._train = tf.function(self._train_step, input_signature=[ids, ids, lengths], autograph=False)
        self._measure = tf.function(self._total_loss, input_signature=[ids, ids, lengths], autograph=False)

    def train_on(self, batch, rate):
        """Take one step."""
        self.model.optimizer.learning_rate = rate
        self.means.add("loss", self._train(batch.token_ids, batch.targets, batch.lengths), batch.predictions)
        return batch.predictions

    def measure_heldout(self, limit=None):
        """Loss of a token in nats, and perplexity, `exp` of it, on the held-out documents; their ends are predicted too."""
        total, count = 0.0, 0
        for batch in self.heldout.once(self.schedule.longest, limit):
            total += float(self._measure(batch.token_ids, batch.targets, batch.lengths))
            count += batch.predictions
        # exp(709) is the largest that a float holds; nobody reads so large a perplexity.
        return {"loss": total / count, "perplexity": math.exp(min(total / count, 700.0))} if count else {}

    def _total_loss(self, ids, targets, lengths, training=False):
        mask = tf.sequence_mask(lengths, tf.shape(ids)[1])
        logits = self.model({"token_ids": ids, "padding_mask": tf.cast(mask, tf.int32)}, training=training)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, tf.cast(logits, tf.float32))
        return tf.reduce_sum(tf.where(mask, losses, 0.0))

    def _train_step(self, ids, targets, lengths):
        with tf.GradientTape() as tape:
            loss = self._total_loss(ids, targets, lengths, training=True) / tf.cast(tf.reduce_sum(lengths), tf.float32)
        variables = self.model.trainable_variables
        values = [variable.value for variable in variables]
        self.model.optimizer.apply_gradients(zip(tape.gradient(loss, values), variables, strict=True))
        return loss


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
