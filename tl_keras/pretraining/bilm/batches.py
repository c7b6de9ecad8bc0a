"""Sentences -> batches of about equal size in words, each of rows of about equal length, in an order to resume in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tl_keras.pretraining.bilm.negatives import Negatives, draw_negatives
from tl_keras.pretraining.bilm.words import BEGIN, END
from tl_keras.pretraining.token_files import TokenFile
from tl_keras.pretraining.windows import Place, WindowedBatches, budget_slices, ranges


@dataclass(frozen=True)
class SentenceBatch:
    """Sentences with their two ends, padded to the longest.

    Attributes:
        ids: int32 `[rows, length]`, words of the lexicon; `<S>` first, `</S>` last, then padding.
        lengths: int32 `[rows]`, with both ends.
        negatives: Words drawn for the sampled softmax; none for the full one.
        seed: int32 `[2]`, for dropout.
    """

    ids: np.ndarray
    lengths: np.ndarray
    negatives: Negatives
    seed: np.ndarray

    @property
    def predictions(self) -> int:
        """What each direction has to predict: every word and one end."""
        return int(self.lengths.sum()) - len(self.lengths)


@dataclass(frozen=True)
class SentenceBatches(WindowedBatches):
    """Makes the batches of a token file, one sentence a row.

    Attributes:
        part: The token file.
        token_budget: Words in a batch, ends and padding included.
        samples: Words to draw for the sampled softmax.
        vocabulary_size: To draw from.
        seed: Where chance begins.
    """

    part: TokenFile
    token_budget: int = 2048
    samples: int = 0
    vocabulary_size: int = 0
    seed: int = 0

    def window_plans(self, place: Place) -> list[tuple[np.ndarray]]:
        """The batches of a window, each as rows `[rows, 2]` of first and last word + 1 in the token file."""
        rng = np.random.default_rng([self.seed, place.epoch, place.window])
        rows = sentence_rows(self.part, self.window_documents(place), place.max_length)
        rows = rows[rng.permutation(len(rows))]
        # A stable sort of shuffled rows: those of one length meet other neighbours in each epoch.
        rows = rows[np.argsort(rows[:, 1] - rows[:, 0], kind="stable")]
        plans = [(rows[part],) for part in budget_slices(rows[:, 1] - rows[:, 0] + 2, self.token_budget)]
        return [plans[index] for index in rng.permutation(len(plans))]

    def realise(self, rows: np.ndarray, seed: list[int]) -> SentenceBatch:
        """Fill in the ids and draw what a step needs of chance."""
        rng = np.random.default_rng([*seed, 1])
        sizes = (rows[:, 1] - rows[:, 0]).astype(np.int32)
        ids = np.full((len(rows), int(sizes.max()) + 2), END, np.int32)
        ids[:, 0] = BEGIN
        for row, (start, end) in enumerate(rows):
            ids[row, 1 : 1 + end - start] = self.part.tokens[start:end]
        return SentenceBatch(
            ids,
            sizes + 2,
            draw_negatives(rng, self.samples, self.vocabulary_size),
            rng.integers(0, 2**31 - 1, 2, np.int32),
        )


def sentence_rows(part: TokenFile, documents: np.ndarray, max_length: int) -> np.ndarray:
    """Where the rows of some documents begin and end: int64 `[rows, 2]`; longer sentences are cut into several rows.

    Example:
        >>> part = TokenFile(np.arange(9), np.array([0, 2, 9]), np.array([0, 1, 2]), np.array([0, 2]))
        >>> sentence_rows(part, np.array([1, 0]), max_length=3).tolist()
        [[2, 5], [5, 8], [8, 9], [0, 2]]
    """
    sentences = ranges(part.documents[documents], part.documents[documents + 1])
    starts, ends = np.asarray(part.sentences[sentences]), np.asarray(part.sentences[sentences + 1])
    counts = -(-(ends - starts) // max_length)
    number = ranges(np.zeros_like(counts), counts)
    begin = np.repeat(starts, counts) + number * max_length
    return np.stack([begin, np.minimum(begin + max_length, np.repeat(ends, counts))], axis=1)
