"""Counts, repeats and contradictions, by hand."""

from __future__ import annotations

import pytest

from tl_keras.advice.texts import label_report, text_key, text_keys, without_repeats
from tl_keras.data.examples import Examples
from tl_keras.errors import UserError

pytestmark = pytest.mark.one_keras

ROWS = [
    ("Good film!", "pos"),
    ("good  film", "pos"),  # repeats row 0
    ("GOOD FILM?", "neg"),  # repeats row 0, contradicts it
    ("bad film", "neg"),
    ("Bad film.", "pos"),  # repeats and contradicts row 3
    ("fine", "pos"),
    ("좋다 🙂", "pos"),
    ("좋다 🙁", "neg"),  # another face is another text
    ("...", "neg"),
    ("?!", "pos"),  # nothing but punctuation: compared as it stands
]


def examples(rows=ROWS) -> Examples:
    return Examples.from_lists([text for text, _ in rows], [label for _, label in rows])


def test_by_hand():
    report = label_report(examples())
    assert (report.examples, report.counts) == (10, {"neg": 4, "pos": 6})
    assert (report.majority, report.imbalance) == (0.6, 1.5)
    assert (report.repeats, report.conflicting, report.conflicting_examples) == (3, 2, 5)
    assert [(c.text, c.labels) for c in report.conflicts] == [
        ("Good film!", {"neg": 1, "pos": 2}),
        ("bad film", {"neg": 1, "pos": 1}),
    ]
    left = without_repeats(examples())
    assert left.texts.tolist() == ["Good film!", "bad film", "fine", "좋다 🙂", "좋다 🙁", "...", "?!"]
    assert left.label_names == ["pos", "neg", "pos", "pos", "neg", "neg", "pos"]


def test_a_pair_repeats_only_if_both_texts_do_and_in_the_same_order():
    pairs = Examples.from_lists(["a b", "a", "A, b!", "c"], ["x", "y", "y", "x"], text_pairs=["c", "b c", "C", "a b"])
    assert text_keys(pairs) == ["ab\nc", "a\nbc", "ab\nc", "c\nab"]
    report = label_report(pairs)
    assert (report.repeats, report.conflicts[0].text) == (1, "a b / c")


def test_keys_of_full_width_and_composed_letters():
    assert text_key("ＡＢＣ") == text_key("abc")
    assert text_key("한글") == text_key("한글")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", "x"), ("b", "x")], "every row has the label 'x'"),
        ([("Same!", "x"), ("same", "y"), ("SAME", "x")], "all 3 rows hold the same text"),
        ([(f"text {i}", str(i)) for i in range(50)], "50 different labels in 50 rows"),
        ([("a", ["x", "y"]), ("b", ["y"])], "one label a text"),
    ],
)
def test_nothing_to_advise_on(rows, message):
    with pytest.raises(UserError, match=message):
        label_report(examples(rows))
    with pytest.raises(UserError, match="has no labels"):
        label_report(Examples.from_lists(["a", "b"]))
