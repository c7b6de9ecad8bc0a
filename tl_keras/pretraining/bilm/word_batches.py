"""Words of a corpus -> ids: those the biLM predicts, and those it only reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tl_keras.errors import UserError
from tl_keras.pretraining.batches import Place, WindowedBatches, budget_slices, ranges
from tl_keras.pretraining.bilm.sampled_softmax import Negatives, draw_negatives
from tl_keras.pretraining.token_files import TokenFile
from tl_keras.pretraining.vocabulary import write_vocabulary
from tl_keras.text.word_rules import split_words

BEGIN, END, UNKNOWN = 0, 1, 2
SPECIAL_WORDS = ("<S>", "</S>", "<UNK>")
MAX_LEXICON = 2_000_000


class Lexicon:
    """The distinct words of a corpus, most frequent first; the first of them are the ones that the biLM predicts.

    A character CNN reads every word by its letters, so words too rare to be predicted are still worth an id of their
    own: they are read as they are, and predicted as `<UNK>`. It stands in for a tokenizer where token files are made.

    Args:
        words: All words by id; `SPECIAL_WORDS` come first.
        size: How many of them are predicted.
        lower_case: Whether the words were made small.

    Example:
        >>> lexicon = Lexicon([*SPECIAL_WORDS, "a", "film", "story"], size=5)
        >>> lexicon.encode(["a story", "a <S> film"])
        [[3, 5], [3, 2, 2, 2, 4]]
        >>> lexicon.targets(np.array([3, 4, 5])).tolist()
        [3, 4, 2]
    """

    strip_accents = False
    between = ""  # words do not depend on what stands before them

    def __init__(self, words: Sequence[str], size: int, lower_case: bool = False):
        if tuple(words[:3]) != SPECIAL_WORDS:
            raise UserError(f"a biLM's words must begin with {', '.join(SPECIAL_WORDS)}, not with {list(words[:3])}")
        self.vocabulary, self.size, self.lower_case = list(words), size, lower_case
        self._ids = {word: index for index, word in enumerate(self.vocabulary) if index > UNKNOWN}

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text's words, without those of its ends."""
        ids = self._ids
        return [[ids.get(word, UNKNOWN) for word in split_words(text, self.lower_case)] for text in texts]

    def targets(self, ids: np.ndarray) -> np.ndarray:
        """What is to be predicted where these words stand: themselves, or `<UNK>`."""
        return np.where(ids < self.size, ids, UNKNOWN)

    @property
    def predicted(self) -> list[str]:
        """The words that are predicted, by id."""
        return self.vocabulary[: self.size]

    def write(self, path: str | Path) -> None:
        """Write the words that are predicted, one a line."""
        write_vocabulary(path, self.predicted)


def make_lexicon(
    counts: Counter,
    vocab_size: int | None = None,
    min_count: int = 2,
    lower_case: bool = False,
    only_predicted: bool = False,
) -> Lexicon:
    """Choose the words that are predicted, and keep the others as words that are read.

    Args:
        counts: How often each word occurs, from `tl_keras.encoders.word_vectors.word_vectors.count_words`.
        vocab_size: Words to predict, the three special ones included. None: all that are frequent enough, at most
            `DEFAULT_VOCAB_SIZE`.
        min_count: Words seen less often are `<UNK>` as predictions.
        lower_case: How the words were counted.
        only_predicted: Leave the others out; a model without characters has no use for them.

    Raises:
        UserError: The corpus has no words, or fewer than `vocab_size` of them are frequent enough.

    Example:
        >>> from tl_keras.encoders.word_vectors.word_vectors import count_words
        >>> counts = count_words(["to be or not to be", "that is to be seen"])
        >>> lexicon = make_lexicon(counts, min_count=2)
        >>> lexicon.predicted, len(lexicon.vocabulary)
        (['<S>', '</S>', '<UNK>', 'be', 'to'], 10)
    """
    # By frequency, as the sampled softmax expects; equally frequent ones in the order of their letters, so that the
    # same corpus gives the same ids each time.
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    frequent = sum(count >= min_count for _, count in ranked) + len(SPECIAL_WORDS)
    if frequent <= len(SPECIAL_WORDS):
        raise UserError(
            f"no word of the corpus occurs {min_count} times or more, so there is nothing to predict; give more text, "
            "or a smaller --min-count"
        )
    if vocab_size is not None and vocab_size > frequent:
        raise UserError(
            f"the corpus can fill a vocabulary of {frequent} words at most (seen {min_count} times or more), but "
            f"--vocab-size is {vocab_size}; give a smaller --vocab-size, a smaller --min-count or more text"
        )
    if vocab_size is not None and vocab_size <= len(SPECIAL_WORDS):
        raise UserError(f"--vocab-size {vocab_size} leaves no room beside the {len(SPECIAL_WORDS)} special words")
    size = vocab_size or min(frequent, DEFAULT_VOCAB_SIZE)
    kept = size if only_predicted else max(size, MAX_LEXICON)
    words = [*SPECIAL_WORDS, *(word for word, _ in ranked[: kept - len(SPECIAL_WORDS)])]
    return Lexicon(words, size, lower_case)


