"""What does tokenizing make of the texts? How long they get, what is cut, and what the vocabulary does not know."""

from __future__ import annotations

import collections
import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from tl_keras.data.examples import Examples

if TYPE_CHECKING:  # so that reading a report loads no TensorFlow
    from tl_keras.text.preprocessor import Preprocessor

PERCENTILES = (50, 75, 90, 95, 99, 100)
WORDS_SHOWN = 10


@dataclasses.dataclass(frozen=True)
class LengthReport:
    """The lengths of a set of texts, and how much of them the vocabulary knows.

    Attributes:
        texts: how many were looked at.
        unit: `"tokens"`, special tokens included; or `"words"` for a text embedding module, which shows no tokens.
        lengths: int array `[texts]`.
        seq_length: the limit in tokens; None for a text embedding module.
        unknown_tokens: fraction of the tokens that are unknown; None where there are no tokens.
        unknown_words: fraction of the words (what stands between spaces) that have an unknown token in them.
        commonest_unknown: the most common of these words, and how often each occurs.
    """

    texts: int
    unit: str
    lengths: np.ndarray = dataclasses.field(repr=False)
    seq_length: int | None = None
    unknown_tokens: float | None = None
    unknown_words: float | None = None
    commonest_unknown: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def percentiles(self) -> dict[int, int]:
        """So many percent of the texts are at most so long."""
        # The length of a text that is there, not one between two of them.
        values = np.percentile(self.lengths, PERCENTILES, method="inverted_cdf")
        return {percent: int(value) for percent, value in zip(PERCENTILES, values, strict=True)}

    @property
    def cut(self) -> float | None:
        """Fraction of the texts that are longer than `seq_length`."""
        return None if self.seq_length is None else float(np.mean(self.lengths > self.seq_length))

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and dicts."""
        return {
            "texts": self.texts,
            "unit": self.unit,
            "seq_length": self.seq_length,
            "mean": float(self.lengths.mean()),
            "percentiles": {str(percent): value for percent, value in self.percentiles.items()},
            "cut": self.cut,
            "unknown_tokens": self.unknown_tokens,
            "unknown_words": self.unknown_words,
            "commonest_unknown_words": self.commonest_unknown,
        }


def length_report(examples: Examples, preprocessor: Preprocessor | None, seq_length: int) -> LengthReport:
    """Measure lengths in tokens, as training will see them, and what the vocabulary does not know.

    Args:
        examples: texts or pairs.
        preprocessor: of the encoder; None for a text embedding module, whose texts are counted in words.
        seq_length: the limit in tokens.
    """
    import tensorflow as tf

    from tl_keras.text.preprocessor import token_counts

    segments = [examples.texts] if examples.text_pairs is None else [examples.texts, examples.text_pairs]
    words = collections.Counter(word for texts in segments for text in texts for word in text.split())
    if preprocessor is None:
        return LengthReport(len(examples), "words", np.array([len(text.split()) for text in examples.texts]))
    tokens = [preprocessor.tokenize(tf.constant(texts.tolist())) for texts in segments]
    ids = np.concatenate([t.flat_values.numpy() for t in tokens])
    unknown = unknown_among(list(words), preprocessor)
    missed = collections.Counter({word: words[word] for word in unknown})
    return LengthReport(
        texts=len(examples),
        unit="tokens",
        lengths=sum(token_counts(t) for t in tokens).numpy() + preprocessor.special_count(len(segments)),
        seq_length=seq_length,
        unknown_tokens=float(np.mean(ids == preprocessor.unknown_id)) if len(ids) else 0.0,
        unknown_words=sum(missed.values()) / max(sum(words.values()), 1),
        commonest_unknown=dict(missed.most_common(WORDS_SHOWN)),
    )


def unknown_among(words: list[str], preprocessor: Preprocessor) -> list[str]:
    """Those of the words that have an unknown token."""
    import tensorflow as tf

    if not words:
        return []
    tokens = preprocessor.tokenize(tf.constant(words), None)
    while tokens.ragged_rank > 1:
        tokens = tokens.merge_dims(-2, -1)
    rows = tokens.value_rowids().numpy()[tokens.flat_values.numpy() == preprocessor.unknown_id]
    return [words[row] for row in np.unique(rows)]
