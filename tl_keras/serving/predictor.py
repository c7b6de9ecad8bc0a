"""What all predictors share: a model, whether built just now or loaded from an export, that answers for raw strings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd
import tensorflow as tf

from tl_keras.data.examples import Examples, length_order
from tl_keras.errors import UserError
from tl_keras.options import check_ranges

if TYPE_CHECKING:
    from tl_keras._keras import keras
    from tl_keras.serving.served_model import ServedModel


class Predictor:
    """A model that answers for raw strings. Each task has a subclass, which also says what is exported.

    Attributes:
        task: its name on the command line.
        folder: of the export that it was loaded from; empty for a Keras model.
        module: what was loaded from there.
        model: the Keras model; None for an export.
        served: its graphs.
    """

    task: ClassVar[str]
    folder: str = ""
    module: tf.Module | None = None
    model: keras.Model | None = None
    served: ServedModel | None = None

    @classmethod
    def of_model(cls, served: ServedModel) -> Predictor:
        """The predictor of a Keras model."""
        raise NotImplementedError

    @classmethod
    def of_export(cls, module, folder: str) -> Predictor:
        """The predictor of what `tf.saved_model.load` gave for an export."""
        raise NotImplementedError

    def to_module(self, pairs: bool) -> tuple[tf.Module, dict[str, Callable]]:
        """What is saved of a Keras model, and its signatures.

        Args:
            pairs: whether the export takes pairs of texts, where the model takes both.
        """
        raise NotImplementedError

    def frame(
        self, texts: Sequence[str], text_pairs: Sequence[str] | None = None, *, batch_size: int = 64
    ) -> pd.DataFrame:
        """The answers, a row for each text; the arguments are those of `predict`."""
        raise NotImplementedError

    @property
    def signature(self):
        """`serving_default` of an export."""
        return self.module.signatures["serving_default"]


class TextScorer(Predictor):
    """What gives texts, or pairs of texts, one or several numbers.

    Args:
        function: `{"text": string [batch], perhaps "text_pair"}` -> float32 `[batch, ...]`.
        takes_pairs: whether it wants pairs; None if it takes both.
        name: how to call it in messages.
    """

    _shape: tuple[int, ...] = ()
    """Of what a text gets."""

    def __init__(self, function: Callable, takes_pairs: bool | None, name: str):
        self.function = function
        self.takes_pairs = takes_pairs
        self.name = name

    def scores(self, texts: Sequence[str], text_pairs: Sequence[str] | None = None, batch_size: int = 64) -> np.ndarray:
        """Float32 `[n]` or `[n, classes]`, in the order of the texts.

        Raises:
            UserError: pairs for a model of single texts, or the other way round.
        """
        if self.takes_pairs is not None and self.takes_pairs != (text_pairs is not None):
            wanted = "pairs of texts (text_pair)" if self.takes_pairs else "single texts"
            exported = (
                "; one for pairs is written by export(model, ..., pairs=True)"
                if self.folder and not self.takes_pairs
                else ""
            )
            raise UserError(f"{self.name} takes {wanted}{exported}.")
        examples = Examples.from_lists(texts, text_pairs=text_pairs)
        names = ("text",) if text_pairs is None else ("text", "text_pair")
        columns = (examples.texts,) if text_pairs is None else (examples.texts, examples.text_pairs)
        scores = np.empty((len(examples), *self._shape), "float32")
        for rows, batch in by_length(columns, batch_size):
            scores[rows] = self.function(dict(zip(names, batch, strict=True))).numpy()
        return scores

    @staticmethod
    def function_of_model(served: ServedModel) -> Callable:
        """Single texts or pairs -> what the model gives for them."""
        return lambda batch: served.on_strings(*batch)(*batch.values())

    @staticmethod
    def function_of_export(module, output: str) -> tuple[Callable, bool]:
        """One output of an export, and whether it takes pairs."""
        signature = module.signatures["serving_default"]
        return lambda batch: signature(**batch)[output], "text_pair" in signature.structured_input_signature[1]

    def string_module(self, name: str, pairs: bool, outputs: Callable) -> tuple[tf.Module, dict[str, Callable]]:
        """What is saved: `serving_default` takes `text`, string `[batch]`, with `pairs` also `text_pair`.

        Args:
            name: of the module.
            pairs: see `to_module`.
            outputs: from what the model gives to what the signature gives, by name.
        """
        if pairs and self.takes_pairs is False:
            raise UserError("a text embedding module takes one text, not pairs.")
        names = ("text", "text_pair") if pairs else ("text",)
        root, graph = self.served.module(name), self.served.on_strings(*names)
        root.serve = tf.function(
            lambda *texts: outputs(graph(*texts)), input_signature=[strings(name) for name in names], autograph=False
        )
        return root, {"serving_default": root.serve}


def strings(name: str | None = None) -> tf.TensorSpec:
    """Any number of strings, as the input of a graph."""
    return tf.TensorSpec([None], tf.string, name)


def constant(value, dtype: tf.DType | None = None) -> tf.types.experimental.GenericFunction:
    """A value that an export keeps, as a function that gives it."""
    return tf.function(lambda: tf.constant(value, dtype), input_signature=[])


def by_length(
    columns: Sequence[Sequence[str]], batch_size: int, progress: Callable[[int, int], None] | None = None
) -> Iterator[tuple[np.ndarray, list[tf.Tensor]]]:
    """Rows in batches, those of like length together: their numbers, and a string tensor for each column.

    Long texts come first: if memory does not suffice, that shows at once.

    Args:
        columns: object arrays of `n` strings each.
        batch_size: rows at once.
        progress: called with how many are done and `n`.

    Raises:
        UserError: no row at once, or fewer.
    """
    check_ranges({"batch_size": batch_size})
    order = length_order(*columns)[::-1]
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        yield rows, [tf.constant(column[rows].tolist()) for column in columns]
        if progress is not None:
            progress(min(start + batch_size, len(order)), len(order))


def text_frame(texts: Sequence[str], text_pairs: Sequence[str] | None, **answers) -> pd.DataFrame:
    """A table of texts, perhaps `text_pair`, and the answers."""
    frame = pd.DataFrame({"text": pd.Series(list(texts), dtype=object)})
    if text_pairs is not None:
        frame["text_pair"] = pd.Series(list(text_pairs), dtype=object)
    return frame.assign(**answers)


def label_columns(scores: np.ndarray, names: Sequence[str], several: bool, threshold: float) -> dict[str, object]:
    """The columns `label` and `score`: of the likeliest label, or with `several` lists of those with at least `threshold`.

    Args:
        scores: float `[n, labels]`.
        names: of the labels.
        several: whether a text may have any number of labels.
        threshold: a probability.
    """
    names = np.array(list(names), object)
    if several:
        chosen = [np.flatnonzero(row >= threshold) for row in scores]
        return {
            "label": [names[rows].tolist() for rows in chosen],
            "score": [row[rows].tolist() for row, rows in zip(scores, chosen, strict=True)],
        }
    best = scores.argmax(-1)
    return {"label": names[best], "score": scores[np.arange(len(scores)), best]}
