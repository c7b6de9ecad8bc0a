"""Answers to raw strings: one graph for `predict`, the export and TensorFlow Serving."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import tensorflow as tf

from tl_keras._keras import keras, tf_variable
from tl_keras.encoders.base import Encoder
from tl_keras.encoders.load import encoder_of
from tl_keras.models.span_decoding import best_in_windows, best_of_questions
from tl_keras.models.span_head import SpanLogProbabilities, span_head_of
from tl_keras.serving.exported_answerer import Answerer
from tl_keras.text.preprocessor import trim
from tl_keras.text.question_batches import context_windows, pack_questions

WINDOWS_AT_ONCE = 32
"""Windows that go through the encoder together: a long context needs no more memory than a batch of short ones."""
N_BEST = 20
SIGNATURE = [tf.TensorSpec([None], tf.string, "question"), tf.TensorSpec([None], tf.string, "context")]


def answering_graph(
    model: Callable, encoder: Encoder, head: SpanLogProbabilities
) -> Callable[[tf.Tensor, tf.Tensor], dict[str, tf.Tensor]]:
    """Questions and contexts -> candidates: tokenizing, windows, encoder, head, best spans.

    Args:
        model: the encoder's inputs -> float `[windows, length, 2]` log-probabilities.
        encoder: tokenizes and packs.
        head: says how windows are laid and how long answers may be.

    Returns:
        A function of string `[batch]` twice, for use in a `tf.function`; see `best_of_questions` for what it returns.
    """
    settings = head.windows(encoder)
    tokenizer = encoder.offset_tokenizer  # found and tried out before there is a graph

    def best_spans(questions: tf.RaggedTensor, contexts: tf.RaggedTensor):
        """Ids of each window -> first and last places in the input and scores, `[windows, N_BEST]`, and null scores."""

        def some(number, places, scores):
            part = slice(number * WINDOWS_AT_ONCE, (number + 1) * WINDOWS_AT_ONCE)
            packed = trim(pack_questions(encoder.preprocessor, questions[part], contexts[part], encoder.seq_length))
            found = tf.cast(model(packed), tf.float32)
            firsts, lasts, totals = best_in_windows(found, head.max_answer_length, N_BEST)
            null = tf.reduce_sum(found[:, 0], axis=-1, keepdims=True)
            return (
                number + 1,
                places.write(number, tf.concat([firsts, lasts], axis=1)),
                scores.write(number, tf.concat([totals, null], axis=1)),
            )

        count = (tf.cast(contexts.nrows(), tf.int32) + WINDOWS_AT_ONCE - 1) // WINDOWS_AT_ONCE
        places = tf.TensorArray(tf.int32, size=count, infer_shape=False, element_shape=[None, 2 * N_BEST])
        scores = tf.TensorArray(tf.float32, size=count, infer_shape=False, element_shape=[None, N_BEST + 1])
        # One after another: a long context's windows need not be in memory all at once.
        _, places, scores = tf.while_loop(
            lambda number, *_: number < count, some, [0, places, scores], parallel_iterations=1
        )
        places, scores = tf.cast(places.concat(), tf.int64), scores.concat()
        return places[:, :N_BEST], places[:, N_BEST:], scores[:, :-1], scores[:, -1]

    def answer(question: tf.Tensor, context: tf.Tensor) -> dict[str, tf.Tensor]:
        tf.debugging.assert_equal(tf.size(question), tf.size(context), "each question needs the context it is about")
        batch = tf.size(question)
        # There is always one window to look at, also for an empty batch.
        question, context = tf.cond(
            batch > 0, lambda: (question, context), lambda: (tf.constant([""]), tf.constant([""]))
        )
        asked = tokenizer(question).ids[:, : settings.max_question_length]
        tokens = tokenizer(context)
        windows = context_windows(asked.row_lengths(), tokens.ids.row_lengths(), settings)
        questions = tf.gather(asked, windows.rows)
        begin = tf.gather(tokens.ids.row_starts(), windows.rows) + windows.starts
        contexts = tf.gather(tokens.ids.flat_values, tf.ragged.range(begin, begin + windows.lengths))
        firsts, lasts, totals, nulls = best_spans(questions, contexts)
        # The question and special tokens stand before the window, and so much of the context before that.
        shift = (windows.starts - settings.before_context - questions.row_lengths())[:, tf.newaxis]
        found = best_of_questions(windows.rows, firsts + shift, lasts + shift, totals, nulls, tokens, N_BEST)
        return {name: value[:batch] for name, value in found.items()}

    return answer


# Tracing takes seconds, so a model's graph is kept as long as the model lives.
_GRAPHS: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def _n_best(model: keras.Model):
    """The graph of a model, traced once for `predict` and export alike."""
    if model not in _GRAPHS:
        reference = weakref.ref(model)
        graph = answering_graph(
            lambda batch: reference()(batch, training=False), encoder_of(model), span_head_of(model)
        )
        _GRAPHS[model] = tf.function(graph, input_signature=SIGNATURE, autograph=False)
    return _GRAPHS[model]


def keras_answerer(model: keras.Model) -> Answerer:
    """The answerer of a Keras model of `question_answerer`.

    Raises:
        UserError: the model answers no questions.
    """
    head = span_head_of(model)
    # The threshold may have been set anew since the graph was traced.
    return Answerer(_n_best(model), head.null_answers, head.null_threshold)


def answering_module(model: keras.Model) -> tf.Module:
    """What is saved: the graph with its tokenizer, vocabulary, weights and settings.

    `serving_default` takes `question` and `context`, string `[batch]` of any size and length, and gives `answer` (string
    `[batch]`), `start` and `end` (int32, characters of the context) and `score` (float32: the probability of start times that of
    end); no answer is `""`, -1, -1 and the probability of that. `n_best` gives the best 20 of each; see `best_of_questions`.
    """
    encoder, head = encoder_of(model), span_head_of(model)
    root = tf.Module(name="question_answerer")
    root.preprocessor = encoder.preprocessor.module
    root.offset_tokenizer = encoder.offset_tokenizer
    # The variables only, not the Keras model: both together would be stored twice.
    root.model_variables = [tf_variable(variable) for variable in model.variables]
    root.n_best = _n_best(model)

    def serve(question, context):
        found = root.n_best(question, context)
        start, end = found["starts"][:, 0], found["ends"][:, 0]
        best, null = found["log_scores"][:, 0], found["null_log_score"]
        none = start < 0
        if head.null_answers:
            none |= null - best > head.null_threshold
        answer = tf.strings.substr(context, tf.where(none, 0, start), tf.where(none, 0, end - start), unit="UTF8_CHAR")
        return {
            "answer": answer,
            "start": tf.where(none, -1, start),
            "end": tf.where(none, -1, end),
            "score": tf.exp(tf.where(none, null, best)),
        }

    root.serve = tf.function(serve, input_signature=SIGNATURE, autograph=False)
    root.answer_settings = tf.function(
        lambda: {
            "null_answers": tf.constant(head.null_answers),
            "null_threshold": tf.constant(head.null_threshold, tf.float32),
        },
        input_signature=[],
    )
    return root
