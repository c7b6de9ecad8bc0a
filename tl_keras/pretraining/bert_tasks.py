"""What a BERT is asked while pre-training: masked tokens, and whether two segments follow each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tl_keras.errors import UserError

if TYPE_CHECKING:
    # The token files need the extra `pretrain`; advice, which masks tokens too, does not.
    from tl_keras.pretraining.token_files import TokenFile


@dataclass(frozen=True)
class Masking:
    """How tokens are masked; the defaults are the published ones.

    Source: Devlin et al. 2019, https://arxiv.org/abs/1810.04805, section 3.1 and appendix A.1, and
    `create_masked_lm_predictions` in https://github.com/google-research/bert/blob/master/create_pretraining_data.py;
    whole words: the README there, "New May 31st, 2019".

    Attributes:
        fraction: Fraction of a row's tokens that are predicted, its special tokens counted.
        mask: Fraction of those that become `[MASK]`.
        random: Fraction of those that become a token drawn from the whole vocabulary; the rest stay as they are.
        whole_words: Choose whole words (a token and those after it that go on with the word), not single tokens.
    """

    fraction: float = 0.15
    mask: float = 0.8
    random: float = 0.1
    whole_words: bool = False

    def __post_init__(self):
        if not 0.0 < self.fraction < 1.0:
            raise UserError(f"--mask-fraction must lie between 0 and 1, not {self.fraction}")
        if min(self.mask, self.random) < 0.0 or self.mask + self.random > 1.0 + 1e-9:
            raise UserError(f"mask {self.mask} and random {self.random} must be fractions that sum to 1 at most")

    def count(self, length):
        """Tokens to predict in a row of `length` tokens, special tokens included: the rounded fraction, at least one."""
        # np.rint rounds halves to even, as Python's round() does in the published code.
        return np.maximum(1, np.rint(np.asarray(length) * self.fraction)).astype(np.int64)


def mask_rows(
    token_ids: np.ndarray,
    maskable: np.ndarray,
    lengths: np.ndarray,
    masking: Masking,
    vocabulary_size: int,
    mask_id: int,
    rng: np.random.Generator,
    continuation: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Mask a padded batch of rows.

    Args:
        token_ids: int `[rows, length]`.
        maskable: bool `[rows, length]`; False at special tokens and padding.
        lengths: int `[rows]`, tokens of each row, special tokens included.
        masking: How.
        vocabulary_size: Random tokens are drawn from all ids below it.
        mask_id: Id of `[MASK]`.
        rng: Where chance comes from.
        continuation: bool `[vocabulary]`, True for tokens that go on with a word; needed for whole words.

    Returns:
        The ids with masks put in, int32 `[rows, length]`, and the chosen places, bool `[rows, length]`.
    """
    wanted = np.minimum(masking.count(lengths), maskable.sum(axis=1))
    scores = rng.random(token_ids.shape)
    if masking.whole_words:
        chosen = _choose_words(token_ids, maskable, wanted, scores, continuation)
    else:
        scores[~maskable] = 2.0
        ranks = np.argsort(np.argsort(scores, axis=1), axis=1)
        chosen = ranks < wanted[:, None]
    fate = rng.random(token_ids.shape)
    noise = rng.integers(0, vocabulary_size, token_ids.shape)
    masked = np.where(chosen & (fate < masking.mask), mask_id, token_ids)
    swap = chosen & (fate >= masking.mask) & (fate < masking.mask + masking.random)
    return np.where(swap, noise, masked).astype(np.int32), chosen


def _choose_words(token_ids, maskable, wanted, scores, continuation) -> np.ndarray:
    """Whole words in random order, as long as the row's number is not exceeded."""
    starts = maskable & ~(continuation[token_ids] & np.roll(maskable, 1, axis=1))
    starts[:, 0] = maskable[:, 0]
    chosen = np.zeros_like(maskable)
    for row in range(len(token_ids)):
        places = np.flatnonzero(maskable[row])
        if not len(places):
            continue
        begins = np.flatnonzero(starts[row])
        # A word's tokens are neighbours: it ends where the next maskable word, or a special token, begins.
        word_of = np.searchsorted(begins, places, side="right") - 1
        sizes = np.bincount(word_of, minlength=len(begins))
        left, taken = int(wanted[row]), np.zeros(len(begins), bool)
        for word in np.argsort(scores[row, begins]):
            if sizes[word] <= left:
                taken[word], left = True, left - sizes[word]
            if not left:
                break
        if not taken.any():
            # Every word is longer than the number wanted: the published code would predict nothing here; we take
            # single tokens of the first word drawn, so that no row is without a label.
            first = np.flatnonzero(word_of == np.argmin(scores[row, begins]))[: int(wanted[row])]
            chosen[row, places[first]] = True
        else:
            chosen[row, places[taken[word_of]]] = True
    return chosen


