"""Entity scores, against seqeval and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tl_keras import UserError, evaluate
from tl_keras.data import TaggedExamples
from tl_keras.data.tags import spans_of_tags
from tl_keras.evaluation.classification import in_words, span_report
from tl_keras.serving.tagger import Tagger

pytestmark = pytest.mark.one_keras

LABELS = ["A", "B", "C"]


def random_taggings(rng, prefixes: str, texts: int = 30):
    tags = ["O"] + [f"{p}-{label}" for p in prefixes for label in LABELS]
    return [[tags[i] for i in rng.integers(len(tags), size=rng.integers(0, 12))] for _ in range(texts)]


@pytest.mark.parametrize("prefixes", ["BI", "BIES"])
def test_the_same_as_seqeval_on_random_taggings(prefixes):
    seqeval = pytest.importorskip("seqeval.metrics")
    rng = np.random.default_rng(4)
    for _ in range(20):
        true = random_taggings(rng, prefixes)
        # Half of the tags right, so that there is something to count.
        predicted = [
            [t if rng.random() < 0.5 else p for t, p in zip(row, other, strict=True)]
            for row, other in zip(
                true, ([*r] for r in [random_row(rng, prefixes, len(row)) for row in true]), strict=True
            )
        ]
        report = span_report(
            [spans_of_tags(row)[0] for row in true], [spans_of_tags(row)[0] for row in predicted], LABELS
        )
        assert report.precision == pytest.approx(seqeval.precision_score(true, predicted))
        assert report.recall == pytest.approx(seqeval.recall_score(true, predicted))
        assert report.f1 == pytest.approx(seqeval.f1_score(true, predicted))
        assert report.macro_f1 == pytest.approx(seqeval.f1_score(true, predicted, average="macro"))
        table = seqeval.classification_report(true, predicted, output_dict=True)
        for label, row in report.per_label.iterrows():
            assert row.to_dict() == pytest.approx(
                {"precision": table[label]["precision"], "recall": table[label]["recall"],
                 "f1": table[label]["f1-score"], "support": table[label]["support"]}
            )  # fmt: skip


def random_row(rng, prefixes: str, length: int) -> list[str]:
    tags = ["O"] + [f"{p}-{label}" for p in prefixes for label in LABELS]
    return [tags[i] for i in rng.integers(len(tags), size=length)]


def test_by_hand():
    true = [[(0, 1, "A"), (2, 4, "B")], [(0, 3, "A")], []]
    predicted = [[(0, 1, "A"), (2, 3, "B")], [(0, 3, "B")], [(1, 2, "A")]]
    report = span_report(true, predicted, LABELS)
    # One of four predicted, one of three there.
    assert (report.precision, report.recall, report.f1) == (1 / 4, 1 / 3, pytest.approx(2 / 7))
    assert report.per_label.loc["A"].tolist() == [1 / 2, 1 / 2, 1 / 2, 2]
    assert report.per_label.loc["B"].tolist() == [0, 0, 0, 1]
    assert report.macro_f1 == 0.25  # C occurs nowhere
    assert report.to_dict()["per_label"]["A"]["f1"] == 0.5
    assert "0.2857" in str(report)


def test_nothing_there_and_nothing_found():
    report = span_report([[]], [[]], LABELS)
    assert (report.f1, report.macro_f1, report.entities) == (0.0, 0.0, 0)


def test_in_words():
    words = [(0, 4), (5, 7), (8, 10)]
    assert in_words([(2, 4, "X"), (6, 9, "Y")], words) == [(0, 1, "X"), (1, 3, "Y")]
    assert in_words([(0, 1, "X"), (2, 6, "Y")], words) == [(0, 1, "X"), (1, 2, "Y")]
    assert in_words([(0, 1, "X"), (2, 3, "Y")], words) == [(0, 1, "X")]
    assert in_words([], words) == []


class Fixed(Tagger):
    """Finds what it is told to."""

    def __init__(self, found):
        self.found, self.labels = found, ("LOC", "PER")

    def entities(self, texts, batch_size=64):
        return [[dict(zip(("start", "end", "label"), e, strict=True)) for e in self.found[text]] for text in texts]


def test_words_are_scored_as_words_and_spans_as_spans():
    words = TaggedExamples.from_words([["Ada", "in", "New", "York."]], [["B-PER", "O", "B-LOC", "I-LOC"]])
    found = {"Ada in New York.": [(0, 2, "PER"), (7, 15, "LOC")]}
    report = evaluate(Fixed(found), words)
    assert (report.f1, report.compared) == (1.0, "words")
    spans = TaggedExamples.from_spans(words.texts.tolist(), [[(0, 3, "PER"), (7, 15, "LOC")]])
    report = evaluate(Fixed(found), spans)
    assert (report.f1, report.compared) == (0.5, "characters")


def test_what_cannot_be_scored():
    with pytest.raises(UserError, match=r"labels \['DATE'\] are not among those of the model"):
        evaluate(Fixed({}), TaggedExamples.from_spans(["now"], [[(0, 3, "DATE")]]))
    with pytest.raises(UserError, match="no entities to compare"):
        evaluate(Fixed({}), TaggedExamples.from_spans(["now"]))
