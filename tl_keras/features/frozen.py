"""A frozen encoder's outputs never change: compute them once, and train the head on them."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from tl_keras._keras import keras
from tl_keras.data.examples import Examples
from tl_keras.encoders.base import Encoder
from tl_keras.encoders.encoder_layer import encoder_layer_of
from tl_keras.encoders.load import encoder_of
from tl_keras.errors import UserError
from tl_keras.features import store as feature_store
from tl_keras.features.split import split
from tl_keras.features.store import Features
from tl_keras.models.text_vectors import Progress, TextVectors
from tl_keras.models.transfer_control import prepare
from tl_keras.text.batch_labels import labels_of_examples, tell_labels
from tl_keras.text.text_batches import make_batches, with_labels

logger = logging.getLogger(__name__)

MEMORY_LIMIT = 1 << 30
"""Bytes; features beyond that go to a file, also where no folder is named."""


class FrozenFeatures:
    """Features of texts and the head that learns from them; made by `cache_features`.

    Attributes:
        model: the head: from features to the full model's outputs, compiled like it. It shares its layers, weights and optimizer with
            the full model, so whatever it learns, the full model knows.
    """

    def __init__(self, full: keras.Model, head: keras.Model, encoder: Encoder, features: Features):
        self.model = head
        self._layer = encoder_layer_of(full)
        self._encoder = encoder
        self._features = features
        self._weights = feature_store.weights_digest(self._layer.weights)
        self._dtype = tf.as_dtype(head.inputs[0].dtype)
        self._table: tf.Tensor | None = None

    def __len__(self) -> int:
        """How many different texts there are features of."""
        return len(self._features.texts)

    def batches(
        self,
        examples: Examples,
        *,
        training: bool = False,
        batch_size: int = 32,
        seed: int = 0,
        drop_remainder: bool = False,
    ) -> tf.data.Dataset:
        """Batches of features for `model.fit`, in place of `encoder.batches`.

        They hold the same examples in the same order as those of `encoder.batches` with the same arguments, so that the head takes the
        same steps.

        Args:
            examples: any of those that the features were computed for, or a part of them.
            training: shuffle and bucket by length; otherwise the order is kept.
            batch_size: texts in a batch.
            seed: of the shuffling.
            drop_remainder: leave the last, smaller batch out.

        Returns:
            A dataset of features, float `[batch, width]`, or `(features, labels)`. Its cardinality is known.

        Raises:
            UserError: there are no features of some of the texts, or the encoder has changed since.
        """
        if not len(examples):
            raise UserError(f"{examples.source} holds no examples.")
        self._require_unchanged()
        rows = self._features.rows(examples, "give cache_features(...) all examples that you will use")
        tokens = self._features.tokens
        if training and tokens is not None:
            report = self._encoder.report(examples)
            logger.log(logging.WARNING if report.worrying else logging.INFO, "%s: %s", examples.source, report)
        source, buckets = {"row": rows}, {}
        if examples.labels is not None:
            source["labels"] = examples.labels
        if training and tokens is not None:
            source["tokens"] = tokens[rows]
            buckets = {"bucket": self._encoder.seq_length, "tokenize": _with_segments}
        look_up = self._look_up()
        dataset = make_batches(
            source, lambda batch: with_labels(look_up(batch["row"]), batch),
            batch_size=batch_size, training=training, seed=seed, drop_remainder=drop_remainder, **buckets,
        )  # fmt: skip
        return tell_labels(dataset, labels_of_examples(examples))

    def _look_up(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """From row numbers to features, in the dtype of the head's input."""
        vectors = self._features.vectors
        if isinstance(vectors, np.memmap):

            def rows_of(rows):
                values = tf.numpy_function(lambda places: vectors[places], [rows], tf.float32, stateful=False)
                return tf.cast(tf.ensure_shape(values, [None, *vectors.shape[1:]]), self._dtype)

            return rows_of
        if self._table is None:
            with tf.device("CPU"):
                self._table = tf.cast(tf.constant(vectors), self._dtype)
        return lambda rows: tf.gather(self._table, rows)

    def _require_unchanged(self) -> None:
        """Raise `UserError` if the encoder learns, or has learned since the features were computed."""
        if self._layer.trainable:
            raise UserError(
                f"the encoder learns now (transfer={self._layer.transfer.mode!r}), so features computed before say nothing; "
                "train with encoder.batches(...)."
            )
        if feature_store.weights_digest(self._layer.weights) != self._weights:
            raise UserError(
                "the encoder's weights have changed since its features were computed; call cache_features(...) again."
            )


