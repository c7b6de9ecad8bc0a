"""How much of a text do word vectors know?"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Container, Iterable

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
