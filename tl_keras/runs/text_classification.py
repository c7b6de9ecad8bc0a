"""Train a text classifier from a file to a run folder."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from pathlib import Path

import pandas as pd

from tl_keras._keras import KERAS_NAME, keras
from tl_keras.data.examples import Examples
from tl_keras.data.table import file_sha256, read_table
from tl_keras.errors import UserError
from tl_keras.evaluation.classification import ClassificationReport, evaluate
from tl_keras.hub.encoder import Encoder, load_encoder
from tl_keras.models.text_classifier import text_classifier
from tl_keras.runs.folder import RunFolder, library_versions
from tl_keras.runs.report import write_report
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


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """What a run hands back: its folder, the validation report, seconds of training, whether Ctrl-C ended it."""

    folder: Path
    report: ClassificationReport
    seconds: float
    interrupted: bool


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
            encoder = load_encoder(settings.encoder, settings.seq_length, settings.preprocessor)
            model = text_classifier(
                encoder,
                train.classes,
                settings.transfer,
                pooling=settings.pooling,
                dropout=settings.dropout,
                multi_label=train.multi_label,
                learning_rate=settings.learning_rate,
            )
        epochs = settings.epochs or default_epochs(len(train), settings.batch_size, settings.transfer)
        best = BestWeights("val_loss", settings.patience)
        callbacks = [best]
        if settings.resume:
            callbacks.append(keras.callbacks.BackupAndRestore(str(folder.backup)))
        history, seconds, interrupted = _fit(model, encoder, train, valid, settings, epochs, callbacks, verbose)
        report = evaluate(model, valid)
        _write(folder, settings, model, train, valid, report, history, best.best_epoch, epochs, seconds, interrupted)
    return FinishedRun(folder.path, report, seconds, interrupted)


def read_data(settings: TextClassificationSettings) -> tuple[Examples, Examples]:
    """Training and validation examples as the settings say.

    Raises:
        UserError: a file cannot be read, there is only one class, or validation holds a label training does not.
    """
    if settings.class_weight not in {"none", "balanced"}:
        raise UserError(f'class_weight must be "none" or "balanced", not {settings.class_weight!r}.')
    for name in ("epochs", "batch_size", "limit"):
        value = getattr(settings, name)
        if value is not None and value < 1:
            raise UserError(f"--{name.replace('_', '-')} must be at least 1, not {value}.")
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


def default_epochs(examples: int, batch_size: int, transfer: str) -> int:
    """Epochs where the user names none: three, or more where so few examples would give too few steps to learn from.

    Example:
        >>> default_epochs(20000, 32, "fine-tune"), default_epochs(320, 32, "fine-tune"), default_epochs(320, 32, "freeze")
        (3, 8, 40)
    """
    steps = math.ceil(examples / batch_size)
    fewest, wanted, most = (3, 80, 10) if transfer != "freeze" else (10, 400, 40)
    return max(fewest, min(math.ceil(wanted / steps), most))


def _fit(model, encoder: Encoder, train, valid, settings, epochs, callbacks, verbose):
    batches = {"batch_size": settings.batch_size, "seed": settings.seed}
    weights = class_weights(train) if settings.class_weight == "balanced" else None
    started, interrupted = time.perf_counter(), False
    try:
        model.fit(
            encoder.batches(train, training=True, **batches),
            # In order of length: less padding, and the metrics do not mind.
            validation_data=encoder.batches(valid.sorted_by_length(), **batches),
            epochs=epochs,
            callbacks=callbacks,
            class_weight=weights,
            verbose=verbose,
        )
    except KeyboardInterrupt:
        interrupted = True
        epoch = callbacks[0].restore()
        kept = "the weights of this moment" if epoch is None else f"the weights of epoch {epoch + 1}"
        logger.warning("Interrupted: keeping %s.", kept)
    return dict(model.history.history), time.perf_counter() - started, interrupted


def _write(folder, settings, model, train, valid, report, history, best_epoch, epochs, seconds, interrupted) -> None:
    rows = pd.DataFrame({name: list(values) for name, values in history.items()})
    rows.insert(0, "epoch", range(1, len(rows) + 1))
    rows.to_csv(folder.work / "history.csv", index=False)
    data = {settings.train: file_sha256(settings.train)}
    if settings.validation:
        data[settings.validation] = file_sha256(settings.validation)
    config = {
        "task": "text-classification",
        **dataclasses.asdict(settings),
        "epochs": epochs,
        "learning_rate": _peak_rate(model),
        "classes": list(train.classes),
        "multi_label": train.multi_label,
        "train_examples": len(train),
        "validation_examples": len(valid),
        "keras": KERAS_NAME,
        "libraries": library_versions(),
        "data_sha256": data,
    }
    folder.write_json("config.json", config)
    result = {
        "data": settings.validation or f"{settings.validation_split:g} of {settings.train}",
        **report.to_dict(),
        "best_epoch": None if best_epoch is None else best_epoch + 1,
        "train_seconds": round(seconds, 2),
        "interrupted": interrupted,
    }
    folder.write_json("metrics.json", result)
    export(model, folder.work / "saved_model" / "1", pairs=settings.text_pair is not None)
    write_report(folder.work, config, report, history, best_epoch, seconds, model, valid)


def _peak_rate(model) -> float:
    schedule = model.optimizer._learning_rate
    return float(getattr(schedule, "peak", None) or model.optimizer.learning_rate)
