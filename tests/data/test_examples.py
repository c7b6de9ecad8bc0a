"""Examples: splitting, sampling, labels."""

from __future__ import annotations

import logging
from collections import Counter

import numpy as np
import pandas as pd
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
        ((["a", "b"], ["x", None]), r"example 2: a label is missing \(None\)"),
        ((["a", "b"], [0.0, float("nan")]), r"example 2: a label is missing \(nan\)"),
        ((["a", "b"], pd.Series([0, pd.NA], dtype="Int64")), r"example 2: a label is missing \(<NA>\)"),
        ((["a", "b"], [["x"], ["y", None]]), "example 2: a label is missing"),
        ((["a", "b"], np.array([[0, 1], [1, 0]])), r"example 1: a label is a ndarray \(\[0 1\]\), .*read_table"),
        ((["a", "b"], ["x", b"\xff"]), "example 2: a label is bytes that are no UTF-8"),
        ((["a", "b"], ["x", "y"], None, ["x", "y", "x"]), "class name occurs twice"),
        ((["a", "b"], ["x", "y"], None, "xy"), "classes must be a list"),
        ((["a", "b"], ["1", "0"], None, ["0.0", "1.0"]), "label '0' .*the class '0.0' is written otherwise"),
        ((["a", "b"], ["good", "Very Bad"], None, ["good", "very bad"]), "the class 'very bad' is written otherwise"),
        ((["a", "b"], ["good", "fine"], None, ["good", "bad"]), "Training never saw it"),
        ((["a", "b"], ["x", "y"], None, 2), "classes must be a list"),
    ],
)
def test_wrong_lists(arguments, message):
    with pytest.raises(UserError, match=message):
        Examples.from_lists(*arguments)


def test_labels_are_taken_as_they_are_meant():
    assert Examples.from_lists(["a", "b"], [b"x", b"y"]).classes == ("x", "y")
    assert Examples.from_lists(["a", "b"], [1.0, 0.0], classes=np.array([1.0, 0.0])).labels.tolist() == [0, 1]
    # A name among lists of names is one label, not its letters.
    mixed = Examples.from_lists(["a", "b", "c"], [["drama", "war"], "drama", []])
    assert mixed.classes == ("drama", "war")
    assert mixed.label_names == [["drama", "war"], ["drama"], []]


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
