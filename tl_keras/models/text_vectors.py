"""The vectors of a frozen encoder: one for each text, and whitened ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tl_keras._keras import keras
from tl_keras.data.examples import Examples, length_order
from tl_keras.encoders.base import Encoder
from tl_keras.errors import UserError
from tl_keras.printable import LoggedProgress
from tl_keras.text.preprocessor import token_counts

COUNTED_AT_ONCE = 4096
"""Texts whose tokens are counted in one call."""

Progress = Callable[[int, int], None]


class TextVectors:
    """A model's outputs for strings; its graph is traced once, for all lengths.

    Args:
        model: from what `encoder.batches` gives to one float tensor `[batch, ...]`.
        encoder: tokenizes and packs for it.
        role: which prompt is put before the texts; see `Preprocessor.tokenize`.
    """

    def __init__(self, model: keras.Model, encoder: Encoder, role: str = "query"):
        self.model = model
        self.encoder = encoder
        self.shape = tuple(int(size) for size in model.output_shape[1:])
        inputs_of = encoder.string_inputs(role)

        def run(*segments: tf.Tensor) -> tf.Tensor:
            return tf.cast(model(inputs_of(*segments), training=False), tf.float32)

        def count(*segments: tf.Tensor) -> tf.Tensor:
            return tf.add_n([token_counts(encoder.preprocessor.tokenize(segment)) for segment in segments])

        self._run, self._count = _Traced(run), _Traced(count)

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return self.shape[-1]

    def tokens(self, examples: Examples) -> np.ndarray | None:
        """How many tokens each text has, both segments together, without special tokens and before any cut.

        Returns:
            int64 `[n]`; None for a text embedding module, which shows no tokens.
        """
        if self.encoder.takes_text:
            return None
        columns = _columns(examples)
        parts = [np.empty(0, "int64")]
        for start in range(0, len(examples), COUNTED_AT_ONCE):
            segments = [tf.constant(column[start : start + COUNTED_AT_ONCE].tolist()) for column in columns]
            parts.append(self._count(*segments).numpy())
        return np.concatenate(parts)

    def compute(
        self,
        examples: Examples,
        batch_size: int = 64,
        progress: Progress | None = None,
        out: np.ndarray | None = None,
        tokens: np.ndarray | None = None,
    ) -> np.ndarray:
        """Run the model on texts, those of like length together, so that little of a batch is padding.

        Args:
            examples: `n` texts or pairs.
            batch_size: texts at once; besides the result, only so many are in memory as token ids and as the encoder's outputs.
            progress: called with how many are done and `n`; by default that is logged, every ten seconds.
            out: float32 `[n, ...]`, to be filled.
            tokens: what `tokens` gave, if it has been asked.

        Returns:
            Float32 `[n, ...]`, in the order of the texts.

        Raises:
            UserError: a batch size below 1, or pairs for a text embedding module.
        """
        if batch_size < 1:
            raise UserError(f"the batch size must be at least 1, not {batch_size}.")
        if self.encoder.takes_text and examples.text_pairs is not None:
            raise UserError("a text embedding module takes one text; for pairs choose a BERT-like encoder.")
        out = np.empty((len(examples), *self.shape), "float32") if out is None else out
        progress = LoggedProgress() if progress is None else progress
        columns = _columns(examples)
        order = self._order(examples, batch_size, tokens)
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            out[rows] = self._run(*(tf.constant(column[rows].tolist()) for column in columns)).numpy()
            progress(start + len(rows), len(order))
        return out

    def _order(self, examples: Examples, batch_size: int, tokens: np.ndarray | None) -> np.ndarray:
        """Row numbers, long texts first: if memory does not suffice, that shows at once."""
        if self.encoder.takes_text or len(examples) <= batch_size:
            return length_order(examples.texts, examples.text_pairs)[::-1]
        tokens = self.tokens(examples) if tokens is None else tokens
        return np.argsort(np.minimum(tokens, self.encoder.seq_length), kind="stable")[::-1]


def _columns(examples: Examples) -> list[np.ndarray]:
    return [examples.texts] if examples.text_pairs is None else [examples.texts, examples.text_pairs]


class _Traced:
    """A function of one or two segments, string `[batch]` each, as graphs; each is traced when first called.

    Called as concrete functions: TensorFlow warns where several of one place in the code are traced, as if that were one in a loop.
    """

    def __init__(self, function: Callable):
        self._function = function
        self._graphs: dict[int, Callable] = {}

    def __call__(self, *segments: tf.Tensor) -> tf.Tensor:
        count = len(segments)
        if count not in self._graphs:
            call = (lambda a: self._function(a)) if count == 1 else (lambda a, b: self._function(a, b))
            signature = [tf.TensorSpec([None], tf.string)] * count
            self._graphs[count] = tf.function(call, signature, autograph=False).get_concrete_function()
        return self._graphs[count](*segments)


MOST_TEXTS = 4096
"""So many texts are enough to tell the covariance of a few hundred numbers."""


def whitening(vectors: np.ndarray, dimensions: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The matrix and the shift that give vectors the mean 0 and the identity as covariance.

    The cosine of two BERT vectors is near 1 for any two texts, since all lie in a narrow cone; what tells texts apart are small
    numbers beside large ones that all texts share.

    Args:
        vectors: float `[n, width]`, of texts as they will come.
        dimensions: keep the so many directions in which the vectors vary most; None for all.

    Returns:
        `(matrix, shift)`, float32 `[width, dimensions]` and `[dimensions]`: `v @ matrix + shift` is whitened.

    Raises:
        UserError: fewer vectors than numbers to keep, or more to keep than there are.

    Source: Su et al., "Whitening Sentence Representations for Better Semantics and Faster Retrieval", https://arxiv.org/abs/2103.15316

    Example:
        >>> vectors = np.random.default_rng(0).normal(size=(100, 3)) * [1, 5, 20] + 7
        >>> matrix, shift = whitening(vectors)
        >>> bool(np.abs(np.cov((vectors @ matrix + shift).T) - np.eye(3)).max() < 1e-4)
        True
    """
    vectors = np.asarray(vectors, "float64")
    dimensions = dimensions or vectors.shape[1]
    if dimensions > vectors.shape[1]:
        raise UserError(
            f"whitened vectors of {dimensions} numbers would be more than the encoder's {vectors.shape[1]}."
        )
    if len(vectors) <= dimensions:
        raise UserError(
            f"{len(vectors)} different texts are too few to whiten vectors of {dimensions} numbers: give more texts, or fewer dimensions."
        )
    mean = vectors.mean(axis=0)
    values, directions = np.linalg.eigh(np.cov(vectors.T))
    # Directions in which nothing varies would be blown up to noise.
    values = np.maximum(values, values[-1] * 1e-7)
    matrix = directions[:, ::-1][:, :dimensions] / np.sqrt(values[::-1][:dimensions])
    return matrix.astype("float32"), (-mean @ matrix).astype("float32")


def pooled_vectors(model: keras.Model, encoder: Encoder, texts: Sequence[str]) -> np.ndarray:
    """What a model gives for texts of a sample: float32 `[at most 4096, width]`.

    Args:
        model: from what `encoder.batches` gives to float `[batch, width]`.
        encoder: makes the batches.
        texts: strings; those that come twice count once.
    """
    different = np.array(list(dict.fromkeys(texts)), object)
    if len(different) > MOST_TEXTS:
        different = different[np.sort(np.random.default_rng(0).permutation(len(different))[:MOST_TEXTS])]
    return TextVectors(model, encoder).compute(Examples.from_lists(different.tolist()))
