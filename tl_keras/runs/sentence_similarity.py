"""Train a model of how alike two texts are, from a file to a run folder."""

from __future__ import annotations

import dataclasses

from tl_keras._keras import keras
from tl_keras.data.pairs import ScoredExamples, read_scored
from tl_keras.errors import UserError
from tl_keras.evaluation.similarity import evaluate_similarity
from tl_keras.hub.encoder import load_encoder
from tl_keras.models.sentence_encoder import sentence_encoder, two_towers
from tl_keras.models.text_regressor import text_regressor
from tl_keras.runs.folder import RunFolder
from tl_keras.runs.similarity_report import write_similarity_report
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

ARCHITECTURES = ("bi-encoder", "cross-encoder")
LOSSES = ("cosine", "ranking", "contrastive")


@dataclasses.dataclass(frozen=True)
class SentenceSimilaritySettings:
    """Every setting of a run; the command line's options by the same names. `None` means: chosen by the run, and written down."""

    train: str
    out: str
    encoder: str
    validation: str | None = None
    validation_split: float = 0.1
    architecture: str = "bi-encoder"
    transfer: str = "fine-tune"
    unfreeze_every: str | None = None
    layer_decay: float = 1.0
    rate: list[str] | None = None
    layers: int | None = None
    text: str = "text"
    text_pair: str = "text_pair"
    label: str = "score"
    score_range: tuple[float, float] | None = None
    loss: str = "cosine"
    pooling: str | None = None
    dimensions: int | None = None
    lexical_share: float = 0.0
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
    quoting: str = "auto"
    on_empty: str = "drop"


def train_sentence_similarity(settings: SentenceSimilaritySettings, verbose: int | str = "auto") -> FinishedRun:
    """Read, train, evaluate, plot, export.

    A bi-encoder is also scored before training; if no epoch beats that, its first weights are kept. Ctrl-C during training ends it
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
        towers = settings.architecture == "bi-encoder"
        pooling = settings.pooling or ("mean" if towers else "cls")
        with get_strategy(settings.strategy).scope():
            encoder = load_encoder(settings.encoder, settings.seq_length, settings.preprocessor, settings.layers)
            if towers:
                model = sentence_encoder(
                    encoder,
                    transfer_plan(settings),
                    pooling=pooling,
                    dimensions=_dimensions(settings),
                    lexical_share=settings.lexical_share,
                    lexical_texts=[*train.texts, *train.text_pairs],
                )
                trained = two_towers(
                    model, settings.loss, score_range=train.score_range, learning_rate=settings.learning_rate
                )
            else:
                model = trained = text_regressor(
                    encoder,
                    train.score_range,
                    transfer_plan(settings),
                    pooling=pooling,
                    dropout=settings.dropout,
                    hidden=settings.hidden or (),
                    learning_rate=settings.learning_rate,
                )
        options = {"batch_size": settings.batch_size, "seed": settings.seed}
        if towers:
            batches = tower_batches(encoder, train, training=True, **options)
            validation = tower_batches(encoder, valid.sorted_by_length(), **options)
        else:
            batches = encoder.batches(train, training=True, **options)
            validation = encoder.batches(valid.sorted_by_length(), **options)
        before = evaluate_similarity(model, valid) if towers else None
        start = trained.get_weights() if towers else None
        epochs = settings.epochs or default_epochs(len(train), settings.batch_size, settings.transfer)
        best = BestWeights("val_spearman", settings.patience)
        callbacks = [
            EpochScore("val_spearman", lambda: evaluate_similarity(model, valid).spearman),
            best,
            *backup_callbacks(settings, folder),
        ]
        history, seconds, interrupted = fit_until_interrupted(
            trained, best, x=batches, validation_data=validation, epochs=epochs, callbacks=callbacks, verbose=verbose
        )
        report, best_epoch = evaluate_similarity(model, valid), best.best_epoch
        if towers and keep_start_if_better(trained, start, before.spearman, report.spearman, "Spearman"):
            report, best_epoch = before, None
        of_task = {
            "pooling": pooling,
            "score_range": list(train.score_range),
            "before_training": None if before is None else before.to_dict(),
            "kept_weights_from_before_training": report is before,
        }
        config = run_config("sentence-similarity", settings, of_task, train, valid, trained, epochs)
        write_numbers(folder, settings, config, report, history, best_epoch, seconds, interrupted)
        export(model, folder.work / "saved_model" / "1", pairs=not towers)
        write_similarity_report(folder.work, config, report, history, best_epoch, seconds, model, valid)
    return FinishedRun(folder.path, report, seconds, interrupted)


def read_data(settings: SentenceSimilaritySettings) -> tuple[ScoredExamples, ScoredExamples]:
    """Training and validation examples as the settings say.

    Raises:
        UserError: a file cannot be read, or a setting is not known.
    """
    check_counts(settings)
    if settings.architecture not in ARCHITECTURES:
        raise UserError(
            f"architecture {settings.architecture!r} is not known; choose one of: {', '.join(ARCHITECTURES)}."
        )
    if settings.architecture == "bi-encoder" and settings.loss not in LOSSES:
        raise UserError(f"loss {settings.loss!r} is not known for scored pairs; choose one of: {', '.join(LOSSES)}.")
    if settings.architecture == "bi-encoder" and settings.hidden:
        raise UserError("a bi-encoder has no head, so --hidden means nothing to it; leave it out.")
    if settings.architecture == "cross-encoder" and settings.dimensions is not None:
        raise UserError("a cross-encoder gives no vectors, so --dimensions means nothing to it; leave it out.")
    if settings.architecture == "cross-encoder" and settings.lexical_share:
        raise UserError("a cross-encoder gives no vectors, so --lexical-share means nothing to it; leave it out.")
    options = {name: getattr(settings, name) for name in ("quoting", "encoding", "on_empty")}
    columns = (settings.text, settings.text_pair, settings.label)
    train = read_scored(settings.train, *columns, score_range=settings.score_range, **options)
    if settings.validation is None:
        train, valid = train.split(settings.validation_split, settings.seed)
    else:
        valid = read_scored(settings.validation, *columns, score_range=train.score_range, **options)
    if settings.limit is not None:
        train = train.sample(settings.limit, settings.seed)
    return train, valid


def _dimensions(settings: SentenceSimilaritySettings) -> int | str | None:
    # On a frozen encoder nothing would learn without a matrix.
    return settings.dimensions or ("same" if settings.transfer == "freeze" else None)
