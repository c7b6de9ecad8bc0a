"""The training loop of a biLM: steps, held-out perplexities, history, checkpoints."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import tensorflow as tf

from tl_keras.pretraining.bilm.batches import SentenceBatches
from tl_keras.pretraining.bilm.features import LexiconFeatures, vectors_of_ids
from tl_keras.pretraining.bilm.lazy_adam import LazyAdam
from tl_keras.pretraining.bilm.model import Bilm
from tl_keras.pretraining.bilm.negatives import Negatives
from tl_keras.pretraining.bilm.words import UNKNOWN, Lexicon
from tl_keras.pretraining.checkpoint import restore_checkpoint, save_checkpoint
from tl_keras.pretraining.run_log import Clock, Means, Report, append_history, read_history, write_history
from tl_keras.pretraining.schedule import Schedule
from tl_keras.pretraining.token_files import TokenFile
from tl_keras.pretraining.windows import Place

logger = logging.getLogger(__name__)

DIRECTIONS = ("forward", "backward")
HISTORY = (
    "step", "seconds", "epoch", "tokens", "learning_rate", "tokens_per_second", "forward_loss", "backward_loss",
    "heldout_forward_loss", "heldout_backward_loss", "heldout_forward_perplexity", "heldout_backward_perplexity",
)  # fmt: skip


class BilmTrainer:
    """Trains a biLM until the schedule is over or someone asks it to stop.

    One graph serves all batches, whatever their shape: nothing is traced anew for another length.

    Args:
        model: The biLM.
        lexicon: The words behind the ids of the batches.
        batches: Training batches.
        heldout: The batches of the held-out documents.
        schedule: Length of the run and learning rate.
        folder: Where `checkpoint.npz` and `history.csv` go.
        max_length: Words of a row.
        dropout: See `Bilm.states`.
        clip_norm: Of the gradients.
        checkpoint_steps: Steps between checkpoints.
        history_steps: Steps between rows of the history.
        heldout_steps: Steps between measurements on the held-out documents; the end is always measured.
        heldout_batches: Batches measured each time; the end takes all.
        on_report: Called after each step.
    """

    def __init__(
        self,
        model: Bilm,
        lexicon: Lexicon,
        batches: SentenceBatches,
        heldout: SentenceBatches,
        schedule: Schedule,
        folder: str | Path,
        max_length: int = 64,
        dropout: float = 0.1,
        clip_norm: float = 5.0,
        checkpoint_steps: int = 200,
        history_steps: int = 50,
        heldout_steps: int = 400,
        heldout_batches: int | None = 64,
        on_report: Callable[[Report], None] | None = None,
    ):
        self.model, self.batches, self.heldout, self.schedule = model, batches, heldout, schedule
        self.folder, self.max_length, self.dropout = Path(folder), max_length, dropout
        self.checkpoint_steps, self.history_steps = checkpoint_steps, history_steps
        self.heldout_steps, self.heldout_batches, self.on_report = heldout_steps, heldout_batches, on_report
        self.stop_requested = False
        self.step = self.tokens = 0
        self.seconds = 0.0
        self.means, self.place = Means(), Place(max_length=max_length)
        self.optimizer = LazyAdam(model.trainable_variables, clip_norm)
        self._features = LexiconFeatures(lexicon, model.shape.max_chars if model.shape.tokens == "chars" else None)
        ids, lengths = tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32)
        negatives = Negatives(tf.TensorSpec([None], tf.int32), tf.TensorSpec([None], tf.float32))
        signature = [ids, lengths, negatives, tf.TensorSpec([2], tf.int32), tf.TensorSpec([], tf.float32)]
        self._train = tf.function(self._train_step, input_signature=signature, autograph=False)
        self._measure = tf.function(self._measure_step, input_signature=[ids, lengths], autograph=False)

    @property
    def _state(self) -> SimpleNamespace:
        """What a checkpoint holds, under the names that it looks for."""
        return SimpleNamespace(variables=list(self.model.variables), optimizer=self.optimizer)

    def resume(self) -> None:
        """Go back to the last checkpoint; rows of the history that came after it are dropped."""
        state = restore_checkpoint(self.folder, self._state)
        self.step, self.tokens, self.seconds = state["step"], state["tokens"], state["seconds"]
        self.place, self.means = Place(**state["place"]), Means(state["means"])
        rows = [row for row in read_history(self.folder) if int(row["step"]) <= self.step]
        write_history(self.folder, HISTORY, rows)

    def run(self) -> bool:
        """Train to the end of the schedule.

        Returns:
            Whether the end was reached; False after `stop_requested`, with a checkpoint to resume from.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.step:
            write_history(self.folder, HISTORY, [])
        clock, tokens_then, time_then, speed = Clock(self.seconds), self.tokens, self.seconds, 0.0
        stream = self.batches.from_place(self.place)
        while not self.schedule.done(self.step, self.seconds) and not self.stop_requested:
            self.place, batch = next(stream)
            rate = self.schedule.learning_rate(self.step, self.seconds)
            losses = self._train(batch.ids, batch.lengths, batch.negatives, batch.seed, rate)
            for direction, loss in zip(DIRECTIONS, losses, strict=True):
                self.means.add(f"{direction}_loss", loss, batch.predictions)
            self.step, self.tokens = self.step + 1, self.tokens + batch.predictions
            self.seconds = clock.tick()
            recent = (self.tokens - tokens_then) / max(self.seconds - time_then, 1e-9)
            done = self.schedule.done(self.step, self.seconds)
            if self.step % self.history_steps == 0 or done:
                self._log(rate, recent, final=done)
                # Measuring takes time of the run, but says nothing about the speed of training.
                tokens_then, time_then, speed = self.tokens, clock.tick(), recent
            if self.step % self.checkpoint_steps == 0:
                self.save()
            if self.on_report:
                per_step = batch.predictions / max(speed or recent, 1e-9)
                left = self.schedule.seconds_left(self.step, self.seconds, per_step)
                progress = self.schedule.progress(self.step, self.seconds)
                self.on_report(Report(self.step, progress, left, speed or recent, self.means.values()))
        self.save()
        return self.schedule.done(self.step, self.seconds)

    def save(self) -> None:
        """Write a checkpoint of this very moment."""
        state = {"step": self.step, "tokens": self.tokens, "seconds": self.seconds}
        state |= {"place": asdict(self.place), "means": self.means.sums}
        save_checkpoint(self.folder, self._state, state)

    def measure_heldout(self, limit: int | None = None) -> dict[str, float]:
        """Loss and perplexity of each direction on the held-out documents, by the full softmax.

        A perplexity is `exp` of the mean loss of a word, one end of each text among the words, and words that are not
        predicted as the one word `<UNK>`.

        Args:
            limit: Number of batches; all of them by default.
        """
        totals, count = [0.0, 0.0], 0
        for batch in self.heldout.once(self.max_length, limit):
            losses = self._measure(batch.ids, batch.lengths)
            totals = [total + float(loss) for total, loss in zip(totals, losses, strict=True)]
            count += batch.predictions
        if not count:
            return {}
        means = {f"{name}_loss": total / count for name, total in zip(DIRECTIONS, totals, strict=True)}
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

    def _log(self, rate: float, speed: float, final: bool) -> None:
        row = {
            "step": self.step,
            "seconds": round(self.seconds, 1),
            "epoch": self.place.epoch,
            "tokens": self.tokens,
            "learning_rate": f"{rate:.3e}",
            "tokens_per_second": round(speed),
        }
        row |= {name: f"{value:.4f}" for name, value in self.means.values().items()}
        if final or self.step % self.heldout_steps == 0:
            measured = self.measure_heldout(None if final else self.heldout_batches)
            row |= {f"heldout_{name}": f"{value:.4f}" for name, value in measured.items()}
        self.means = Means()
        append_history(self.folder, HISTORY, row)
        logger.info(
            "step %d: %s", self.step, ", ".join(f"{key} {value}" for key, value in row.items() if key != "step")
        )


def unknown_share(part: TokenFile, lexicon: Lexicon) -> float:
    """The share of the words of a token file that are predicted as `<UNK>`."""
    return float((lexicon.targets(part.tokens) == UNKNOWN).mean()) if len(part.tokens) else 0.0
