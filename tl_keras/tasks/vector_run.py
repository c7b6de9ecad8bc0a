"""What runs whose model gives vectors share: sentence similarity and retrieval."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from tl_keras.encoders.base import Encoder
from tl_keras.models.lexical import can_join_letters, join_layer_of
from tl_keras.models.pair_builders import sentence_encoder
from tl_keras.serving.lexical_weight import choose_lexical_weight
from tl_keras.tasks.run import Run

logger = logging.getLogger(__name__)

IN_TRAINING = 0.5
"""The lexical weight under which an encoder is trained whose own is chosen afterwards: it learns what shared letters do not tell."""

ENOUGH_TEXTS = 1000
"""Different texts from which on vectors are whitened unasked: fewer tell the covariance of some hundred numbers badly."""


class VectorRun(Run):
    """A run that learns vectors of texts; settings are `VectorSettings`."""

    lexical_weight_setting: str
    """How much shared letters count: a number, or `"auto"`."""

    def sentence_encoder(self, texts: Sequence[str], pooling: str):
        """The model that gives vectors, for texts like these."""
        settings = self.settings
        return sentence_encoder(
            self.encoder,
            settings.plan,
            pooling=pooling,
            dimensions=settings.projection,
            lexical_weight=lexical_weight_in_training(self.lexical_weight_setting, self.encoder),
            lexical_texts=texts,
            whiten_texts=texts_to_whiten(settings.whiten, self.encoder, texts),
        )

    def tune_on_validation(self, report):
        """How much shared letters count: with `"auto"`, what is best on the validation examples."""
        if self.lexical_weight_setting != "auto" or lexical_weight_of(self.model) is None:
            return report
        weight = choose_lexical_weight(self.model, self.valid)
        logger.info("Shared letters count %.2f, meaning %.2f: the best on the validation examples.", weight, 1 - weight)
        return self.evaluate()


def texts_to_whiten(setting: str, encoder: Encoder, texts: Sequence[str]) -> Sequence[str]:
    """The texts whose vectors are whitened before training; none for none.

    Args:
        setting: `"yes"`, `"no"`, or `"auto"`: where the encoder's makers suggest it and there are texts enough.
        encoder: of the run.
        texts: to train on.
    """
    if setting == "auto" and encoder.suggested.get("whiten"):
        return texts if len(set(texts)) >= ENOUGH_TEXTS else ()
    return texts if setting == "yes" else ()


def lexical_weight_in_training(setting: str, encoder: Encoder) -> float:
    """The lexical weight that the model is built with.

    Args:
        setting: a number, or `"auto"`.
        encoder: with `"auto"`, one that shows no tokens goes without.
    """
    if setting != "auto":
        return float(setting)
    return IN_TRAINING if can_join_letters(encoder) else 0.0


def lexical_weight_of(model) -> float | None:
    """The lexical weight of a sentence encoder; None if it has no such part."""
    layer = join_layer_of(model)
    return None if layer is None else round(float(layer.weight), 4)
