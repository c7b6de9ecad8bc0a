"""One training run, from files to a run folder: what all tasks do alike."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import time
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tl_keras._keras import KERAS_NAME, keras
from tl_keras.data.preview import shown, warn_of_few, warn_of_repeats
from tl_keras.data.table import hash_files
from tl_keras.errors import UserError
from tl_keras.features.frozen import cache_features
from tl_keras.features.split import CannotSplit
from tl_keras.files import refuse_input_as_output
from tl_keras.models.transfer_model import reads_strings
from tl_keras.options import default_epochs
from tl_keras.serving.predict import export
from tl_keras.tasks.folder import FinishedRun, Outcome, RunFolder, library_versions, write_numbers
from tl_keras.tasks.steps import RunSteps, encoder_hash, refuse_other_encoder
from tl_keras.training.callbacks import BestWeights, EpochScore
from tl_keras.training.checkpoints import Checkpoints, keep_random_states
from tl_keras.training.guards import row_finder
from tl_keras.training.resume import resumable_fit
from tl_keras.training.step import precision, share_batches
from tl_keras.training.strategy import batch_options, from_chief, get_strategy, is_chief

logger = logging.getLogger(__name__)

_MAY_CHANGE = ("out", "overwrite", "resume", "checkpoint_every", "strategy", "steps_per_execution", "frozen_encoders")
"""Settings that change nothing about what is learned, so that a run may go on under others."""
_TO_PAUSE = " (One that is to go on later is ended by SIGTERM: kill PID.)"


class Run(RunSteps):
    """A run; each task has a subclass that says what is read, built, scored and reported: see `RunSteps`."""

    def execute(self, verbose: int | str = "auto") -> FinishedRun:
        """Read, train, evaluate, plot, export.

        Ctrl-C during training ends it early: the best weights so far are evaluated and exported like a finished run.

        Args:
            verbose: of `model.fit`: 0 silent, 1 progress bar, 2 a line an epoch.

        Raises:
            UserError: something in the settings or the data is wrong; nothing is left behind then.
        """
        settings = self.settings
        refuse_input_as_output(
            settings.out,
            [*self._data_files, settings.encoder, settings.preprocessor, getattr(settings, "model", None)],
        )
        # Before TensorFlow does anything: several workers find each other now or never.
        self.strategy = get_strategy(settings.strategy)
        chief = is_chief(self.strategy)
        folder = RunFolder(settings.out, overwrite=settings.overwrite, resume=settings.resume, chief=chief)
        with folder, precision(settings.mixed_precision):
            self.train, self.valid = self.read()
            for line in shown(self.train):
                logger.info("%s is understood as %s", self.train.source, line)
            warn_of_repeats(self.train, self.valid)
            if self.valid is not self.train:
                warn_of_few(self.valid)
            keep_random_states()
            keras.utils.set_random_seed(settings.seed)
            with self.strategy.scope():
                self.encoder = self.load_encoder()
                refuse_other_encoder(self.settings, self._encoder_hash)
                self.model = self.build()
                self.trained = self.training_model(self.model)
                self._refuse_strings()
            trained = self._fit(folder, verbose if chief else 0)
            with self._kept_trained(folder, trained):
                outcome = self._score(trained)
                # All workers save together, or those that do would wait for the others.
                export(
                    self.exported_model(), folder.work / "saved_model" / "1", task=self.task, **self.export_options()
                )
                if chief:
                    write_numbers(folder, settings, outcome)
                    self.write_page(folder.work, outcome)
        return FinishedRun(folder.path, outcome.report, outcome.seconds, outcome.interrupted, chief)

    def batch_settings(self, training: bool) -> dict:
        """What all tasks tell their batches."""
        settings = self.settings
        shape = batch_options(self.strategy, training) if self.features is None else {}
        return {"training": training, "batch_size": settings.batch_size, "seed": settings.seed, **shape}

    def _refuse_strings(self) -> None:
        """Refuse models that read strings, such as text embedding modules and ELMo, under a strategy that cannot."""
        if isinstance(self.strategy, tf.distribute.TPUStrategy) and reads_strings(self.trained):
            raise UserError(
                f"a TPU takes no strings, and {self.encoder.name} wants them; choose an encoder with a preprocessing module (tl-keras "
                "encoders), or another --strategy."
            )

    def exported_model(self):
        """What is exported."""
        return self.model

    def export_options(self) -> dict:
        """What the task tells `export`."""
        return {}

    def _fit(self, folder: RunFolder, verbose: int | str) -> _Trained:
        settings = self.settings
        epochs = settings.epochs or round(
            self.epochs_factor * default_epochs(len(self.train), settings.batch_size, settings.transfer)
        )
        started, interrupted = time.perf_counter(), False
        self._compute_features(folder)
        before = start = None
        if self.may_keep_start:
            drawn = self.trained.get_weights()
            before, start = self.tune_on_validation(self.evaluate()), self.trained.get_weights()
            # What is settled for the untrained model is no place to start training from.
            self.trained.set_weights(drawn)
        best = self.best_weights()
        callbacks = [best]
        if self.monitor not in ("val_loss", "val_accuracy", "val_macro_f1"):  # those that `fit` computes
            callbacks.insert(0, EpochScore(self.monitor, lambda: self._agreed(self.evaluate())))
        logger.info(share_batches(self.trained, settings.batch_size, settings.scale_learning_rate))
        train = self.batches(self.train, training=True)
        checkpoints = self._checkpoints(folder, best)
        try:
            resumable_fit(
                self.trained,
                train,
                validation_data=self.batches(self.valid, training=False),
                epochs=epochs,
                checkpoints=checkpoints if settings.resume else None,
                rows=row_finder(lambda examples, **more: self.batches(examples, training=True, **more), self.train),
                source=settings.train,
                callbacks=callbacks,
                steps_per_execution=settings.steps_per_execution,
                verbose=verbose,
                **self.fit_arguments(),
            )
        except KeyboardInterrupt:
            interrupted = True
            epoch = best.restore()
            kept = "the weights of this moment" if epoch is None else f"the weights of epoch {epoch + 1}"
            logger.warning("Interrupted: finishing the run with %s.%s", kept, _TO_PAUSE if settings.resume else "")
        seconds = time.perf_counter() - started
        steps = int(train.cardinality())
        return _Trained(
            epochs, steps, best, checkpoints, self.trained.get_weights(), before, start, seconds, interrupted
        )

    def _score(self, trained: _Trained) -> Outcome:
        """Evaluate what was trained, and choose what can only be chosen then."""
        report, best_epoch, before = self.tune_on_validation(self.evaluate()), trained.best.best_epoch, trained.before
        extra_config = {}
        if before is not None:
            if self._worse_than_before(trained.start, before, report):
                report, best_epoch = before, None
            extra_config = {
                "before_training": before.to_dict(),
                "kept_weights_from_before_training": report is before,
            }
        config = self._config(trained.epochs, {**self.extra_config(report), **extra_config})
        history = dict(self.trained.history.history)
        return Outcome(config, report, history, best_epoch, trained.seconds, trained.interrupted)

    @contextlib.contextmanager
    def _kept_trained(self, folder: RunFolder, trained: _Trained) -> Iterator[None]:
        """Should one of the last steps fail (a full disk, Ctrl-C), keep the trained weights, and say how to finish."""
        try:
            yield
        except BaseException as error:
            several = isinstance(self.strategy, tf.distribute.MultiWorkerMirroredStrategy)
            if not self.settings.resume and not several:
                # Evaluation may have changed them.
                self.trained.set_weights(trained.weights)
                try:
                    trained.checkpoints.save_finished(self.trained, trained.epochs, trained.steps)
                except (UserError, OSError) as other:
                    logger.error("The trained weights are lost, for they cannot be written either: %s", other)
                    raise error from None
            if any(folder.backup.glob("epoch-*")):
                logger.warning(
                    "The trained weights are kept in %s: the same command with --resume finishes the run.", folder.work
                )
            raise

    def _compute_features(self, folder: RunFolder) -> None:
        """Of a frozen encoder: run it once over all texts, and train the head on what it gives."""
        if self.settings.transfer != "freeze" or not self.uses_pooled_output:
            return
        if isinstance(self.strategy, tf.distribute.TPUStrategy):
            return  # the encoder would run on the host
        # With --resume kept beside the backup: a run that goes on does not compute them again.
        kept = folder.features if self.settings.resume else None
        try:
            self.features = cache_features(self.trained, self.train, self.valid, folder=kept)
        except CannotSplit as error:
            logger.info("The encoder runs in every epoch: %s", error)
            return
        self.trained = self.features.model

    def _checkpoints(self, folder: RunFolder, best: BestWeights) -> Checkpoints:
        """What saves; a run goes on only under the settings that decide what is learned, and from the same data."""
        settings = {name: value for name, value in dataclasses.asdict(self.settings).items() if name not in _MAY_CHANGE}
        settings.update(
            replicas=self.strategy.num_replicas_in_sync, data=self._data_hashes, encoder_sha256=self._encoder_hash
        )
        return Checkpoints(folder.backup, self.settings.checkpoint_every, best=best, settings=settings)

    def _agreed(self, report) -> float:
        """The monitored value of a report, the same for all workers."""
        return from_chief(self.monitored_value(report), self.strategy)

    @functools.cached_property
    def _encoder_hash(self) -> str | None:
        return encoder_hash(self.settings, self.encoder)

    @functools.cached_property
    def _data_hashes(self) -> dict[str, str]:
        """SHA-256 of the data files."""
        return {path: digest for file in self._data_files for path, digest in hash_files(file).items()}

    @property
    def _data_files(self) -> list[str]:
        settings = self.settings
        files = (settings.train, settings.validation, getattr(settings, "unlabelled", None))
        return [file for file in files if file is not None]

    def _worse_than_before(self, start: list, before, after) -> bool:
        """Put the weights from before training back, if the best epoch was worse.

        An encoder made for sentences is often better than what few or noisy pairs make of it.
        """
        if self._agreed(after) >= self._agreed(before):
            return False
        self.trained.set_weights(start)
        logger.warning(
            "Training made it worse: %s %.4f on the validation examples, %.4f before. The weights from before training are "
            "kept. A lower learning rate, fewer epochs or more examples may help.",
            self.measure, self.monitored_value(after), self.monitored_value(before),
        )  # fmt: skip
        return True

    def _config(self, epochs: int, extra_config: dict) -> dict:
        """Every setting, what was chosen for it, what the task adds, data hashes and library versions."""
        settings = self.settings
        return {
            "task": self.task,
            **dataclasses.asdict(settings),
            "epochs": epochs,
            "learning_rate": _peak_learning_rate(self.trained),
            **extra_config,
            "features_computed_once": self.features is not None,
            "train_examples": len(self.train),
            "validation_examples": len(self.valid),
            "keras": KERAS_NAME,
            "libraries": library_versions(),
            "replicas": self.strategy.num_replicas_in_sync,
            "data_sha256": self._data_hashes,
            "encoder_sha256": self._encoder_hash,
        }


@dataclasses.dataclass
class _Trained:
    """What training leaves to the steps behind it.

    Args:
        epochs: in all.
        steps: in an epoch.
        best: knows the best epoch.
        checkpoints: what saves.
        weights: as training left them.
        before: the report of the untrained model, where it may be kept.
        start: its weights.
        seconds: of training.
        interrupted: whether Ctrl-C ended it.
    """

    epochs: int
    steps: int
    best: BestWeights
    checkpoints: Checkpoints
    weights: list
    before: Any
    start: list | None
    seconds: float
    interrupted: bool


def _peak_learning_rate(model: keras.Model) -> float:
    schedule = model.optimizer._learning_rate
    return float(getattr(schedule, "peak", None) or model.optimizer.learning_rate)
