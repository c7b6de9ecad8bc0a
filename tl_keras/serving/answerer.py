"""Answers to questions: the predictor, its graph, and what is exported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import tensorflow as tf

from tl_keras.data.given import check_texts, string_array
from tl_keras.errors import UserError
from tl_keras.serving.predictor import Predictor, by_length, strings
from tl_keras.text.pair_batches import pack_questions
from tl_keras.text.preprocessor import trim
from tl_keras.text.windows import best_in_windows, best_of_questions, context_windows

if TYPE_CHECKING:
    from tl_keras.encoders.base import Encoder
    from tl_keras.models.pair_heads import SpanLogProbabilities
    from tl_keras.serving.served_model import ServedModel

WINDOWS_AT_ONCE = 32
"""Windows that go through the encoder together: a long context needs no more memory than a batch of short ones."""
N_BEST = 20


class Candidates(NamedTuple):
    """The best answers to `n` questions, before it is decided whether there is one.

    Attributes:
        starts: int `[n, k]`, characters of the context; -1 where there are fewer than `k`.
        ends: int `[n, k]`, exclusive; -1 where there are fewer.
        log_scores: float `[n, k]`, falling.
        null_log_scores: float `[n]`, of "the context does not answer it".
    """

    starts: np.ndarray
    ends: np.ndarray
    log_scores: np.ndarray
    null_log_scores: np.ndarray

    @property
    def null_margins(self) -> np.ndarray:
        """Float `[n]`: by how many nats "no answer" beats the best answer; infinite where there is no candidate."""
        return np.where(self.starts[:, 0] < 0, np.inf, self.null_log_scores - self.log_scores[:, 0])


class Answerer(Predictor):
    """What answers questions.

    Args:
        function: strings `question` and `context` `[batch]` -> `starts`, `ends`, `log_scores`, `null_log_score`.
        null_answers: whether "no answer" may be the answer.
        null_threshold: in nats; see `question_answerer`.
    """

    task = "question-answering"

    def __init__(self, function: Callable, null_answers: bool, null_threshold: float):
        self.function = function
        self.null_answers = bool(null_answers)
        self.null_threshold = float(null_threshold)

    @classmethod
    def of_model(cls, served: ServedModel) -> Answerer:
        """That of a model of `question_answerer`."""
        head = served.head
        graph = served.once("n_best", lambda: _traced(answering_graph(served, served.encoder, head)))
        # The threshold may have been set anew since the graph was traced.
        return cls(graph, head.null_answers, head.null_threshold)

    @classmethod
    def of_export(cls, module, folder: str) -> Answerer:
        """That of an export."""
        settings = module.answer_settings()
        return cls(module.n_best, settings["null_answers"].numpy(), settings["null_threshold"].numpy())

    def to_module(self, pairs: bool) -> tuple[tf.Module, dict[str, Callable]]:
        """`serving_default` takes `question` and `context`, string `[batch]` of any size and length.

        It gives `answer` (string `[batch]`), `start` and `end` (int32, characters of the context) and `score` (float32: the
        probability of start times that of end); no answer is `""`, -1, -1 and the probability of that. `n_best` gives the best 20
        of each; see `best_of_questions`.
        """
        root = self.served.module("question_answerer", offsets=True)
        root.n_best = self.function

        def serve(question, context):
            found = root.n_best(question, context)
            start, end = found["starts"][:, 0], found["ends"][:, 0]
            best, null = found["log_scores"][:, 0], found["null_log_score"]
            none = start < 0
            if self.null_answers:
                none |= null - best > self.null_threshold
            answer = tf.strings.substr(
                context, tf.where(none, 0, start), tf.where(none, 0, end - start), unit="UTF8_CHAR"
            )
            return {
                "answer": answer,
                "start": tf.where(none, -1, start),
                "end": tf.where(none, -1, end),
                "score": tf.exp(tf.where(none, null, best)),
            }

        root.serve = _traced(serve)
        settings = {"null_answers": self.null_answers, "null_threshold": self.null_threshold}
        root.answer_settings = tf.function(
            lambda: {name: tf.constant(value) for name, value in settings.items()}, input_signature=[]
        )
        return root, {"serving_default": root.serve, "n_best": root.n_best}

    def candidates(self, questions: Sequence[str], contexts: Sequence[str], batch_size: int = 32) -> Candidates:
        """The best answers to each question, best first.

        Args:
            questions: `n` strings.
            contexts: `n` strings.
            batch_size: questions at once.

        Raises:
            UserError: one string instead of a list, an entry that is none, or lists of different lengths.
        """
        check_texts(questions, "questions")
        check_texts(contexts, "contexts")
        asked, read = string_array(list(questions), "questions"), string_array(list(contexts), "contexts")
        if len(asked) != len(read):
            raise UserError(
                f"{len(asked)} questions but {len(read)} contexts; each question needs the one it is about."
            )
        order, parts = [np.empty(0, "int64")], []
        for rows, (question, context) in by_length([asked, read], batch_size):
            out = self.function(question=question, context=context)
            order.append(rows)
            parts.append([out[name].numpy() for name in ("starts", "ends", "log_scores", "null_log_score")])
        if not parts:
            return Candidates(
                *(np.empty((0, 1), kind) for kind in ("int32", "int32", "float32")), np.empty(0, "float32")
            )
        back = np.argsort(np.concatenate(order))
        return Candidates(*(np.concatenate(column)[back] for column in zip(*parts, strict=True)))

    def answers(
        self,
        questions: Sequence[str],
        contexts: Sequence[str],
        *,
        batch_size: int = 32,
        n_best: int = 1,
        null_threshold: float | None = None,
    ) -> list[dict]:
        """The answer to each question: a slice of its context.

        Args:
            questions: `n` strings; one longer than the model's `max_question_length` is cut there.
            contexts: `n` strings of any length. One without text (empty, white space) has no answer.
            batch_size: questions at once.
            n_best: with more than 1 (at most 20), the best so many are given too.
            null_threshold: in place of the model's.

        Returns:
            `{"answer", "start", "end", "score"}` for each question, with `context[start:end] == answer`, in characters, and `score`
            the probability of start times that of end. No answer is `""` with start and end -1 and the probability of that. Where the
            model may give none, `"null_score"` says how probable that is; with `n_best`, `"n_best"` lists the best answers, each of
            that form.

        Raises:
            UserError: as for `candidates`, or `n_best` is out of range.
        """
        if not 1 <= n_best <= 20:
            raise UserError(f"n_best must be 1 to 20, not {n_best}.")
        threshold = self.null_threshold if null_threshold is None else null_threshold
        found = self.candidates(questions, contexts, batch_size)
        none = (found.starts[:, 0] < 0) | (self.null_answers & (found.null_margins > threshold))
        results = []
        for row, context in enumerate(contexts):
            null_score = float(np.exp(found.null_log_scores[row]))
            spans = zip(found.starts[row], found.ends[row], found.log_scores[row], strict=True)
            best = [
                {"answer": context[a:b], "start": int(a), "end": int(b), "score": float(np.exp(score))}
                for a, b, score in list(spans)[:n_best]
                if a >= 0
            ]
            result = {"answer": "", "start": -1, "end": -1, "score": null_score} if none[row] else dict(best[0])
            if self.null_answers:
                result["null_score"] = null_score
            if n_best > 1:
                result["n_best"] = best
            results.append(result)
        return results

    def frame(
        self, texts: Sequence[str], text_pairs: Sequence[str] | None = None, *, batch_size: int = 32
    ) -> pd.DataFrame:
        """Questions, contexts and answers as a DataFrame: `question`, `context`, `answer`, `start`, `end`, `score`.

        Raises:
            UserError: questions without contexts.
        """
        if text_pairs is None:
            raise UserError("an answerer takes questions and what they are about: predict(model, questions, contexts).")
        found = self.answers(texts, text_pairs, batch_size=batch_size)
        columns = {"question": list(texts), "context": list(text_pairs), "answer": [row["answer"] for row in found]}
        frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})
        for name, kind in (("start", "int64"), ("end", "int64"), ("score", "float64")):
            frame[name] = np.array([row[name] for row in found], kind)
        return frame


def _traced(graph: Callable) -> Callable:
    return tf.function(graph, input_signature=[strings("question"), strings("context")], autograph=False)


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
