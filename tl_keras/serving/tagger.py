"""Labelled spans of raw strings: the predictor, its graph, and what is exported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import tensorflow as tf

from tl_keras.data.examples import Examples
from tl_keras.data.tagging import TagSet
from tl_keras.errors import UserError
from tl_keras.serving.predictor import Predictor, by_length, constant, strings, text_frame
from tl_keras.text.preprocessor import trim
from tl_keras.text.tag_units import decode_spans, make_units
from tl_keras.text.tagging_batches import pack_windows
from tl_keras.text.windows import make_windows, window_sizes

if TYPE_CHECKING:
    from tl_keras.encoders.base import Encoder
    from tl_keras.serving.served_model import ServedModel

WINDOWS_AT_ONCE = 32
"""Windows that go through the encoder together: a long text needs no more memory than a batch of short ones."""
OUTPUTS = ("starts", "ends", "labels", "scores", "count")


class Tagger(Predictor):
    """What finds spans in texts.

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

    @classmethod
    def of_model(cls, served: ServedModel) -> Tagger:
        """That of a model of `token_classifier`."""
        head = served.head
        graph = served.once("spans", lambda: _traced(tagging_graph(served, served.encoder, head.tag_set)))
        return cls(graph, head.labels, head.scheme)

    @classmethod
    def of_export(cls, module, folder: str) -> Tagger:
        """That of an export."""
        signature = module.signatures["serving_default"]
        labels = [name.decode() for name in module.span_labels().numpy()]
        return cls(lambda texts: signature(text=texts), labels, module.tag_scheme().numpy().decode())

    def to_module(self, pairs: bool) -> tuple[tf.Module, dict[str, Callable]]:
        """`serving_default` takes `text`, string `[batch]` of any size and length.

        It gives `starts`, `ends`, `labels`, `scores` `[batch, most spans]` and `count` `[batch]`; see `decode_spans`.
        """
        root = self.served.module("token_classifier", offsets=True)
        root.serve = self.function
        root.span_labels, root.tag_scheme = constant(self.labels), constant(self.scheme)
        return root, {"serving_default": root.serve}

    def entities(self, texts: Sequence[str], batch_size: int = 64) -> list[list[dict]]:
        """The spans of each text: `{"start", "end", "label", "text", "score"}`, in characters, in order.

        Args:
            texts: `n` strings.
            batch_size: texts at once.

        Raises:
            UserError: one string instead of a list, or an entry that is none.
        """
        texts = Examples.from_lists(texts).texts
        found: list[list[dict]] = [[] for _ in texts]
        for rows, (batch,) in by_length([texts], batch_size):
            out = self.function(batch)
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

    def frame(
        self, texts: Sequence[str], text_pairs: Sequence[str] | None = None, *, batch_size: int = 64
    ) -> pd.DataFrame:
        """The texts and their spans as a DataFrame: `text`, `entities`.

        Raises:
            UserError: pairs.
        """
        if text_pairs is not None:
            raise UserError("a tagger takes single texts, not pairs.")
        found = self.entities(texts, batch_size)
        entities = np.empty(len(found), object)
        entities[:] = found
        return text_frame(texts, None, entities=pd.Series(entities, dtype=object))


def _traced(graph: Callable) -> Callable:
    return tf.function(graph, input_signature=[strings("text")], autograph=False)


def tagging_graph(model: Callable, encoder: Encoder, tag_set: TagSet) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Strings -> spans: tokenizing, windows, encoder, head, decoding.

    Where windows overlap, the one in which a token has most context decides about it.

    Args:
        model: the encoder's inputs -> float `[windows, length, tags]`.
        encoder: tokenizes and packs.
        tag_set: what the tags mean.

    Returns:
        A function of string `[batch]`, for use in a `tf.function`; see `decode_spans` for what it returns.
    """
    before, behind = encoder.preprocessor.special_tokens_around
    size, step = window_sizes(encoder.seq_length, special=before + behind)
    tokenizer = encoder.offset_tokenizer  # found and tried out before there is a graph
    tags = len(tag_set.tags)

    def probabilities(windows: tf.RaggedTensor) -> tf.Tensor:
        """Ids, ragged `[windows, (tokens)]` -> float32 `[windows, longest, tags]`."""
        longest = tf.cast(tf.reduce_max(windows.row_lengths()), tf.int32)

        def some(number, results):
            rows = windows[number * WINDOWS_AT_ONCE : (number + 1) * WINDOWS_AT_ONCE]
            packed = trim(pack_windows(encoder.preprocessor, rows, encoder.seq_length))
            # Behind [CLS], if there is one; what padding there is beyond the longest window is never looked at.
            values = tf.cast(model(packed), tf.float32)[:, before : longest + before]
            values = tf.pad(values, [[0, 0], [0, longest - tf.shape(values)[1]], [0, 0]])
            return number + 1, results.write(number, values)

        count = (tf.cast(windows.nrows(), tf.int32) + WINDOWS_AT_ONCE - 1) // WINDOWS_AT_ONCE
        results = tf.TensorArray(tf.float32, size=count, infer_shape=False, element_shape=[None, None, tags])
        # One after another: a long text's windows need not be in memory all at once.
        _, results = tf.while_loop(lambda number, _: number < count, some, [0, results], parallel_iterations=1)
        return results.concat()

    def tag(texts: tf.Tensor) -> dict[str, tf.Tensor]:
        batch = tf.size(texts)
        # There is always one window to look at, also for an empty batch.
        given = tf.cond(batch > 0, lambda: texts, lambda: tf.constant([""]))
        tokens = tokenizer(given)
        units = make_units(tokens, tag_set, given)
        windows = make_windows(tokens.ids.row_lengths(), size, step)
        scores = probabilities(tf.gather(tokens.ids.flat_values, windows.places))
        places = tf.stack([windows.best_window, windows.best_place], axis=1)
        of_units = tf.gather_nd(scores, tf.boolean_mask(places, units.first))
        spans = decode_spans(of_units, units, tokens.ids.nrows(), tag_set)
        return {name: value[:batch] for name, value in spans.items()}

    return tag
