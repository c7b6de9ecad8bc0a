"""Examples: splitting, sampling, labels."""

from __future__ import annotations

import logging
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tl_keras import UserError
from tl_keras.data import Examples
from tl_keras.data.examples import sorted_classes

pytestmark = pytest.mark.one_keras


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    fraction=st.floats(0.05, 0.6),
    seed=st.integers(0, 9),
)
def test_a_split_parts_the_examples_and_keeps_the_proportions(counts, fraction, seed):
    labels = [str(c) for c, n in enumerate(counts) for _ in range(n)]
    examples = Examples.from_lists([f"{i}" for i in range(len(labels))], labels)
    if len(examples) < 2:
        return
    train, valid = examples.split(fraction, seed)
    assert sorted([*train.texts, *valid.texts], key=int) == examples.texts.tolist()
    assert len(valid) >= 1
    held = Counter(valid.label_names)
    for c, n in enumerate(counts):
        # Within one of the exact fraction (the remainder is carried from class to class), and never a whole class.
        assert abs(held[str(c)] - n * fraction) < 2 or n == 1
        assert held[str(c)] < n or len(valid) == 1
    again = examples.split(fraction, seed)[1]
    assert again.texts.tolist() == valid.texts.tolist()


def test_a_single_example_stays_in_training(caplog):
    examples = Examples.from_lists(list("abcdefghijk"), ["x"] * 5 + ["y"] * 5 + ["z"])
    with caplog.at_level(logging.WARNING):
        train, valid = examples.split(0.4)
    assert "only one example of z" in caplog.text
    assert "z" in train.label_names
    assert Counter(valid.label_names) == {"x": 2, "y": 2}


def test_sample_keeps_the_classes_in_proportion():
    examples = Examples.from_lists([str(i) for i in range(1000)], ["a"] * 800 + ["b"] * 200)
    assert Counter(examples.sample(100, seed=5).label_names) == {"a": 80, "b": 20}
    assert len(examples.sample(5000)) == 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("one string",), "must be a list of strings"),
        ((object(),), r"not object; .*tl_keras\.batches\(model, examples\)"),
        ((["a", 3],), "entry 2 is int"),
        ((["a", "b"], ["x"]), "2 texts but 1 labels"),
        ((["a"], ["x"], ["b", "c"]), "1 texts but 2 text_pairs"),
    ],
)
def test_wrong_lists(arguments, message):
    with pytest.raises(UserError, match=message):
        Examples.from_lists(*arguments)


def test_classes_are_sorted_by_value_when_they_are_numbers():
    assert sorted_classes({"10", "9", "-1"}) == ("-1", "9", "10")
    assert sorted_classes({"b", "10", "a"}) == ("10", "a", "b")


def test_fractions_out_of_range():
    examples = Examples.from_lists(["a", "b"], ["x", "y"])
    for fraction in (0.0, 1.0, 2.0):
        with pytest.raises(UserError, match="between 0 and 1"):
            examples.split(fraction)
    with pytest.raises(UserError, match="too few"):
        Examples.from_lists(["a"], ["x"]).split()
