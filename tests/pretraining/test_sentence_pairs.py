from __future__ import annotations

import numpy as np
import pytest

from tl_keras.pretraining.bert_tasks import A0, A1, B0, B1, NEXT, plan_rows
from tl_keras.pretraining.token_files import TokenFile

pytestmark = pytest.mark.one_keras


def token_file(sizes_by_file):
    """Documents of sentences of the given sizes; the tokens are numbered through."""
    documents = [document for file in sizes_by_file for document in file]
    sizes = [size for document in documents for size in document]
    return TokenFile(
        tokens=np.arange(sum(sizes)),
        sentences=np.cumsum([0, *sizes]),
        documents=np.cumsum([0, *map(len, documents)]),
        files=np.cumsum([0, *map(len, sizes_by_file)]),
    )


def place_of(part, token):
    """(document, corpus file) that a token belongs to."""
    sentence = np.searchsorted(part.sentences, token, side="right") - 1
    document = np.searchsorted(part.documents, sentence, side="right") - 1
    return document, np.searchsorted(part.files, document, side="right") - 1


@pytest.fixture(scope="module")
def part():
    rng = np.random.default_rng(2)
    return token_file([[rng.integers(2, 20, rng.integers(2, 40)).tolist() for _ in range(60)] for _ in range(2)])


def test_true_pairs_follow_and_false_ones_come_from_another_document_of_the_same_file(part):
    rows = np.concatenate([plan_rows(part, np.arange(120), 64, np.random.default_rng(s)) for s in range(5)])
    true, false = rows[rows[:, NEXT] == 0], rows[rows[:, NEXT] == 1]
    for a0, a1, b0, b1, label in rows:
        assert a1 > a0
        assert b1 > b0
        assert (a1 - a0) + (b1 - b0) + 3 <= 64
        (document_a, file_a), (document_b, file_b) = place_of(part, a0), place_of(part, b0)
        assert place_of(part, a1 - 1)[0] == document_a
        assert place_of(part, b1 - 1)[0] == document_b
        assert file_a == file_b
        assert (document_a == document_b) == (label == 0)
        if label == 0:
            assert b0 >= a1
    # A stretch of one sentence has no true continuation, so a little more than half are false, as in the published code.
    assert 0.48 < len(false) / len(rows) < 0.62
    # Where nothing had to be cut, B begins exactly where A ends.
    assert (true[:, B0] == true[:, A1]).mean() > 0.3


def test_every_sentence_is_used(part):
    rows = plan_rows(part, np.arange(120), 64, np.random.default_rng(0))
    seen = np.zeros(len(part.tokens), bool)
    for a0, a1, b0, b1, label in rows:
        seen[a0:a1] = True
        if label == 0:
            seen[b0:b1] = True
    assert seen.mean() > 0.9  # the rest was cut to fit


def test_single_sentences_become_rows_of_their_own_and_are_cut_at_the_end():
    rows = plan_rows(token_file([[[3], [30], [1]]]), [0, 1, 2], 16, np.random.default_rng(0))
    assert rows.tolist() == [[0, 3, 3, 3, -1], [3, 17, 17, 17, -1], [33, 34, 34, 34, -1]]


def test_a_lone_document_gives_true_pairs_only():
    rows = plan_rows(token_file([[[5] * 9]]), [0], 24, np.random.default_rng(0))
    assert set(rows[:, NEXT].tolist()) <= {0, -1}
    assert rows[:, A0].min() == 0
    assert rows[:, B1].max() == 45


def test_truncation_keeps_the_pair_balanced():
    rows = np.concatenate(
        [plan_rows(token_file([[[90, 10], [80, 70]]]), [0, 1], 32, np.random.default_rng(s)) for s in range(30)]
    )
    lengths = {(a1 - a0, b1 - b0) for a0, a1, b0, b1, _ in rows.tolist()}
    assert all(a + b == 29 for a, b in lengths)
    assert (19, 10) in lengths  # the longer one gives way
    assert any(abs(a - b) <= 1 for a, b in lengths)  # two long ones meet in the middle
