"""Training a biLM: one step of both directions, and their perplexities on held-out documents."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import tensorflow as tf

from tl_keras.pretraining.bilm.model import Bilm
from tl_keras.pretraining.bilm.sampled_softmax import LazyAdam, Negatives
from tl_keras.pretraining.bilm.saved_elmo import LexiconFeatures, vectors_of_ids
from tl_keras.pretraining.bilm.word_batches import UNKNOWN, Lexicon, SentenceBatches
from tl_keras.pretraining.loop import Intervals, TrainingLoop
from tl_keras.pretraining.run_files import Report
from tl_keras.pretraining.schedule import Schedule
from tl_keras.pretraining.token_files import TokenFile

DIRECTIONS = ("forward", "backward")


class BilmTrainer(TrainingLoop):
    """Trains a biLM.

    One graph serves all batches, whatever their shape: nothing is traced anew for another length.

    Args:
        model: The biLM.
        batches, heldout, schedule, folder, intervals, on_report: See `TrainingLoop`.
        lexicon: The words behind the ids of the batches.
        dropout: See `Bilm.states`.
        clip_norm: Of the gradients.
    """

    measures = tuple(f"{direction}_loss" for direction in DIRECTIONS)
    heldout_measures = (*measures, *(f"{direction}_perplexity" for direction in DIRECTIONS))

    def __init__(
        self,
        model: Bilm,
        batches: SentenceBatches,
        heldout: SentenceBatches,
        schedule: Schedule,
        folder: str | Path,
        intervals: Intervals | None = None,
        on_report: Callable[[Report], None] | None = None,
        *,
        lexicon: Lexicon,
        dropout: float = 0.1,
        clip_norm: float = 5.0,
    ):
        super().__init__(batches, heldout, schedule, folder, intervals, on_report)
        self.model, self.dropout = model, dropout
        self.optimizer = LazyAdam(model.trainable_variables, clip_norm)
        self.trained = SimpleNamespace(variables=list(model.variables), optimizer=self.optimizer)
        self._features = LexiconFeatures(lexicon, model.shape.max_chars if model.shape.tokens == "chars" else None)
        ids, lengths = tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32)
        negatives = Negatives(tf.TensorSpec([None], tf.int32), tf.TensorSpec([None], tf.float32))
        signature = [ids, lengths, negatives, tf.TensorSpec([2], tf.int32), tf.TensorSpec([], tf.float32)]
        self._train = tf.function(self._train_step, input_signature=signature, autograph=False)
        self._measure = tf.function(self._measure_step, input_signature=[ids, lengths], autograph=False)

    def train_on(self, batch, rate):
        """Take one step."""
        losses = self._train(batch.ids, batch.lengths, batch.negatives, batch.seed, rate)
        for name, loss in zip(self.measures, losses, strict=True):
            self.means.add(name, loss, batch.predictions)
        return batch.predictions

    def measure_heldout(self, limit=None):
        """Loss and perplexity of each direction on the held-out documents, by the full softmax.

        A perplexity is `exp` of the mean loss of a word, one end of each text among the words, and words that are not
        predicted as the one word `<UNK>`.
        """
        totals, count = [0.0, 0.0], 0
        for batch in self.heldout.once(self.schedule.longest, limit):
            losses = self._measure(batch.ids, batch.lengths)
            totals = [total + float(loss) for total, loss in zip(totals, losses, strict=True)]
            count += batch.predictions
        if not count:
            return {}
        means = {name: total / count for name, total in zip(self.measures, totals, strict=True)}
        # exp(709) is the largest that a float holds; nobody reads so large a perplexity.
        return means | {f"{name}_perplexity": math.exp(min(means[f"{name}_loss"], 700.0)) for name in DIRECTIONS}

    def _directions(self, ids, lengths, dropout, seed):
        """States and targets of both directions."""
        vectors = vectors_of_ids(self.model, self._features, ids)
        top = self.model.states(vectors, lengths, dropout, seed)[-1]
        targets = tf.where(ids < self.model.shape.vocabulary_size, ids, UNKNOWN)
        return self.model.predictions(top, targets, lengths)

    def _train_step(self, ids, lengths, negatives, seed, rate):
        with tf.GradientTape() as tape:
            directions = self._directions(ids, lengths, self.dropout, seed)
            losses = self.model.losses(directions, negatives if self.batches.samples else None)
            total = losses[0] + losses[1]
        self.optimizer.apply(tape.gradient(total, self.optimizer.targets), rate)
        return losses

    def _measure_step(self, ids, lengths):
        return self.model.total_losses(self._directions(ids, lengths, 0.0, None))


def unknown_fraction(part: TokenFile, lexicon: Lexicon) -> float:
    """The fraction of the words of a token file that are predicted as `<UNK>`."""
    return float((lexicon.targets(part.tokens) == UNKNOWN).mean()) if len(part.tokens) else 0.0
