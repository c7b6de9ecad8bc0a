"""Predictors that give a text or a pair one answer by one graph: classes, a number, or a vector and the cosine of two; and what is exported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import tensorflow as tf

from tl_keras.data.examples import Examples
from tl_keras.serving.predictor import Predictor, TextScorer, by_length, constant, label_columns, strings, text_frame

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


class SentenceEncoder(Predictor):
    """What turns texts into vectors.

    Args:
        function: string `[batch]` -> float32 `[batch, width]`.
        width: numbers in a vector.
        name: how to call it in messages.
        passages: the same as `function` for texts that are searched, where they want another prompt than queries.
    """

    task = "sentence-similarity"

    def __init__(self, function: Callable, width: int, name: str, passages: Callable | None = None):
        self.function = function
        self.passages = passages or function
        self.width = width
        self.name = name

    @classmethod
    def of_model(cls, served: ServedModel) -> SentenceEncoder:
        """That of a model of `sentence_encoder`, or of the towers around one."""
        passages = served.on_strings("text", role="passage") if served.tells_passages_apart else None
        return cls(served.on_strings("text"), served.head, served.name, passages)

    @classmethod
    def of_export(cls, module, folder: str) -> SentenceEncoder:
        """That of an export."""
        default = module.signatures["serving_default"]
        passages = module.signatures.get("passage", default)
        width = int(module.embedding_width().numpy())
        return cls(
            lambda texts: default(text=texts)["embedding"],
            width,
            folder,
            lambda texts: passages(text=texts)["embedding"],
        )

    def to_module(self, pairs: bool) -> tuple[tf.Module, dict[str, Callable]]:
        """`serving_default` takes `text`, string `[batch]`, and gives `embedding`, float32 `[batch, width]`.

        Where the encoder was trained with another prompt before the texts that are searched, `passage` does the same for those.
        """
        root = self.served.module("sentence_encoder")

        def serving(graph):
            return tf.function(
                lambda text: {"embedding": graph(text)}, input_signature=[strings("text")], autograph=False
            )

        root.serve = serving(self.function)
        root.embedding_width = constant(self.width)
        signatures = {"serving_default": root.serve}
        if self.served.tells_passages_apart:
            root.serve_passages = signatures["passage"] = serving(self.passages)
        return root, signatures

    def encode(
        self,
        texts: Sequence[str],
        batch_size: int = 64,
        progress: Callable[[int, int], None] | None = None,
        role: str = "query",
    ) -> np.ndarray:
        """The vectors of texts.

        Args:
            texts: `n` strings.
            batch_size: texts at once.
            progress: called with how many are done and `n`.
            role: `"passage"` for texts that are searched; `"query"` for those that ask, and all others.

        Returns:
            Float32 `[n, width]`, in the order of the texts.

        Raises:
            UserError: one string instead of a list, or an entry that is none.
        """
        examples = Examples.from_lists(texts)
        function = self.passages if role == "passage" else self.function
        vectors = np.empty((len(examples), self.width), "float32")
        for rows, (batch,) in by_length([examples.texts], batch_size, progress):
            vectors[rows] = function(batch).numpy()
        return vectors

    def unit_vectors(
        self,
        texts: Sequence[str],
        batch_size: int = 64,
        progress: Callable[[int, int], None] | None = None,
        role: str = "query",
    ) -> np.ndarray:
        """Vectors of length 1, whose dot product is the cosine; see `encode`."""
        vectors = self.encode(texts, batch_size, progress, role)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    def similarity(self, texts: Sequence[str], text_pairs: Sequence[str], batch_size: int = 64) -> np.ndarray:
        """The cosine of each text and its partner, float32 `[n]`; a text that occurs often is encoded once.

        Raises:
            UserError: not as many of one as of the other.
        """
        pairs = Examples.from_lists(texts, text_pairs=text_pairs)
        together = np.concatenate([pairs.texts, pairs.text_pairs]).tolist()
        different = {text: place for place, text in enumerate(dict.fromkeys(together))}
        vectors = self.unit_vectors(list(different), batch_size)
        places = np.array([different[text] for text in together], "int64")
        return np.einsum("ij,ij->i", vectors[places[: len(pairs)]], vectors[places[len(pairs) :]])

    def frame(
        self, texts: Sequence[str], text_pairs: Sequence[str] | None = None, *, batch_size: int = 64
    ) -> pd.DataFrame:
        """`text` and `embedding` (an array for each text), or for pairs `text`, `text_pair` and `score`, the cosine."""
        if text_pairs is not None:
            return text_frame(texts, text_pairs, score=self.similarity(texts, text_pairs, batch_size))
        return text_frame(texts, None, embedding=pd.Series(list(self.encode(texts, batch_size)), dtype=object))


class Regressor(TextScorer):
    """What gives texts or pairs a number.

    Args:
        function: `{"text": string [batch], perhaps "text_pair"}` -> float32 `[batch]`.
        score_range: lowest and highest score.
        takes_pairs: whether it wants pairs; None if it takes both.
        name: how to call it in messages.
    """

    task = "sentence-similarity"

    def __init__(self, function: Callable, score_range: tuple[float, float], takes_pairs: bool | None, name: str):
        super().__init__(function, takes_pairs, name)
        self.score_range = score_range

    @classmethod
    def of_model(cls, served: ServedModel) -> Regressor:
        """That of a model of `text_regressor`, which takes single texts and pairs."""
        return cls(cls.function_of_model(served), served.head.score_range, served.takes_pairs, served.name)

    @classmethod
    def of_export(cls, module, folder: str) -> Regressor:
        """That of an export."""
        function, takes_pairs = cls.function_of_export(module, "score")
        low, high = (float(end) for end in module.score_range().numpy())
        return cls(function, (low, high), takes_pairs, folder)

    def to_module(self, pairs: bool) -> tuple[tf.Module, dict[str, Callable]]:
        """`serving_default` gives `score`, float32 `[batch]`."""
        root, signatures = self.string_module("text_regressor", pairs, lambda scores: {"score": scores})
        root.score_range = constant(self.score_range, tf.float32)
        return root, signatures

    def frame(
        self, texts: Sequence[str], text_pairs: Sequence[str] | None = None, *, batch_size: int = 64
    ) -> pd.DataFrame:
        """`text`, perhaps `text_pair`, and `score`."""
        return text_frame(texts, text_pairs, score=self.scores(texts, text_pairs, batch_size))