def cache_features(
    model: keras.Model,
    *examples: Examples,
    folder: str | os.PathLike | None = None,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> FrozenFeatures:
    """Run a frozen encoder over texts once, so that only the head is computed in each epoch.

    The head is trained by the ordinary `fit` of the model that comes with the features, on the same batches and with the same dropout
    as before. Afterwards `model` itself predicts and exports.

    Args:
        model: of `text_classifier` or `text_regressor` with `transfer="freeze"`, or one of your own whose head takes one pooled vector.
        *examples: all that will be trained or validated on; a text that occurs often is encoded once.
        folder: keep the features there, memory-mapped, and take them from there next time. By default they stay in memory, or, beyond
            a gigabyte, in a temporary file.
        batch_size: texts at once.
        progress: called with how many are done and how many there are; by default that is logged, every ten seconds.

    Returns:
        The features and the head, as a `FrozenFeatures`.

    Raises:
        CannotSplit: the head takes more than a pooled vector, as those of taggers and answerers do.
        UserError: the encoder is not frozen; or the folder's features are of another encoder, other texts or settings, or damaged.

    Example:
        >>> model = tlk.text_classifier(encoder, reviews.classes, transfer="freeze")
        >>> train, valid = reviews.split(0.25)
        >>> cached = tlk.cache_features(model, train, valid)
        >>> history = cached.model.fit(cached.batches(train, training=True), validation_data=cached.batches(valid), verbose=0)
        >>> tlk.predict(model, ["정말 재미있었어요"]).columns.tolist()
        ['text', 'label', 'score']
    """
    prepare(model)
    body, head, pooling = split(model)
    encoder = encoder_of(model)
    texts, content = feature_store.different(examples)
    vectors = TextVectors(body, encoder)

    def fill(out: np.ndarray, tokens: np.ndarray | None) -> None:
        vectors.compute(content, batch_size, progress, out, tokens)

    if folder is None:
        out, tokens = _empty((len(content), *vectors.shape)), vectors.tokens(content)
        fill(out, tokens)
        return FrozenFeatures(model, head, encoder, Features(texts, out, tokens))
    folder = Path(folder)
    key = _key(model, encoder, pooling, vectors.shape, head)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        found = feature_store.read(folder, key)
        for part in examples:
            found.rows(part, f"delete the folder {folder} to compute them anew, or name another")
        logger.info("Features of %d texts taken from %s.", len(content), folder)
    else:
        tokens = vectors.tokens(content)
        found = feature_store.write(folder, key, texts, tokens, lambda out: fill(out, tokens))
        logger.info("Features of %d texts kept in %s.", len(content), folder)
    return FrozenFeatures(model, head, encoder, found)


def _with_segments(pool: dict) -> dict:
    """What `buckets_of` counts: stand-ins for the tokens, as many as each text has tokens."""
    pool = dict(pool)
    counts = pool.pop("tokens")
    return {**pool, "segments": (tf.ragged.range(counts),)}


def _empty(shape: tuple[int, ...]) -> np.ndarray:
    """Room for vectors: in memory, or in a file without a name, which goes with the process."""
    if np.prod(shape, dtype="int64") * 4 <= MEMORY_LIMIT:
        return np.empty(shape, "float32")
    with tempfile.TemporaryFile() as file:
        logger.info("The features take %.1f GB and go to a temporary file.", np.prod(shape, dtype="int64") * 4 / 1e9)
        return np.memmap(file, np.float32, "w+", shape=shape)


def _key(model: keras.Model, encoder: Encoder, pooling: str, shape: tuple[int, ...], head: keras.Model) -> dict:
    """All that features depend on, beside the texts."""
    weights = encoder_layer_of(model).weights
    return {
        "format": feature_store.FORMAT,
        # The weights as they are now, which may have learned before they were frozen; the other files for all that is no weight.
        "encoder": feature_store.folder_digest(encoder.folder, variables=not weights)
        + feature_store.weights_digest(weights),
        "preprocessor": feature_store.folder_digest(encoder.preprocessor_folder, variables=True),
        "seq_length": encoder.seq_length,
        "layers": encoder.layers,
        "pooling": pooling,
        "dtype": tf.as_dtype(head.inputs[0].dtype).name,
        "shape": list(shape),
    }
