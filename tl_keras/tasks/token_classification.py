"""Train a tagger from a file to a run folder and its page."""

from __future__ import annotations

import dataclasses
import logging

from tl_keras.data.tagging import TaggedExamples, TagSet
from tl_keras.data.tagging_files import read_tagged
from tl_keras.errors import UserError
from tl_keras.models.builders import token_classifier
from tl_keras.serving.evaluate import evaluate_tagging
from tl_keras.serving.predict import predict
from tl_keras.tasks.page import MISTAKES, best_epoch_line, cell, in_shell, score_table, section, write_page
from tl_keras.tasks.run import Run
from tl_keras.tasks.steps import coverage_line, encoder_config, encoder_line

logger = logging.getLogger(__name__)


class TokenClassificationRun(Run):
    """Texts to labelled spans; settings are `TokenClassificationSettings`."""

    task = "token-classification"
    monitor, measure = "val_f1", "F1"
    # Taggers learn one decision for each word, and need longer than classifiers.
    epochs_factor = 1.5
    tag_set: TagSet

    def read(self) -> tuple[TaggedExamples, TaggedExamples]:
        """Training and validation examples as the settings say.

        Raises:
            UserError: a file cannot be read, holds no entities, or validation holds a label training does not.
        """
        settings = self.settings
        options = self.options("format", "scheme", "word_column", "tag_column", "overlaps", "encoding")
        train = read_tagged(settings.train, **options)
        if not train.labels:
            raise UserError(
                f"{settings.train} holds no entities: every word is O, or there is no list of spans, or every one is empty."
            )
        valid = None
        if settings.validation is not None:
            valid = read_tagged(settings.validation, labels=train.labels, **options)
            if valid.spans is None:
                raise UserError(f"{settings.validation} has no entities to validate on.")
        train, valid = self.divide(train, valid)
        few = [f"{name!r} ({n})" for name, n in train.counts().items() if n < 2]
        if few:
            logger.warning(
                "Labels with fewer than two training entities will hardly be learned: %s.", ", ".join(few[:10])
            )
        self.tag_set = train.tag_set
        if settings.label_tokens != "auto":
            self.tag_set = dataclasses.replace(self.tag_set, tokens=settings.label_tokens)
        return train, valid

    def build(self):
        """A tagger for the labels of the training examples."""
        settings = self.settings
        return token_classifier(
            self.encoder,
            self.tag_set,
            settings.plan,
            dropout=settings.dropout,
            hidden=settings.hidden or (),
            recurrent=settings.recurrent,
            learning_rate=settings.learning_rate,
        )

    def batches(self, examples, training, **numbered):
        """Windows of tokens with a tag each."""
        return self.encoder.tagging_batches(examples, tag_set=self.tag_set, **self.batch_settings(training), **numbered)

    def evaluate(self):
        """Precision, recall and F1 of whole entities."""
        return evaluate_tagging(self.model, self.valid)

    def monitored_value(self, report):
        """Entity F1."""
        return report.f1

    def extra_config(self, report):
        """The tags."""
        tags = self.tag_set
        about = {"labels": list(tags.labels), "tag_scheme": tags.scheme, "label_tokens": tags.tokens}
        return {**about, **encoder_config(self.encoder, self.settings)}

    def write_page(self, folder, outcome):
        """Metrics per label, the most confident errors."""
        config, report = outcome.config, outcome.report
        units = "first tokens of words" if config["label_tokens"] == "first" else "all tokens"
        write_page(
            folder,
            outcome,
            made_of=f"{encoder_line(config)}, tags on {units}, longer texts in overlapping windows",
            kept=coverage_line(config) + best_epoch_line(outcome, "with the best entity F1"),
            metrics=[
                f"entity F1 **{report.f1:.4f}**, precision {report.precision:.4f}, recall {report.recall:.4f}, "
                f"macro F1 {report.macro_f1:.4f} (both ends and the label must be right; compared in {report.compared})",
                "",
                *score_table(report.per_label, "label", "entities"),
            ],
            mistakes=_mistakes(self.model, self.valid),
            use=f'tl-keras predict {in_shell(config["out"])} "..."',
            output="gives `starts`, `ends` (in characters), `labels`, `scores` and `count`",
        )


def _mistakes(model, valid: TaggedExamples) -> list[str]:
    """The predicted entities that are not there, most confident first: where label errors and blind spots show first."""
    frame = predict(model, valid.texts.tolist())
    wrong = []
    for text, found, spans in zip(frame.text, frame.entities, valid.spans, strict=True):
        there = [(span.start, span.end, span.label) for span in spans]
        for entity in found:
            if (entity["start"], entity["end"], entity["label"]) not in there:
                touched = [
                    f"{text[a:b]} ({label})" for a, b, label in there if a < entity["end"] and entity["start"] < b
                ]
                wrong.append((entity["score"], entity, text, ", ".join(touched) or "none"))
    wrong.sort(key=lambda row: -row[0])
    rows = [
        [cell(text), cell(true), f"{cell(entity['text'])} ({cell(entity['label'])})", f"{score:.2f}"]
        for score, entity, text, true in wrong[:MISTAKES]
    ]
    return section("Most confident errors", ["text", "entity there", "predicted", "score"], rows)
