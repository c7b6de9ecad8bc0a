"""Examples to batches: what a model or an encoder is trained, validated and asked with."""

from __future__ import annotations

import tensorflow as tf

from tl_keras._keras import keras
from tl_keras.data.examples import Examples
from tl_keras.data.pairs import RetrievalPairs
from tl_keras.data.questions import QuestionExamples
from tl_keras.data.tagging import TaggedExamples
from tl_keras.encoders.load import encoder_of
from tl_keras.errors import UserError
from tl_keras.models.language_model import LanguageModel, is_generator
from tl_keras.models.similarity_head import is_sentence_encoder, sentence_encoder_of
from tl_keras.models.span_head import is_answerer, span_head_of
from tl_keras.models.tag_head import is_tagger, tag_head_of
from tl_keras.text.question_batches import question_batches


def batches(
    model_or_encoder,
    examples: Examples | TaggedExamples | QuestionExamples | list[str],
    *,
    training: bool = False,
    batch_size: int = 32,
    seed: int = 0,
    **options,
) -> tf.data.Dataset:
    """Batches of examples for `fit`, `evaluate` and `predict`, tokenized on the way.

    Args:
        model_or_encoder: a model of this package's builders, which knows what it is trained with (a tagger its windows and tags, an
            answerer its windows of question and context, a `bi_encoder` its two texts side by side); or an encoder, which tells by the
            examples alone: scored pairs are then read together, as a cross-encoder wants them. Also what `cache_features` gave.
        examples: from a reader, or a list of strings.
        training: shuffle anew in each epoch, and put texts of like length together; otherwise the order is kept.
        batch_size: examples in a batch; of windows, where long texts are cut into them.
        seed: of the shuffling.
        **options: `fixed_length` (pad to `seq_length` always, for TPUs), `drop_remainder` (leave the last, smaller batch out); of taggers
            also `tag_set` and `overlap`.

    Returns:
        A dataset of `(inputs, labels)`, or of inputs where the examples have no labels. Its cardinality is known.

    Raises:
        UserError: the examples are none that this model can be given, or there is nothing to learn from.

    Example:
        >>> model = tlk.text_classifier(encoder, reviews.classes)
        >>> inputs, labels = next(iter(tlk.batches(model, reviews, training=True, batch_size=8)))
        >>> sorted(inputs), labels.shape.as_list()
        (['input_mask', 'input_type_ids', 'input_word_ids'], [8])
    """
    options = {"training": training, "batch_size": batch_size, "seed": seed, **options}
    if not isinstance(model_or_encoder, keras.Model):
        return _by_examples(model_or_encoder, examples, options)
    model = model_or_encoder
    if is_answerer(model):
        _require(examples, QuestionExamples, "questions about contexts (read_squad)")
        encoder = encoder_of(model)
        return question_batches(
            examples,
            encoder.offset_tokenizer,
            encoder.preprocessor,
            span_head_of(model).windows(encoder),
            **options,
        )
    if is_tagger(model):
        _require(examples, TaggedExamples, "texts with labelled spans (read_tagged)")
        return encoder_of(model).tagging_batches(examples, **{"tag_set": tag_head_of(model).tag_set, **options})
    if is_generator(model):
        return LanguageModel.of(model).batches(examples, **options)
    if is_sentence_encoder(model):
        single = sentence_encoder_of(model)
        encoder = encoder_of(single)
        return encoder.batches(examples, **options) if single is model else encoder.pair_batches(examples, **options)
    return encoder_of(model).batches(examples, **options)


def _by_examples(encoder, examples, options: dict) -> tf.data.Dataset:
    if isinstance(examples, TaggedExamples):
        return encoder.tagging_batches(examples, **options)
    if isinstance(examples, QuestionExamples):
        raise UserError(
            "windows of questions and contexts depend on the model: batches(model, examples), not batches(encoder, ...)."
        )
    if isinstance(examples, RetrievalPairs):
        return encoder.pair_batches(examples, **options)
    return encoder.batches(examples, **options)


def _require(examples, kind: type, what: str) -> None:
    if not isinstance(examples, kind):
        raise UserError(f"this model is trained with {what}, not with {type(examples).__name__}.")
