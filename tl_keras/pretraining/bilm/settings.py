"""Everything that a biLM pre-training run can be told."""

from __future__ import annotations

from dataclasses import dataclass

from tl_keras.errors import UserError
from tl_keras.pretraining.settings import PretrainingSettings
from tl_keras.settings import data_setting, learning_setting, model_setting

TOKENS = ("chars", "words")
DEFAULT_FILTERS = ((1, 16), (2, 32), (3, 64), (4, 64), (5, 64), (6, 64))


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


@dataclass(frozen=True, kw_only=True)
class BilmSettings(PretrainingSettings):
    """Settings of `pretrain bilm`. Its tokens are words."""

    kind = "bilm"
    least = {  # noqa: RUF012
        **PretrainingSettings.least, "vocab_size": 4, "layers": 2, "min_count": 1, "cells": 1, "char_width": 1, "highways": 0,
        "max_chars": 3, "max_length": 1, "samples": 0,
    }  # fmt: skip

    vocab_size: int | None = data_setting(
        None, help="Words to predict. Default: all that occur --min-count times, at most 30,000."
    )
    min_count: int = data_setting(
        2, help="How often a word must occur to be predicted; rarer ones are one unknown word."
    )
    lower_case: bool = data_setting(False, help="Lower-case all words.")
    tokens: str = model_setting(
        "chars",
        help="chars: words are read by their characters; words: by their place in the vocabulary.",
        choices=TOKENS,
    )
    vectors: str | None = model_setting(
        None, help="With --tokens words: word vectors to start from (word2vec, GloVe, fastText)."
    )
    width: int = model_setting(256, help="Width of each direction; ELMo vectors are twice as wide.")
    layers: int = model_setting(2, help="LSTM layers, at least 2.")
    cells: int | None = model_setting(
        None, help="Cells of each LSTM, projected to --width at each step. Default: --width, no projection."
    )
    char_width: int = model_setting(16, help="Width of a character's vector.")
    filters: tuple[tuple[int, int], ...] = model_setting(
        DEFAULT_FILTERS,
        help="Filters of the character CNN: WIDTH:NUMBER,... Default: 1:16,2:32,3:64,4:64,5:64,6:64.",
        type=str | None,
        read=parse_filters,
    )
    highways: int = model_setting(1, help="Highway layers above the character CNN.")
    max_chars: int = model_setting(48, help="Bytes of a word that are read, its two end marks included.")
    max_length: int = learning_setting(64, help="Words of a row; longer sentences are cut into several.")
    samples: int | None = learning_setting(
        None,
        help="Words the sampled softmax draws for each batch; 0: full softmax. Default: full up to 5,000 words, above that 2,048.",
    )
    dropout: float = model_setting(0.1, help="Dropout while pre-training.")
    batch_tokens: int = learning_setting(2048, help="Words in a batch, padding included.")
    warmup_steps: int = learning_setting(100, help="Steps until the peak learning rate.")
    clip_norm: float = learning_setting(5.0, help="Largest norm of the gradients; longer ones are scaled down to it.")

    @property
    def row_lengths(self):
        """One length for the whole run."""
        return ((1.0, self.max_length),)

    def __post_init__(self):
        super().__post_init__()
        if not self.corpus:
            raise UserError("give text with --corpus FILE")
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
