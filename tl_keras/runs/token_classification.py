"""Train a tagger from a file to a run folder."""

from __future__ import annotations

import dataclasses
import logging

from tl_keras._keras import keras
from tl_keras.data.tagging import TaggedExamples, TagSet
from tl_keras.data.tagging_files import read_tagged
from tl_keras.errors import UserError
from tl_keras.evaluation.tagging import evaluate_tagging
from tl_keras.hub.encoder import load_encoder
from tl_keras.models.token_classifier import token_classifier
from tl_keras.runs.folder import RunFolder
from tl_keras.runs.steps import (
    EpochScore,
    FinishedRun,
    backup_callbacks,
    check_counts,
    default_epochs,
    fit_until_interrupted,
    run_config,
    transfer_plan,
    write_numbers,
)
from tl_keras.runs.tagging_report import write_tagging_report
from tl_keras.serving.export import export
from tl_keras.training.callbacks import BestWeights
from tl_keras.training.strategy import get_strategy

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class TokenClassificationSettings:
    """Every setting of a run; the command line's options by the same names. `None` means: chosen by the run, and written down."""

    train: str
    out: str
    encoder: str
    validation: str | None = None
    validation_split: float = 0.1
    transfer: str = "fine-tune"
    unfreeze_every: str | None = None
    layer_decay: float = 1.0
    rate: list[str] | None = None
    layers: int | None = None
    format: str = "auto"
    scheme: str = "auto"
    word_column: int = 0
    tag_column: int = -1
    label_pieces: str = "auto"
    overlaps: str = "error"
    epochs: int | None = None
    batch_size: int = 32
    learning_rate: float | None = None
    seq_length: int = 128
    dropout: float = 0.1
    hidden: list[int] | None = None
    patience: int | None = None
    limit: int | None = None
    seed: int = 0
    strategy: str = "auto"
    resume: bool = False
    overwrite: bool = False
    preprocessor: str | None = None
    encoding: str = "utf-8"


def train_token_classification(settings: TokenClassificationSettings, verbose: int | str = "auto") -> FinishedRun:
    """Read, train, evaluate, plot, export.

    Ctrl-C during training ends it early: the best weights so far are evaluated and exported like a finished run.

    Args:
        settings: of the run.
        verbose: of `model.fit`: 0 silent, 1 progress bar, 2 a line an epoch.

    Raises:
        UserError: something in the settings or the data is wrong; nothing is left behind then.
    """
    with RunFolder(settings.out, overwrite=settings.overwrite, resume=settings.resume) as folder:
        train, valid = read_data(settings)
        tag_set = choose_tag_set(train, settings.label_pieces)
        keras.utils.set_random_seed(settings.seed)
        with get_strategy(settings.strategy).scope():
            encoder = load_encoder(settings.encoder, settings.seq_length, settings.preprocessor, settings.layers)
            model = token_classifier(
                encoder,
                tag_set,
                transfer_plan(settings),
                dropout=settings.dropout,
                hidden=settings.hidden or (),
                learning_rate=settings.learning_rate,
            )
        # Taggers learn one decision for each word, and need longer than classifiers: half as much again.
        epochs = settings.epochs or round(1.5 * default_epochs(len(train), settings.batch_size, settings.transfer))
        best = BestWeights("val_f1", settings.patience)
        callbacks = [
            EpochScore("val_f1", lambda: evaluate_tagging(model, valid).f1),
            best,
            *backup_callbacks(settings, folder),
        ]
        options = {"batch_size": settings.batch_size, "seed": settings.seed, "tag_set": tag_set}
        history, seconds, interrupted = fit_until_interrupted(
            model,
            best,
            x=encoder.tagging_batches(train, training=True, **options),
            validation_data=encoder.tagging_batches(valid, **options),
            epochs=epochs,
            callbacks=callbacks,
            verbose=verbose,
        )
        report = evaluate_tagging(model, valid)
        of_task = {"labels": list(tag_set.labels), "tag_scheme": tag_set.scheme, "label_pieces": tag_set.pieces}
        config = run_config("token-classification", settings, of_task, train, valid, model, epochs)
        write_numbers(folder, settings, config, report, history, best.best_epoch, seconds, interrupted)
        export(model, folder.work / "saved_model" / "1")
        write_tagging_report(folder.work, config, report, history, best.best_epoch, seconds, model, valid)
    return FinishedRun(folder.path, report, seconds, interrupted)


def read_data(settings: TokenClassificationSettings) -> tuple[TaggedExamples, TaggedExamples]:
    """Training and validation examples as the settings say.

    Raises:
        UserError: a file cannot be read, holds no entities, or validation holds a label training does not.
    """
    check_counts(settings)
    names = ("format", "scheme", "word_column", "tag_column", "overlaps", "encoding")
    options = {name: getattr(settings, name) for name in names}
    train = read_tagged(settings.train, **options)
    if not train.labels:
        raise UserError(f"{settings.train} holds no entities: every word is O, or every list of entities is empty.")
    if settings.validation is None:
        train, valid = train.split(settings.validation_split, settings.seed)
    else:
        valid = read_tagged(settings.validation, labels=train.labels, **options)
        if valid.spans is None:
            raise UserError(f"{settings.validation} has no entities to validate on.")
    if settings.limit is not None:
        train = train.sample(settings.limit, settings.seed)
    few = [f"{name!r} ({n})" for name, n in train.counts().items() if n < 2]
    if few:
        logger.warning("Labels with fewer than two training entities will hardly be learned: %s.", ", ".join(few[:10]))
    return train, valid


def choose_tag_set(examples: TaggedExamples, label_pieces: str) -> TagSet:
    """The tags for these examples: as they suggest (`"auto"`), or with `"first"` or `"all"` pieces labelled."""
    tag_set = examples.tag_set
    return tag_set if label_pieces == "auto" else dataclasses.replace(tag_set, pieces=label_pieces)
