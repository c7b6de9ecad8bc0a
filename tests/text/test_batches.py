"""Batches: the right ids, every text once an epoch, little padding."""

from __future__ import annotations

import numpy as np
import pytest

from tl_keras import UserError
from tl_keras.data import Examples
from tl_keras.text.text_batches import token_batches

pytestmark = pytest.mark.one_keras


def rows(batch) -> list[tuple]:
    """The unpadded ids of a batch's texts."""
    ids, mask = batch["input_word_ids"].numpy(), batch["input_mask"].numpy()
    return [tuple(i[m == 1].tolist()) for i, m in zip(ids, mask, strict=True)]


def expected_ids(text: str, vocabulary: list[str]) -> list[int]:
    """Greedy longest-match WordPiece tokens, written down from the definition."""
    index = {token: i for i, token in enumerate(vocabulary)}
    ids = []
    for word in text.lower().replace("!", " ! ").replace(".", " . ").replace(",", " , ").split():
        start, found = 0, []
        while start < len(word):
            end = next(
                (e for e in range(len(word), start, -1) if ("##" if start else "") + word[start:e] in index), None
            )
            if end is None:
                found = [index["[UNK]"]]
                break
            found.append(index[("##" if start else "") + word[start:end]])
            start = end
        ids += found
    return ids


def test_ids_are_those_of_the_definition(encoder, vocabulary):
    texts = ["The film was GOOD!", "filmgood xyz", "", "a, b."]
    batch = next(iter(encoder.batches(texts, batch_size=4)))
    assert rows(batch) == [(2, *expected_ids(text, vocabulary), 3) for text in texts]


@pytest.mark.parametrize("batch_size", [1, 7, 64, 100])
def test_each_text_once_an_epoch_and_as_many_steps_as_announced(encoder, reviews, batch_size):
    dataset = encoder.batches(reviews, training=True, batch_size=batch_size, seed=1)
    in_order = [row for batch, _ in encoder.batches(reviews, batch_size=16) for row in rows(batch)]
    want = sorted(zip(in_order, reviews.labels.tolist(), strict=True))
    for _ in range(2):
        batches = list(dataset)
        assert len(batches) == int(dataset.cardinality()) == -(-len(reviews) // batch_size)
        got = sorted(
            (row, int(label)) for batch, labels in batches for row, label in zip(rows(batch), labels, strict=True)
        )
        assert got == want


def test_epochs_differ_and_the_seed_repeats_them(encoder, reviews):
    def epochs(seed):
        dataset = encoder.batches(reviews, training=True, batch_size=8, seed=seed)
        return [[tuple(rows(batch)) for batch, _ in dataset] for _ in range(2)]

    first, second = epochs(4)
    assert first != second
    assert epochs(4) == [first, second]
    assert epochs(5)[0] != first


def test_batches_are_trimmed_to_their_longest_text(encoder, reviews):
    for batch, _ in encoder.batches(reviews, training=True, batch_size=8):
        longest = max(len(row) for row in rows(batch))
        assert batch["input_word_ids"].shape[1] == -(-longest // 4) * 4
    spec = encoder.batches(reviews, training=True).element_spec[0]
    assert all(s.shape.as_list() == [None, None] for s in spec.values())


def test_bucketing_leaves_little_padding(encoder):
    rng = np.random.default_rng(0)
    texts = [" ".join(["film"] * n) for n in rng.integers(1, 30, size=256)]
    dataset = encoder.batches(Examples.from_lists(texts, ["a", "b"] * 128), training=True, batch_size=16)
    filled = [float(np.mean(batch["input_mask"])) for batch, _ in dataset]
    # Lengths are uniform on 3..31; random batches of 16 would be about 17/32 full.
    # Perfect sorting still pads to multiples of 4, which leaves about 0.88.
    assert np.mean(filled) > 0.83


def test_long_texts_are_cut_and_pairs_share_the_room(encoder):
    single = next(iter(encoder.batches(["film " * 100])))
    assert rows(single)[0] == (2, *[7] * 30, 3)
    pair = next(iter(encoder.batches(Examples.from_lists(["film " * 100], text_pairs=["good bad"]))))
    assert rows(pair)[0] == (2, *[7] * 27, 3, 5, 6, 3)
    types = pair["input_type_ids"].numpy()[0].tolist()
    assert types == [0] * 29 + [1] * 3


def test_fixed_length_and_no_remainder_for_tpus(encoder, reviews):
    dataset = encoder.batches(reviews, training=True, batch_size=24, fixed_length=True, drop_remainder=True)
    shapes = {batch["input_word_ids"].shape.as_list()[1] for batch, _ in dataset}
    assert shapes == {32}
    assert [len(labels) for _, labels in dataset] == [24, 24]
    with pytest.raises(UserError, match="do not fill one batch"):
        encoder.batches(reviews, batch_size=100, drop_remainder=True)


def test_a_megabyte_of_text_is_cut(encoder):
    batch = next(iter(encoder.batches(["good " * 200_000, "bad"])))
    assert batch["input_word_ids"].shape == (2, 32)


def test_report_counts_what_is_cut_and_unknown(encoder):
    # 4 texts: 2 + 2 special, 40 + 2 (cut), one unknown character as a word, none at all.
    examples = Examples.from_lists(["good film", "film " * 40, "\u0416", ""])
    report = encoder.report(examples)
    assert report.cut == 1 / 4
    assert report.unknown == 1 / 43
    assert report.longest == 42
    assert report.mean_length == pytest.approx((4 + 42 + 3 + 2) / 4)


def test_bad_sizes(encoder, reviews):
    with pytest.raises(UserError, match="batch size must be at least 1"):
        encoder.batches(reviews, batch_size=0)
    with pytest.raises(UserError, match="seq_length must be at least 1, not 0"):
        token_batches(reviews, encoder.preprocessor, seq_length=0)
    with pytest.raises(UserError, match="holds no examples"):
        token_batches(reviews.take(np.array([], int)), encoder.preprocessor, seq_length=8)
