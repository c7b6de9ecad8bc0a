"""Train an answerer from a file to a run folder and its page."""

from __future__ import annotations

import logging

from tl_keras.data.questions import QuestionExamples
from tl_keras.data.squad import read_squad
from tl_keras.evaluation.answers import score_answers
from tl_keras.models.pair_builders import question_answerer
from tl_keras.models.pair_heads import span_head_of
from tl_keras.models.text_labels import batches
from tl_keras.serving.evaluate import evaluate_questions
from tl_keras.serving.predict import predict
from tl_keras.tasks.page import MISTAKES, best_epoch_line, cell, in_shell, section, table, write_page
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
        valid = None
        if settings.validation is not None:
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
        train, valid = self.divide(train, valid)
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
            hidden=settings.hidden or (),
            **self.options("max_answer_length", "max_question_length", "overlap", "dropout", "learning_rate"),
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
        config, report = outcome.config, outcome.report
        kept = best_epoch_line(outcome, "with the best F1 on the questions below")
        # A threshold that was not given was chosen on the questions below.
        if self.settings.null_threshold is None and config["null_answers"]:
            kept.append(f"- null threshold {config['null_threshold']:.3f}, chosen for the best F1 on them as well")
        if kept:
            kept[-1] += "; so their metrics flatter a little, the more the fewer they are"
        parts = [("all", {"examples": report.examples, "exact_match": report.exact_match, "f1": report.f1})]
        if report.no_answer is not None:
            parts += [("with an answer", report.has_answer), ("without an answer", report.no_answer)]
        rows = [
            [name, f"{part['exact_match']:.4f}", f"{part['f1']:.4f}", f"{part['examples']}"] for name, part in parts
        ]
        write_page(
            folder,
            outcome,
            made_of=f"encoder `{config['encoder']}`, {config['transfer']}, longer contexts in overlapping windows, questions cut at "
            f"{config['max_question_length']} tokens",
            kept=kept,
            metrics=[
                f"Normalised as by {report.normalisation}; F1 over {'words' if report.normalisation == 'squad' else 'characters'}.",
                "",
                *table(["questions", "exact match", "F1", "number"], rows),
            ],
            mistakes=_mistakes(self.model, self.valid, report.normalisation),
            use=f'tl-keras predict {in_shell(config["out"])} "QUESTION" "CONTEXT"',
            output="takes `question` and `context`, and gives `answer`, `start`, `end` (in characters) and `score`",
        )


def _mistakes(model, valid: QuestionExamples, normalisation: str) -> list[str]:
    """The answers that share nothing with a right one, most confident first: where wrong answers in the data and blind spots show."""
    frame = predict(model, valid.questions.tolist(), valid.contexts.tolist())
    right = [[answer.text for answer in given] for given in valid.answers]
    frame["right"] = [" / ".join(texts) or "none" for texts in right]
    wrong = frame[score_answers(frame.answer, right, normalisation)[1] == 0]
    wrong = wrong.sort_values("score", ascending=False, kind="stable").head(MISTAKES)
    rows = [
        [cell(row.question), cell(row.right), cell(row.answer or "none"), f"{row.score:.2f}"]
        for row in wrong.itertuples()
    ]
    return section("Most confident errors", ["question", "right", "given", "score"], rows)
