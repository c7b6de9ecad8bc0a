"""Train an answerer from a file to a run folder."""

from __future__ import annotations

import dataclasses
import logging

from tl_keras._keras import keras
from tl_keras.data.questions import QuestionExamples
from tl_keras.data.squad import read_squad
from tl_keras.evaluation.question_answering import evaluate_questions
from tl_keras.hub.encoder import load_encoder
from tl_keras.models.question_answerer import question_answerer, question_batches
from tl_keras.models.span_head import span_head_of
from tl_keras.runs.folder import RunFolder
from tl_keras.runs.question_report import write_question_report
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
from tl_keras.serving.export import export
from tl_keras.training.callbacks import BestWeights
from tl_keras.training.strategy import get_strategy

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class QuestionAnsweringSettings:
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
    normalisation: str = "auto"
    max_question_length: int | None = None
    max_answer_length: int = 30
    overlap: int | None = None
    null_threshold: float | None = None
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


def train_question_answering(settings: QuestionAnsweringSettings, verbose: int | str = "auto") -> FinishedRun:
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
            model = question_answerer(
                encoder,
                transfer_plan(settings),
                null_answers=bool(train.is_impossible.any()),
                null_threshold=settings.null_threshold or 0.0,
                max_answer_length=settings.max_answer_length,
                max_question_length=settings.max_question_length,
                overlap=settings.overlap,
                dropout=settings.dropout,
                hidden=settings.hidden or (),
                learning_rate=settings.learning_rate,
            )
        # To find a place by comparing two texts takes longer to learn than one label a text: twice as many epochs.
        epochs = settings.epochs or 2 * default_epochs(len(train), settings.batch_size, settings.transfer)
        best = BestWeights("val_f1", settings.patience)

        def best_f1() -> float:
            found = evaluate_questions(model, valid, normalisation=settings.normalisation)
            # Where there are impossible questions, the threshold is chosen at the end: compare epochs by their best one.
            return found.f1 if found.best_f1 is None else found.best_f1

        callbacks = [EpochScore("val_f1", best_f1), best, *backup_callbacks(settings, folder)]
        options = {"batch_size": settings.batch_size, "seed": settings.seed}
        history, seconds, interrupted = fit_until_interrupted(
            model,
            best,
            x=question_batches(model, train, training=True, **options),
            validation_data=question_batches(model, valid, **options),
            epochs=epochs,
            callbacks=callbacks,
            verbose=verbose,
        )
        report = evaluate_questions(model, valid, normalisation=settings.normalisation)
        head = span_head_of(model)
        if settings.null_threshold is None and report.best_null_threshold is not None:
            # Chosen on the validation questions, as in the papers; the report says so.
            head.null_threshold = report.best_null_threshold
            report = evaluate_questions(model, valid, normalisation=settings.normalisation)
        windows = head.windows(encoder.seq_length)
        of_task = {
            "null_answers": head.null_answers,
            "null_threshold": head.null_threshold if head.null_answers else None,
            "max_question_length": windows.max_question_length,
            "normalisation": report.normalisation,
        }
        config = run_config("question-answering", settings, of_task, train, valid, model, epochs)
        write_numbers(folder, settings, config, report, history, best.best_epoch, seconds, interrupted)
        export(model, folder.work / "saved_model" / "1")
        chosen = settings.null_threshold is None and head.null_answers
        write_question_report(folder.work, config, report, history, best.best_epoch, seconds, model, valid, chosen)
    return FinishedRun(folder.path, report, seconds, interrupted)


def read_data(settings: QuestionAnsweringSettings) -> tuple[QuestionExamples, QuestionExamples]:
    """Training and validation questions as the settings say; a split keeps documents whole.

    Raises:
        UserError: a file cannot be read, or has no answers.
    """
    check_counts(settings)
    train = read_squad(settings.train, encoding=settings.encoding).learnable()
    if settings.validation is None:
        train, valid = train.split(settings.validation_split, settings.seed)
    else:
        # What is not in its place is still an answer to compare with; but there must be something to take the loss of.
        valid = read_squad(settings.validation, encoding=settings.encoding)
        valid.learnable()
        both = set(train.contexts) & set(valid.contexts)
        if both:
            logger.warning(
                "%d contexts of %s are in %s too; figures on them flatter.",
                len(both),
                settings.validation,
                settings.train,
            )
    if settings.limit is not None:
        train = train.sample(settings.limit, settings.seed)
    if valid.is_impossible.any() and not train.is_impossible.any():
        logger.warning(
            "%s has no impossible questions, so the model will always answer; %d of the validation questions are impossible.",
            settings.train, int(valid.is_impossible.sum()),
        )  # fmt: skip
    return train, valid
