"""Which words a model knows: those of its training texts, which it can learn more about, and further ones of the vectors' file."""

from __future__ import annotations

import collections
import dataclasses

import numpy as np

from tl_keras.encoders.word_vectors.word_vectors import WordVectors
from tl_keras.errors import UserError

MAX_WORDS = 100_000
"""Words of the vectors' file that a model gets at most, beyond those of its training texts."""
RANDOM_RANGE = 0.25
"""Half the width of the interval that random vectors are drawn from.

Source: Kim, "Convolutional Neural Networks for Sentence Classification", https://arxiv.org/abs/1408.5882, section 3.2.
"""


@dataclasses.dataclass(frozen=True, eq=False)
class Vocabulary:
    """The words of a model.

    Args:
        words: `n` words; the first ones can be learned.
        learned: how many these are. The others are not in the training texts, so nothing would ever move them; kept apart, they cost
            the optimizer nothing.
        width: numbers in a vector.
        matrix: float32 `[n, width]`, the vectors to begin with; None once a model has them.
        unknown: float32 `[width]`, what the vector of unknown words begins with; None for zeros.
    """

    words: tuple[str, ...]
    learned: int
    width: int
    matrix: np.ndarray | None = None
    unknown: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.words)


def choose_words(
    vectors: WordVectors, counts: collections.Counter[str] | None, min_count: int = 2, max_words: int = MAX_WORDS
) -> Vocabulary:
    """The words of a model that begins with pre-trained vectors.

    Args:
        vectors: those to begin with.
        counts: how often each word occurs in the training texts; None where these are not known, so that all words can be learned.
        min_count: words that occur less often keep their vectors as they are: from one place nothing general is learned.
        max_words: of the file, the first so many are taken along for the texts to come, beside those of the training texts.

    Raises:
        UserError: no word of the texts has a vector.
    """
    unknown = vectors.matrix.mean(axis=0)
    if counts is None:
        part = vectors.most_frequent(max_words)
        return Vocabulary(part.words, len(part), part.width, part.matrix, unknown)
    found = {word: vector for word in counts if (vector := vectors.vector(word)) is not None}
    if counts and not found:
        most = ", ".join(word for word, _ in counts.most_common(5))
        raise UserError(
            f"none of the {len(counts):,} words of the texts ({most}, ...) has a vector in {vectors.source}; are the vectors of this "
            "language, and of texts split and written small as these are?"
        )
    learned = [word for word, count in counts.most_common() if count >= min_count and word in found]
    chosen = dict.fromkeys(learned)
    chosen.update((word, None) for word in vectors.words[:max_words])
    chosen.update((word, None) for word in found)
    words = tuple(chosen)
    matrix = np.stack([found[word] if word in found else vectors.matrix[vectors.rows[word]] for word in words])
    return Vocabulary(words, len(learned), vectors.width, matrix, unknown)


def random_words(counts: collections.Counter[str], width: int, min_count: int = 2, seed: int = 0) -> Vocabulary:
    """The words of a model that begins with random vectors.

    Args:
        counts: how often each word occurs in the training texts.
        width: numbers in a vector.
        min_count: words that occur less often count as unknown, so that the model learns what an unknown word says.
        seed: of the vectors.

    Raises:
        UserError: no word occurs so often.
    """
    words = tuple(word for word, count in counts.most_common() if count >= min_count)
    if not words:
        raise UserError(
            f"no word occurs {min_count} times in the texts, so there is nothing to learn vectors for; choose min_count=1, or "
            "give more texts."
        )
    random = np.random.default_rng(seed)
    matrix = random.uniform(-RANDOM_RANGE, RANDOM_RANGE, (len(words), width)).astype("float32")
    return Vocabulary(words, len(words), width, matrix)
