"""What all predictors share: a model, whether built just now or loaded from an export, that answers for raw strings."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
import tensorflow as tf

from tl_keras._keras import kept_with, keras, tf_variable
from tl_keras.data.examples import Examples, length_order
from tl_keras.encoders.base import Encoder
from tl_keras.encoders.encoder_layer import encoder_layer_of, modules_inside
from tl_keras.encoders.load import encoder_of
from tl_keras.errors import UserError

if TYPE_CHECKING:
    from tl_keras._keras import keras


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
            raise UserError(f"{self.name} takes {wanted}.")
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
    """
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


class ServedModel:
    """A Keras model as graphs of raw strings use it: traced once, for predicting and for exporting alike.

    It does not keep the model, which keeps it (see `kept_with`); a `Predictor` does.

    Args:
        model: of one of the builders.

    Attributes:
        head: what the task's predictor has to know: the layer with its labels or range, the width of a vector, the language model.
    """

    def __init__(self, model: keras.Model):
        self._model = weakref.ref(model)
        self.name = model.name
        self.head: Any = None
        self._made: dict = {}

    def __call__(self, inputs) -> tf.Tensor:
        """What the model gives for the encoder's inputs, in a graph."""
        return self._model()(inputs, training=False)

    @functools.cached_property
    def encoder(self) -> Encoder:
        """Tokenizes and packs."""
        return encoder_of(self._model())

    @property
    def takes_pairs(self) -> bool | None:
        """False where the encoder reads one text only; None where it reads two as well."""
        return False if self.encoder.takes_text else None

    @property
    def tells_passages_apart(self) -> bool:
        """Whether texts that are searched get another prompt than those that ask."""
        prompts = {} if self.encoder.takes_text else self.encoder.preprocessor.prompts
        return prompts.get("passage", "") != prompts.get("query", "")

    def once(self, name, make: Callable[[], Any]) -> Any:
        """What `make` gives, made when it is first asked for: tracing takes seconds."""
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    def on_strings(self, *names: str, role: str = "query") -> Callable:
        """A graph: string `[batch]` for each name, read together -> what the model gives for them.

        Args:
            names: of the texts.
            role: which prompt is put before them; see `Preprocessor.tokenize`.
        """

        def make():
            inputs_of = self.encoder.string_inputs(role)
            return tf.function(
                lambda *texts: self(inputs_of(*texts)),
                input_signature=[tf.TensorSpec([None], tf.string, name) for name in names],
                autograph=False,
            )

        return self.once((role, *names), make)

    def module(self, name: str, offsets: bool = False) -> tf.Module:
        """A module that holds what the model's graphs need: tokenizer or table, vocabulary and weights.

        Args:
            name: of the module.
            offsets: whether they also need the tokenizer that tells places in the text.
        """
        model, root = self._model(), tf.Module(name=name)
        if self.encoder.takes_text:
            # Such a module carries its vocabulary table with it, which has to be tracked to be saved.
            root.encoder = encoder_layer_of(model).resolved_object
        else:
            root.preprocessor = self.encoder.preprocessor.module
        if offsets:
            root.offset_tokenizer = self.encoder.offset_tokenizer
        # The variables only, not the Keras model: both together would be stored twice.
        root.model_variables = [tf_variable(variable) for variable in model.variables]
        root.modules_inside = modules_inside(model)
        return root


served_model = kept_with(ServedModel)
"""The `ServedModel` of a Keras model."""
