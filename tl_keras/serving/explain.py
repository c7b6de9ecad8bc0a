"""Why this label? A weight for each word: its Shapley value, how much the score changes by it, over all orders of putting words in."""

from __future__ import annotations

import dataclasses
import html
import itertools
import math
import re
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from tl_keras.errors import UserError
from tl_keras.serving.predict import as_predictor
from tl_keras.serving.scorers import Classifier, Regressor, SentenceEncoder

EXACT_WORDS = 9
"""Up to so many words all subsets are scored (at most 512), and the weights are exact."""
MOST_WORDS = 120
"""In longer texts neighbouring words share a weight."""


@dataclasses.dataclass(frozen=True)
class Explanation:
    """What each word does to a score. In a notebook it shows the text in colours.

    Args:
        texts: the text, or the two texts of a pair.
        label: which label's score is explained; None for similarity.
        score: of the whole text: a probability, a number, or a cosine.
        base: of the text without any word; `score - base` is what all words bring together.
        words: table with `word`, `weight` (positive: speaks for the label), `error` (the standard error of the weight, 0 where it is exact),
            `text` (0, or 1 for the second of a pair), `start` and `end` (in characters).
    """

    texts: tuple[str, ...]
    label: str | None
    score: float
    base: float
    words: pd.DataFrame

    def to_dict(self) -> dict:
        """Plain numbers, lists and dicts."""
        return {
            "texts": list(self.texts),
            "label": self.label,
            "score": self.score,
            "base": self.base,
            "words": self.words.to_dict("records"),
        }

    def __str__(self) -> str:
        ordered = self.words.reindex(self.words.weight.abs().sort_values(ascending=False, kind="stable").index)
        table = ordered[["word", "weight", "error"]].assign(word=[_printable(word) for word in ordered.word])
        return f"{self._headline()}\n\n{table.to_string(index=False, float_format=lambda value: f'{value:+.4f}')}"

    def to_terminal(self) -> str:
        """The text with its words in colours, for terminals that have them: green speaks for the label, red against it."""
        lines = [_printable(self._headline())]
        for number, text in enumerate(self.texts):
            pieces = [
                _printable(plain)
                if weight is None
                else f"\x1b[48;2;{';'.join(map(str, _colour(weight)))}m\x1b[30m{_printable(plain)}\x1b[0m"
                for plain, weight in self._pieces(number, text)
            ]
            lines.append("".join(pieces))
        return "\n".join(lines)

    def to_html(self) -> str:
        """The same as HTML; what stands in the text is escaped."""
        parts = [f"<p>{html.escape(self._headline())}</p>"]
        for number, text in enumerate(self.texts):
            words = [
                html.escape(plain)
                if weight is None
                else f'<span title="{relative:+.4f}" style="background: rgb{_colour(weight)}; color: black">{html.escape(plain)}</span>'
                for plain, weight, relative in self._pieces(number, text, with_weight=True)
            ]
            parts.append(f'<p style="line-height: 1.8">{"".join(words)}</p>')
        return "\n".join(parts)

    _repr_html_ = to_html

    def _headline(self) -> str:
        what = "similarity" if self.label is None else self.label
        return f"{what} {self.score:.4f} ({self.base:.4f} without any word)"

    def _pieces(self, number: int, text: str, with_weight: bool = False):
        """The text cut at words: `(characters, weight from -1 to 1)`, None for what stands between words."""
        most = max(self.words.weight.abs().max(), 1e-12) if len(self.words) else 1.0
        at = 0
        for row in self.words[self.words.text == number].itertuples():
            for plain, weight in ((text[at : row.start], None), (text[row.start : row.end], row.weight)):
                if plain:
                    relative = None if weight is None else weight / most
                    yield (plain, relative, weight) if with_weight else (plain, relative)
            at = row.end
        if text[at:]:
            yield (text[at:], None, None) if with_weight else (text[at:], None)


