"""Gradual unfreezing: when the next block begins to learn, within one `fit`."""

from __future__ import annotations

import logging

from tl_keras._keras import keras
from tl_keras.errors import UserError
from tl_keras.models.transfer_control import optimizer_of, require_encoder_layer

logger = logging.getLogger(__name__)


class GradualUnfreezing(keras.callbacks.Callback):
    """Wakes one part of the encoder after the other, from the top; `fit` adds it by itself under `transfer="gradual"`.

    The training function is not traced again: it reads from a variable which parts are frozen. So the backward pass goes through the whole
    encoder from the first step on; to save its time, train in two calls of `fit` with `set_transfer` between them.

    What woke stays unfrozen, also in a second `fit` and in one that resumes.
    """

    def on_train_begin(self, logs=None):
        """Find the parts, and say which of them will not be reached."""
        layer = require_encoder_layer(self.model)
        plan, self._optimizer = layer.transfer, optimizer_of(self.model)
        if plan.mode != "gradual":
            raise UserError(f'GradualUnfreezing needs transfer="gradual", but this model has {plan.mode!r}.')
        self._stages = plan.stages(layer.parts)
        self._every, self._unit = plan.interval
        self._stage = 0
        epochs, steps = (self.params or {}).get("epochs"), (self.params or {}).get("steps")
        last = None
        if self._unit == "epochs" and epochs:
            last = (epochs - 1) // self._every
        elif epochs and steps:
            last = (int(self._optimizer.iterations.numpy()) + epochs * steps - 1) // self._every
        if last is not None and last < len(self._stages) - 1:
            missed = [name for stage in self._stages[last + 1 :] for name in stage]
            logger.warning(
                "Gradual unfreezing: this training is too short to reach %s, which keep their pre-trained weights. One block every %d %s "
                "takes %d %s in all.",
                ", ".join(missed), self._every, self._unit, self._every * (len(self._stages) - 1) + 1, self._unit,
            )  # fmt: skip

    def on_epoch_begin(self, epoch, logs=None):
        """Wake what is due at this epoch (from 0)."""
        if self._unit == "epochs":
            self._unfreeze(epoch // self._every)

    def on_train_batch_begin(self, batch, logs=None):
        """Wake what is due at this step."""
        if self._unit == "steps" and self._stage < len(self._stages) - 1:
            self._unfreeze(int(self._optimizer.iterations.numpy()) // self._every)

    def _unfreeze(self, stage: int) -> None:
        if stage <= self._stage:
            return
        self._stage = min(stage, len(self._stages) - 1)
        names = self._optimizer.unfreeze([name for names in self._stages[: self._stage + 1] for name in names])
        if names:
            logger.info("Now also learning: %s.", ", ".join(names))
