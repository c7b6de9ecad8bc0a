"""Rows -> batches of about equal size in tokens, each of rows of about equal length, in an order to resume in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tl_keras.encoders.vocabularies import BERT_PACKING, Packing
from tl_keras.errors import UserError
from tl_keras.pretraining.bert_tasks import A0, A1, B0, B1, NEXT, Masking, mask_rows, plan_rows
from tl_keras.pretraining.token_files import TokenFile
from tl_keras.pretraining.vocabulary import SpecialTokens
from tl_keras.pretraining.windows import Place, WindowedBatches


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
