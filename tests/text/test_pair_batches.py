"""Two texts side by side: each packed by itself, in batches of like length."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tl_keras import UserError
from tl_keras.data import Examples
from tl_keras.data.pairs import RetrievalPairs, ScoredExamples
from tl_keras.text.pair_batches import pair_batches

pytestmark = pytest.mark.one_keras

QUERIES = ["good", "bad film", "the plot was dull", "music", "i love it"] * 4
DOCUMENTS = ["great film", "a " * 20, "fine", "the music was very good", "actor"] * 4


def test_each_tower_is_packed_and_trimmed_by_itself(encoder):
    examples = ScoredExamples.from_lists(QUERIES, np.arange(20), DOCUMENTS)
    batches = encoder.pair_batches(examples, batch_size=8)
    assert int(batches.cardinality()) == 3
    seen = []
    for inputs, labels in batches:
        for tower, texts in (("query", QUERIES), ("document", DOCUMENTS)):
            part = texts[len(seen) : len(seen) + len(labels)]
            own = next(iter(encoder.batches(part, batch_size=8)))
            for name, value in own.items():
                np.testing.assert_array_equal(inputs[f"{tower}_{name}"], value)
        seen += labels.numpy().tolist()
    assert seen == list(range(20))
    first = next(iter(batches))[0]
    # Questions of a word or two beside documents of twenty.
    assert (first["query_input_word_ids"].shape[1], first["document_input_word_ids"].shape[1]) == (8, 24)


def test_training_batches_hold_every_pair_once_in_another_order_each_epoch(encoder):
    pairs = RetrievalPairs.from_lists(QUERIES, DOCUMENTS)
    batches = encoder.pair_batches(pairs, training=True, batch_size=6, seed=1)
    epochs = [np.concatenate([labels.numpy() for _, labels in batches]) for _ in range(2)]
    # A document's number is the same wherever the pair stands.
    assert [np.bincount(epoch).tolist() for epoch in epochs] == [[4] * 5] * 2
    assert epochs[0].tolist() != epochs[1].tolist()
    for inputs, labels in batches:
        starts = inputs["document_input_word_ids"][:, 1].numpy()
        assert len(set(zip(starts.tolist(), labels.numpy().tolist(), strict=True))) == len(set(labels.numpy().tolist()))


def test_one_length_for_tpus_and_pairs_without_labels(encoder):
    pairs = Examples.from_lists(QUERIES, text_pairs=DOCUMENTS)
    batches = encoder.pair_batches(pairs, batch_size=8, fixed_length=True, drop_remainder=True)
    shapes = {tuple(value.shape) for inputs in batches for value in inputs.values()}
    assert shapes == {(8, 32)}
    assert set(batches.element_spec) == {
        f"{tower}_input_{name}" for tower in ("query", "document") for name in ("word_ids", "mask", "type_ids")
    }


def test_text_embedding_modules_take_the_strings():
    class Module:
        takes_text, seq_length = True, 128

    pairs = ScoredExamples.from_lists(QUERIES, np.arange(20), DOCUMENTS)
    inputs, labels = next(iter(pair_batches(pairs, None, seq_length=Module().seq_length, batch_size=4)))
    assert {name: value.dtype for name, value in inputs.items()} == {"query": tf.string, "document": tf.string}
    assert labels.numpy().tolist() == [0, 1, 2, 3]


def test_single_texts_are_refused(encoder):
    with pytest.raises(UserError, match="two towers compare pairs"):
        encoder.pair_batches(ScoredExamples.from_lists(["a", "b"], [0, 1]))
