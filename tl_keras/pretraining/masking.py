"""Choosing tokens to hide and what to put in their place: the masked language model's task."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tl_keras.errors import UserError


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
        whole_words: Choose whole words (a token and the `##` tokens after it), not single tokens.
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
        continuation: bool `[vocabulary]`, True for `##` tokens; needed for whole words.

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
