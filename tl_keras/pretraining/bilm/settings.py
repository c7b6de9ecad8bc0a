"""Everything that a biLM pre-training run can be told."""

from __future__ import annotations

from dataclasses import dataclass

from tl_keras.errors import UserError
from tl_keras.pretraining.base_settings import PretrainingSettings

TOKENS = ("chars", "words")
DEFAULT_FILTERS = ((1, 16), (2, 32), (3, 64), (4, 64), (5, 64), (6, 64))


@dataclass(frozen=True, kw_only=True)
class BilmSettings(PretrainingSettings):
    """The settings of `pretrain_bilm`: those of `PretrainingSettings`, and these.

    Attributes:
        vocab_size: Words to predict; by default all that occur `min_count` times, at most 30,000.
        min_count: Rarer words are predicted as `<UNK>`.
        tokens: `chars`: a word is read by its characters (bytes of UTF-8); `words`: by its place in the vocabulary.
        vectors: For `words`: word vectors to start from, a file that `tl_keras.read_vectors` reads.
        width: Of the token vectors and of each direction's states; ELMo vectors are twice as wide.
        layers: LSTM layers, at least two.
        cells: Cells of each LSTM, projected to `width` at each step. By default there are `width` cells and no
            projection.
        char_width: Of the vector of a character.
        filters: Of the character CNN: pairs (characters, number of filters).
        highways: Highway layers above them.
        max_chars: Bytes of a word that are read, its two end marks included.
        max_length: Words of a row; longer sentences are cut into several.
        samples: Words that the sampled softmax draws for each batch; 0 for the full softmax; None: full up to a
            vocabulary of 5,000, above it 2,048 samples.
        clip_norm: Of the gradients.
    """

    kind = "bilm"
    least = {  # noqa: RUF012
        **PretrainingSettings.least, "vocab_size": 4, "layers": 2, "min_count": 1, "cells": 1, "char_width": 1, "highways": 0,
        "max_chars": 3, "max_length": 1, "samples": 0,
    }  # fmt: skip

    min_count: int = 2
    tokens: str = "chars"
    vectors: str | None = None
    layers: int = 2
    cells: int | None = None
    char_width: int = 16
    filters: tuple[tuple[int, int], ...] = DEFAULT_FILTERS
    highways: int = 1
    max_chars: int = 48
    max_length: int = 64
    samples: int | None = None
    dropout: float = 0.1
    batch_tokens: int = 2048
    warmup_steps: int = 100
    clip_norm: float = 5.0

    def __post_init__(self):
        super().__post_init__()
        if not self.corpus:
            raise UserError("give text with --corpus FILE")
        if self.tokens not in TOKENS:
            raise UserError(f"--tokens must be one of {', '.join(TOKENS)}, not {self.tokens!r}")
        if self.vectors and self.tokens != "words":
            raise UserError("--vectors are the start of word embeddings: give --tokens words with them")
        if self.tokens == "chars" and (not self.filters or any(min(pair) < 1 for pair in self.filters)):
            raise UserError("--filters needs pairs WIDTH:NUMBER of 1 or more, for instance 1:16,2:32,3:64")
        if self.batch_tokens < self.max_length + 2:
            raise UserError(
                f"--batch-tokens {self.batch_tokens} is less than one row of --max-length {self.max_length} and its "
                "two ends"
            )

    def sample_count(self, vocabulary_size: int) -> int:
        """How many words the softmax draws for each batch; 0 for all of them."""
        if self.samples is not None:
            return self.samples
        return 0 if vocabulary_size <= 5000 else 2048


def parse_filters(text: str) -> tuple[tuple[int, int], ...]:
    """Read the filters of the character CNN.

    Example:
        >>> parse_filters("1:16,3:64")
        ((1, 16), (3, 64))
    """
    try:
        return tuple((int(width), int(number)) for width, number in (pair.split(":") for pair in text.split(",")))
    except ValueError:
        raise UserError(f"--filters {text!r}: write WIDTH:NUMBER,..., for instance 1:16,2:32,3:64") from None
