"""What ends a training early, in good order: a loss that is no number, and a machine that is taken away."""

from __future__ import annotations

import contextlib
import logging
import math
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from tl_keras._keras import keras
from tl_keras.data.examples import Examples, row_numbers
from tl_keras.data.questions import QuestionExamples
from tl_keras.errors import NotFiniteError, Preempted, WorkerLost, on_signals
from tl_keras.files import write_whole
from tl_keras.training.epoch_batches import Orders

if TYPE_CHECKING:
    from tl_keras.training.checkpoints import Checkpoints

logger = logging.getLogger(__name__)

SHOWN = 20


@contextlib.contextmanager
def end_with_others(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """End this worker, in one line, when TensorFlow finds that another one has gone.

    Args:
        strategy: what is trained under; without several workers nothing is changed.

    Raises:
        WorkerLost: a worker has gone; start all of them again.
    """
    try:
        yield
    except tf.errors.OpError as error:
        several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        gone = isinstance(error, tf.errors.UnavailableError) or "Collective ops is aborted" in str(error)
        if not (several and gone):
            raise
        logger.error(
            "another worker has gone (its own output says why), so this one ends too. Start all again; with --resume they go on."
        )
        raise WorkerLost from None


class StopWhenNotFinite(keras.callbacks.Callback):
    """Ends training as soon as the loss is not a finite number, and says at which step, with which rows.

    Put it before whatever saves weights: those of the step that failed are spoiled.

    Args:
        rows: gives the row numbers of a batch: `rows(epoch, step)`, both from 0; see `RowFinder`.
        source: where the rows come from, for the message.
        last_good: gives the last checkpoint's folder, or None.

    Raises:
        NotFiniteError: in `fit`, when it happens.
    """

    def __init__(
        self,
        rows: Callable[[int, int], Sequence[int]] | None = None,
        source: str = "the training examples",
        last_good: Callable[[], object] | None = None,
    ):
        super().__init__()
        self.rows = rows
        self.source = source
        self.last_good = last_good
        self._epoch = self._done = 0

    def on_epoch_begin(self, epoch, logs=None):
        """Note where we are."""
        self._epoch, self._done = epoch, 0

    def on_train_batch_end(self, batch, logs=None):
        """Look at the loss: the mean since the epoch began, which the first bad step spoils."""
        loss = (logs or {}).get("loss")
        first, self._done = self._done, batch + 1
        if loss is None or math.isfinite(loss):
            return
        # One call of the training function may have taken several steps.
        steps = range(first, batch + 1)
        where = f"step {steps[0] + 1}" if len(steps) == 1 else f"one of the steps {steps[0] + 1} to {steps[-1] + 1}"
        message = f"the loss is {float(loss)} at {where} of epoch {self._epoch + 1}."
        if self.rows is not None:
            found = [int(row) for step in steps for row in self.rows(self._epoch, step)]
            listed = ", ".join(map(str, found[:SHOWN])) + (
                f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
            )
            message += f" Its batch holds the rows {listed} of {self.source} (counted from 0)."
        kept = self.last_good() if self.last_good is not None else None
        message += f" The last good checkpoint is {kept}." if kept else " There is no checkpoint from before it."
        raise NotFiniteError(f"{message} Lower the learning rate, or look for something broken in these rows.")


class RowFinder:
    """Which examples are in a batch: their row numbers, found by making the batches of that epoch again.

    Args:
        batches: makes the training dataset with row numbers in the place of labels; of several numbers for a row of the batch (its
            tokens' for a tagger) the highest counts. What else it is made of (texts, seed, batch size) must be the same, for that is what
            the order depends on.
        rows: what each of these numbers stands for, where the examples are a part of their source; None for the numbers themselves.

    Example:
        >>> numbers = tf.data.Dataset.range(6)
        >>> finder = RowFinder(lambda: numbers.shuffle(6, seed=1).batch(2).map(lambda rows: (rows * 0, rows)))
        >>> sorted(row for step in range(3) for row in finder(4, step))
        [0, 1, 2, 3, 4, 5]
    """

    def __init__(self, batches: Callable[[], tf.data.Dataset], rows: np.ndarray | None = None):
        self.batches = batches
        self.rows = rows

    def __call__(self, epoch: int, step: int) -> list[int]:
        """The row numbers of a batch, in its order; epoch and step from 0."""
        found = np.asarray(next(Orders(self.batches()).iterator(epoch, skip=step))[1])
        # A window that is cut out of a long text stands for it as well as any other.
        places = [place for place in dict.fromkeys(found.reshape(len(found), -1).max(axis=1).tolist()) if place >= 0]
        return places if self.rows is None else self.rows[places].tolist()


def row_finder(batches: Callable[..., tf.data.Dataset], examples) -> RowFinder:
    """A `RowFinder` for the batches of a training; gives the rows of the examples' source, where these know them.

    Args:
        batches: makes the training batches of examples: with `training=True`, and seed and batch size as in training. For taggers' and
            answerers' examples, whose batches hold windows, it must also take `numbered=True`.
        examples: those that are trained on.
    """
    if isinstance(examples, QuestionExamples):
        examples = examples.learnable()  # the others are in no batch
    if not isinstance(examples, Examples):
        return RowFinder(lambda: batches(examples, numbered=True), examples.rows)
    numbered = Examples(examples.texts, examples.text_pairs, row_numbers(examples), None, examples.source)
    return RowFinder(lambda: batches(numbered))


@contextlib.contextmanager
def watch_sigterm() -> Iterator[threading.Event]:
    """Note SIGTERM instead of dying of it, so that the step under way can end. Outside the main thread it changes nothing.

    Example:
        >>> import os
        >>> with watch_sigterm() as came:
        ...     os.kill(os.getpid(), signal.SIGTERM)
        ...     came.wait(1)
        True
    """
    came = threading.Event()
    with on_signals(lambda number: came.set(), (signal.SIGTERM,)):
        yield came


class StopWhenPreempted(keras.callbacks.Callback):
    """Saves a checkpoint and ends the program when SIGTERM has come; looks after each step.

    Of several workers perhaps only one is told. It leaves a note beside the checkpoints, "stop behind the next step". None of them can
    finish that step without the others, so behind it all have seen the note, and save together.

    Args:
        came: set when the signal has come; see `watch_sigterm`.
        checkpoints: what saves; None saves nothing.

    Raises:
        Preempted: in `fit`, when everything is saved.
    """

    def __init__(self, came: threading.Event, checkpoints: Checkpoints | None = None):
        super().__init__()
        self.came = came
        self.checkpoints = checkpoints
        self._note = None
        self._calls = 0

    def on_train_begin(self, logs=None):
        """Find out whether others have to be told; remove a note from an earlier time."""
        self._note, self._calls = None, 0
        several = isinstance(self.model.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy)
        if several and self.checkpoints is not None:
            self._note = self.checkpoints.folder.path / "stop"
            self._note.unlink(missing_ok=True)

    def on_train_batch_end(self, batch, logs=None):
        """Save and end, if the signal has come."""
        if self._note is None:
            if self.came.is_set():
                self._end(logs)
            return
        self._calls += 1
        if self._note.exists():
            if self._calls >= int(self._note.read_text()):
                self._end(logs)
        elif self.came.is_set():
            write_whole(self._note, str(self._calls + 1))

    def on_epoch_end(self, epoch, logs=None):
        """The end of an epoch has just been saved."""
        if self.came.is_set() and self._note is None:
            self._end(None, saved=True)

    def _end(self, logs, saved: bool = False) -> None:
        if self.checkpoints is None:
            logger.warning("SIGTERM: ending; nothing is saved (that takes --resume).")
            raise Preempted
        if not saved:
            self.checkpoints.save(logs)
        logger.warning("SIGTERM: saved in %s; start again with --resume to go on.", self.checkpoints.folder.path)
        raise Preempted