def explain(
    model,
    text: str,
    text_pair: str | None = None,
    *,
    label: str | None = None,
    evaluations: int = 2000,
    seed: int = 0,
    batch_size: int = 64,
) -> Explanation:
    """Give each word of a text a weight: how much it brings to the score of a label, or to a similarity.

    The weights are Shapley values of a game in which words are deleted: they sum to the score of the text minus that of no text. Any model
    will do, for it is only asked; up to nine words the weights are exact, else they come from random orders of the words, each with its
    reverse.

    Args:
        model: a classifier, regressor or sentence encoder: a Keras model, a path to an export or a run folder, or what `load_exported` gave.
        text: the text; words stand between white space, or are single characters where there is none.
        text_pair: the second text, for models of pairs and for the cosine of a sentence encoder.
        label: whose score; by default the likeliest.
        evaluations: about how many texts the model is asked at most. More make the weights surer, see `error`.
        seed: of the orders.
        batch_size: texts at once.

    Raises:
        UserError: no words, no such label, or a model whose answers are no scores of the whole text.

    Source: Shapley values of words are those of Lundberg and Lee, "SHAP", https://arxiv.org/abs/1705.07874, section 4; sampled by orders
        as in Castro et al., https://doi.org/10.1016/j.cor.2008.04.004, with reversed orders of Mitchell et al.,
        https://arxiv.org/abs/2104.12199, section 3.1.

    Example:
        >>> model = tlk.few_shot_classifier(encoder, tlk.data.sample_per_class(reviews, 8), "nearest-mean")
        >>> explanation = explain(model, "a dull plot", evaluations=50)
        >>> explanation.words.word.tolist()
        ['a', 'dull', 'plot']
    """
    texts = (text,) if text_pair is None else (text, text_pair)
    for given in texts:
        if not isinstance(given, str):
            raise UserError(f"explain takes one text at a time, a string, not a {type(given).__name__}.")
    words = find_words(texts)
    if not words:
        raise UserError("there is no word in the text to explain.")
    score, label = _scorer(model, texts, label, batch_size)
    units = _grouped(len(words))
    known: dict[int, float] = {}

    def value(subsets: list[int]) -> list[float]:
        new = [subset for subset in dict.fromkeys(subsets) if subset not in known]
        kept = [[word for unit, group in enumerate(units) if subset >> unit & 1 for word in group] for subset in new]
        if new:
            known.update(zip(new, score([delete_words(texts, words, some) for some in kept]), strict=True))
        return [known[subset] for subset in subsets]

    weights, errors = shapley_values(value, len(units), evaluations, seed)
    whole, nothing = value([2 ** len(units) - 1, 0])
    size = [len(group) for group in units]
    table = pd.DataFrame(words, columns=["text", "start", "end"])
    table.insert(0, "word", [texts[number][start:end] for number, start, end in words])
    table.insert(1, "weight", np.repeat(weights / size, size))
    table.insert(2, "error", np.repeat(errors / size, size))
    return Explanation(texts, label, whole, nothing, table)


