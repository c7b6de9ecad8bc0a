"""Token file -> batches of about equal size in tokens, each of rows of about equal length, in a random order that can be resumed anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tl_keras.encoders.vocabularies import BERT_PACKING, Packing
from tl_keras.errors import UserError
from tl_keras.pretraining.bert_tasks import A0, A1, B0, B1, NEXT, Masking, mask_rows, plan_rows
from tl_keras.pretraining.token_files import TokenFile
from tl_keras.pretraining.vocabulary import SpecialTokens

BLOCK_TOKENS = 1 << 16
BLOCKS_IN_WINDOW = 64


@dataclass(frozen=True)
class Place:
    """Where in the endless row of batches we are; a checkpoint holds it.

    Attributes:
        epoch: Passes over the corpora that are done.
        window: Windows of this epoch that are done.
        batch: Batches of this window that are done.
        max_length: Row length of this window.
    """

    epoch: int = 0
    window: int = 0
    batch: int = 0
    max_length: int = 128


class WindowedBatches:
    """What makes the batches of a token file, each a pure function of the seed and its place.

    An epoch is cut into blocks of documents, the blocks are shuffled, and some of them together form a window whose
    rows are shuffled and sorted by length. Memory holds one window's plan, whatever the size of the corpora.

    Subclasses say what a window's batches are (`window_plans`) and fill them in (`realise`).

    Attributes:
        part: The token file.
        seed: Where chance begins.
    """

    part: TokenFile
    seed: int

    def window_plans(self, place: Place) -> list[tuple]:
        """The batches of a window, in training order, each as arguments of `realise`."""
        raise NotImplementedError

    def realise(self, *plan) -> Any:
        """Fill in one batch; the last argument is the seed of its own chance, a list of int."""
        raise NotImplementedError

    def from_place(self, place: Place) -> Iterator[tuple[Place, Any]]:
        """Endless batches from a place on, each with the place that follows it."""
        while True:
            plans = self.window_plans(place)
            for index in range(place.batch, len(plans)):
                follows = replace(place, batch=index + 1)
                if index + 1 == len(plans):
                    follows = self.next_window(place)
                yield follows, self.realise(*plans[index], [self.seed, place.epoch, place.window, index])
            place = self.next_window(place)

    def once(self, max_length: int, limit: int | None = None) -> Iterator[Any]:
        """The batches of one epoch, the same way each time, for measuring.

        Args:
            max_length: Longest row.
            limit: Number of batches; all by default.
        """
        place, done = Place(max_length=max_length), 0
        for window in range(self.windows()):
            place = replace(place, window=window)
            for index, plan in enumerate(self.window_plans(place)):
                if limit is not None and done >= limit:
                    return
                yield self.realise(*plan, [self.seed, 0, window, index])
                done += 1

    def windows(self) -> int:
        """Windows in an epoch."""
        return -(-self._block_count() // BLOCKS_IN_WINDOW)

    def next_window(self, place: Place) -> Place:
        """The beginning of the window that follows, perhaps in the next epoch."""
        if place.window + 1 < self.windows():
            return replace(place, window=place.window + 1, batch=0)
        return replace(place, epoch=place.epoch + 1, window=0, batch=0)

    def window_documents(self, place: Place) -> np.ndarray:
        """Numbers of the documents that begin inside the blocks of a window."""
        blocks = np.random.default_rng([self.seed, place.epoch]).permutation(self._block_count())
        part, groups = self.part, []
        for block in blocks[place.window * BLOCKS_IN_WINDOW :][:BLOCKS_IN_WINDOW]:
            sentences = np.searchsorted(part.sentences, [block * BLOCK_TOKENS, (block + 1) * BLOCK_TOKENS])
            first, last = np.searchsorted(part.documents, sentences)
            groups.append(np.arange(first, min(last, len(part.documents) - 1)))
        return np.concatenate(groups)

    def _block_count(self) -> int:
        return max(-(-self.part.token_count // BLOCK_TOKENS), 1)


def ranges(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The numbers from each start to its end, one range after another.

    Example:
        >>> ranges(np.array([3, 7]), np.array([5, 8])).tolist()
        [3, 4, 7]
    """
    sizes = np.asarray(ends) - np.asarray(starts)
    before = np.cumsum(sizes) - sizes
    return np.repeat(np.asarray(starts) - before, sizes) + np.arange(sizes.sum())


