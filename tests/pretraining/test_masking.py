from __future__ import annotations

import numpy as np
import pytest

from tl_keras.errors import UserError
from tl_keras.pretraining.bert_tasks import Masking, mask_rows

pytestmark = pytest.mark.one_keras

MASK_ID, VOCABULARY = 4, 1000


def masked(rows, length, masking, seed=0, ids=None, continuation=None):
    """Rows of [CLS], `length` - 2 tokens, [SEP] and three places of padding."""
    if ids is None:
        ids = np.random.default_rng(9).integers(5, VOCABULARY, (rows, length + 3))
    maskable = np.zeros(ids.shape, bool)
    maskable[:, 1 : length - 1] = True
    lengths = np.full(len(ids), length)
    rng = np.random.default_rng(seed)
    out, chosen = mask_rows(ids, maskable, lengths, masking, VOCABULARY, MASK_ID, rng, continuation)
    return ids, out, chosen, maskable


def test_the_number_of_predictions_is_the_published_one():
    # create_pretraining_data.py: max(1, int(round(len(tokens) * masked_lm_prob))), special tokens counted.
    lengths = [3, 10, 20, 30, 50, 128]
    assert (
        Masking().count(lengths).tolist() == [max(1, round(length * 0.15)) for length in lengths] == [1, 2, 3, 4, 8, 19]
    )
    for length in lengths:
        _, _, chosen, maskable = masked(50, length, Masking())
        expected = min(Masking().count(length), length - 2)
        assert (chosen.sum(axis=1) == expected).all()
        assert not (chosen & ~maskable).any()


def test_eighty_ten_ten():
    ids, out, chosen, _ = masked(4000, 100, Masking())
    assert (out[~chosen] == ids[~chosen]).all()
    n = chosen.sum()
    assert n == 4000 * 15
    is_mask, same = out[chosen] == MASK_ID, out[chosen] == ids[chosen]
    # 60,000 draws: the standard deviation of each share is below 0.0017.
    assert is_mask.mean() == pytest.approx(0.8, abs=0.008)
    assert same.mean() == pytest.approx(0.1, abs=0.006)
    swapped = out[chosen & (out != MASK_ID) & (out != ids)]
    assert len(swapped) / n == pytest.approx(0.1, abs=0.006)
    # Random tokens come from the whole vocabulary, special tokens included, all alike.
    assert swapped.min() == 0
    assert swapped.max() == VOCABULARY - 1
    assert swapped.mean() == pytest.approx(VOCABULARY / 2, rel=0.05)
    # Every place is as likely as any other.
    assert chosen[:, 1:99].mean(axis=0).std() < 0.01


def test_the_shares_are_options_and_seeds_decide():
    _, out, chosen, _ = masked(500, 40, Masking(fraction=0.5, mask=1.0, random=0.0))
    assert (chosen.sum(axis=1) == 20).all()
    assert (out[chosen] == MASK_ID).all()
    again = masked(500, 40, Masking(fraction=0.5, mask=1.0, random=0.0))[2]
    other = masked(500, 40, Masking(fraction=0.5, mask=1.0, random=0.0), seed=1)[2]
    assert (chosen == again).all()
    assert not (chosen == other).all()


def test_whole_words_are_masked_whole_and_within_the_number():
    continuation = np.zeros(VOCABULARY, bool)
    continuation[500:] = True
    rng = np.random.default_rng(1)
    ids = np.where(rng.random((300, 63)) < 0.4, rng.integers(500, 1000, (300, 63)), rng.integers(5, 500, (300, 63)))
    ids[:, 1] = 7  # the first word begins after [CLS]
    masking = Masking(whole_words=True, mask=1.0, random=0.0)
    _, _, chosen, maskable = masked(300, 60, masking, ids=ids, continuation=continuation)
    assert (chosen.sum(axis=1) <= 9).all()  # round(60 * 0.15)
    assert chosen.sum(axis=1).mean() > 8.5
    inside = maskable[:, 1:] & maskable[:, :-1] & continuation[ids][:, 1:]
    assert (chosen[:, 1:] == chosen[:, :-1])[inside].all()


def test_a_row_of_one_long_word_still_has_something_to_predict():
    continuation = np.ones(VOCABULARY, bool)
    ids = np.full((5, 23), 600)
    _, _, chosen, _ = masked(5, 20, Masking(whole_words=True), ids=ids, continuation=continuation)
    assert (chosen.sum(axis=1) == 3).all()  # round(20 * 0.15)


def test_impossible_shares():
    with pytest.raises(UserError, match="between 0 and 1"):
        Masking(fraction=0.0)
    with pytest.raises(UserError, match="sum to 1"):
        Masking(mask=0.8, random=0.3)
