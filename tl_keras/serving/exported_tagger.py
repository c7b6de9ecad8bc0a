"""Find labelled spans with an exported tagger: plain TensorFlow, no Keras."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import tensorflow as tf

from tl_keras.data.examples import length_order
from tl_keras.errors import UserError

OUTPUTS = ("starts", "ends", "labels", "scores", "count")


class Tagger:
    """What finds spans in texts: a Keras model, or an export (`ExportedTagger`).

    Args:
        function: string `[batch]` -> `starts`, `ends`, `labels`, `scores`, `count`.
        labels: names of the kinds of spans.
        scheme: `"bio"` or `"plain"`.
    """

    task = "token-classification"

    def __init__(self, function: Callable, labels: Sequence[str], scheme: str):
        self.function = function
        self.labels = tuple(labels)
        self.scheme = scheme

    def entities(self, texts: Sequence[str], batch_size: int = 64) -> list[list[dict]]:
        """The spans of each text: `{"start", "end", "label", "text", "score"}`, in characters, in order.

        Args:
            texts: `n` strings.
            batch_size: texts at once.

        Raises:
            UserError: one string instead of a list, or an entry that is none.
        """
        if isinstance(texts, str):
            raise UserError(f"texts must be a list of strings, not one string: write [{texts[:40]!r}].")
        texts = list(texts)
        for row, text in enumerate(texts):
            if not isinstance(text, str):
                raise UserError(f"texts: entry {row + 1} is {type(text).__name__}, not a string.")
        found: list[list[dict]] = [[] for _ in texts]
        order = length_order(texts)
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            out = self.function(tf.constant([texts[row] for row in rows]))
            starts, ends, labels, scores, count = (out[name].numpy() for name in OUTPUTS)
            for i, row in enumerate(rows):
                found[row] = [
                    {
                        "start": int(starts[i, j]),
                        "end": int(ends[i, j]),
                        "label": labels[i, j].decode(),
                        "text": texts[row][starts[i, j] : ends[i, j]],
                        "score": float(scores[i, j]),
                    }
                    for j in range(count[i])
                ]
        return found

    def frame(self, texts: Sequence[str], batch_size: int = 64) -> pd.DataFrame:
        """The texts and their spans as a DataFrame: `text`, `entities`."""
        found = self.entities(texts, batch_size)
        entities = np.empty(len(found), object)
        entities[:] = found
        return pd.DataFrame(
            {"text": pd.Series(list(texts), dtype=object), "entities": pd.Series(entities, dtype=object)}
        )


class ExportedTagger(Tagger):
    """A tagger loaded from a SavedModel that `export` wrote: plain TensorFlow, no Keras.

    Args:
        folder: the SavedModel.
        module: what `tf.saved_model.load` gave for it.
    """

    def __init__(self, folder: str | os.PathLike, module):
        self.folder = str(folder)
        self.module = module
        self.signature = module.signatures["serving_default"]
        labels = [name.decode() for name in module.span_labels().numpy()]
        super().__init__(lambda texts: self.signature(text=texts), labels, module.tag_scheme().numpy().decode())