def budget_slices(lengths: np.ndarray, budget: int) -> Iterator[slice]:
    """Cut rows in order of length into batches that fit a budget of tokens when padded; a batch has at least one row.

    Args:
        lengths: int `[rows]`, rising.
        budget: Tokens in a batch, padding included.

    Example:
        >>> list(budget_slices(np.array([2, 2, 3, 5]), 6))
        [slice(0, 2, None), slice(2, 3, None), slice(3, 4, None)]
    """
    start = 0
    while start < len(lengths):
        # Rows get longer, so the last of a batch decides; a few tries find where it no longer fits.
        count = max(budget // int(lengths[start]), 1)
        while count > 1 and count * int(lengths[min(start + count, len(lengths)) - 1]) > budget:
            count = max(budget // int(lengths[min(start + count, len(lengths)) - 1]), 1)
        yield slice(start, start + count)
        start += count


@dataclass(frozen=True)
class Batch:
    """A masked batch.

    Attributes:
        token_ids, segment_ids, padding_mask: int32 `[rows, length]`.
        masked_positions: int32 `[masked]`, places in the flattened `token_ids`; filled up with 0.
        mlm_labels: int32 `[masked]`, the tokens that stood there.
        mlm_weights: float32 `[masked]`, 0 where filled up.
        nsp_labels: int32 `[rows]`, 0 = B follows A, 1 = it does not.
        nsp_weights: float32 `[rows]`, 0 in rows without a pair.
        tokens: Tokens that are no padding.
    """

    token_ids: np.ndarray
    segment_ids: np.ndarray
    padding_mask: np.ndarray
    masked_positions: np.ndarray
    mlm_labels: np.ndarray
    mlm_weights: np.ndarray
    nsp_labels: np.ndarray
    nsp_weights: np.ndarray
    tokens: int


@dataclass(frozen=True)
class BatchMaker(WindowedBatches):
    """Makes the batches of a token file; the rows of a window are shuffled and sorted into length buckets.

    Attributes:
        part: The token file.
        special: Ids of the tokens that frame rows, and of the mask.
        vocabulary_size: Tokens.
        masking: How to mask.
        token_budget: Tokens in a batch, padding included.
        bucket_step: Rows are padded to a multiple of it.
        seed: Where chance begins.
        continuation: bool `[vocabulary]`, True for tokens that go on with a word; for whole-word masking.
        packing: How one or two texts become a row.
    """

    part: TokenFile
    special: SpecialTokens
    vocabulary_size: int
    masking: Masking
    token_budget: int = 4096
    bucket_step: int = 8
    seed: int = 0
    continuation: np.ndarray | None = None
    packing: Packing = BERT_PACKING

    def check(self, max_length: int) -> None:
        """Refuse a corpus or options that give no batch.

        Raises:
            UserError: With the reason.
        """
        if self.token_budget < max_length:
            raise UserError(f"--batch-tokens {self.token_budget} is less than one row of --seq-length {max_length}")
        documents = len(self.part.documents) - 1
        if self.part.token_count + 2 * documents < self.token_budget:
            raise UserError(
                f"the corpus gives {self.part.token_count} training tokens, fewer than one batch of "
                f"{self.token_budget}: give more text or a smaller --batch-tokens"
            )

    def lengths(self, max_length: int) -> list[int]:
        """The padded lengths of the buckets: finer for short rows, where a few tokens are a large part."""
        lengths, length = [], 2 * self.bucket_step
        while length < max_length:
            lengths.append(length)
            length += self.bucket_step * (
                1 if length < 6 * self.bucket_step else 2 if length < 16 * self.bucket_step else 8
            )
        return [*lengths, max_length]

    def window_plans(self, place: Place) -> list[tuple[int, np.ndarray]]:
        """The batches of a window, as (padded length, plan rows), in training order."""
        rng = np.random.default_rng([self.seed, place.epoch, place.window])
        rows = plan_rows(
            self.part, self.window_documents(place), place.max_length, rng, separators=self.packing.separators
        )
        rows = rows[rng.permutation(len(rows))]
        lengths = np.asarray(self.lengths(place.max_length))
        bucket = np.searchsorted(lengths, row_lengths(rows, self.packing.separators))
        plans = []
        for index, length in enumerate(lengths):
            mine, size = rows[bucket == index], max(self.token_budget // int(length), 1)
            plans += [(int(length), mine[start : start + size]) for start in range(0, len(mine), size)]
        return [plans[index] for index in rng.permutation(len(plans))]

    def realise(self, length: int, rows: np.ndarray, seed: list[int]) -> Batch:
        """Fill in the ids and mask them.

        The number of rows and of masked places depends on `length` alone, so that a compiled training step is reused.
        """
        rng = np.random.default_rng([*seed, 1])
        count = max(self.token_budget // length, 1)
        ids = np.full((count, length), self.special.padding, np.int64)
        segments = np.zeros((count, length), np.int32)
        lengths = np.full(count, 2)
        lengths[: len(rows)] = row_lengths(rows, self.packing.separators)
        maskable = np.zeros((count, length), bool)
        start, end, tokens = self.special.start, self.special.end, self.part.tokens
        for row in range(count):
            ids[row, 0] = start
            if row >= len(rows):
                ids[row, 1] = end
                continue
            a0, a1, b0, b1, _ = rows[row]
            middle = 1 + a1 - a0
            ids[row, 1:middle], ids[row, middle] = tokens[a0:a1], end
            maskable[row, 1:middle] = True
            if b1 > b0:
                second = middle + self.packing.separators
                last = second + b1 - b0
                ids[row, middle:second] = end
                ids[row, second:last], ids[row, last] = tokens[b0:b1], end
                segments[row, second : last + 1] = int(self.packing.segments)
                maskable[row, second:last] = True
        masked, chosen = mask_rows(
            ids, maskable, lengths, self.masking, self.vocabulary_size, self.special.mask, rng, self.continuation
        )
        places = np.flatnonzero(chosen)
        room = count * int(self.masking.count(length))
        positions, labels, weights = np.zeros(room, np.int32), np.zeros(room, np.int32), np.zeros(room, np.float32)
        positions[: len(places)], weights[: len(places)] = places, 1.0
        labels[: len(places)] = ids.ravel()[places]
        next_labels = np.full(count, -1)
        next_labels[: len(rows)] = rows[:, NEXT]
        return Batch(
            token_ids=masked,
            segment_ids=segments,
            padding_mask=(np.arange(length) < lengths[:, None]).astype(np.int32),
            masked_positions=positions,
            mlm_labels=labels,
            mlm_weights=weights,
            nsp_labels=np.maximum(next_labels, 0).astype(np.int32),
            nsp_weights=(next_labels >= 0).astype(np.float32),
            tokens=int(lengths[: len(rows)].sum()),
        )


def row_lengths(rows: np.ndarray, separators: int = 1) -> np.ndarray:
    """Tokens of each planned row, those that frame it and the separators between A and B included."""
    a, b = rows[:, A1] - rows[:, A0], rows[:, B1] - rows[:, B0]
    return np.where(b > 0, a + b + 2 + separators, a + 2)
