"""A SavedModel that takes raw strings: tokenizer, encoder, head and label names in one folder."""

from __future__ import annotations

import math
import os
from pathlib import Path

import tensorflow as tf

from tl_keras._keras import keras, tf_variable
from tl_keras.encoders.encoder_layer import encoder_layer_of, modules_inside
from tl_keras.encoders.load import encoder_of
from tl_keras.errors import UserError
from tl_keras.files import need_space, whole_folder
from tl_keras.manifest import write_manifest
from tl_keras.models.language_model import is_generator
from tl_keras.models.similarity_head import is_regressor, is_sentence_encoder
from tl_keras.models.span_head import is_answerer
from tl_keras.models.tag_head import is_tagger
from tl_keras.serving.exported_zero_shot import ZeroShotClassifier
from tl_keras.serving.generation import generation_module
from tl_keras.serving.predict import head_of
from tl_keras.serving.questions import answering_module
from tl_keras.serving.similarity import embedding_module, regressor_module
from tl_keras.serving.tagging import tagging_module
from tl_keras.serving.zero_shot import zero_shot_module
from tl_keras.system_errors import no_tensorflow_error
from tl_keras.text.preprocessor import trim


def export(model: keras.Model, directory: str | os.PathLike, *, pairs: bool = False, overwrite: bool = False) -> Path:
    """Write a classifier or tagger as a SavedModel for serving.

    Its `serving_default` takes `text` (and with `pairs` also `text_pair`), string `[batch]` of any size, and gives `label`
    (string `[batch]`), `score` (float32 `[batch]`) and `scores` (float32 `[batch, classes]`). For multi-label models `label` and
    `score` are those of the most likely class; `scores` holds all. The label names are in `class_names()`, and the vocabulary in
    the assets: the folder can be moved and loaded with `tensorflow` and `tensorflow_text` alone.

    That of a tagger takes `text` and gives spans; see `tl_keras.serving.tagging.tagging_module`. That of a sentence encoder gives
    `embedding`, float32 `[batch, width]`; that of a regressor `score`, float32 `[batch]`. That of an answerer takes `question` and `context`; see
    `tl_keras.serving.questions.answering_module`. That of a language model takes prompts and sampling settings; see
    `tl_keras.serving.generation.generation_module`.

    Args:
        model: of `text_classifier` or `token_classifier`.
        directory: to write; TensorFlow Serving wants its last part to be a number.
        pairs: whether the model was trained on pairs of texts.
        overwrite: replace a folder that is there.

    Returns:
        The folder written.

    Raises:
        UserError: the folder exists, or the model is none of this package's.
    """
    directory = Path(directory)
    if directory.exists() and not overwrite:
        raise UserError(f"{directory} exists; choose another folder or pass overwrite=True (--overwrite).")
    root = _module_for(model, pairs)
    signatures = {"serving_default": root.serve}
    named = {"n_best": "n_best", "passage": "serve_passages", "losses": "losses", "multi_label": "serve_multi_label"}
    signatures |= {name: getattr(root, function) for name, function in named.items() if hasattr(root, function)}
    size = sum(math.prod(variable.shape) * variable.dtype.size for variable in map(tf_variable, root.variables))
    need_space(directory, size, "the model")
    # Written beside and renamed: whoever watches the folder never sees half a model.
    with whole_folder(directory, replace=overwrite) as beside, no_tensorflow_error(directory):
        tf.saved_model.save(root, str(beside), signatures=signatures)
        write_manifest(beside)
    return directory


def _module_for(model: keras.Model, pairs: bool) -> tf.Module:
    """What is saved, by the kind of model."""
    if isinstance(model, ZeroShotClassifier):
        return zero_shot_module(model, _serving_module)
    if is_tagger(model):
        return tagging_module(model)
    if is_answerer(model):
        return answering_module(model)
    if is_generator(model):
        return generation_module(model)
    if is_sentence_encoder(model):
        return embedding_module(model)
    if is_regressor(model):
        return regressor_module(model, pairs)
    return _serving_module(model, pairs)


def _serving_module(model: keras.Model, pairs: bool) -> tf.Module:
    encoder, head = encoder_of(model), head_of(model)
    root = tf.Module(name="text_classifier")
    if encoder.takes_text:
        if pairs:
            raise UserError("a text embedding module takes one text, not pairs.")
        # Such a module carries its vocabulary table with it, which has to be tracked to be saved.
        root.encoder = encoder_layer_of(model).resolved_object
    else:
        root.preprocessor = encoder.preprocessor.module
    # The variables only, not the Keras model: both together would be stored twice.
    root.model_variables = [tf_variable(variable) for variable in model.variables]
    root.modules_inside = modules_inside(model)
    class_names = tf.constant(head.classes)

    def classify(segments: list[tf.Tensor]) -> dict[str, tf.Tensor]:
        if encoder.takes_text:
            inputs = segments[0]
        else:
            tokens = [encoder.preprocessor.tokenize(segment) for segment in segments]
            inputs = trim(encoder.preprocessor.pack(tokens, encoder.seq_length))
        scores = model(inputs, training=False)
        best = tf.argmax(scores, axis=-1)
        return {"label": tf.gather(class_names, best), "score": tf.reduce_max(scores, axis=-1), "scores": scores}

    if pairs:

        @tf.function(
            input_signature=[tf.TensorSpec([None], tf.string, "text"), tf.TensorSpec([None], tf.string, "text_pair")]
        )
        def serve(text, text_pair):
            return classify([text, text_pair])

    else:

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
        def serve(text):
            return classify([text])

    root.serve = serve
    root.class_names = tf.function(lambda: tf.constant(head.classes), input_signature=[])
    root.multi_label = tf.function(lambda: tf.constant(head.multi_label), input_signature=[])
    return root
