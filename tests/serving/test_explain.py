"""Weights of words: those that can be worked out by hand, what they sum to, and how they are shown."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tl_keras import UserError, explain
from tl_keras.serving.explain import delete_words, find_words, shapley_values
from tl_keras.serving.scorers import Classifier, Regressor


class ByWords(Classifier):
    """A classifier that adds up what words bring, and has one rule for two words together."""

    folder, classes, multi_label = "by-words", ("bad", "good"), False
    WORTH = {"great": 0.2, "dull,": -0.1, "plot": 0.0, "actors!": 0.05}  # noqa: RUF012

    def __init__(self):
        self.asked = 0

    def scores(self, texts, text_pairs=None, batch_size=64):
        self.asked += len(texts)
        good = []
        for text in texts:
            words = text.split()
            score = 0.4 + sum(self.WORTH.get(word, 0.0) for word in words)
            # Not bad is good: neither word says so alone.
            score += 0.3 * ("not" in words and "bad" in words)
            good.append(score)
        return np.array([[1 - score, score] for score in good], "float32")


def test_weights_by_hand():
    found = explain(ByWords(), "not  bad, no: great plot\tnot bad", label="good")
    assert (found.label, found.score, found.base) == ("good", pytest.approx(0.9), pytest.approx(0.4))
    weights = found.words.weight.tolist()
    # Two "not" stand for each other: in every order the first to come with "bad" brings 0.3. Of the orders of {not, not, bad}
    # "bad" comes last in 2 of 6 and second in 2 of 6, when it completes the pair; each "not" completes it in 1 of 6.
    assert found.words.word.tolist() == ["not", "bad,", "no:", "great", "plot", "not", "bad"]
    assert weights == pytest.approx([0.05, 0, 0, 0.2, 0, 0.05, 0.2], abs=1e-6)
    assert (found.words.error == 0).all()
    assert [found.texts[0][row.start : row.end] for row in found.words.itertuples()] == found.words.word.tolist()
    against = explain(ByWords(), "not  bad, no: great plot\tnot bad", label="bad")
    assert against.words.weight.tolist() == pytest.approx([-w for w in weights], abs=1e-6)


def test_long_texts_are_sampled_and_still_sum_up():
    text = " ".join(["filler"] * 20 + ["not", "great", "bad"])
    model = ByWords()
    found = explain(model, text, evaluations=1500)
    assert found.label == "good"
    assert found.words.weight.sum() == pytest.approx(found.score - found.base, abs=1e-5)
    by_word = dict(zip(found.words.word, zip(found.words.weight, found.words.error, strict=True), strict=True))
    assert by_word["great"] == (pytest.approx(0.2, abs=1e-5), pytest.approx(0, abs=1e-5))
    for word in ("not", "bad"):
        weight, error = by_word[word]
        assert abs(weight - 0.15) < 4 * error + 1e-6
        assert error < 0.03
    assert model.asked < 1700
    long = explain(ByWords(), " ".join(["great"] + ["filler"] * 599), evaluations=500)
    # 600 words in 120 runs of five, of which the first brings 0.2.
    assert long.words.weight.tolist() == pytest.approx([0.04] * 5 + [0.0] * 595, abs=1e-6)


def test_shapley_values_of_a_game_of_three():
    # The glove game: one left glove, two right ones; only a pair is worth something.
    def worth(sets):
        return [float(bool(s & 1) and bool(s & 6)) for s in sets]

    assert shapley_values(worth, 3, 10)[0].tolist() == pytest.approx([2 / 3, 1 / 6, 1 / 6])


def test_words_are_found_and_deleted():
    texts = ("a dull  plot", "영화를만드는사람들")
    words = find_words(texts)
    assert [texts[n][s:e] for n, s, e in words] == ["a", "dull", "plot", *"영화를만드는사람들"]
    assert delete_words(texts, words, [0, 2, *range(3, 12)]) == ("a plot", texts[1])
    assert delete_words(texts, words, [1, 3]) == ("dull", "영")
    assert delete_words(("a b",), find_words(("a b",)), []) == ("",)


def test_similarity_of_two_texts():
    class Overlap(Regressor):
        def scores(self, texts, text_pairs=None, batch_size=64):
            return np.array(
                [len(set(a.split()) & set(b.split())) for a, b in zip(texts, text_pairs, strict=True)], "float32"
            )

    found = explain(Overlap(None, (0, 5), True, "overlap"), "the old film", "an old song")
    # "old" counts only while it stands in both.
    assert found.words.weight.tolist() == pytest.approx([0, 0.5, 0, 0, 0.5, 0])
    assert (found.label, found.words.text.tolist()) == (None, [0, 0, 0, 1, 1, 1])
    with pytest.raises(UserError, match="has no labels"):
        explain(Overlap(None, (0, 5), True, "overlap"), "a", "b", label="x")


def test_how_it_is_shown():
    found = explain(ByWords(), "great <b>film</b> dull, \x1b[31m", label="good")
    page, screen = found._repr_html_(), found.to_terminal()
    assert "<b>" not in page
    assert "&lt;b&gt;film&lt;/b&gt;" in page
    # The strongest word is the greenest; against the label is red.
    assert 'title="+0.2000" style="background: rgb(105, 255, 105)' in page
    assert "rgb(255, 180, 180)" in page
    assert "\x1b[31m" not in screen
    assert "\x1b[48;2;105;255;105m\x1b[30mgreat\x1b[0m" in screen
    assert str(found).splitlines()[0] == "good 0.5000 (0.4000 without any word)"
    assert str(found).splitlines()[3].split() == ["great", "+0.2000", "+0.0000"]
    assert json.loads(json.dumps(found.to_dict()))["words"][0]["word"] == "great"
    for args, message in [
        ((" ",), "no word in the text"),
        ((["a"],), "one text at a time"),
    ]:
        with pytest.raises(UserError, match=message):
            explain(ByWords(), *args)
    with pytest.raises(UserError, match="has no label 'fine'; its labels are: bad, good"):
        explain(ByWords(), "a", label="fine")