def shapley_values(
    value: Callable[[list[int]], list[float]], players: int, evaluations: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """What each player brings, on average over all orders in which they may come.

    Args:
        value: of sets of players, each an int whose bits say who is in it.
        players: how many there are.
        evaluations: about how many sets may be asked for at most.
        seed: of the orders.

    Returns:
        float `[players]`, and their standard errors: 0 where all sets were asked for.

    Example:
        >>> shapley_values(lambda sets: [3.0 * (s == 3) for s in sets], 2, 100)[0].tolist()
        [1.5, 1.5]
    """
    if players <= EXACT_WORDS:
        worth = np.array(value(list(range(2**players))))
        sizes = np.array([subset.bit_count() for subset in range(2**players)])
        found = []
        for player in range(players):
            without = np.array([subset for subset in range(2**players) if not subset >> player & 1])
            share = 1.0 / (players * np.array([math.comb(players - 1, int(size)) for size in sizes[without]]))
            found.append(float(np.sum(share * (worth[without | 1 << player] - worth[without]))))
        return np.array(found), np.zeros(players)
    rng = np.random.default_rng(seed)
    # Pairs of an order and its reverse: what one says too much of a word, the other says too little.
    pairs = max(evaluations // (2 * players), 2)
    gains = np.zeros((pairs, players))
    for pair in range(pairs):
        order = rng.permutation(players).tolist()
        for way in (order, order[::-1]):
            sets = list(itertools.accumulate(way, lambda subset, player: subset | 1 << player, initial=0))
            gains[pair, way] += np.diff(value(sets)) / 2
    return gains.mean(axis=0), gains.std(axis=0, ddof=1) / math.sqrt(pairs)


def find_words(texts: Sequence[str]) -> list[tuple[int, int, int]]:
    """The words of one or two texts: the text's number, first character, last character plus one.

    Example:
        >>> find_words(["a dull plot"])
        [(0, 0, 1), (0, 2, 6), (0, 7, 11)]
    """
    found = []
    for number, text in enumerate(texts):
        spans = [match.span() for match in re.finditer(r"\S+", text)]
        if len(spans) == 1 and len(text.split()[0]) > 8:
            # Chinese, Japanese: no white space between words.
            start, end = spans[0]
            spans = [(place, place + 1) for place in range(start, end)]
        found += [(number, *span) for span in spans]
    return found


def delete_words(texts: Sequence[str], words: Sequence[tuple[int, int, int]], kept: Sequence[int]) -> tuple[str, ...]:
    """The texts with some of their words only; what stands between words that are left stays."""
    left = set(kept)
    result = []
    for number, text in enumerate(texts):
        places = [(place, start, end) for place, (n, start, end) in enumerate(words) if n == number]
        parts = []
        for i, (place, start, end) in enumerate(places):
            if place in left:
                behind = places[i + 1][1] if i + 1 < len(places) else len(text)
                parts.append(text[start:end] + text[end:behind])
        result.append("".join(parts).rstrip() if len(parts) < len(places) else text)
    return tuple(result)


def _grouped(count: int) -> list[list[int]]:
    """Words, or where there are very many, runs of neighbouring words."""
    runs = min(count, MOST_WORDS)
    return [part.tolist() for part in np.array_split(np.arange(count), runs)]


def _scorer(model, texts: Sequence[str], label: str | None, batch_size: int) -> tuple[Callable, str | None]:
    """A function of texts that gives their scores, and the label whose scores these are."""
    predictor = as_predictor(model)

    def columns(rows):
        return [list(column) for column in zip(*rows, strict=True)]

    if isinstance(predictor, (Regressor, SentenceEncoder)):
        if label is not None:
            raise UserError("this model gives a number and has no labels; leave label out.")
        if isinstance(predictor, SentenceEncoder) and len(texts) == 1:
            raise UserError("a sentence encoder compares two texts: give the second one as text_pair.")
        ask = predictor.similarity if isinstance(predictor, SentenceEncoder) else predictor.scores
        return lambda rows: [float(x) for x in ask(*columns(rows), batch_size=batch_size)], None
    if not isinstance(predictor, Classifier):
        raise UserError(
            "only classifiers and models of similarity can be explained: this one answers with parts of the text."
        )

    def scores(rows) -> np.ndarray:
        given = columns(rows)
        return predictor.scores(given[0], given[1] if len(given) > 1 else None, batch_size)

    classes = list(predictor.classes)
    if label is None:
        label = classes[int(scores([tuple(texts)])[0].argmax())]
    if label not in classes:
        raise UserError(f"the model has no label {label!r}; its labels are: {', '.join(classes[:30])}.")
    place = classes.index(label)
    return lambda rows: [float(x) for x in scores(rows)[:, place]], label


def _colour(weight: float) -> tuple[int, int, int]:
    """From red (-1) over white to green (1)."""
    pale = round(255 - 150 * min(abs(weight), 1.0))
    return (pale, 255, pale) if weight >= 0 else (255, pale, pale)


def _printable(text: str) -> str:
    """Without what a terminal would take for a command."""
    return "".join(c if c.isprintable() or c in " \n\t" else "\ufffd" for c in text)
