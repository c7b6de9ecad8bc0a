from __future__ import annotations

import dataclasses
import itertools
import tracemalloc

import numpy as np
import pytest

from tl_keras.errors import UserError
from tl_keras.pretraining import batches as module
from tl_keras.pretraining.batches import Batch, BatchMaker, Place, row_lengths
from tl_keras.pretraining.bert_tasks import Masking
from tl_keras.pretraining.token_files import TokenFile
from tl_keras.pretraining.vocabulary import SpecialTokens

pytestmark = pytest.mark.one_keras

SPECIAL = SpecialTokens(start=2, end=3, padding=0, mask=4)


def reviews(sizes) -> TokenFile:
    """One sentence per document; its tokens are 5 + its number."""
    numbers = np.repeat(np.arange(len(sizes)) + 5, sizes)
    ends = np.cumsum([0, *sizes])
    return TokenFile(numbers, ends, np.arange(len(sizes) + 1), np.asarray([0, len(sizes)]))


@pytest.fixture
def maker():
    sizes = np.random.default_rng(0).integers(1, 80, 3000)
    return BatchMaker(reviews(sizes), SPECIAL, 4000, Masking(), token_budget=1024)


def same(a: Batch, b: Batch) -> bool:
    return all(np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(Batch))


def test_an_epoch_holds_every_row_once_in_batches_of_the_budget(maker, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_TOKENS", 4096)
    monkeypatch.setattr(module, "BLOCKS_IN_WINDOW", 5)
    assert maker.windows() > 3
    begins = []
    for window in range(maker.windows()):
        for length, rows in maker.window_plans(Place(window=window, max_length=128)):
            assert 0 < len(rows) * length <= 1024
            assert row_lengths(rows).max() <= length
            begins += rows[:, 0].tolist()
    assert sorted(begins) == maker.part.sentences[:-1].tolist()


def test_little_is_padding_and_shapes_repeat(maker):
    stream = maker.from_place(Place(max_length=128))
    batches = [batch for _, batch in itertools.islice(stream, 60)]
    tokens, places = sum(b.tokens for b in batches), sum(b.token_ids.size for b in batches)
    assert tokens / places > 0.85
    shapes = {(b.token_ids.shape, b.masked_positions.shape) for b in batches}
    assert len(shapes) <= len(maker.lengths(128)) == 10


def test_labels_are_what_was_masked(maker):
    _, batch = next(maker.from_place(Place(max_length=128)))
    counted = batch.mlm_weights > 0
    rows = batch.masked_positions[counted] // batch.token_ids.shape[1]
    # A row's tokens are all alike here, so an unmasked neighbour tells the label.
    originals = np.where(batch.token_ids >= 5, batch.token_ids, 0)
    usual = [np.bincount(line[line > 0]).argmax() if (line > 0).any() else -1 for line in originals]
    agree = np.asarray(usual)[rows] == batch.mlm_labels[counted]
    assert agree.mean() > 0.95  # the shortest rows may be masked altogether
    assert batch.padding_mask.sum() >= batch.tokens
    assert (batch.token_ids[batch.padding_mask == 0] == 0).all()
    assert batch.nsp_weights.sum() == 0


def test_batches_are_the_same_from_any_place(maker):
    stream = list(itertools.islice(maker.from_place(Place(max_length=64)), 260))
    assert any(place.epoch == 1 for place, _ in stream), "the stream should cross an epoch"
    for start in (0, 7, 200, 255):
        again = maker.from_place(stream[start][0])
        for (place, batch), (place2, batch2) in zip(stream[start + 1 : start + 4], again, strict=False):
            assert place == place2
            assert same(batch, batch2)


def test_masks_and_order_are_new_in_each_epoch(maker):
    first = next(maker.from_place(Place(max_length=64)))[1]
    again = next(maker.from_place(Place(max_length=64)))[1]
    later = next(maker.from_place(Place(epoch=1, max_length=64)))[1]
    assert same(first, again)
    assert not same(first, later)


def test_memory_does_not_grow_with_the_corpus(tmp_path):
    """Ten times the corpus, the same memory: a window is all that is held."""
    peaks = []
    for count in (200_000, 2_000_000):
        sizes = np.full(count, 20)
        part = reviews(sizes)
        arrays = {}
        for name in ("tokens", "sentences", "documents", "files"):
            np.asarray(getattr(part, name)).tofile(tmp_path / f"{name}{count}")
            arrays[name] = np.memmap(tmp_path / f"{name}{count}", dtype=getattr(part, name).dtype, mode="r")
        del part, sizes
        maker = BatchMaker(TokenFile(**arrays), SPECIAL, 4000, Masking())
        tracemalloc.start()
        for _ in itertools.islice(maker.from_place(Place(max_length=64)), 3):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


def test_too_little_for_a_batch():
    maker = BatchMaker(reviews([5, 5]), SPECIAL, 4000, Masking(), token_budget=128)
    with pytest.raises(UserError, match="10 training tokens, fewer than one batch of 128"):
        maker.check(64)
    with pytest.raises(UserError, match="less than one row"):
        maker.check(256)
