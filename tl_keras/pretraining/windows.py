"""Walking through a token file again and again, in a random order that can be resumed anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tl_keras.pretraining.token_files import TokenFile

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
