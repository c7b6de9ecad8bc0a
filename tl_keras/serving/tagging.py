"""Labelled spans of raw strings: one graph for `predict`, the export and TensorFlow Serving."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import tensorflow as tf

from tl_keras._keras import keras, tf_variable
from tl_keras.data.tagging import TagSet
from tl_keras.encoders.base import Encoder
from tl_keras.encoders.encoder_layer import modules_inside
from tl_keras.encoders.load import encoder_of
from tl_keras.models.tag_decoding import decode_spans
from tl_keras.models.tag_head import tag_head_of
from tl_keras.serving.exported_tagger import Tagger
from tl_keras.text.preprocessor import trim
from tl_keras.text.tag_units import make_units
from tl_keras.text.tagging_batches import pack_windows
from tl_keras.text.windows import make_windows, window_sizes

WINDOWS_AT_ONCE = 32
"""Windows that go through the encoder together: a long text needs no more memory than a batch of short ones."""


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


# Tracing takes seconds, so a model's graph is kept as long as the model lives.
_TAGGERS: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def keras_tagger(model: keras.Model) -> Tagger:
    """The tagger of a Keras model of `token_classifier`.

    Raises:
        UserError: the model is no tagger of this package.
    """
    if model not in _TAGGERS:
        head, reference = tag_head_of(model), weakref.ref(model)
        graph = tagging_graph(lambda batch: reference()(batch, training=False), encoder_of(model), head.tag_set)
        function = tf.function(graph, input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
        _TAGGERS[model] = Tagger(function, head.labels, head.scheme)
    return _TAGGERS[model]


def tagging_module(model: keras.Model) -> tf.Module:
    """What is saved: the graph with its tokenizer, vocabulary, weights and label names.

    `serving_default` takes `text`, string `[batch]` of any size and length, and gives `starts`, `ends`, `labels`, `scores`
    `[batch, most spans]` and `count` `[batch]`; see `decode_spans`.
    """
    encoder, head = encoder_of(model), tag_head_of(model)
    root = tf.Module(name="token_classifier")
    root.preprocessor = encoder.preprocessor.module
    root.offset_tokenizer = encoder.offset_tokenizer
    # The variables only, not the Keras model: both together would be stored twice.
    root.model_variables = [tf_variable(variable) for variable in model.variables]
    root.modules_inside = modules_inside(model)
    graph = tagging_graph(lambda batch: model(batch, training=False), encoder, head.tag_set)
    root.serve = tf.function(graph, input_signature=[tf.TensorSpec([None], tf.string, "text")], autograph=False)
    root.span_labels = tf.function(lambda: tf.constant(head.labels), input_signature=[])
    root.tag_scheme = tf.function(lambda: tf.constant(head.scheme), input_signature=[])
    return root
