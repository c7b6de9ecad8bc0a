"""Training a GPT: one step on the next tokens, and the perplexity of documents that were held out."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from tl_keras.pretraining.gpt_batches import CausalBatches
from tl_keras.pretraining.loop import Intervals, TrainingLoop
from tl_keras.pretraining.optimizer import make_optimizer
from tl_keras.pretraining.run_log import Report
from tl_keras.pretraining.schedule import Schedule


class GptTrainer(TrainingLoop):
    """Trains a causal language model of KerasHub.

    One graph serves all batches, whatever their shape: nothing is traced anew for another length.

    Args:
        model: A `keras_hub.models.CausalLM`; called with token ids and a padding mask, it gives logits.
        batches, heldout, schedule, folder, intervals, on_report: See `TrainingLoop`.
        weight_decay: Of AdamW.
    """

    measures = ("loss",)
    heldout_measures = ("loss", "perplexity")

    def __init__(
        self,
        model,
        batches: CausalBatches,
        heldout: CausalBatches,
        schedule: Schedule,
        folder: str | Path,
        intervals: Intervals | None = None,
        on_report: Callable[[Report], None] | None = None,
        weight_decay: float = 0.01,
    ):
        super().__init__(batches, heldout, schedule, folder, intervals, on_report)
        self.model = self.trained = model
        model.compile(optimizer=make_optimizer(weight_decay))
        model.optimizer.build(model.trainable_variables)
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
