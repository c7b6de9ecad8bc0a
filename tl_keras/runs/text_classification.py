"""Train a text classifier from a file to a run folder."""

from __future__ import annotations

import dataclasses
import logging

from tl_keras._keras import keras
from tl_keras.data.examples import Examples
from tl_keras.data.table import read_table
from tl_keras.errors import UserError
from tl_keras.evaluation.classification import evaluate
from tl_keras.hub.encoder import load_encoder
from tl_keras.models.text_classifier import text_classifier
from tl_keras.runs.folder import RunFolder
from tl_keras.runs.report import write_report
from tl_keras.runs.steps import (
    FinishedRun,
    backup_callbacks,
    check_counts,
    default_epochs,
    fit_until_interrupted,
    run_config,
    transfer_plan,
    write_numbers,
)
from tl_keras.serving.export import export
from tl_keras.training.callbacks import BestWeights
from tl_keras.training.class_weights import class_weights
from tl_keras.training.strategy import get_strategy

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class TextClassificationSettings:
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
    text: str = "text"
    text_pair: str | None = None
    label: str = "label"
    label_separator: str | None = None
    epochs: int | None = None
    batch_size: int = 32
    learning_rate: float | None = None
    seq_length: int = 128
    pooling: str = "cls"
    dropout: float = 0.1
    hidden: list[int] | None = None
    class_weight: str = "none"
    patience: int | None = None
    limit: int | None = None
    seed: int = 0
    strategy: str = "auto"
    resume: bool = False
    overwrite: bool = False
    preprocessor: str | None = None
    encoding: str = "utf-8"
    quoting: str = "auto"
    on_empty: str = "drop"


def train_text_classification(settings: TextClassificationSettings, verbose: int | str = "auto") -> FinishedRun:
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
        keras.utils.set_random_seed(settings.seed)
        with get_strategy(settings.strategy).scope():
            encoder = load_encoder(settings.encoder, settings.seq_length, settings.preprocessor, settings.layers)
            model = text_classifier(
                encoder,
                train.classes,
                transfer_plan(settings),
                pooling=settings.pooling,
                dropout=settings.dropout,
                hidden=settings.hidden or (),
                multi_label=train.multi_label,
                learning_rate=settings.learning_rate,
            )
        epochs = settings.epochs or default_epochs(len(train), settings.batch_size, settings.transfer)
        best = BestWeights("val_loss", settings.patience)
        callbacks = [best, *backup_callbacks(settings, folder)]
        batches = {"batch_size": settings.batch_size, "seed": settings.seed}
        history, seconds, interrupted = fit_until_interrupted(
            model,
            best,
            x=encoder.batches(train, training=True, **batches),
            # In order of length: less padding, and the metrics do not mind.
            validation_data=encoder.batches(valid.sorted_by_length(), **batches),
            epochs=epochs,
            callbacks=callbacks,
            class_weight=class_weights(train) if settings.class_weight == "balanced" else None,
            verbose=verbose,
        )
        report = evaluate(model, valid)
        of_task = {"classes": list(train.classes), "multi_label": train.multi_label}
        config = run_config("text-classification", settings, of_task, train, valid, model, epochs)
        write_numbers(folder, settings, config, report, history, best.best_epoch, seconds, interrupted)
        export(model, folder.work / "saved_model" / "1", pairs=settings.text_pair is not None)
        write_report(folder.work, config, report, history, best.best_epoch, seconds, model, valid)
    return FinishedRun(folder.path, report, seconds, interrupted)


def read_data(settings: TextClassificationSettings) -> tuple[Examples, Examples]:
    """Training and validation examples as the settings say.

    Raises:
        UserError: a file cannot be read, there is only one class, or validation holds a label training does not.
    """
    if settings.class_weight not in {"none", "balanced"}:
        raise UserError(f'class_weight must be "none" or "balanced", not {settings.class_weight!r}.')
    check_counts(settings)
    options = {
        "text": settings.text, "label": settings.label, "text_pair": settings.text_pair, "quoting": settings.quoting,
        "label_separator": settings.label_separator, "encoding": settings.encoding, "on_empty": settings.on_empty,
    }  # fmt: skip
    train = read_table(settings.train, **options)
    if len(train.classes) < 2 and not train.multi_label:
        raise UserError(
            f"{settings.train}: every row has the label {train.classes[0]!r}; a classifier needs at least two classes."
        )
    if len(train.classes) > max(len(train) / 2, 20):
        raise UserError(
            f"{settings.train}: column {settings.label!r} has {len(train.classes)} different values in {len(train)} rows; that "
            "looks like a text or an id, not a label. Name the label column (--label)."
        )
    if settings.validation is None:
        train, valid = train.split(settings.validation_split, settings.seed)
    else:
        valid = read_table(settings.validation, classes=train.classes, **options)
    if settings.limit is not None:
        train = train.sample(settings.limit, settings.seed)
    counts = train.counts()
    few = [f"{name!r} ({n})" for name, n in counts.items() if n < 2]
    if few:
        logger.warning("Classes with fewer than two training examples will hardly be learned: %s.", ", ".join(few[:10]))
    return train, valid
