"""Documents -> batches for a causal language model: each token is predicted from the ones before it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tl_keras.pretraining.token_files import TokenFile
from tl_keras.pretraining.windows import Place, WindowedBatches, budget_slices, ranges


@dataclass(frozen=True)
class CausalBatch:
    """Rows of tokens and what follows each of them, padded to the longest.

    Attributes:
        token_ids: int32 `[rows, length]`.
        targets: int32 `[rows, length]`, the token that comes next.
        lengths: int32 `[rows]`, tokens of each row that are no padding.
    """

    token_ids: np.ndarray
    targets: np.ndarray
    lengths: np.ndarray

    @property
    def predictions(self) -> int:
        """Tokens to predict."""
        return int(self.lengths.sum())


@dataclass(frozen=True)
class CausalBatches(WindowedBatches):
    """Makes the batches of a token file: a document is its sentences, a newline between two, an end-of-text token at both ends.

    A document longer than a row goes on in the next one. Rows of like length share a batch.

    Attributes:
        part: The token file.
        end: Id of the end-of-text token.
        newline: Id of the newline.
        token_budget: Tokens in a batch, padding included.
        seed: Where chance begins.
    """

    part: TokenFile
    end: int
    newline: int
    token_budget: int = 2048
    seed: int = 0

    def window_plans(self, place: Place) -> list[tuple[np.ndarray]]:
        """The batches of a window, each as rows `[rows, 3]`: document, first token, tokens to predict."""
        rng = np.random.default_rng([self.seed, place.epoch, place.window])
        rows = self.rows(self.window_documents(place), place.max_length)
        rows = rows[rng.permutation(len(rows))]
        # A stable sort of shuffled rows: those of one length meet other neighbours in each epoch.
        rows = rows[np.argsort(rows[:, 2], kind="stable")]
        plans = [(rows[part],) for part in budget_slices(rows[:, 2], self.token_budget)]
        return [plans[index] for index in rng.permutation(len(plans))]

    def rows(self, documents: np.ndarray, max_length: int) -> np.ndarray:
        """Where the rows of some documents begin, and how many tokens they predict: int64 `[rows, 3]`."""
        part = self.part
        first, last = part.documents[documents], part.documents[documents + 1]
        # The sentences, a newline between two of them, and the end.
        sizes = np.asarray(part.sentences[last] - part.sentences[first]) + (last - first)
        counts = -(-sizes // max_length)
        starts = ranges(np.zeros_like(counts), counts) * max_length
        return np.stack(
            [np.repeat(documents, counts), starts, np.minimum(np.repeat(sizes, counts) - starts, max_length)], axis=1
        )

    def realise(self, rows: np.ndarray, seed: list[int]) -> CausalBatch:
        """Fill in the ids; nothing is left to chance."""
        shape = len(rows), int(rows[:, 2].max())
        ids, targets = np.full(shape, self.end, np.int32), np.full(shape, self.end, np.int32)
        for row, (document, start, size) in enumerate(rows):
            tokens = self.document(document)[start : start + size + 1]
            ids[row, :size], targets[row, :size] = tokens[:-1], tokens[1:]
        return CausalBatch(ids, targets, rows[:, 2].astype(np.int32))

    def document(self, number: int) -> np.ndarray:
        """All tokens of a document, int64, its ends among them."""
        part = self.part
        borders = part.sentences[part.documents[number] : part.documents[number + 1] + 1]
        tokens = np.asarray(part.tokens[borders[0] : borders[-1]], np.int64)
        inside = np.insert(tokens, np.asarray(borders[1:-1] - borders[0]), self.newline)
        return np.concatenate([[self.end], inside, [self.end]])
