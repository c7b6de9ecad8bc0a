"""Taggers: tags of units, windows, decoding, what is learned, and that predictions are slices of the text."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tl_keras import UserError, load_encoder, predict, token_classifier
from tl_keras._keras import keras
from tl_keras.data import TaggedExamples, TagSet
from tl_keras.models.heads import MaskedAccuracy, masked_crossentropy
from tl_keras.text.tag_units import allowed_transitions, best_tags
from tl_keras.text.windows import make_windows


def tags_of(encoder, examples, tag_set=None, **options) -> list[list[str]]:
    """The tags in a batch as names, `.` where masked, special tokens and padding among them."""
    _, tags = next(iter(encoder.tagging_batches(examples, tag_set=tag_set, **options)))
    names = (tag_set or examples.tag_set).tags
    return [["." if tag < 0 else names[tag] for tag in row] for row in tags.numpy()]


def test_first_tokens_carry_the_words_tags(encoder):
    examples = TaggedExamples.from_words([["the", "film", "filmgood", "x."]], [["O", "B-A", "I-A", "B-B"]])
    # [CLS] the film film ##g ##o ##o ##d x . [SEP], and padding to 12. The full stop belongs to the word "x." in the file, but could end it.
    assert tags_of(encoder, examples) == [[".", "O", "B-A", "I-A", *"....", "B-B", "I-B", *".."]]


def test_all_tokens_carry_tags_and_spans_end_inside_words(encoder):
    # 재미있다 = 재미 ##있다: the entity is only the first token.
    examples = TaggedExamples.from_spans(["영화 재미있다!"], [[(0, 2, "A"), (3, 5, "A")]])
    assert tags_of(encoder, examples)[0][:7] == [".", "B-A", "B-A", "O", "O", ".", "."]
    longer = TaggedExamples.from_spans(["영화 재미있다!"], [[(0, 7, "A")]])
    assert tags_of(encoder, longer)[0][:7] == [".", "B-A", "I-A", "I-A", "O", ".", "."]


def test_plain_tags(encoder):
    examples = TaggedExamples.from_words([["good", "film", "the"]], [["ADJ", "NOUN", "O"]])
    assert tags_of(encoder, examples)[0][:5] == [".", "ADJ", "NOUN", "O", "."]


def test_windows_cover_every_token_once_as_best():
    rng = np.random.default_rng(0)
    for size, step in ((4, 3), (8, 6), (5, 5), (6, 1)):
        counts = [*rng.integers(0, 40, size=12), 0, size, size + 1]
        windows = make_windows(tf.constant(counts), size, step)
        places = windows.places.to_list()
        starts = np.cumsum([0, *counts])
        assert sorted({p for window in places for p in window}) == list(range(starts[-1]))
        for token, (window, place) in enumerate(
            zip(windows.best_window.numpy(), windows.best_place.numpy(), strict=True)
        ):
            assert places[window][place] == token
            text = int(np.searchsorted(starts, token, side="right")) - 1
            # Context lost on either side is never more than an overlap's half, unless the text ends there.
            left, right = place, len(places[window]) - 1 - place
            need = (size - step) // 2
            assert left >= min(need, token - starts[text])
            assert right >= min(need, starts[text + 1] - 1 - token)
        for window in places:
            assert len(window) <= size
            assert window == list(range(window[0], window[0] + len(window))) if window else True


def test_long_texts_are_not_cut(encoder):
    words = ["film", "good"] * 50
    examples = TaggedExamples.from_words([words, ["the"]], [["O", "B-A"] * 50, ["O"]])
    dataset = encoder.tagging_batches(examples, batch_size=16)
    batches = list(dataset)
    assert len(batches) == int(dataset.cardinality()) == 1
    inputs, tags = batches[0]
    # 100 tokens in windows of 30, a new one every 23: 1 + ceil(70 / 23) = 5, and one for the other text.
    assert tags.shape == (6, 32)
    # Each batch is as long as its longest window, unless it is asked otherwise.
    assert dataset.element_spec[1].shape.as_list() == [None, None]
    good = inputs["input_word_ids"].numpy() == 5
    assert np.all(tags.numpy()[good] == 1)
    assert good.sum() >= 50


def test_best_tags_are_those_of_exhaustive_search():
    tag_set = TagSet(("X", "Y"))
    allowed = allowed_transitions(tag_set)
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet(np.full(5, 0.4), size=(40, 5)).astype("float32")
    lengths = rng.integers(0, 6, size=40)
    found = best_tags(tf.constant(probabilities), tf.constant(lengths), allowed).numpy()
    for p, length, tags in zip(probabilities, lengths, found, strict=True):
        best, score = None, -1.0
        for path in itertools.product(range(5), repeat=int(length)):
            names = ["O", *(tag_set.tags[t] for t in path)]
            legal = all(b[0] != "I" or a[2:] == b[2:] for a, b in itertools.pairwise(names))
            value = float(np.prod([p[i, t] for i, t in enumerate(path)]))
            if legal and value > score:
                best, score = path, value
        assert tuple(tags[:length]) == best


def test_loss_and_accuracy_leave_masked_tokens_out():
    rng = np.random.default_rng(2)
    p = rng.dirichlet(np.ones(3), size=(2, 4)).astype("float32")
    tags = np.array([[0, 2, -1, -1], [-1, 1, 1, -1]])
    at = tags >= 0
    expected = -np.log(p[at][np.arange(4), tags[at]]).mean()
    losses = masked_crossentropy(tf.constant(tags), tf.constant(p))
    assert losses.shape == (2,)
    assert float(tf.reduce_mean(losses)) == pytest.approx(expected, rel=1e-6)
    metric = MaskedAccuracy()
    metric.update_state(tf.constant(tags), tf.constant(p))
    assert float(metric.result()) == pytest.approx((p[at].argmax(-1) == tags[at]).mean())
    # Half precision in, as under mixed precision, and no tag at all.
    assert float(masked_crossentropy(tf.constant([[-1]]), tf.constant([[[1.0, 0.0]]], tf.float16))[0]) == 0.0


@pytest.fixture(scope="module")
def tagged():
    """Sixty texts: "music" and what follows is a PER, "actor" a LOC; the Korean ones have particles."""
    rng = np.random.default_rng(5)
    filler = ["the", "film", "was", "a", "very", "it", "i", "this", "is"]
    texts, entities = [], []
    for row in range(60):
        text, spans = "", []
        for _ in range(rng.integers(2, 6)):
            kind = rng.integers(4)
            start = len(text)
            if kind == 0:
                text += "music good"
                spans.append((start, len(text), "PER"))
            elif kind == 1:
                text += "음악있다" if row % 2 else "actor"
                spans.append((start, start + (2 if row % 2 else 5), "LOC"))
            else:
                text += filler[rng.integers(len(filler))]
            text += " "
        texts.append(text + ".")
        entities.append(spans)
    return TaggedExamples.from_spans(texts, entities)


@pytest.fixture(scope="module")
def trained(tiny_pair, tagged):
    keras.utils.set_random_seed(0)
    encoder = load_encoder(str(tiny_pair), seq_length=32)
    model = token_classifier(encoder, tagged.tag_set, learning_rate=2e-2)
    # One epoch of all texts twelve times: quicker than twelve epochs.
    often = tagged.take(np.tile(np.arange(len(tagged)), 12))
    model.fit(encoder.tagging_batches(often, training=True, batch_size=8), epochs=1, verbose=0)
    return model


def test_it_learns_and_speaks_in_slices_of_the_text(trained, tagged):
    frame = predict(trained, tagged.texts.tolist())
    assert frame.columns.tolist() == ["text", "entities"]
    found = {(row, e["start"], e["end"], e["label"]) for row, es in enumerate(frame.entities) for e in es}
    there = {(row, *span) for row, spans in enumerate(tagged.spans) for span in spans}
    assert len(found & there) / len(found | there) >= 0.9
    for text, es in zip(frame.text, frame.entities, strict=True):
        assert all(e["text"] == text[e["start"] : e["end"]] for e in es)


def test_a_long_text_is_tagged_as_its_parts_are(trained):
    part = "the music good was the actor . "
    (alone,) = predict(trained, [part]).entities
    assert [e["label"] for e in alone] == ["PER", "LOC"]
    (long,) = predict(trained, [part * 40]).entities
    assert len(long) >= 70
    spots = [
        (40 * 0 + i * len(part) + e["start"], i * len(part) + e["end"], e["label"]) for i in range(40) for e in alone
    ]
    assert len({(e["start"], e["end"], e["label"]) for e in long} & set(spots)) >= 70
    assert all(a["end"] <= b["start"] for a, b in itertools.pairwise(long))


@pytest.mark.parametrize(
    "text",
    ["", "   ", "\u200b", "🙂🙂🙂", "👩\u200d👩\u200d👧", "e\u0301" * 40, "\x00\r\n\t", "영" * 200],
    ids=range(8),
)
def test_odd_texts(trained, text):
    (found,) = predict(trained, [text]).entities
    assert all(e["text"] == text[e["start"] : e["end"]] and e["text"].strip() for e in found)


def test_no_texts_and_wrong_calls(trained):
    assert predict(trained, []).columns.tolist() == ["text", "entities"]
    with pytest.raises(UserError, match="not one string"):
        predict(trained, "a text")
    with pytest.raises(UserError, match="not pairs"):
        predict(trained, ["a"], ["b"])


def test_a_hundred_thousand_characters(trained):
    (found,) = predict(trained, ["the music good " * 6700]).entities
    assert len(found) > 5000
    assert found[-1]["end"] > 100_000 - 30


def test_batch_size_and_neighbours_do_not_matter(trained, tagged):
    texts = tagged.texts[:9].tolist()
    together = predict(trained, texts, batch_size=9).entities.tolist()
    apart = [predict(trained, [text]).entities[0] for text in texts]
    for one, other in zip(together, apart, strict=True):
        assert [(e["start"], e["end"], e["label"]) for e in one] == [(e["start"], e["end"], e["label"]) for e in other]
        np.testing.assert_allclose([e["score"] for e in one], [e["score"] for e in other], atol=1e-5)


def test_saved_and_loaded_it_predicts_the_same(trained, tagged, tmp_path):
    trained.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    texts = tagged.texts[:6].tolist()
    assert [[e["start"] for e in es] for es in predict(loaded, texts).entities] == [
        [e["start"] for e in es] for es in predict(trained, texts).entities
    ]


def test_a_frozen_encoder_keeps_its_weights(encoder, tagged):
    model = token_classifier(encoder, tagged.tag_set, "freeze", learning_rate=1e-2)
    layer, head = model.get_layer("encoder"), model.get_layer("logits")
    before, head_before = [w.numpy() for w in layer.weights], head.kernel.numpy()
    model.fit(encoder.tagging_batches(tagged, training=True), epochs=1, verbose=0)
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(before, layer.weights, strict=True))
    assert not np.array_equal(head_before, head.kernel.numpy())


def test_wrong_options(encoder, tagged):
    with pytest.raises(UserError, match="choose one of: first, all"):
        TagSet(("A",), tokens="some")
    with pytest.raises(UserError, match="below 1"):
        token_classifier(encoder, ["A"], dropout=1.0)
    with pytest.raises(UserError, match="labels must be a list"):
        token_classifier(encoder, "PER")
    with pytest.raises(UserError, match="cannot overlap by 30"):
        encoder.tagging_batches(tagged, overlap=30)
    with pytest.raises(UserError, match="not among those of the model"):
        encoder.tagging_batches(tagged, tag_set=TagSet(("PER",)))
    with pytest.raises(UserError, match="no entities to learn from"):
        encoder.tagging_batches(TaggedExamples.from_spans(["a"]))
