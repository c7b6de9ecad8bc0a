"""Train a classifier for labels that are named later, from data of natural language inference."""

from __future__ import annotations

from tl_keras.serving.zero_shot import zero_shot_classifier
from tl_keras.serving.zero_shot_classifier import entailment_places
from tl_keras.tasks.text_classification import TextClassificationRun


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