DEFAULT_VOCAB_SIZE = 30_000


@dataclass(frozen=True)
class SentenceBatch:
    """Sentences with their two ends, padded to the longest.

    Attributes:
        ids: int32 `[rows, length]`, words of the lexicon; `<S>` first, `</S>` last, then padding.
        lengths: int32 `[rows]`, with both ends.
        negatives: Words drawn for the sampled softmax; none for the full one.
        seed: int32 `[2]`, for dropout.
    """

    ids: np.ndarray
    lengths: np.ndarray
    negatives: Negatives
    seed: np.ndarray

    @property
    def predictions(self) -> int:
        """What each direction has to predict: every word and one end."""
        return int(self.lengths.sum()) - len(self.lengths)


@dataclass(frozen=True)
class SentenceBatches(WindowedBatches):
    """Makes the batches of a token file, one sentence a row.

    Attributes:
        part: The token file.
        token_budget: Words in a batch, ends and padding included.
        samples: Words to draw for the sampled softmax.
        vocabulary_size: To draw from.
        seed: Where chance begins.
    """

    part: TokenFile
    token_budget: int = 2048
    samples: int = 0
    vocabulary_size: int = 0
    seed: int = 0

    def window_plans(self, place: Place) -> list[tuple[np.ndarray]]:
        """The batches of a window, each as rows `[rows, 2]` of first and last word + 1 in the token file."""
        rng = np.random.default_rng([self.seed, place.epoch, place.window])
        rows = sentence_rows(self.part, self.window_documents(place), place.max_length)
        rows = rows[rng.permutation(len(rows))]
        # A stable sort of shuffled rows: those of one length meet other neighbours in each epoch.
        rows = rows[np.argsort(rows[:, 1] - rows[:, 0], kind="stable")]
        plans = [(rows[part],) for part in budget_slices(rows[:, 1] - rows[:, 0] + 2, self.token_budget)]
        return [plans[index] for index in rng.permutation(len(plans))]

    def realise(self, rows: np.ndarray, seed: list[int]) -> SentenceBatch:
        """Fill in the ids and draw what a step needs of chance."""
        rng = np.random.default_rng([*seed, 1])
        sizes = (rows[:, 1] - rows[:, 0]).astype(np.int32)
        ids = np.full((len(rows), int(sizes.max()) + 2), END, np.int32)
        ids[:, 0] = BEGIN
        for row, (start, end) in enumerate(rows):
            ids[row, 1 : 1 + end - start] = self.part.tokens[start:end]
        return SentenceBatch(
            ids,
            sizes + 2,
            draw_negatives(rng, self.samples, self.vocabulary_size),
            rng.integers(0, 2**31 - 1, 2, np.int32),
        )


def sentence_rows(part: TokenFile, documents: np.ndarray, max_length: int) -> np.ndarray:
    """Where the rows of some documents begin and end: int64 `[rows, 2]`; longer sentences are cut into several rows.

    Example:
        >>> part = TokenFile(np.arange(9), np.array([0, 2, 9]), np.array([0, 1, 2]), np.array([0, 2]))
        >>> sentence_rows(part, np.array([1, 0]), max_length=3).tolist()
        [[2, 5], [5, 8], [8, 9], [0, 2]]
    """
    sentences = ranges(part.documents[documents], part.documents[documents + 1])
    starts, ends = np.asarray(part.sentences[sentences]), np.asarray(part.sentences[sentences + 1])
    counts = -(-(ends - starts) // max_length)
    number = ranges(np.zeros_like(counts), counts)
    begin = np.repeat(starts, counts) + number * max_length
    return np.stack([begin, np.minimum(begin + max_length, np.repeat(ends, counts))], axis=1)
