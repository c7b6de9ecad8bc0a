"""What carries a tag: the same tokens, whether the words of a file are joined as a file has them or as people write."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tl_keras.data import TaggedExamples
from tl_keras.text.tag_units import decode_spans, make_units, tags_of_units
from tl_keras.text.tagging_batches import tagged_windows

pytestmark = pytest.mark.one_keras

# Each word with its tag, and whether it is written right behind the one before.
SENTENCES = [
    [("(", "O", 0), ("Kim", "B-PER", 1), (")", "O", 1), ("flew", "O", 0), ("to", "O", 0), ("Seoul", "B-LOC", 0), (".", "O", 1)],
    [("U.S.", "B-LOC", 0), ("'s", "O", 1), ("film", "O", 0), ("!", "O", 1)],
    [("“", "O", 0), ("New", "B-LOC", 1), ("York", "I-LOC", 0), ("”", "O", 1), (",", "O", 1), ("Yahoo!", "B-ORG", 0), ("...", "O", 1)],
    [("영화", "B-ART", 0), ("(", "O", 1), ("2019", "B-DAT", 1), (")", "O", 1), ("😀", "O", 1), ("Ann-Lee", "B-PER", 0), ("/", "O", 1), ("Bo", "B-PER", 1)],
]  # fmt: skip


def joined(sentence) -> tuple[str, list[tuple[int, int, str]]]:
    """A sentence as people write it, and its spans in characters."""
    text, spans = "", []
    for word, tag, glued in sentence:
        text += "" if glued or not text else " "
        if tag[0] == "I":
            start, _, label = spans.pop()
            spans.append((start, len(text) + len(word), label))
        elif tag != "O":
            spans.append((len(text), len(text) + len(word), tag[2:]))
        text += word
    return text, spans


@pytest.fixture
def forms():
    by_words = TaggedExamples.from_words(
        [[w for w, *_ in s] for s in SENTENCES], [[t for _, t, _ in s] for s in SENTENCES]
    )
    raw = [joined(sentence) for sentence in SENTENCES]
    return by_words, TaggedExamples.from_spans([text for text, _ in raw], [spans for _, spans in raw])


def test_the_same_tokens_carry_the_same_tags_in_raw_text(encoder, forms):
    by_words, raw = forms
    assert raw.texts[0] == "(Kim) flew to Seoul."
    found = [tagged_windows(examples, encoder.offset_tokenizer, by_words.tag_set, 64) for examples in forms]
    for a, b in zip(found[0].ids, found[1].ids, strict=True):
        assert a.tolist() == b.tolist()
    for a, b in zip(found[0].tags, found[1].tags, strict=True):
        assert a.tolist() == b.tolist()
    assert (found[1].spans, found[1].learnable) == (9, 9)


def decoded(encoder, examples, tag_set, tags_of):
    """What comes out where every unit is given its right tag for sure."""
    texts = tf.constant(examples.texts.tolist())
    tokens = encoder.offset_tokenizer(texts)
    units = make_units(tokens, tag_set, texts)
    spans = decode_spans(tf.one_hot(tags_of(units), len(tag_set.tags)), units, len(examples), tag_set)
    names = [[name.decode() for name in row] for row in spans["labels"].numpy()]
    return [
        list(zip(starts[:n], ends[:n], labels[:n], strict=True))
        for starts, ends, labels, n in zip(
            spans["starts"].numpy(), spans["ends"].numpy(), names, spans["count"].numpy(), strict=True
        )
    ]


def test_spans_end_where_the_entity_ends(encoder, forms):
    tag_set = forms[0].tag_set
    for examples in forms:
        number = {label: i for i, label in enumerate(tag_set.labels)}
        rows = [[(s.start, s.end, number[s.label]) for s in spans] for spans in examples.spans]
        flat = np.array([span for row in rows for span in row], "int32")
        ragged = tf.RaggedTensor.from_row_lengths(flat, [len(row) for row in rows])
        found = decoded(encoder, examples, tag_set, lambda units, ragged=ragged: tags_of_units(units, ragged, tag_set))
        assert found == [[tuple(span) for span in spans] for spans in examples.spans]


def test_plain_tags_of_raw_text(encoder):
    examples = TaggedExamples.from_words([["Kim's", "U.S.", "film", "."]], [["NOUN", "NOUN", "NOUN", "PUNCT"]])
    tag_set = examples.tag_set
    noun, mark = tag_set.tags.index("NOUN"), tag_set.tags.index("PUNCT")
    # A word with marks inside stays one span; words that stand apart stay two.
    found = decoded(encoder, examples, tag_set, lambda units: tf.constant([noun] * 8 + [mark]))
    assert found == [[(0, 5, "NOUN"), (6, 10, "NOUN"), (11, 15, "NOUN"), (16, 17, "PUNCT")]]
    raw = TaggedExamples.from_spans(["film."], [[]])
    assert decoded(encoder, raw, tag_set, lambda units: tf.constant([noun, mark])) == [
        [(0, 4, "NOUN"), (4, 5, "PUNCT")]
    ]
