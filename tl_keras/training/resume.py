"""`model.fit` that can be killed and go on: batches in a fixed order, checkpoints, and two guards."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from tl_keras._keras import IS_KERAS_3, keras
from tl_keras.errors import UserError
from tl_keras.training.checkpoints import Checkpoints
from tl_keras.training.epoch_batches import EpochBatches
from tl_keras.training.guards import StopWhenNotFinite, StopWhenPreempted, end_with_others, watch_sigterm
from tl_keras.training.strategy import refuse_outside


def resumable_fit(
    model: keras.Model,
    x: tf.data.Dataset,
    *,
    epochs: int,
    checkpoints: Checkpoints | None = None,
    rows: Callable[[int, int], Sequence[int]] | None = None,
    source: str = "the training examples",
    callbacks: Sequence[keras.callbacks.Callback] = (),
    class_weight: dict[int, float] | None = None,
    steps_per_execution: int = 1,
    **arguments,
) -> keras.callbacks.History:
    """Train; with `checkpoints`, go on from the newest one that is there.

    The order of the batches depends on the dataset's seed and the epoch only. A loss that is not a number ends training with an error
    that names the rows; SIGTERM saves a checkpoint and ends the program with exit code 143.

    Args:
        model: compiled.
        x: batches for training, from `encoder.batches(training=True)` and its like, not yet iterated.
        epochs: in all, those before a restart among them.
        checkpoints: what saves, and knows where to go on.
        rows: gives the row numbers of a batch, for the message about a loss that is no number; see `RowFinder`.
        source: where the rows come from.
        callbacks: of `fit`.
        class_weight: of `fit`.
        steps_per_execution: batches for each call of the training function. More spare a TPU the waiting for Python; callbacks then
            see every so many steps only.
        **arguments: of `fit`.

    Returns:
        The history, that of the epochs before a restart included.

    Raises:
        NotFiniteError: the loss is not a number.
        Preempted: SIGTERM came.
        WorkerLost: of several workers one has gone.
        UserError: the checkpoint does not fit, or a layer was made outside the strategy's scope.

    Example:
        >>> from tl_keras.training.checkpoints import Checkpoints
        >>> model = tlk.text_classifier(encoder, reviews.classes, transfer="freeze")
        >>> best = tlk.training.early_stopping(3)
        >>> batches = tlk.batches(model, reviews, training=True)
        >>> checkpoints = Checkpoints("backup", every_steps=2, best=best)
        >>> history = resumable_fit(model, batches, epochs=1, checkpoints=checkpoints, callbacks=[best], verbose=0)
    """
    if hasattr(model, "align_batches"):
        # Here, because what stands in for the batches in `model.fit` tells nothing of their labels.
        x, class_weight = model.align_batches(x), model.align_class_weight(class_weight)
    refuse_outside(model)
    if steps_per_execution != 1:
        set_steps_per_execution(model, steps_per_execution)
    feed = EpochBatches(x, class_weight)
    first = 0 if checkpoints is None else checkpoints.resume(feed, epochs)
    guard = StopWhenNotFinite(rows, source, None if checkpoints is None else lambda: checkpoints.last)
    with watch_sigterm() as came:
        # The guard before the checkpoints: what it finds must not be saved.
        ends = [guard, *([] if checkpoints is None else [checkpoints]), StopWhenPreempted(came, checkpoints)]
        try:
            with end_with_others(model.distribute_strategy):
                return model.fit(
                    feed.stand_in,
                    epochs=epochs,
                    initial_epoch=first,
                    callbacks=[feed, *callbacks, *ends],
                    **arguments,
                )
        finally:
            feed.release()


def set_steps_per_execution(model: keras.Model, steps: int) -> None:
    """Let each call of a compiled model's training function take so many batches.

    Raises:
        UserError: fewer than one.
    """
    if steps < 1:
        raise UserError(f"steps_per_execution must be at least 1, not {steps}.")
    if IS_KERAS_3:
        model.steps_per_execution = steps
    else:
        model._steps_per_execution.assign(steps)
    # Made anew by the next `fit`.
    model.train_function = None
