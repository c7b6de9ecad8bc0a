"""Exact resume: all that training depends on, saved every so many steps and at the end of each epoch."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import numpy as np
import tensorflow as tf

from tl_keras._keras import IS_KERAS_3, KERAS_NAME, keras, tf_variable
from tl_keras.errors import NotFiniteError, UserError
from tl_keras.random_operations import restart_random_operations
from tl_keras.training.callbacks import BestWeights
from tl_keras.training.checkpoint_files import KEEP, CheckpointFolder, SavedState
from tl_keras.training.epoch_batches import EpochBatches
from tl_keras.training.step import WarmupLinearDecay
from tl_keras.training.strategy import is_chief

logger = logging.getLogger(__name__)

EVERY_STEPS = 500


class Checkpoints(keras.callbacks.Callback):
    """Saves a training so that it can go on where it was killed, and end with the same weights as if it had not been.

    A checkpoint holds the model's weights, the optimizer's moments, steps and groups (and so how far gradual unfreezing has come), the
    learning-rate plan, the running metrics, the states of Keras's random generators, the best weights so far, the history, and the place
    in the data. Dropout inside a module draws from counters that nobody can read; these begin anew behind each checkpoint, so that a
    training that goes on there draws the same (with a global seed; behind a checkpoint that SIGTERM called for, it draws otherwise than
    an undisturbed one). Under Keras 2, call `keep_random_states` before the model is built.

    `tl_keras.training.resume.resumable_fit` puts it to use. Put it behind the callbacks whose logs and weights it is to save.

    Args:
        folder: for checkpoints; the two newest are kept. Several workers need one that all of them see; the first one writes.
        every_steps: also save after so many steps; 0 saves at the end of each epoch only. That much work is lost at most.
        best: the callback that keeps the best weights.
        settings: what must be the same when training goes on, such as batch size and seed; compared then.
        keep: checkpoints to keep.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        every_steps: int = EVERY_STEPS,
        *,
        best: BestWeights | None = None,
        settings: dict | None = None,
        keep: int = KEEP,
    ):
        super().__init__()
        if every_steps < 0:
            raise UserError(f"checkpoints are written every so many steps, 0 or more, not {every_steps}.")
        self.folder = CheckpointFolder(folder, keep)
        self.every_steps = int(every_steps)
        self.best = best
        self.settings = json.loads(json.dumps({**(settings or {}), "keras": KERAS_NAME.split(".")[0]}))
        self._resumed: SavedState | None = None
        self._feed: EpochBatches | None = None
        self._history: dict[str, list[float]] = {}
        self._epoch = self._since = 0

    def resume(self, feed: EpochBatches, epochs: int) -> int:
        """Find the newest checkpoint, and have the batches go on behind it.

        Args:
            feed: of the training.
            epochs: how many there are to be in all.

        Returns:
            The `initial_epoch` for `fit`; 0 where there is nothing to resume.

        Raises:
            UserError: it was written under other settings, or cannot be read.
        """
        self._feed = feed
        state = self._resumed = self.folder.newest()
        if state is None:
            return 0
        then, now = state.facts["settings"], {**self.settings, "epochs": epochs, "steps": feed.steps}
        changed = sorted(name for name in {*then, *now} if then.get(name) != now.get(name))
        if changed:
            listed = "; ".join(f"{name} was {then.get(name)!r} and is {now.get(name)!r}" for name in changed)
            raise UserError(
                f"the training in {self.folder.path} cannot go on under other settings: {listed}. Set them back, or start anew without "
                "--resume."
            )
        logger.info("Going on at epoch %d behind step %d, from %s.", state.epoch + 1, state.step, state.folder)
        feed.start_at(state.epoch, state.step, state.facts["logs"])
        return epochs if state.facts["stopped"] else min(state.epoch, epochs)

    @property
    def last(self) -> Path | None:
        """The newest checkpoint's folder."""
        places = self.folder.places()
        return places[-1] if places else None

    def on_train_begin(self, logs=None):
        """Put back what the checkpoint holds."""
        self._history, self._since, self._step = {}, 0, 0
        state = self._resumed
        self._agree(state)
        self._restart_dropout()
        if state is None:
            return
        with self.model.distribute_strategy.scope():
            _assign(_variables(self.model), state)
        self._history = {name: list(values) for name, values in state.facts["history"].items()}
        if self.best is not None and state.facts["best"] is not None:
            self.best.resume(state.facts["best"], list(state.arrays["best"]))

    def on_epoch_begin(self, epoch, logs=None):
        """In the epoch that is resumed: put back the running metrics, which `fit` has just set to zero, and the history."""
        self._epoch, self._step = epoch, 0
        state = self._resumed
        if state is None:
            return
        self._show_history(range(epoch))
        self._resumed = None
        if state.epoch == epoch and state.step:
            self._step = state.step
            with self.model.distribute_strategy.scope():
                _make_metrics(self.model, next(iter(self._feed.stand_in)))
                _assign({"metrics": _metrics(self.model)}, state)

    def on_train_batch_end(self, batch, logs=None):
        """Save, if it is time."""
        done = batch + 1
        if done <= self._step:
            return  # done before the restart
        self._since += done - self._step
        self._step = done
        if self.every_steps and self._since >= self.every_steps:
            self.save(logs)

    def on_epoch_end(self, epoch, logs=None):
        """Save the finished epoch."""
        for name, value in (logs or {}).items():
            self._history.setdefault(name, []).append(float(value))
        self._epoch, self._step = epoch + 1, 0
        self.save()

    def on_train_end(self, logs=None):
        """Show the history of a training that had been finished before."""
        if self._resumed is not None:
            self._show_history(range(self._resumed.epoch))
            self._resumed = None

    def save(self, logs: dict | None = None) -> Path | None:
        """Write a checkpoint of this moment, between two steps. All workers call it; the first one writes.

        Args:
            logs: the figures after the last step.

        Returns:
            Its folder; None for a worker that writes none.

        Raises:
            NotFiniteError: a weight is not a number; older checkpoints stay as they are.
            UserError: it cannot be written.
        """
        self._since = 0
        # Reading a metric's variable adds up the workers' parts, so every worker has to read.
        groups = {**_variables(self.model), "metrics": _metrics(self.model)}
        arrays = {name: [np.array(variable.numpy()) for variable in variables] for name, variables in groups.items()}
        if not all(np.isfinite(array).all() for array in arrays["model"] if array.dtype.kind == "f"):
            raise NotFiniteError(
                f"a weight is not a finite number behind step {self._step} of epoch {self._epoch + 1}, so no checkpoint is written. "
                f"The last good one is {self.last or 'none'}. Lower the learning rate, or look for broken inputs."
            )
        best = self.best
        kept = best is not None and best._weights is not None
        facts = {
            "settings": {**self.settings, "epochs": self.params["epochs"], "steps": self.params["steps"]},
            "logs": {name: float(value) for name, value in (logs or {}).items()},
            "history": self._history,
            "best": best.state if kept else None,
            "stopped": bool(self.model.stop_training),
        }
        arrays["best"] = [np.asarray(weight) for weight in best._weights] if kept else []
        self._restart_dropout()
        if not is_chief(self.model.distribute_strategy):
            return None
        return self.folder.write(SavedState(self._epoch, self._step, arrays, facts))

    def save_finished(self, model: keras.Model, epochs: int, steps: int) -> Path | None:
        """Write a checkpoint of a training that has ended, also where none was written while it ran.

        Args:
            model: with the weights and the history that training left.
            epochs: of the training in all.
            steps: in an epoch.

        Raises:
            UserError: it cannot be written.
        """
        self.set_model(model)
        self.set_params({"epochs": epochs, "steps": steps})
        self._history = {name: [float(value) for value in values] for name, values in model.history.history.items()}
        self._epoch, self._step = max(len(model.history.epoch), 1), 0
        model.stop_training = True
        return self.save()

    def _show_history(self, epochs: range) -> None:
        self.model.history.history = {name: list(values) for name, values in self._history.items()}
        self.model.history.epoch = list(epochs)

    def _restart_dropout(self) -> None:
        """Have dropout inside a module that learns draw as it will where this training is taken up again.

        The next step is then prepared anew, which takes seconds for a large encoder.
        """
        layers = self.model._flatten_layers()
        if any(layer.trainable and getattr(layer, "resolved_object", None) is not None for layer in layers):
            restart_random_operations()

    def _agree(self, state: SavedState | None) -> None:
        """Refuse workers that found different checkpoints: they would train on different batches and drift apart."""
        strategy = self.model.distribute_strategy
        if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            return
        place = -1 if state is None else state.epoch * 10**9 + state.step
        replicas = strategy.num_replicas_in_sync
        total = strategy.reduce(
            tf.distribute.ReduceOp.SUM, strategy.run(lambda: tf.constant(place, tf.int64)), axis=None
        )
        if int(total) != place * replicas:
            raise UserError(
                f"the workers found different checkpoints in {self.folder.path}: --out must be on a disk that all of them share."
            )


