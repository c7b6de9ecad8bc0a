"""What each task fills in of a training run: what is read, built, scored and reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tl_keras._keras import keras
from tl_keras.encoders.base import Encoder
from tl_keras.encoders.load import load_encoder
from tl_keras.tasks.outcome import Outcome
from tl_keras.tasks.settings import RunSettings
from tl_keras.training.callbacks import BestWeights


class RunSteps:
    """The steps of a run that differ from task to task.

    Args:
        settings: of the run.
    """

    task: str
    monitor = "val_loss"
    """By which value of the logs the best epoch is chosen."""
    measure = "loss"
    """The monitored value's name, for people."""
    epochs_factor = 1.0
    """How much longer than a classifier of texts this task needs to learn."""
    may_keep_start = False
    """Whether the untrained model already answers, so that its weights are kept where no epoch beats them."""
    uses_pooled_output = False
    """Whether the head takes one vector of each text, so that a frozen encoder need run only once."""

    def __init__(self, settings: RunSettings):
        self.settings = settings
        self.train = self.valid = self.encoder = self.model = self.trained = self.features = self.strategy = None

    def read(self) -> tuple[Any, Any]:
        """Training and validation examples as the settings say.

        Raises:
            UserError: a file cannot be read, or cannot be learned from.
        """
        raise NotImplementedError

    def load_encoder(self) -> Encoder:
        """The encoder that the settings name; called in the strategy's scope."""
        settings = self.settings
        return load_encoder(settings.encoder, settings.seq_length, settings.preprocessor, settings.layers)

    def build(self) -> keras.Model:
        """The compiled model, made of `self.encoder`; called in the strategy's scope."""
        raise NotImplementedError

    @property
    def source(self):
        """What makes batches of examples: the encoder, or the features it gave."""
        return self.encoder if self.features is None else self.features

    def training_model(self, model: keras.Model) -> keras.Model:
        """The model that is fitted, where it is another one around `model`."""
        return model

    def batches(self, examples, training: bool):
        """A dataset for `fit`; one of windows over long texts also takes `numbered`, see `row_finder`."""
        raise NotImplementedError

    def evaluate(self):
        """Score `self.model` on `self.valid`; gives the task's report."""
        raise NotImplementedError

    def monitored_value(self, report) -> float:
        """The monitored value of a report, where `fit` does not compute it by itself."""
        raise NotImplementedError

    def tune_on_validation(self, report):
        """Choose what can only be chosen after training (a threshold); gives the report that then holds."""
        return report

    def extra_config(self, report) -> dict:
        """What the task adds to `config.json`."""
        return {}

    def best_weights(self) -> BestWeights:
        """What chooses the epoch whose weights are kept."""
        return BestWeights(self.monitor, self.settings.patience)

    def fit_arguments(self) -> dict:
        """What the task adds to the arguments of `fit`."""
        return {}

    def write_page(self, folder: Path, outcome: Outcome) -> None:
        """Write `report.md` and the plots."""
        raise NotImplementedError
