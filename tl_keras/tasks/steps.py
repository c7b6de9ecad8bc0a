"""What each task fills in of a training run, and its encoder: found, perhaps made of word vectors or a frozen biLM, known again, reported."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tl_keras._keras import keras
from tl_keras.encoders.base import Encoder
from tl_keras.encoders.load import load_encoder
from tl_keras.encoders.resolve import ENCODER, PIN, PREPROCESS
from tl_keras.encoders.word_vectors.encoder import WordVectorEncoder, word_vector_encoder
from tl_keras.encoders.word_vectors.read import looks_like_vectors, read_vectors
from tl_keras.errors import UserError
from tl_keras.manifest import tree_sha256
from tl_keras.models.recurrent import Recurrence
from tl_keras.tasks.folder import Outcome, read_config
from tl_keras.tasks.settings import RunSettings, WordVectorTaskSettings
from tl_keras.training.callbacks import BestWeights


def word_vectors_for(settings: WordVectorTaskSettings, texts: Sequence[str]) -> WordVectorEncoder:
    """The encoder of word vectors that the settings name, made ready for the words of the training texts.

    What the vectors know of these texts is logged.

    Args:
        settings: of the run.
        texts: those to train on.

    Raises:
        UserError: a file cannot be read, or does not fit the texts.
    """
    if settings.preprocessor is not None or settings.layers is not None:
        raise UserError(
            "word vectors have neither a preprocessing module nor layers: leave out --preprocessor and --layers."
        )
    options = {"seq_length": settings.seq_length, "seed": settings.seed}
    if settings.elmo is not None:
        from tl_keras.models.elmo import load_elmo

        options.update(contextual=load_elmo(settings.elmo), contextual_at=settings.elmo_at)
    if settings.encoder == settings.NO_VECTORS:
        return word_vector_encoder(None, **options)
    vectors = None if settings.encoder == settings.RANDOM_VECTORS else read_vectors(settings.encoder)
    return word_vector_encoder(vectors, list(texts), **options)


def encoder_hash(settings: RunSettings, encoder: Encoder) -> str | None:
    """By what a handle of a run's encoder can be pinned; None where it lies on no disk of ours."""
    path = Path(settings.encoder if looks_like_vectors(settings.encoder) else encoder.folder)
    if path.name == ENCODER and (path.parent / PREPROCESS).is_dir():
        path = path.parent
    return tree_sha256(path) if path.exists() else None


def refuse_other_encoder(settings: RunSettings, digest: str | None) -> None:
    """With `--frozen-encoders`, refuse an encoder that is neither pinned nor that of the run that is to be replaced.

    Args:
        settings: of the run.
        digest: its `encoder_hash`.

    Raises:
        UserError: it is another one, or nothing says which it is to be.
    """
    if not settings.frozen_encoders or PIN in settings.encoder:
        return
    before = Path(settings.out) / "config.json"
    recorded = read_config(settings.out).get("encoder_sha256") if before.is_file() else None
    if recorded is None or recorded != digest:
        found = f"the run {settings.out} used {recorded}" if recorded else "nothing says which it is to be"
        raise UserError(
            f"--frozen-encoders: {settings.encoder} has the hash {digest}, and {found}; write --encoder "
            f"{settings.encoder}{PIN}{digest} if this one is meant."
        )


def encoder_config(encoder: Encoder, settings: WordVectorTaskSettings) -> dict:
    """For `config.json`: the recurrent network that was chosen, and what word vectors know of the training texts."""
    recurrence = Recurrence.of(settings.recurrent, encoder)
    known = encoder.known if isinstance(encoder, WordVectorEncoder) else None
    coverage = {} if known is None else {"coverage": {**dataclasses.asdict(known), "summary": str(known)}}
    return {"recurrent": "none" if recurrence is None else recurrence.kind, **coverage}


def encoder_line(config: dict) -> str:
    """For `report.md`: what the model was built on."""
    parts = [f"encoder `{config['encoder']}`"]
    if config.get("elmo"):
        parts.append(f"biLM `{config['elmo']}` at {config['elmo_at']}")
    if config.get("recurrent", "none") != "none":
        parts.append(config["recurrent"].upper())
    return ", ".join([*parts, config["transfer"]])


def coverage_line(config: dict) -> list[str]:
    """For `report.md`: what word vectors know of the training texts."""
    return [f"- training texts: {config['coverage']['summary']}"] if config.get("coverage") else []


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

    def options(self, *names: str) -> dict:
        """Settings that readers and builders know by the same names."""
        return {name: getattr(self.settings, name) for name in names}

    def divide(self, train, valid) -> tuple[Any, Any]:
        """Split where there is no validation file (None); train on no more than `--limit`."""
        settings = self.settings
        if valid is None:
            train, valid = train.split(settings.validation_split, settings.seed)
        return (train if settings.limit is None else train.sample(settings.limit, settings.seed)), valid

    def load_encoder(self) -> Encoder:
        """The encoder that the settings name; one of word vectors is made ready for the training texts. In the strategy's scope."""
        settings = self.settings
        if getattr(settings, "on_word_vectors", False):
            return word_vectors_for(settings, self.train.texts)
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
