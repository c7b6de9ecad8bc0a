"""Labels that a model was never trained on, named when it is asked: by similarity to their descriptions, or by entailment."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from tl_keras._keras import keras
from tl_keras.encoders.base import Encoder
from tl_keras.encoders.load import load_encoder
from tl_keras.errors import UserError
from tl_keras.models.sentence_encoder import sentence_encoder
from tl_keras.models.similarity_head import is_sentence_encoder
from tl_keras.serving.encode import is_export
from tl_keras.serving.exported_similarity import TextEncoder
from tl_keras.serving.exported_zero_shot import ZeroShotClassifier, entailment_places, similarity_scores
from tl_keras.serving.predict import as_predictor, head_of
from tl_keras.serving.similarity import embedding_module

SIMILARITY_TEMPLATE, ENTAILMENT_TEMPLATE = "{}", "This text is about {}."


def zero_shot_classifier(
    model,
    labels: Sequence[str] | Mapping[str, str] | None = None,
    *,
    template: str | None = None,
    seq_length: int = 128,
) -> ZeroShotClassifier:
    """A classifier for labels that are named when it is asked.

    By similarity: a sentence encoder compares texts with descriptions of the labels. By entailment: a model of natural language
    inference (a pair classifier with a class "entailment", as `tl-keras train zero-shot-classification` makes one) says whether a text
    entails "This text is about LABEL."

    Args:
        model: for similarity: a pre-trained encoder or its handle, or a sentence encoder (Keras model, export or run folder); for
            entailment: a pair classifier (likewise).
        labels: used where `predict` names none: names, or names with descriptions.
        template: what a description is put into, at `{}`; by default the description alone for similarity, and
            `ENTAILMENT_TEMPLATE` for entailment.
        seq_length: of a handle: longest text in tokens.

    Raises:
        UserError: the model is neither, a label has no description, or the template has no place for one.

    Source: similarity: Reimers and Gurevych, https://arxiv.org/abs/1908.10084; entailment: Yin et al., "Benchmarking Zero-shot Text
        Classification", https://arxiv.org/abs/1909.00161.

    Example:
        >>> topics = {"MUSIC": "music", "FILM": "a film, its plot or an actor"}
        >>> asked = tlk.zero_shot_classifier(encoder, topics)
        >>> asked.predict(["the music was very good"]).label.item() in topics
        True
    """
    if isinstance(model, (str, os.PathLike)) and not is_export(model):
        model = load_encoder(os.fspath(model), seq_length)
    if isinstance(model, Encoder):
        model = sentence_encoder(model, "freeze", pooling=_pooling(model))
    predictor = as_predictor(model)
    if isinstance(predictor, ZeroShotClassifier):
        return predictor.with_defaults(labels, template)
    if isinstance(predictor, TextEncoder):

        def support(texts, hypotheses, batch_size):
            vectors, others = predictor.unit_vectors(texts, batch_size), predictor.unit_vectors(hypotheses, batch_size)
            return similarity_scores(vectors @ others.T), None

        return ZeroShotClassifier(support, template or SIMILARITY_TEMPLATE, labels, keep=model)
    classes = getattr(predictor, "classes", None)
    if classes is None:
        raise UserError(
            "zero-shot classification takes a sentence encoder, or a classifier of pairs that tells entailment; this model is neither."
        )
    entailed, contradicted = entailment_places(classes)

    def logits(texts, hypotheses, batch_size):
        pairs = [(text, hypothesis) for text in texts for hypothesis in hypotheses]
        scores = predictor.scores([a for a, _ in pairs], [b for _, b in pairs], batch_size)
        scores = np.log(np.maximum(scores, 1e-12)).reshape(len(texts), len(hypotheses), -1)
        return scores[..., entailed], scores[..., contradicted]

    return ZeroShotClassifier(logits, template or ENTAILMENT_TEMPLATE, labels, keep=model)


def _pooling(encoder: Encoder) -> str:
    suggested = encoder.suggested.get("pooling", "mean")
    return suggested if suggested in ("mean", "max", "cls") else "mean"


def zero_shot_module(classifier: ZeroShotClassifier, serving_module: Callable) -> tf.Module:
    """What is saved.

    `serving_default` takes `text`, string `[batch]`, and `label`, descriptions of candidate labels, string `[labels]`, and gives
    `scores`, float32 `[batch, labels]`, of each text 1 in all, and `label` and `score` of the likeliest. By entailment there is also
    `multi_label`, whose `scores` lie between 0 and 1 each. The template is put around the descriptions.

    Args:
        classifier: on a Keras model or a pre-trained encoder.
        serving_module: makes what is saved of a pair classifier.

    Raises:
        UserError: it stands on an export, which is one already.
    """
    model = classifier.keep
    if not isinstance(model, keras.Model):
        raise UserError(
            "this zero-shot classifier stands on an export; build it on the Keras model or the encoder to export it."
        )
    root = tf.Module(name="zero_shot_classifier")
    before, after = classifier.template.split("{}", 1)
    support = (
        _similarity_graph(root, model) if is_sentence_encoder(model) else _entailment_graph(root, model, serving_module)
    )
    signature = [tf.TensorSpec([None], tf.string, "text"), tf.TensorSpec([None], tf.string, "label")]

    def answer(scores, label):
        best = tf.argmax(scores, -1)
        return {"label": tf.gather(label, best), "score": tf.reduce_max(scores, -1), "scores": scores}

    def serve(text, label):
        return answer(tf.nn.softmax(support(text, tf.strings.join([before, label, after]))[0]), label)

    def several(text, label):
        for_it, against = support(text, tf.strings.join([before, label, after]))
        return answer(tf.sigmoid(for_it - against), label)

    root.serve = tf.function(serve, input_signature=signature, autograph=False)
    if not is_sentence_encoder(model):
        root.serve_multi_label = tf.function(several, input_signature=signature, autograph=False)
    template = classifier.template
    root.label_template = tf.function(lambda: tf.constant(template), input_signature=[])
    return root


def _similarity_graph(root: tf.Module, model: keras.Model) -> Callable:
    root.encoder = embedding_module(model)

    def support(text, hypothesis):
        vectors, others = (tf.math.l2_normalize(root.encoder.serve(x)["embedding"], -1) for x in (text, hypothesis))
        return similarity_scores(tf.matmul(vectors, others, transpose_b=True)), None

    return support


def _entailment_graph(root: tf.Module, model: keras.Model, serving_module: Callable) -> Callable:
    root.classifier = serving_module(model, pairs=True)
    entailed, contradicted = entailment_places(head_of(model).classes)

    def support(text, hypothesis):
        texts, labels = tf.size(text), tf.size(hypothesis)
        scores = root.classifier.serve(tf.repeat(text, labels), tf.tile(hypothesis, [texts]))["scores"]
        scores = tf.reshape(tf.math.log(tf.maximum(scores, 1e-12)), [texts, labels, -1])
        return scores[..., entailed], scores[..., contradicted]

    return support
