"""Training a BERT: one step on masked words and next sentences, and the same two measured on held-out documents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tl_keras.pretraining.batches import BatchMaker
from tl_keras.pretraining.loop import Intervals, TrainingLoop
from tl_keras.pretraining.model import BertPretrainer, as_arrays
from tl_keras.pretraining.optimizer import make_optimizer
from tl_keras.pretraining.run_log import Means, Report
from tl_keras.pretraining.schedule import Schedule

MEASURES = ("mlm_loss", "mlm_accuracy", "nsp_loss", "nsp_accuracy")


class Trainer(TrainingLoop):
    """Trains a `BertPretrainer` on a `BatchMaker`'s batches.

    Args:
        model: The model.
        batches, heldout, schedule, folder, intervals, on_report: See `TrainingLoop`.
        weight_decay: For AdamW.
    """

    measures = heldout_measures = MEASURES

    def __init__(
        self,
        model: BertPretrainer,
        batches: BatchMaker,
        heldout: BatchMaker,
        schedule: Schedule,
        folder: str | Path,
        intervals: Intervals | None = None,
        on_report: Callable[[Report], None] | None = None,
        weight_decay: float = 0.01,
    ):
        super().__init__(batches, heldout, schedule, folder, intervals, on_report)
        self.model = self.trained = model
        model.compile(optimizer=make_optimizer(weight_decay), jit_compile="auto")
        model.optimizer.build(model.trainable_variables)

    def train_on(self, batch, rate):
        """Take one step."""
        self.model.optimizer.learning_rate = rate
        x, y = as_arrays(batch)
        _take_in(self.means, self.model.train_on_batch(x, y, return_dict=True), y)
        return batch.tokens

    def measure_heldout(self, limit=None):
        """Losses and accuracies on the held-out documents, with the same masks each time."""
        means = Means()
        for batch in self.heldout.once(self.schedule.longest, limit):
            x, y = as_arrays(batch)
            _take_in(means, self.model.test_on_batch(x, y, return_dict=True), y)
        return means.values()


def _take_in(means: Means, measured: dict, labels: dict) -> None:
    """Count the figures of one batch by the tokens, or pairs, that they were taken over."""
    for name in MEASURES:
        means.add(name, measured[name], float(labels[f"{name[:3]}_weights"].sum()))
