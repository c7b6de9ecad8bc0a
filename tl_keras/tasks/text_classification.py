"""Train a text classifier from a file to a run folder and its page."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from tl_keras.advice.rules import few_labels
from tl_keras.data.examples import Examples, sample_per_class
from tl_keras.data.table import read_table
from tl_keras.errors import UserError
from tl_keras.evaluation.plots import plot_confusion_matrix
from tl_keras.models.body import choose_pooling
from tl_keras.models.builders import text_classifier
from tl_keras.models.recurrent import Recurrence
from tl_keras.serving.evaluate import evaluate
from tl_keras.serving.predict import predict
from tl_keras.tasks.page import MISTAKES, best_epoch_line, cell, in_shell, score_table, section, write_page
from tl_keras.tasks.run import Run
from tl_keras.tasks.steps import coverage_line, encoder_config, encoder_line
from tl_keras.training.callbacks import BestWeights, MacroF1, class_weights

logger = logging.getLogger(__name__)


class TextClassificationRun(Run):
    """Texts or pairs of texts to classes; settings are `TextClassificationSettings`."""

    task = "text-classification"
    uses_pooled_output = True

    def read(self) -> tuple[Examples, Examples]:
        """Training and validation examples as the settings say.

        Raises:
            UserError: a file cannot be read, there is only one class, or validation holds a label training does not.
        """
        settings = self.settings
        train, valid = self.read_files()
        if valid is None:
            train, valid = train.split(settings.validation_split, settings.seed)
        if settings.per_class is not None:
            train = sample_per_class(train, settings.per_class, settings.seed)
        if settings.limit is not None:
            train = train.sample(settings.limit, settings.seed)
        few = [f"{name!r} ({n})" for name, n in train.counts().items() if n < 2]
        if few:
            logger.warning(
                "Classes with fewer than two training examples will hardly be learned: %s.", ", ".join(few[:10])
            )
        self._hint_at_few_shot(train)
        self.monitor, self.measure = ("val_macro_f1", "macro F1") if is_uneven(train) else ("val_accuracy", "accuracy")
        return train, valid

    def _hint_at_few_shot(self, train: Examples) -> None:
        settings, single = self.settings, train.text_pairs is None and not train.multi_label
        few = single and few_labels(len(train), len(train.classes))
        if settings.transfer == "fine-tune" and few and not settings.on_word_vectors:
            logger.info(
                "%.0f label(s) a class: --transfer few-shot is expected to do better than fine-tuning.",
                len(train) / len(train.classes),
            )

    def read_files(self) -> tuple[Examples, Examples | None]:
        """All training examples, and those of the validation file, if one is given.

        Raises:
            UserError: a file cannot be read, there is only one class, or validation holds a label training does not.
        """
        settings = self.settings
        options = self.options(
            "text", "label", "text_pair", "label_separator", "separator", "quoting", "encoding", "on_empty"
        )
        train = read_table(settings.train, **options)
        if len(train.classes) < 2 and not train.multi_label:
            raise UserError(
                f"{settings.train}: every row has the label {train.classes[0]!r}; a classifier needs at least two classes."
            )
        if len(train.classes) > max(len(train) / 2, 20):
            raise UserError(
                f"{settings.train}: column {settings.label!r} has {len(train.classes)} different values in {len(train)} rows; "
                "that looks like a text or an id, not a label. Name the label column (--label)."
            )
        if settings.validation is None:
            return train, None
        return train, read_table(settings.validation, classes=train.classes, **options)

    def build(self):
        """A classifier for the classes of the training examples."""
        settings = self.settings
        return text_classifier(
            self.encoder,
            self.train.classes,
            settings.plan,
            pooling=settings.pooling,
            dropout=settings.dropout,
            hidden=settings.hidden or (),
            recurrent=settings.recurrent,
            multi_label=self.train.multi_label,
            learning_rate=settings.learning_rate,
            metrics=[MacroF1(len(self.train.classes))] if self.monitor == "val_macro_f1" else [],
        )

    def best_weights(self):
        """By accuracy, or macro F1 where classes are uneven; the last epoch where none is clearly better."""
        return BestWeights(self.monitor, self.settings.patience, examples=len(self.valid))

    def batches(self, examples, training):
        """Token batches, or features; without training in order of length: less padding, and the metrics do not mind."""
        examples = examples if training else examples.sorted_by_length()
        return self.source.batches(examples, **self.batch_settings(training))

    def fit_arguments(self):
        """Class weights, if they are wanted."""
        return {"class_weight": class_weights(self.train) if self.settings.class_weight == "balanced" else None}

    def evaluate(self):
        """Accuracy, F1 and their like."""
        return evaluate(self.model, self.valid)

    def extra_config(self, report):
        """The classes, and the pooling that was chosen."""
        settings = self.settings
        return {
            "classes": list(self.train.classes),
            "multi_label": self.train.multi_label,
            "kept_by": self.measure,
            "pooling": choose_pooling(self.encoder, settings.pooling, Recurrence.of(settings.recurrent, self.encoder)),
            **encoder_config(self.encoder, settings),
        }

    def export_options(self):
        """Whether the export takes pairs."""
        return {"pairs": self.settings.text_pair is not None}

    def write_page(self, folder, outcome):
        """Metrics per class, confusion matrix, the most confident errors."""
        config, report = outcome.config, outcome.report

        def confusion(plots: Path) -> None:
            if report.confusion is not None and len(report.classes) <= 40:
                plot_confusion_matrix(report, plots / "confusion_matrix.png")

        pair = f" + `{config['text_pair']}`" if config["text_pair"] else ""
        write_page(
            folder,
            outcome,
            made_of=f"{encoder_line(config)}, pooling {config['pooling']}",
            data=f", columns `{config['text']}`{pair} and `{config['label']}`",
            kept=coverage_line(config)
            + best_epoch_line(
                outcome,
                f"the last whose {config['kept_by']} on the validation examples below is not clearly worse than the best; so their metrics "
                "flatter a little, the more the fewer they are",
            ),
            metrics=[
                f"accuracy **{report.accuracy:.4f}**, macro F1 **{report.macro_f1:.4f}**, loss {report.loss:.4f}",
                "",
                *score_table(report.per_class, "class", "examples"),
            ],
            mistakes=_mistakes(self.model, self.valid),
            use=f'tl-keras predict {in_shell(config["out"])} "..."',
            output="gives `label`, `score` and `scores`",
            plots=["confusion_matrix.png"],
            more_plots=confusion,
        )


def _mistakes(model, valid: Examples) -> list[str]:
    """The validation texts that the model got wrong while most sure: where label errors and blind spots show first."""
    texts = [valid.texts.tolist()] if valid.text_pairs is None else [valid.texts.tolist(), valid.text_pairs.tolist()]
    frame = predict(model, *texts, all_scores=valid.multi_label)
    frame["true"] = valid.label_names
    if valid.multi_label:
        return multi_label_mistakes(frame, valid)
    wrong = frame[frame.label != frame.true].sort_values("score", ascending=False, kind="stable").head(MISTAKES)
    rows = [
        [cell(text), cell(true), cell(label), f"{score:.2f}"]
        for text, true, label, score in zip(_joined(wrong), wrong.true, wrong.label, wrong.score, strict=True)
    ]
    return section("Most confident errors", ["text", "label", "predicted", "score"], rows)


def multi_label_mistakes(frame: pd.DataFrame, valid: Examples) -> list[str]:
    """Of texts with several labels: those with a label whose probability is furthest from the truth.

    Args:
        frame: what `predict` gave with all scores, and `true`, the labels that are right.
        valid: the examples.
    """
    scores = frame[[f"score_{name}" for name in valid.classes]].to_numpy()
    off = np.abs(scores - valid.labels)
    frame["furthest"], frame["off"] = off.argmax(1), off.max(1)
    frame["score"] = scores[np.arange(len(scores)), frame.furthest]
    # At 0.5 and beyond the label is given wrongly, or wrongly left out.
    wrong = frame[frame.label.map(sorted) != frame.true.map(sorted)]
    wrong = wrong.sort_values("off", ascending=False, kind="stable").head(MISTAKES)
    rows = [
        [cell(text), cell(", ".join(true)), cell(", ".join(label)), f"{cell(valid.classes[place])} {score:.2f}"]
        for text, true, label, place, score in zip(
            _joined(wrong), wrong.true, wrong.label, wrong.furthest, wrong.score, strict=True
        )
    ]
    return section("Most confident errors", ["text", "labels", "predicted", "furthest off"], rows)


def _joined(frame: pd.DataFrame) -> pd.Series:
    """The texts; of pairs both in one cell."""
    return frame.text if "text_pair" not in frame else frame.text + " / " + frame.text_pair


def is_uneven(examples: Examples) -> bool:
    """Whether accuracy would say little of the rarest class: it has less than half of its even share, or texts may have several labels.

    Example:
        >>> is_uneven(Examples.from_lists(["a"] * 10, ["x"] * 7 + ["y"] * 3))
        False
        >>> is_uneven(Examples.from_lists(["a"] * 10, ["x"] * 8 + ["y"] * 2))
        True
    """
    return examples.multi_label or min(examples.counts().values()) < 0.5 * len(examples) / len(examples.classes)
