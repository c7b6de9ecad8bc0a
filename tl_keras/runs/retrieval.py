"""Train a search by meaning from questions and their documents, from a file to a run folder."""

from __future__ import annotations

import dataclasses
import logging

from tl_keras._keras import keras
from tl_keras.data.pairs import RetrievalPairs, read_retrieval_pairs
from tl_keras.errors import UserError
from tl_keras.evaluation.retrieval import evaluate_retrieval
from tl_keras.hub.encoder import load_encoder
from tl_keras.models.sentence_encoder import sentence_encoder, two_towers
from tl_keras.runs.folder import RunFolder
from tl_keras.runs.similarity_report import write_retrieval_report
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
from tl_keras.runs.towers import keep_start_if_better
from tl_keras.serving.export import export
from tl_keras.text.tower_batches import tower_batches
from tl_keras.training.callbacks import BestWeights
from tl_keras.training.strategy import get_strategy

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class RetrievalSettings:
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
    text: str = "question"
    text_pair: str = "document"
    scale: float = 20.0
    pooling: str = "mean"
    dimensions: int | None = None
    lexical_share: float = 0.0
    epochs: int | None = None
    batch_size: int = 32
    learning_rate: float | None = None
    seq_length: int = 256
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


def train_retrieval(settings: RetrievalSettings, verbose: int | str = "auto") -> FinishedRun:
    """Read, train, evaluate, plot, export.

    The encoder is also scored before training; if no epoch beats that, its first weights are kept. Ctrl-C during training ends it
    early: the best weights so far are evaluated and exported like a finished run.

    Args:
        settings: of the run.
        verbose: of `model.fit`: 0 silent, 1 progress bar, 2 a line an epoch.

    Raises:
        UserError: something in the settings or the data is wrong; nothing is left behind then.
    """
    with RunFolder(settings.out, overwrite=settings.overwrite, resume=settings.resume) as folder:
        train, valid = read_data(settings)
        keras.utils.set_random_seed(settings.seed)
        # On a frozen encoder nothing would learn without a matrix.
        dimensions = settings.dimensions or ("same" if settings.transfer == "freeze" else None)
        with get_strategy(settings.strategy).scope():
            encoder = load_encoder(settings.encoder, settings.seq_length, settings.preprocessor, settings.layers)
            model = sentence_encoder(
                encoder,
                transfer_plan(settings),
                pooling=settings.pooling,
                dimensions=dimensions,
                lexical_share=settings.lexical_share,
                lexical_texts=[*train.texts, *train.documents],
            )
            towers = two_towers(model, "in-batch", scale=settings.scale, learning_rate=settings.learning_rate)
        options = {"batch_size": settings.batch_size, "seed": settings.seed}
        before, start = evaluate_retrieval(model, valid), towers.get_weights()
        epochs = settings.epochs or default_epochs(len(train), settings.batch_size, settings.transfer)
        best = BestWeights("val_mrr", settings.patience)
        callbacks = [
            EpochScore("val_mrr", lambda: evaluate_retrieval(model, valid).mrr),
            best,
            *backup_callbacks(settings, folder),
        ]
        history, seconds, interrupted = fit_until_interrupted(
            towers,
            best,
            x=tower_batches(encoder, train, training=True, **options),
            validation_data=tower_batches(encoder, valid, **options),
            epochs=epochs,
            callbacks=callbacks,
            verbose=verbose,
        )
        report, best_epoch = evaluate_retrieval(model, valid), best.best_epoch
        if keep_start_if_better(towers, start, before.mrr, report.mrr, "MRR"):
            report, best_epoch = before, None
        of_task = {
            "before_training": before.to_dict(),
            "kept_weights_from_before_training": report is before,
            "train_documents": len(train.documents),
            "validation_documents": len(valid.documents),
        }
        config = run_config("retrieval", settings, of_task, train, valid, towers, epochs)
        write_numbers(folder, settings, config, report, history, best_epoch, seconds, interrupted)
        export(model, folder.work / "saved_model" / "1")
        write_retrieval_report(folder.work, config, report, history, best_epoch, seconds, model, valid)
    return FinishedRun(folder.path, report, seconds, interrupted)


def read_data(settings: RetrievalSettings) -> tuple[RetrievalPairs, RetrievalPairs]:
    """Training and validation pairs as the settings say; without a validation file, split by document.

    Raises:
        UserError: a file cannot be read, or there is only one document to choose from.
    """
    check_counts(settings)
    options = {name: getattr(settings, name) for name in ("quoting", "encoding", "on_empty")}
    train = read_retrieval_pairs(settings.train, settings.text, settings.text_pair, **options)
    if settings.validation is None:
        train, valid = train.split(settings.validation_split, settings.seed)
    else:
        valid = read_retrieval_pairs(settings.validation, settings.text, settings.text_pair, **options)
    if settings.limit is not None:
        train = train.sample(settings.limit, settings.seed)
    if len(train.documents) < 2:
        raise UserError(
            f"{settings.train}: every training question has the same document; there is nothing to tell apart."
        )
    if len(valid.documents) < 10:
        logger.warning(
            "Only %d documents to search in validation: its figures will look too good, and tell little.",
            len(valid.documents),
        )
    return train, valid
