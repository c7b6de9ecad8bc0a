"""What became smaller, and what it cost: an encoder's size, speed and tokens before and after."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tl_keras.encoders.encoder_weights import EncoderWeights
from tl_keras.encoders.pair_encoder import Network
from tl_keras.encoders.vocabularies import Vocabulary, WordPieceVocabulary
from tl_keras.encoders.vocabulary_ids import VocabularyIds

_TIMED, _REPEATS = 64, 3


@dataclasses.dataclass(frozen=True)
class Size:
    """An encoder's size and speed.

    Attributes:
        weights: numbers it holds.
        megabytes: of them as float32, in units of 10^6 bytes.
        layers: blocks.
        tokens: of its vocabulary.
        tokens_per_text: mean over the texts that were measured on, without special tokens.
        unknown_fraction: fraction of those tokens that are the unknown one.
        texts_per_second: forward passes in one batch, the quickest of three; the machine's load is in it.
    """

    weights: int
    megabytes: float
    layers: int
    tokens: int
    tokens_per_text: float
    unknown_fraction: float
    texts_per_second: float


@dataclasses.dataclass(frozen=True)
class CompressionReport:
    """An encoder before and after.

    Attributes:
        before, after: its sizes.
    """

    before: Size
    after: Size

    def to_dict(self) -> dict:
        """Plain values."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        rows = [f"{'':18}{'before':>12}{'after':>12}"]
        formats = {
            "weights": ",d",
            "megabytes": ",.1f",
            "layers": "d",
            "tokens": ",d",
            "tokens_per_text": ".2f",
            "unknown_fraction": ".5f",
            "texts_per_second": ",.0f",
        }
        for name, form in formats.items():
            values = (format(getattr(size, name), form) for size in (self.before, self.after))
            rows.append(f"{name.replace('_', ' '):18}" + "".join(f"{value:>12}" for value in values))
        return "\n".join(rows)


def measure(weights: EncoderWeights, vocabulary: Vocabulary, texts: Sequence[str]) -> Size:
    """Measure an encoder.

    Args:
        weights: its network.
        vocabulary: its tokens.
        texts: at least one.
    """
    encoded = VocabularyIds(vocabulary).encode(texts)
    count = sum(map(len, encoded))
    unknown = sum(ids.count(_unknown_id(vocabulary)) for ids in encoded)
    numbers = sum(array.size for array in weights.arrays.values())
    return Size(
        weights=numbers,
        megabytes=4 * numbers / 1e6,
        layers=weights.num_layers,
        tokens=len(vocabulary.tokens),
        tokens_per_text=count / len(texts),
        unknown_fraction=unknown / max(count, 1),
        texts_per_second=_speed(weights, encoded),
    )


def _unknown_id(vocabulary: Vocabulary) -> int:
    if isinstance(vocabulary, WordPieceVocabulary):
        return list(vocabulary.tokens).index(vocabulary.rules.token("unknown"))
    return list(vocabulary.tokens).index(vocabulary.special_tokens["unknown"])


def _speed(weights: EncoderWeights, encoded: Sequence[Sequence[int]]) -> float:
    # Of like length, as batches are put together when texts are encoded.
    rows = sorted((ids[: weights.max_length] for ids in encoded if ids), key=len)[:: max(len(encoded) // _TIMED, 1)]
    if not rows:
        return 0.0
    batch = np.zeros((len(rows), max(map(len, rows))), np.int32)
    for row, ids in zip(batch, rows, strict=True):
        row[: len(ids)] = ids
    network, mask = Network(weights), tf.ones_like(batch)
    feed = {"input_word_ids": tf.constant(batch), "input_mask": mask, "input_type_ids": tf.zeros_like(batch)}
    seconds = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        network.forward(feed)["sequence_output"].numpy()
        seconds.append(time.perf_counter() - began)
    return len(rows) / min(seconds)
