"""Vectors and scores of texts from a model or from an export; an export needs plain TensorFlow, no Keras."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import tensorflow as tf

from tl_keras.data.examples import Examples, length_order
from tl_keras.errors import UserError


class TextEncoder:
    """What turns texts into vectors: a Keras model, or an export (`ExportedTextEncoder`).

    Args:
        function: string `[batch]` -> float32 `[batch, width]`.
        width: numbers in a vector.
        name: how to call it in messages.
        keep: whatever must live as long as this: a function does not keep the model it came from.
        passages: the same as `function` for texts that are searched, where they want another prompt than queries.
    """

    task = "sentence-similarity"

    def __init__(
        self, function: Callable, width: int, name: str, keep: object = None, passages: Callable | None = None
    ):
        self.function = function
        self.passages = passages or function
        self.width = width
        self.name = name
        self.keep = keep

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
        strings = Examples.from_lists(texts).texts
        function = self.passages if role == "passage" else self.function
        vectors = np.empty((len(strings), self.width), "float32")
        order = length_order(strings)
        # Long texts first: if memory does not suffice, that shows at once.
        for start in range(0, len(order), batch_size):
            rows = order[::-1][start : start + batch_size]
            vectors[rows] = function(tf.constant(strings[rows].tolist())).numpy()
            if progress is not None:
                progress(min(start + batch_size, len(order)), len(order))
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

    def frame(self, texts: Sequence[str], text_pairs: Sequence[str] | None, batch_size: int = 64) -> pd.DataFrame:
        """`text` and `embedding` (an array for each text), or for pairs `text`, `text_pair` and `score`, the cosine."""
        if text_pairs is not None:
            return _frame(texts, text_pairs, score=self.similarity(texts, text_pairs, batch_size))
        return _frame(texts, None, embedding=pd.Series(list(self.encode(texts, batch_size)), dtype=object))


class ExportedTextEncoder(TextEncoder):
    """A sentence encoder loaded from a SavedModel that `export` wrote.

    Args:
        folder: the SavedModel.
        module: what `tf.saved_model.load` gave for it.
    """

    def __init__(self, folder: str | os.PathLike, module):
        self.folder = str(folder)
        self.module = module
        self.signature = module.signatures["serving_default"]
        width = int(module.embedding_width().numpy())
        passages = module.signatures.get("passage", self.signature)
        super().__init__(
            lambda texts: self.signature(text=texts)["embedding"],
            width,
            self.folder,
            passages=lambda texts: passages(text=texts)["embedding"],
        )


class Regressor:
    """What gives texts or pairs a number: a Keras model, or an export (`ExportedRegressor`).

    Args:
        function: `{"text": string [batch], perhaps "text_pair"}` -> float32 `[batch]`.
        score_range: lowest and highest score.
        takes_pairs: whether it wants pairs; None if it takes both.
        name: how to call it in messages.
    """

    task = "sentence-similarity"

    def __init__(self, function: Callable, score_range: tuple[float, float], takes_pairs: bool | None, name: str):
        self.function = function
        self.score_range = score_range
        self.takes_pairs = takes_pairs
        self.name = name

    def scores(self, texts: Sequence[str], text_pairs: Sequence[str] | None = None, batch_size: int = 64) -> np.ndarray:
        """Scores float32 `[n]`, in the order of the texts.

        Raises:
            UserError: pairs for a model of single texts, or the other way round.
        """
        if self.takes_pairs is not None and self.takes_pairs != (text_pairs is not None):
            wanted = "pairs of texts (text_pair)" if self.takes_pairs else "single texts"
            raise UserError(f"{self.name} takes {wanted}.")
        examples = Examples.from_lists(texts, text_pairs=text_pairs)
        columns = {"text": examples.texts}
        if text_pairs is not None:
            columns["text_pair"] = examples.text_pairs
        order = length_order(*columns.values())
        scores = np.empty(len(order), "float32")
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = {name: tf.constant(values[rows].tolist()) for name, values in columns.items()}
            scores[rows] = self.function(batch).numpy()
        return scores

    def frame(self, texts: Sequence[str], text_pairs: Sequence[str] | None, batch_size: int = 64) -> pd.DataFrame:
        """`text`, perhaps `text_pair`, and `score`."""
        return _frame(texts, text_pairs, score=self.scores(texts, text_pairs, batch_size))


class ExportedRegressor(Regressor):
    """A regressor loaded from a SavedModel that `export` wrote.

    Args:
        folder: the SavedModel.
        module: what `tf.saved_model.load` gave for it.
    """

    def __init__(self, folder: str | os.PathLike, module):
        self.folder = str(folder)
        self.module = module
        self.signature = module.signatures["serving_default"]
        self.inputs = set(self.signature.structured_input_signature[1])
        low, high = (float(end) for end in module.score_range().numpy())
        super().__init__(
            lambda batch: self.signature(**batch)["score"], (low, high), "text_pair" in self.inputs, self.folder
        )


def _frame(texts: Sequence[str], text_pairs: Sequence[str] | None, **answers) -> pd.DataFrame:
    frame = pd.DataFrame({"text": pd.Series(list(texts), dtype=object)})
    if text_pairs is not None:
        frame["text_pair"] = pd.Series(list(text_pairs), dtype=object)
    return frame.assign(**answers)
