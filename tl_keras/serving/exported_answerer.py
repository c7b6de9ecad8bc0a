"""Answer questions with an exported answerer: plain TensorFlow, no Keras."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import tensorflow as tf

from tl_keras.data.examples import _string_array, length_order
from tl_keras.errors import UserError


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


class Answerer:
    """What answers questions: a Keras model, or an export (`ExportedAnswerer`).

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

    def candidates(self, questions: Sequence[str], contexts: Sequence[str], batch_size: int = 32) -> Candidates:
        """The best answers to each question, best first.

        Args:
            questions: `n` strings.
            contexts: `n` strings.
            batch_size: questions at once.

        Raises:
            UserError: one string instead of a list, an entry that is none, or lists of different lengths.
        """
        for name, values in (("questions", questions), ("contexts", contexts)):
            if isinstance(values, str):
                raise UserError(f"{name} must be a list of strings, not one string: write [{values[:40]!r}].")
        asked, read = _string_array(list(questions), "questions"), _string_array(list(contexts), "contexts")
        if len(asked) != len(read):
            raise UserError(
                f"{len(asked)} questions but {len(read)} contexts; each question needs the one it is about."
            )
        order, parts = length_order(read, asked), []
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            out = self.function(question=tf.constant(asked[rows].tolist()), context=tf.constant(read[rows].tolist()))
            parts.append([out[name].numpy() for name in ("starts", "ends", "log_scores", "null_log_score")])
        if not parts:
            return Candidates(
                *(np.empty((0, 1), kind) for kind in ("int32", "int32", "float32")), np.empty(0, "float32")
            )
        back = np.argsort(order)
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

    def frame(self, questions: Sequence[str], contexts: Sequence[str], batch_size: int = 32) -> pd.DataFrame:
        """Questions, contexts and answers as a DataFrame: `question`, `context`, `answer`, `start`, `end`, `score`."""
        found = self.answers(questions, contexts, batch_size=batch_size)
        texts = {"question": list(questions), "context": list(contexts), "answer": [row["answer"] for row in found]}
        frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in texts.items()})
        for name, kind in (("start", "int64"), ("end", "int64"), ("score", "float64")):
            frame[name] = np.array([row[name] for row in found], kind)
        return frame


class ExportedAnswerer(Answerer):
    """An answerer loaded from a SavedModel that `export` wrote: plain TensorFlow, no Keras.

    Args:
        folder: the SavedModel.
        module: what `tf.saved_model.load` gave for it.
    """

    def __init__(self, folder: str | os.PathLike, module):
        self.folder = str(folder)
        self.module = module
        self.signature = module.signatures["serving_default"]
        settings = module.answer_settings()
        super().__init__(module.n_best, settings["null_answers"].numpy(), settings["null_threshold"].numpy())
