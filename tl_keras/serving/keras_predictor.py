"""The predictor of a Keras model: the one part of serving that knows the builders."""

from __future__ import annotations

from tl_keras._keras import keras
from tl_keras.errors import UserError
from tl_keras.models.heads import ClassProbabilities, is_tagger, tag_head_of
from tl_keras.models.language_model import LanguageModel, is_generator
from tl_keras.models.similarity_head import is_regressor, is_sentence_encoder, score_head_of, sentence_encoder_of
from tl_keras.models.span_head import is_answerer, span_head_of
from tl_keras.serving.answerer import Answerer
from tl_keras.serving.classifier import Classifier
from tl_keras.serving.generator import TextGenerator
from tl_keras.serving.predictor import Predictor
from tl_keras.serving.served_model import served_model
from tl_keras.serving.similarity import Regressor, SentenceEncoder
from tl_keras.serving.tagger import Tagger


def keras_predictor(model: keras.Model) -> Predictor:
    """The predictor of a Keras model.

    Raises:
        UserError: it is none of this package's.
    """
    if not isinstance(model, keras.Model):
        raise UserError(
            f"expected a Keras model, a path to an export or a loaded export, not a {type(model).__name__}."
        )
    for is_one, head_of, kind in _KINDS:
        if is_one(model):
            model = sentence_encoder_of(model) if kind is SentenceEncoder else model
            served = served_model(model)
            served.head = head_of(model)
            predictor = kind.of_model(served)
            predictor.model, predictor.served = model, served
            return predictor
    raise UserError(f"the model {model.name!r} has no class names: build it with text_classifier(...).")


def _class_head_of(model: keras.Model) -> ClassProbabilities | None:
    return next((layer for layer in model.layers if isinstance(layer, ClassProbabilities)), None)


_KINDS = (
    (is_tagger, tag_head_of, Tagger),
    (is_answerer, span_head_of, Answerer),
    (is_sentence_encoder, lambda model: int(model.output_shape[-1]), SentenceEncoder),
    (is_generator, LanguageModel.of, TextGenerator),
    (is_regressor, score_head_of, Regressor),
    (_class_head_of, _class_head_of, Classifier),
)
