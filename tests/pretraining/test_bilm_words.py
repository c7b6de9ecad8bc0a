"""The words of a biLM's corpus and the batches made of them, by hand-counted values."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tl_keras.encoders.word_vectors.word_vectors import count_words
from tl_keras.errors import UserError
from tl_keras.pretraining.batches import Place
from tl_keras.pretraining.bilm.sampled_softmax import draw_negatives
from tl_keras.pretraining.bilm.word_batches import BEGIN, END, UNKNOWN, SentenceBatches, make_lexicon
from tl_keras.pretraining.corpus import scan_corpus
from tl_keras.pretraining.settings import BilmSettings, parse_filters
from tl_keras.pretraining.token_files import TokenFile, prepare_token_files

pytestmark = pytest.mark.one_keras

TEXTS = ["the film was good", "the film was bad .", "the plot", "The <S> end"]


def test_rare_words_are_read_but_not_predicted():
    lexicon = make_lexicon(count_words(TEXTS), min_count=2)
    # the 3, film 2, was 2; equally frequent words by their letters; <S> in a text is < and S and >
    assert lexicon.predicted == ["<S>", "</S>", "<UNK>", "the", "film", "was"]
    assert set(lexicon.vocabulary[6:]) == {"good", "bad", ".", "plot", "The", "<", "S", ">", "end"}
    ids = lexicon.encode(["the plot was new"])[0]
    assert [lexicon.vocabulary[i] for i in ids] == ["the", "plot", "was", "<UNK>"]
    assert lexicon.targets(np.array(ids)).tolist() == [3, UNKNOWN, 5, UNKNOWN]
    only = make_lexicon(count_words(TEXTS, lower_case=True), vocab_size=4, lower_case=True, only_predicted=True)
    assert only.vocabulary == only.predicted == ["<S>", "</S>", "<UNK>", "the"]
    assert only.encode(["THE plot"]) == [[3, UNKNOWN]]


@pytest.mark.parametrize(
    ("texts", "options", "reason"),
    [
        (TEXTS, {"vocab_size": 50}, r"vocabulary of 6 words at most \(seen 2 times or more\), but --vocab-size is 50"),
        (TEXTS, {"vocab_size": 3}, "leaves no room beside the 3 special words"),
        (["all words differ", "  ", ""], {}, "no word of the corpus occurs 2 times or more"),
    ],
)
def test_a_vocabulary_that_cannot_be(texts, options, reason):
    with pytest.raises(UserError, match=reason):
        make_lexicon(count_words(texts), **options)


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    """160 lines of 1 to 16 words, whose words are numbered by line."""
    folder = tmp_path_factory.mktemp("lines")
    (folder / "t.txt").write_text("".join(f"w{n} " * (1 + n % 16) + "\n\n" for n in range(160)), encoding="utf-8")
    lexicon = make_lexicon(count_words((folder / "t.txt").read_text("utf-8").splitlines()), min_count=1)
    return prepare_token_files(folder / "tokens", [scan_corpus(folder / "t.txt")], lexicon, heldout_fraction=0.0).train


def test_an_epoch_has_every_word_once_and_little_padding(part):
    batches = SentenceBatches(part, token_budget=90, seed=3)
    place, seen, places, real, padded = Place(max_length=10), [], [], 0, 0
    stream = batches.from_place(place)
    while place.epoch == 0:
        place, batch = next(stream)
        places.append(place)
        assert batch.ids.size <= 90
        rows = [row[:length] for row, length in zip(batch.ids, batch.lengths, strict=True)]
        assert all(row[0] == BEGIN and row[-1] == END and len(row) <= 12 for row in rows)
        assert (batch.ids[np.arange(batch.ids.shape[1]) >= batch.lengths[:, None]] == END).all()
        assert batch.predictions == sum(len(row) - 1 for row in rows)
        seen += [word for row in rows for word in row[1:-1]]
        real, padded = real + sum(batch.lengths), padded + batch.ids.size
    assert sorted(seen) == sorted(part.tokens.tolist())
    assert real / padded > 0.9
    _, resumed = next(batches.from_place(places[3]))
    np.testing.assert_array_equal(resumed.ids, _nth(batches, 4)[1].ids)
    first, later = _nth(batches, 0)[1].ids, _nth(batches, len(places))[1].ids
    assert first.shape != later.shape or (first != later).any(), "the second epoch has another order"


def _nth(batches, number):
    stream = batches.from_place(Place(max_length=10))
    for _ in range(number):
        next(stream)
    return next(stream)


def test_drawn_words_follow_the_log_uniform_law():
    k, draws = np.arange(7), 200_000
    expected = np.log((k + 2) / (k + 1)) / np.log(8)
    assert expected.sum() == pytest.approx(1.0)
    ids, offsets = draw_negatives(np.random.default_rng(0), draws, 7)
    assert ids.tolist() == list(range(7))
    # how often each was drawn, over how often it is on average: 1, but for chance
    deviation = np.sqrt((1 - expected) / expected / draws)
    assert (np.abs(np.exp(offsets) - 1.0) < 4 * deviation).all()
    assert (np.exp(offsets) * expected).sum() == pytest.approx(1.0, rel=1e-5)
    assert [len(part) for part in draw_negatives(np.random.default_rng(0), 0, 0)] == [0, 0]


def test_a_batch_of_the_same_place_draws_the_same(part):
    first, second = (_nth(SentenceBatches(part, 90, samples=5, vocabulary_size=40, seed=1), 2)[1] for _ in "ab")
    for name in ("ids", "lengths", "seed"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    np.testing.assert_array_equal(first.negatives.ids, second.negatives.ids)
    assert 0 < len(first.negatives.ids) <= 5


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"corpus": ()}, "give text with --corpus"),
        ({"tokens": "tokens"}, "is not known; choose one of: chars, words"),
        ({"vectors": "v.txt"}, "give --tokens words with them"),
        ({"layers": 1}, "--layers must be at least 2"),
        ({"dropout": 1.0}, "at least 0 and below 1"),
        ({"batch_tokens": 65}, "less than one row of --max-length 64"),
        ({"licences": ("CC0", "MIT")}, "2 --licence for 1 --corpus"),
        ({"filters": ((1, 0),)}, "--filters needs pairs"),
    ],
)
def test_settings_that_contradict(changes, reason):
    with pytest.raises(UserError, match=reason):
        BilmSettings(**{"out": "o", "corpus": ("c.txt",), "steps": 1, **changes})


def test_settings_come_back_and_a_bert_run_is_told_apart(tmp_path):
    settings = BilmSettings(out=str(tmp_path), corpus=("c.txt",), steps=5, filters=parse_filters("1:2,3:4"))
    (tmp_path / "config.json").write_text(json.dumps(settings.as_dict() | {"kind": "bilm", "versions": {}}))
    assert BilmSettings.resumed(tmp_path) == settings
    assert BilmSettings.resumed(tmp_path, minutes=2.0).steps is None
    (tmp_path / "config.json").write_text(json.dumps({"layers": 4}))
    with pytest.raises(UserError, match="holds a run of bert, not of bilm"):
        BilmSettings.resumed(tmp_path)
    with pytest.raises(UserError, match="write WIDTH:NUMBER"):
        parse_filters("3")
    assert settings.sample_count(5000) == 0
    assert settings.sample_count(5001) == 2048


def test_long_sentences_fill_several_rows():
    from tl_keras.pretraining.bilm.word_batches import sentence_rows

    part = TokenFile(np.arange(7), np.array([0, 7]), np.array([0, 1]), np.array([0, 1]))
    assert sentence_rows(part, np.array([0]), 3).tolist() == [[0, 3], [3, 6], [6, 7]]
