"""Word vectors in memory, from whichever file they came, and how much of a text they know."""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Callable, Container, Iterable

import numpy as np

from tl_keras.errors import UserError
from tl_keras.text.word_rules import split_words

MOST_FREQUENT = 10
"""Unknown words that are named."""


@dataclasses.dataclass(frozen=True)
class Coverage:
    """What word vectors know of some texts, counted in words of the text (tokens) and in different words (types).

    Args:
        tokens: words in the texts.
        types: different ones.
        known_tokens: words with a vector of their own.
        known_types: different ones.
        subword_tokens: words whose vector is made from their parts.
        subword_types: different ones.
        unknown: the most frequent words without a vector, with how often they occur.
    """

    tokens: int
    types: int
    known_tokens: int
    known_types: int
    subword_tokens: int = 0
    subword_types: int = 0
    unknown: tuple[tuple[str, int], ...] = ()

    @property
    def token_fraction(self) -> float:
        """Fraction of the words that have a vector, of their own or from their parts."""
        return (self.known_tokens + self.subword_tokens) / self.tokens if self.tokens else 0.0

    @property
    def type_fraction(self) -> float:
        """Fraction of the different words that have a vector, of their own or from their parts."""
        return (self.known_types + self.subword_types) / self.types if self.types else 0.0

    def __str__(self) -> str:
        def percent(part: int, whole: int) -> str:
            return f"{part / whole if whole else 0.0:.1%}"

        line = (
            f"{percent(self.known_tokens, self.tokens)} of {self.tokens:,} words and {percent(self.known_types, self.types)} of "
            f"{self.types:,} different ones have a vector"
        )
        if self.subword_types:
            line += (
                f", {percent(self.subword_tokens, self.tokens)} and {percent(self.subword_types, self.types)} more get one "
                "from their subwords"
            )
        if self.unknown:
            line += "; the most frequent without: " + ", ".join(f"{word} ({count:,})" for word, count in self.unknown)
        return line


def count_words(texts: Iterable[str], lower_case: bool = False) -> collections.Counter[str]:
    """How often each word occurs.

    Args:
        texts: any texts.
        lower_case: whether to make them small.

    Example:
        >>> count_words(["Good, good film"], lower_case=True).most_common(1)
        [('good', 2)]
    """
    counts: collections.Counter[str] = collections.Counter()
    for text in texts:
        counts.update(split_words(text, lower_case))
    return counts


def coverage_of_counts(
    counts: collections.Counter[str], known: Container[str], subwords: Callable | None = None
) -> Coverage:
    """How much of the counted words is known.

    Args:
        counts: of `count_words`.
        known: the words that have a vector.
        subwords: gives a word a vector from its parts, or None.
    """
    own = [word for word in counts if word in known]
    rest = [word for word in counts if word not in known]
    made = [word for word in rest if subwords is not None and subwords(word) is not None]
    without = set(rest) - set(made)
    unknown = [(word, count) for word, count in counts.most_common() if word in without]
    return Coverage(
        tokens=sum(counts.values()),
        types=len(counts),
        known_tokens=sum(counts[word] for word in own),
        known_types=len(own),
        subword_tokens=sum(counts[word] for word in made),
        subword_types=len(made),
        unknown=tuple(unknown[:MOST_FREQUENT]),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class WordVectors:
    """Words with a vector each.

    Args:
        words: `n` words, no two alike; most files have frequent ones first.
        matrix: float32 `[n, width]`.
        subwords: a vector for a word that is not among them, float32 `[width]`, or None if it has none; for fastText's `.bin` files,
            which also hold vectors of parts of words.
        source: where they came from, for messages.

    Raises:
        UserError: numbers that do not fit together, a word twice, or a value that is no finite number.

    Example:
        >>> vectors = WordVectors(("영화", "재미"), np.array([[1, 0], [0, 1]]))
        >>> vectors.width, "영화" in vectors, vectors.vector("영화").tolist()
        (2, True, [1.0, 0.0])
    """

    words: tuple[str, ...]
    matrix: np.ndarray
    subwords: Callable[[str], np.ndarray | None] | None = None
    source: str = "the given vectors"

    def __post_init__(self):
        words, matrix = tuple(self.words), np.asarray(self.matrix, "float32")
        if matrix.ndim != 2 or not matrix.shape[1]:
            raise UserError(
                f"{self.source}: vectors must be a matrix [words, width], not of shape {list(matrix.shape)}."
            )
        if len(words) != len(matrix):
            raise UserError(f"{self.source}: {len(words)} words but {len(matrix)} vectors; there must be one for each.")
        if not len(words):
            raise UserError(f"{self.source} holds no word.")
        object.__setattr__(self, "words", words)
        object.__setattr__(self, "matrix", matrix)
        if len(self.rows) != len(words):
            seen: set[str] = set()
            twice = next(word for word in words if word in seen or seen.add(word))
            raise UserError(f"{self.source}: the word {twice!r} occurs twice.")
        finite = np.isfinite(matrix).all(axis=1)
        if not finite.all():
            row = int(np.argmin(finite))
            raise UserError(f"{self.source}: the vector of {words[row]!r} (word {row + 1}) holds NaN or infinity.")

    def __repr__(self) -> str:
        return f"WordVectors({len(self):,} words, width {self.width}, {self.source})"

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self.rows

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return self.matrix.shape[1]

    @functools.cached_property
    def rows(self) -> dict[str, int]:
        """The row of each word."""
        return {word: row for row, word in enumerate(self.words)}

    @functools.cached_property
    def is_lower_case(self) -> bool:
        """Whether no word has a capital letter, so that texts must be made small before they are looked up."""
        return all(word == word.lower() for word in self.words)

    def vector(self, word: str) -> np.ndarray | None:
        """A word's vector, float32 `[width]`: its own, else one from its parts, else None."""
        row = self.rows.get(word)
        if row is not None:
            return self.matrix[row]
        return None if self.subwords is None else self.subwords(word)

    def coverage(self, texts: Iterable[str], lower_case: bool | None = None) -> Coverage:
        """How much of some texts these vectors know.

        Args:
            texts: any texts.
            lower_case: whether to make them small; by default if the vectors have no capital letters.
        """
        lower_case = self.is_lower_case if lower_case is None else lower_case
        return coverage_of_counts(count_words(texts, lower_case), self.rows, self.subwords)

    def most_frequent(self, limit: int) -> WordVectors:
        """The first `limit` words, with what there is of subwords."""
        if limit >= len(self):
            return self
        return dataclasses.replace(self, words=self.words[:limit], matrix=self.matrix[:limit])
