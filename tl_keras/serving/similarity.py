"""Raw strings to vectors and scores: one graph for `predict`, the export and TensorFlow Serving."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import tensorflow as tf

from tl_keras._keras import keras, tf_variable
from tl_keras.encoders.base import Encoder
from tl_keras.encoders.encoder_layer import encoder_layer_of
from tl_keras.encoders.load import encoder_of
from tl_keras.errors import UserError
from tl_keras.models.similarity_head import score_head_of, sentence_encoder_of
from tl_keras.serving.exported_similarity import Regressor, TextEncoder
from tl_keras.text.preprocessor import trim


def string_graph(model: Callable, encoder: Encoder, role: str = "query") -> Callable[[list[tf.Tensor]], tf.Tensor]:
    """The segments of texts, string `[batch]` each -> what the model gives for them.

    Args:
        model: takes the encoder's inputs.
        encoder: tokenizes and packs.
        role: which prompt is put before the texts; see `Preprocessor.tokenize`.
    """
    # Loaded before there is a graph.
    preprocessor = None if encoder.takes_text else encoder.preprocessor

    def run(segments: list[tf.Tensor]) -> tf.Tensor:
        if preprocessor is None:
            return model(segments[0])
        tokens = [preprocessor.tokenize(segment, role) for segment in segments]
        return model(trim(preprocessor.pack(tokens, encoder.seq_length)))

    return run


# Tracing takes seconds, so a model's graph is kept as long as the model lives.
_ENCODERS: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
_REGRESSORS: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def keras_text_encoder(model: keras.Model) -> TextEncoder:
    """The text encoder of a Keras model of `sentence_encoder`, or of the towers around one.

    Raises:
        UserError: the model is no sentence encoder of this package.
    """
    model = sentence_encoder_of(model)
    if model not in _ENCODERS:
        reference = weakref.ref(model)
        encoder = encoder_of(model)

        def function(role):
            graph = string_graph(lambda batch: reference()(batch, training=False), encoder, role)
            return tf.function(
                lambda text: graph([text]), input_signature=[tf.TensorSpec([None], tf.string)], autograph=False
            )

        passages = function("passage") if _tells_passages_apart(encoder) else None
        _ENCODERS[model] = TextEncoder(function("query"), int(model.output_shape[-1]), model.name, passages=passages)
    return _ENCODERS[model]


def _tells_passages_apart(encoder: Encoder) -> bool:
    prompts = {} if encoder.takes_text else encoder.preprocessor.prompts
    return prompts.get("passage", "") != prompts.get("query", "")


def keras_regressor(model: keras.Model) -> Regressor:
    """The regressor of a Keras model of `text_regressor`; it takes single texts and pairs.

    Raises:
        UserError: the model is no regressor of this package.
    """
    if model not in _REGRESSORS:
        reference, encoder = weakref.ref(model), encoder_of(model)
        graph = string_graph(lambda batch: reference()(batch, training=False), encoder)
        text = tf.TensorSpec([None], tf.string)
        single = tf.function(lambda a: graph([a]), input_signature=[text], autograph=False)
        double = tf.function(lambda a, b: graph([a, b]), input_signature=[text, text], autograph=False)
        _REGRESSORS[model] = Regressor(
            lambda batch: double(batch["text"], batch["text_pair"]) if "text_pair" in batch else single(batch["text"]),
            score_head_of(model).score_range,
            False if encoder.takes_text else None,
            model.name,
        )
    return _REGRESSORS[model]


def embedding_module(model: keras.Model) -> tf.Module:
    """What is saved of a sentence encoder: `serving_default` takes `text`, string `[batch]`, and gives `embedding`.

    Where the encoder was trained with another prompt before the texts that are searched, `passage` does the same for those.
    """
    model = sentence_encoder_of(model)
    root, graph = _module(model, "sentence_encoder")

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")], autograph=False)
    def serve(text):
        return {"embedding": graph([text])}

    root.serve = serve
    encoder = encoder_of(model)
    if _tells_passages_apart(encoder):
        passages = string_graph(lambda inputs: model(inputs, training=False), encoder, "passage")

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")], autograph=False)
        def serve_passages(text):
            return {"embedding": passages([text])}

        root.serve_passages = serve_passages
    width = int(model.output_shape[-1])
    root.embedding_width = tf.function(lambda: tf.constant(width), input_signature=[])
    return root


def regressor_module(model: keras.Model, pairs: bool) -> tf.Module:
    """What is saved of a regressor: `serving_default` takes `text`, with `pairs` also `text_pair`, and gives `score`."""
    root, graph = _module(model, "text_regressor")
    if pairs and encoder_of(model).takes_text:
        raise UserError("a text embedding module takes one text, not pairs.")
    text, text_pair = (tf.TensorSpec([None], tf.string, name) for name in ("text", "text_pair"))
    if pairs:

        @tf.function(input_signature=[text, text_pair], autograph=False)
        def serve(text, text_pair):
            return {"score": graph([text, text_pair])}

    else:

        @tf.function(input_signature=[text], autograph=False)
        def serve(text):
            return {"score": graph([text])}

    root.serve = serve
    score_range = score_head_of(model).score_range
    root.score_range = tf.function(lambda: tf.constant(score_range, tf.float32), input_signature=[])
    return root


def _module(model: keras.Model, name: str) -> tuple[tf.Module, Callable]:
    """A module that holds what the model needs: tokenizer or table, vocabulary and weights; and its graph."""
    encoder = encoder_of(model)
    root = tf.Module(name=name)
    if encoder.takes_text:
        # Such a module carries its vocabulary table with it, which has to be tracked to be saved.
        root.encoder = encoder_layer_of(model).resolved_object
    else:
        root.preprocessor = encoder.preprocessor.module
    # The variables only, not the Keras model: both together would be stored twice.
    root.model_variables = [tf_variable(variable) for variable in model.variables]
    return root, string_graph(lambda batch: model(batch, training=False), encoder)
