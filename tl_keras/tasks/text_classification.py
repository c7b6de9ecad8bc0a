"""Train a text classifier from a file to a run folder."""

from __future__ import annotations

import logging

from tl_keras.data.examples import Examples
from tl_keras.data.table import read_table
from tl_keras.errors import UserError
from tl_keras.models.body import choose_pooling
from tl_keras.models.recurrent import Recurrence
from tl_keras.models.text_classifier import text_classifier
from tl_keras.serving.evaluate import evaluate
from tl_keras.tasks.classification_page import write_classification_page
from tl_keras.tasks.run import Run
from tl_keras.tasks.run_encoder import encoder_config, encoder_for
from tl_keras.training.class_weights import class_weights

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
        names = ("text", "label", "text_pair", "label_separator", "quoting", "encoding", "on_empty")
        options = {name: getattr(settings, name) for name in names}
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
            train, valid = train.split(settings.validation_split, settings.seed)
        else:
            valid = read_table(settings.validation, classes=train.classes, **options)
        if settings.limit is not None:
            train = train.sample(settings.limit, settings.seed)
        few = [f"{name!r} ({n})" for name, n in train.counts().items() if n < 2]
        if few:
            logger.warning(
                "Classes with fewer than two training examples will hardly be learned: %s.", ", ".join(few[:10])
            )
        return train, valid

    def load_encoder(self):
        """One of word vectors is made ready for the words of the training examples."""
        return encoder_for(self.settings, self.train.texts)

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
        )

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
            "pooling": choose_pooling(self.encoder, settings.pooling, Recurrence.of(settings.recurrent, self.encoder)),
            **encoder_config(self.encoder, settings),
        }

    def export_options(self):
        """Whether the export takes pairs."""
        return {"pairs": self.settings.text_pair is not None}

    def write_page(self, folder, outcome):
        """Metrics per class, confusion matrix, the most confident errors."""
        write_classification_page(folder, outcome, self.model, self.valid)
