"""Word vectors in memory, from whichever file they came."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from tl_keras.encoders.word_vectors.coverage import Coverage, count_words, coverage_of_counts
from tl_keras.errors import UserError


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


def check_texts(texts: Sequence[str], name: str = "texts") -> None:
    """Refuse one string where a list of strings is wanted.

    Raises:
        UserError: it is one.
    """
    if isinstance(texts, str):
        raise UserError(f"{name} must be a list of strings, not one string: write [{texts[:40]!r}].")