# The columns of a plan: sentence A is tokens[A0:A1], sentence B is tokens[B0:B1], which is empty in a row without pair.
A0, A1, B0, B1, NEXT = range(5)
NO_PAIR, IS_NEXT, NOT_NEXT = -1, 0, 1


SHORT_FRACTION = 0.1
"""Of the stretches of a document: they get a random shorter length, as published."""


def plan_rows(
    part: TokenFile,
    documents: np.ndarray,
    max_length: int,
    rng: np.random.Generator,
    separators: int = 1,
) -> np.ndarray:
    """Lay out documents as rows of at most `max_length` tokens.

    A document of one sentence becomes a row of its own. A longer one is cut into stretches of about `max_length`
    tokens; each stretch is split after a random sentence, and in half of the rows the second half is exchanged for a
    stretch of another document of the same corpus file. The sentences that were exchanged away begin the next row.
    Another file's documents are no candidates, because with two languages the task would be to tell them apart.

    Source: `create_instances_from_document` in
    https://github.com/google-research/bert/blob/master/create_pretraining_data.py.

    Args:
        part: The token file.
        documents: Numbers of the documents to lay out.
        max_length: Tokens in a row, `[CLS]` and `[SEP]` included.
        rng: Where chance comes from.
        separators: End tokens between A and B.

    Returns:
        int64 `[rows, 5]`: begin and end of A, begin and end of B in `part.tokens`, and 0 (B follows A), 1 (it does
        not) or -1 (no pair).
    """
    documents = np.asarray(documents, np.int64)
    first, last = part.documents[documents], part.documents[documents + 1]
    single = last - first == 1
    begin = part.sentences[first[single]]
    end = np.minimum(part.sentences[last[single]], begin + max_length - 2)
    alone = np.stack([begin, end, end, end, np.full_like(begin, NO_PAIR)], axis=1)
    rows = [alone]
    longer = documents[~single]
    file_of = np.searchsorted(part.files, longer, side="right")
    for number in np.unique(file_of):
        group = longer[file_of == number]
        for document in group:
            rows.append(_plan_document(part, document, group, max_length, rng, separators))
    return np.concatenate(rows).astype(np.int64)


def _plan_document(part, document, candidates, max_length, rng, separators) -> np.ndarray:
    room = max_length - 2 - separators
    bounds = np.asarray(part.sentences[part.documents[document] : part.documents[document + 1] + 1])
    count, start, rows = len(bounds) - 1, 0, []
    while start < count:
        target = int(rng.integers(2, room + 1)) if rng.random() < SHORT_FRACTION else room
        stop = start + 1
        while stop < count and bounds[stop] - bounds[start] < target:
            stop += 1
        split = int(rng.integers(start + 1, stop)) if stop - start > 1 else stop
        a = (int(bounds[start]), int(bounds[split]))
        others = len(candidates) > 1
        if split == stop or (others and rng.random() < 0.5):
            if not others:
                # A lone last sentence and nothing to pair it with: masked words only.
                rows.append((a[0], min(a[1], a[0] + max_length - 2), a[1], a[1], NO_PAIR))
                break
            b, label = _random_stretch(part, document, candidates, target - (a[1] - a[0]), rng), NOT_NEXT
            start = split
        else:
            b, label = (int(bounds[split]), int(bounds[stop])), IS_NEXT
            start = stop
        rows.append((*_truncate(a, b, room, rng), label))
    return np.asarray(rows, np.int64).reshape(-1, 5)


def _random_stretch(part, document, candidates, target, rng) -> tuple[int, int]:
    """Sentences of another document from a random one on, until `target` tokens are reached."""
    other = document
    while other == document:
        other = candidates[rng.integers(len(candidates))]
    first, last = int(part.documents[other]), int(part.documents[other + 1])
    begin = int(rng.integers(first, last))
    start = int(part.sentences[begin])
    end = int(np.searchsorted(part.sentences[begin + 1 : last + 1], start + max(target, 1))) + begin + 1
    return start, int(part.sentences[min(end, last)])


def _truncate(a: tuple[int, int], b: tuple[int, int], room: int, rng) -> tuple[int, int, int, int]:
    """Shorten the longer of the two, at the front or the back by chance, until both fit; what is cut is lost."""
    (a0, a1), (b0, b1) = a, b
    while (excess := (a1 - a0) + (b1 - b0) - room) > 0:
        longer_a = a1 - a0 > b1 - b0
        # Down to the other's length at once, and from there half each: the same lengths as cutting token by token.
        difference = abs((a1 - a0) - (b1 - b0))
        cut = min(excess, difference) if difference else (excess + 1) // 2
        front = int(rng.binomial(cut, 0.5))
        if longer_a:
            a0, a1 = a0 + front, a1 - (cut - front)
        else:
            b0, b1 = b0 + front, b1 - (cut - front)
    return a0, a1, b0, b1
