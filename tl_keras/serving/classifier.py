"""Classes of texts and pairs of texts: the predictor, and what is exported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pandas as pd
import tensorflow as tf

from tl_keras.serving.predictor import TextScorer, constant, label_columns, text_frame

if TYPE_CHECKING:
    from tl_keras.serving.served_model import ServedModel


class Classifier(TextScorer):
    """What labels texts.

    Args:
        function: `{"text": string [batch], perhaps "text_pair"}` -> float32 `[batch, classes]` probabilities.
        classes: names, in the order of the scores.
        multi_label: whether a text may have several labels, or none.
        takes_pairs: whether it wants pairs; None if it takes both.
        name: how to call it in messages.
    """

    task = "text-classification"

    def __init__(
        self, function: Callable, classes: Sequence[str], multi_label: bool, takes_pairs: bool | None, name: str
    ):
        super().__init__(function, takes_pairs, name)
        self.classes = tuple(classes)
        self.multi_label = bool(multi_label)

    @property
    def _shape(self) -> tuple[int, ...]:
        return (len(self.classes),)

    @classmethod
    def of_model(cls, served: ServedModel) -> Classifier:
        """That of a model of `text_classifier`, which takes single texts and pairs."""
        head = served.head
        return cls(cls.function_of_model(served), head.classes, head.multi_label, served.takes_pairs, served.name)

    @classmethod
    def of_export(cls, module, folder: str) -> Classifier:
        """That of an export."""
        function, takes_pairs = cls.function_of_export(module, "scores")
        classes = [name.decode() for name in module.class_names().numpy()]
        return cls(function, classes, module.multi_label().numpy(), takes_pairs, folder)

    def to_module(self, pairs: bool) -> tuple[tf.Module, dict[str, Callable]]:
        """`serving_default` gives `label` (string `[batch]`), `score` (float32 `[batch]`) and `scores` (float32 `[batch, classes]`)."""

        def outputs(scores):
            best = tf.gather(tf.constant(self.classes), tf.argmax(scores, axis=-1))
            return {"label": best, "score": tf.reduce_max(scores, axis=-1), "scores": scores}

        root, signatures = self.string_module("text_classifier", pairs, outputs)
        root.class_names, root.multi_label = constant(self.classes), constant(self.multi_label)
        return root, signatures

    def frame(
        self,
        texts: Sequence[str],
        text_pairs: Sequence[str] | None = None,
        *,
        batch_size: int = 64,
        threshold: float = 0.5,
        all_scores: bool = False,
    ) -> pd.DataFrame:
        """`text`, perhaps `text_pair`, `label` and `score`; with `all_scores` a column for each class."""
        scores = self.scores(texts, text_pairs, batch_size)
        frame = text_frame(texts, text_pairs, **label_columns(scores, self.classes, self.multi_label, threshold))
        if all_scores:
            for column, name in enumerate(self.classes):
                frame[f"score_{name}"] = scores[:, column]
        return frame