def keep_random_states() -> None:
    """Have Keras draw dropout from generators whose states can be saved. Before a model is built.

    Keras 3 always does. Keras 2 draws from operations with hidden counters, unless told otherwise, for the whole process.
    """
    if not IS_KERAS_3:
        keras.backend.experimental.enable_tf_random_generator()


def _variables(model: keras.Model) -> dict[str, list[tf.Variable]]:
    """All that a step reads and changes, the running metrics excepted."""
    optimizer = model.optimizer
    if not getattr(optimizer, "built", getattr(optimizer, "_built", False)):
        optimizer.build(model.trainable_variables)
    schedule = getattr(getattr(optimizer, "inner_optimizer", optimizer), "_learning_rate", None)
    moments = optimizer.variables
    return {
        "model": [tf_variable(v) for v in model.variables],
        "optimizer": [tf_variable(v) for v in (moments() if callable(moments) else moments)],
        "schedule": [schedule.first_step, schedule.steps] if isinstance(schedule, WarmupLinearDecay) else [],
        "random": [] if IS_KERAS_3 else _generator_states(model),
    }


def _metrics(model: keras.Model) -> list[tf.Variable]:
    return [tf_variable(variable) for metric in model.metrics for variable in metric.variables]


def _make_metrics(model: keras.Model, batch: tuple) -> None:
    """Have Keras make the metrics that it otherwise makes at the first step."""
    if IS_KERAS_3:
        model._symbolic_build(data_batch=batch)
        return
    # Not by calling the model: outside a step of several workers, a SavedModel's function cannot run.
    outputs = tf.nest.map_structure(
        lambda spec: tf.zeros([2 if size is None else size for size in spec.shape], spec.dtype), model.output
    )
    labels = batch[1]
    for container, arguments in ((model.compiled_loss, (outputs,)), (model.compiled_metrics, (outputs, labels))):
        if container is not None and not container._built:
            container.build(*arguments)


def _generator_states(model: keras.Model) -> list[tf.Variable]:
    """Of Keras 2, which keeps them out of a model's variables."""
    generators = (getattr(layer, "_random_generator", None) for layer in model._flatten_layers())
    return [g._generator.state for g in generators if getattr(g, "_generator", None) is not None]


def _assign(groups: dict[str, list[tf.Variable]], state: SavedState) -> None:
    for name, variables in groups.items():
        values = state.arrays[name]
        shapes = [tuple(v.shape) for v in variables]
        if shapes != [value.shape for value in values]:
            raise UserError(
                f"the checkpoint {state.folder} was written for another model: its {name} variables have other shapes. Start anew "
                "without --resume."
            )
        for variable, value in zip(variables, values, strict=True):
            # NumPy's files do not know bfloat16, and give its bytes back.
            wanted = variable.dtype.as_numpy_dtype
            variable.assign(value.view(wanted) if value.dtype.kind == "V" else value.astype(wanted))
