"""Train an answerer from a file to a run folder."""

from __future__ import annotations

import logging

from tl_keras.data.questions import QuestionExamples
from tl_keras.data.squad import read_squad
from tl_keras.models.batches import batches
from tl_keras.models.question_answerer import question_answerer
from tl_keras.models.span_head import span_head_of
from tl_keras.serving.evaluate import evaluate_questions
from tl_keras.tasks.question_page import write_question_page
from tl_keras.tasks.run import Run

logger = logging.getLogger(__name__)


class QuestionAnsweringRun(Run):
    """Questions to slices of their contexts; settings are `QuestionAnsweringSettings`."""

    task = "question-answering"
    monitor, measure = "val_f1", "F1"
    # To find a place by comparing two texts takes longer to learn than one label a text.
    epochs_factor = 2.0

    def read(self) -> tuple[QuestionExamples, QuestionExamples]:
        """Training and validation questions as the settings say; a split keeps documents whole.

        Raises:
            UserError: a file cannot be read, or has no answers.
        """
        settings = self.settings
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
                    "%d contexts of %s are in %s too; metrics on them flatter.",
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

    def build(self):
        """An answerer; it may answer "none" if the training questions know that."""
        settings = self.settings
        return question_answerer(
            self.encoder,
            settings.plan,
            null_answers=bool(self.train.is_impossible.any()),
            null_threshold=settings.null_threshold or 0.0,
            max_answer_length=settings.max_answer_length,
            max_question_length=settings.max_question_length,
            overlap=settings.overlap,
            dropout=settings.dropout,
            hidden=settings.hidden or (),
            learning_rate=settings.learning_rate,
        )

    def batches(self, examples, training, **numbered):
        """Windows over the contexts with the places of the answers."""
        return batches(self.model, examples, **self.batch_settings(training), **numbered)

    def evaluate(self):
        """Exact match and F1 of the answers."""
        return evaluate_questions(self.model, self.valid, normalisation=self.settings.normalisation)

    def monitored_value(self, report):
        """F1; where there are impossible questions, at its best threshold, which is only chosen at the end."""
        return report.f1 if report.best_f1 is None else report.best_f1

    def tune_on_validation(self, report):
        """Choose the null threshold on the validation questions, as in the papers; the report says so."""
        if self.settings.null_threshold is not None or report.best_null_threshold is None:
            return report
        span_head_of(self.model).null_threshold = report.best_null_threshold
        return self.evaluate()

    def extra_config(self, report):
        """What the head was told or has chosen."""
        head = span_head_of(self.model)
        return {
            "null_answers": head.null_answers,
            "null_threshold": head.null_threshold if head.null_answers else None,
            "max_question_length": head.windows(self.encoder).max_question_length,
            "normalisation": report.normalisation,
        }

    def write_page(self, folder, outcome):
        """Figures with and without an answer, the most confident errors."""
        chosen = self.settings.null_threshold is None and outcome.config["null_answers"]
        write_question_page(folder, outcome, self.model, self.valid, threshold_chosen=chosen)
