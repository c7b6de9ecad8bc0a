"""Runs for few labels: `--transfer few-shot`, and a classifier for labels that are named later, from data of natural language inference."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time

import numpy as np

from tl_keras.data.examples import Examples, sample_per_class
from tl_keras.data.generation_texts import read_texts
from tl_keras.models.few_shot import (
    AUTO,
    check_few_shot,
    choose_method,
    descriptions_in_order,
    few_shot_model,
    train_few_shot,
)
from tl_keras.serving.by_handle import zero_shot_classifier
from tl_keras.serving.zero_shot_classifier import entailment_places
from tl_keras.tasks.folder import Outcome
from tl_keras.tasks.run import Run
from tl_keras.tasks.task_settings import described_labels
from tl_keras.tasks.text_classification import TextClassificationRun

logger = logging.getLogger(__name__)

MEASURED_ON = 1000
"""So many of the rows that were not drawn are measured on at most."""
ENOUGH_TO_KEEP_OUT = 4
"""Examples of the rarest class below which none is kept out for validation: each counts more as one to learn from."""


def classification_run(settings) -> Run:
    """The run for the way of transfer that the settings ask for."""
    return (FewShotRun if settings.transfer == "few-shot" else TextClassificationRun)(settings)


class FewShotRun(TextClassificationRun):
    """Few labelled texts to classes; settings are `TextClassificationSettings`.

    Where no validation file is given, the metrics are those of a model that has not seen the examples kept out; the exported one has
    learned from these too. Where only some rows of the file are drawn to learn from, the others are there to measure on.
    """

    learns_from_all = False
    """Whether the exported model has learned from the examples kept out, too."""

    def read(self) -> tuple[Examples, Examples]:
        """Training and validation examples; with too few labels to keep any out, the same twice.

        Raises:
            UserError: a file cannot be read, or there is only one class.
        """
        settings = self.settings
        whole, valid = self.read_files()
        train = self._drawn(whole)
        if valid is None and len(whole) - len(train) >= settings.validation_split * len(train):
            valid = whole.take(np.setdiff1d(np.arange(len(whole)), self._places)).sample(MEASURED_ON, settings.seed)
        if valid is None:
            self.learns_from_all = True
            if min(train.counts().values()) < ENOUGH_TO_KEEP_OUT:
                logger.warning(
                    "%s: too few examples to keep any out, so the metrics are those on the training texts and say little; give a "
                    "--validation file.", settings.train,
                )  # fmt: skip
                valid = train
            else:
                train, valid = train.split(settings.validation_split, settings.seed)
        check_few_shot(train)
        self.descriptions = described_labels(settings.describe or []) or None
        descriptions_in_order(self.descriptions, train)
        self.unlabelled = None
        if settings.unlabelled is not None:
            self.unlabelled = read_texts(
                settings.unlabelled, settings.text, quoting=settings.quoting, encoding=settings.encoding
            ).texts
        return train, valid

    def _drawn(self, examples: Examples) -> Examples:
        """The examples to learn from; `_places` says which of the file's they are."""
        settings, source_rows = self.settings, examples.rows
        drawn = dataclasses.replace(examples, rows=np.arange(len(examples)))
        if settings.per_class is not None:
            drawn = sample_per_class(drawn, settings.per_class, settings.seed)
        if settings.limit is not None:
            drawn = drawn.sample(settings.limit, settings.seed)
        self._places = drawn.rows
        return dataclasses.replace(drawn, rows=None if source_rows is None else source_rows[drawn.rows])

    def build(self):
        """The model, not yet taught."""
        wanted = self.settings.few_shot_method
        self.method = choose_method(self.train, self.descriptions is not None) if wanted == AUTO else wanted
        stretched = self.unlabelled is not None
        return few_shot_model(self.encoder, self.train.classes, self.method, self.settings.pooling, stretched)

    def _fit(self, folder, verbose) -> Outcome:
        settings = self.settings
        started = time.perf_counter()
        options = {"descriptions": self.descriptions, "unlabelled": self.unlabelled}
        options |= {"learning_rate": settings.learning_rate, "seed": settings.seed}
        before = self.model.get_weights()
        train_few_shot(self.model, self.encoder, self.train, self.method, **options)
        report = self.evaluate()
        if self.learns_from_all and self.valid is not self.train:
            self.model.set_weights(before)
            train_few_shot(self.model, self.encoder, _joined(self.train, self.valid), self.method, **options)
        seconds = time.perf_counter() - started
        return Outcome(self._config(0, self.extra_config(report)), report, {}, None, seconds, False)

    def _score(self, trained: Outcome) -> Outcome:
        # Done before the examples kept out were learned, too.
        return trained

    def _kept_trained(self, folder, trained):
        # It is quicker done again than finished.
        return contextlib.nullcontext()

    def extra_config(self, report):
        """The method that was chosen, and whether the exported model has seen the validation examples."""
        return {
            **super().extra_config(report),
            "pooling": self.settings.pooling or self.encoder.suggested.get("pooling", "mean"),
            "few_shot_method": self.method,
            "validated_on_training_texts": self.valid is self.train,
            "exported_model_learned_from_validation_too": self.learns_from_all,
        }


def _joined(one: Examples, other: Examples) -> Examples:
    """Two parts of the same file as one again."""
    pairs = None if one.text_pairs is None else np.concatenate([one.text_pairs, other.text_pairs])
    return Examples(
        np.concatenate([one.texts, other.texts]),
        pairs,
        np.concatenate([one.labels, other.labels]),
        one.classes,
        one.source,
    )


class ZeroShotRun(TextClassificationRun):
    """Premises and hypotheses to entailment; settings are `ZeroShotSettings`.

    The metrics are those of entailment. The export takes texts and candidate labels.
    """

    task = "zero-shot-classification"

    def read_files(self):
        """Premises and hypotheses.

        Raises:
            UserError: as for a classifier, or there is no class of entailment.
        """
        train, valid = super().read_files()
        entailment_places(train.classes)
        return train, valid

    def exported_model(self):
        """The classifier with its template."""
        return zero_shot_classifier(self.model, template=self.settings.template)

    def export_options(self):
        """None: texts and labels are no pairs."""
        return {}
