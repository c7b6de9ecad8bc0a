"""What tokenizing loses: texts cut at the length limit, and tokens the vocabulary does not know."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from tl_keras.data.examples import Examples
from tl_keras.text.preprocessor import Preprocessor, token_counts

SAMPLE = 2000
"""Texts that are looked at: enough for fractions exact to about one percent point."""


@dataclasses.dataclass(frozen=True)
class TextReport:
    """How a set of texts fares with a tokenizer.

    Args:
        texts: how many texts were looked at.
        seq_length: the limit, in tokens, special tokens included.
        cut: fraction of the texts longer than that.
        unknown: fraction of the tokens that are unknown.
        mean_length: tokens in a text on average, special tokens included.
        longest: tokens in the longest text, special tokens included.
    """

    texts: int
    seq_length: int
    cut: float
    unknown: float
    mean_length: float
    longest: int

    @property
    def worrying(self) -> bool:
        """Whether so much is lost that the user should know before training."""
        return self.cut > 0.1 or self.unknown > 0.05

    def __str__(self) -> str:
        line = (
            f"{self.mean_length:.0f} tokens a text on average, {self.longest} in the longest; {self.cut:.1%} of the texts are "
            f"cut at {self.seq_length}, {self.unknown:.1%} of the tokens are unknown to the vocabulary"
        )
        if self.unknown > 0.05:
            line += ". That is much: is this encoder made for this language and script?"
        elif self.cut > 0.1:
            line += ". A larger seq_length (--seq-length) keeps more, and takes longer."
        return line


def text_report(examples: Examples, preprocessor: Preprocessor, seq_length: int, sample: int = SAMPLE) -> TextReport:
    """Tokenize a sample of texts, evenly spread, and count what is cut and what is unknown.

    Args:
        examples: texts, single or pairs.
        preprocessor: of the encoder.
        seq_length: the limit in tokens.
        sample: how many texts to look at.
    """
    rows = np.unique(np.linspace(0, len(examples) - 1, min(sample, len(examples))).astype(int))
    part = examples.take(rows)
    segments = [part.texts] if part.text_pairs is None else [part.texts, part.text_pairs]
    tokens = [preprocessor.tokenize(tf.constant(segment.tolist())) for segment in segments]
    lengths = sum(token_counts(t) for t in tokens).numpy() + preprocessor.special_count(len(segments))
    ids = np.concatenate([t.flat_values.numpy() for t in tokens])
    return TextReport(
        texts=len(part),
        seq_length=seq_length,
        cut=float(np.mean(lengths > seq_length)),
        unknown=float(np.mean(ids == preprocessor.unknown_id)) if len(ids) else 0.0,
        mean_length=float(lengths.mean()),
        longest=int(lengths.max()),
    )
