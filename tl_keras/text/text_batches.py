"""Token ids to batches: shuffled, bucketed by length, trimmed, prefetched."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tl_keras.data.examples import Examples
from tl_keras.errors import UserError
from tl_keras.text.batch_labels import labels_of_examples, tell_labels
from tl_keras.text.preprocessor import Preprocessor, fit_length, token_counts

POOL_BATCHES = 64
"""Texts of this many batches are tokenized together and sorted by length before they are cut into batches."""


def token_batches(
    examples: Examples,
    preprocessor: Preprocessor,
    *,
    seq_length: int,
    fixed_length: bool = False,
    weights: np.ndarray | None = None,
    **how,
) -> tf.data.Dataset:
    """Make batches of packed token ids, tokenizing on the way: only `POOL_BATCHES` batches are in memory as ids.

    For training, texts are shuffled anew each epoch (the same way for the same seed), sorted by length within pools of
    `POOL_BATCHES` batches, cut into batches, and these are shuffled again: batches hold texts of like length, so that
    little of them is padding. Otherwise the order of the examples is kept.

    Args:
        examples: `n` texts.
        preprocessor: of the encoder.
        seq_length: longest input, in tokens, special tokens included; longer texts are cut.
        fixed_length: pad everything to `seq_length` (TPUs want one shape) instead of to the longest in the batch.
        weights: float `[n]`, how much each text counts in the loss.
        **how: `batch_size`, `training`, `seed` and `drop_remainder`, see `make_batches`.

    Returns:
        A dataset of `inputs` or, with labels, `(inputs, labels)`, or with weights `(inputs, labels, weights)`: inputs int32
        `[batch, length]` each, labels int64 `[batch]` or float32 `[batch, classes]`. Its cardinality is known.
    """
    tokenize, pack = _packing(preprocessor, seq_length, fixed_length)
    dataset = make_batches(_source(examples, weights), pack, bucket=seq_length, tokenize=tokenize, **how)
    return tell_labels(dataset, labels_of_examples(examples))


def make_batches(
    source: dict,
    pack: Callable[[dict], Any],
    *,
    batch_size: int = 32,
    training: bool = False,
    seed: int = 0,
    drop_remainder: bool = False,
    bucket: int | None = None,
    tokenize: Callable[[dict], dict] | None = None,
) -> tf.data.Dataset:
    """Rows to batches: shuffled anew each epoch, bucketed by length, packed, counted.

    Args:
        source: columns of `n` rows: tensors, or ragged tensors.
        pack: from a batch to what Keras wants of it.
        batch_size: rows in a batch; the last one may hold fewer.
        training: shuffle and bucket; otherwise the order is kept.
        seed: of the shuffling.
        drop_remainder: leave the last, smaller batch out.
        bucket: the encoder's `seq_length`, beyond which lengths do not count; None to put no rows of like length together.
        tokenize: gives a pool of rows its `segments`, ragged ids; None where they are there.

    Raises:
        UserError: a size below 1, or nothing would be left.
    """
    for name, size in (("the batch size", batch_size), ("seq_length", 1 if bucket is None else bucket)):
        if size < 1:
            raise UserError(f"{name} must be at least 1, not {size}.")
    dataset = tf.data.Dataset.from_tensor_slices(source)
    count = int(dataset.cardinality())
    if training:
        dataset = dataset.shuffle(count, seed=seed, reshuffle_each_iteration=True)
    pools = training and bucket is not None
    dataset = dataset.ragged_batch(batch_size * (POOL_BATCHES if pools else 1))
    dataset = pack_batches(dataset, pack, tokenize, batch_size if pools else None, bucket, seed)
    return finish_batches(dataset, count, batch_size, drop_remainder)


def pack_batches(
    dataset: tf.data.Dataset,
    pack: Callable[[dict], Any],
    tokenize: Callable[[dict], dict] | None,
    size: int | None,
    seq_length: int | None,
    seed: int,
) -> tf.data.Dataset:
    """Batches of rows to what Keras wants; with a `size` they are pools, which are cut into batches of like length first.

    The other arguments are those of `make_batches`.
    """
    as_it_is = (
        tf.autograph.experimental.do_not_convert
    )  # no Python `if` on a tensor here; converting takes longer than tracing
    if tokenize is not None:
        dataset = dataset.map(as_it_is(tokenize), num_parallel_calls=tf.data.AUTOTUNE)
    if size is not None:
        dataset = dataset.flat_map(as_it_is(lambda pool: buckets_of(pool, size, seq_length, seed)))
    return dataset.map(as_it_is(pack), num_parallel_calls=tf.data.AUTOTUNE)


def pack_texts(
    dataset: tf.data.Dataset, preprocessor: Preprocessor, seq_length: int, *, bucket: int | None = None, seed: int = 0
) -> tf.data.Dataset:
    """Turn batches of texts into batches of packed token ids.

    Args:
        dataset: of dicts: `text`, string `[batch]`; perhaps `text_pair`, `labels`, `weights`.
        preprocessor: of the encoder.
        seq_length: longest input, in tokens, special tokens included.
        bucket: take each batch as a pool, and cut it into batches of so many texts of like length; None keeps it.
        seed: of the order of these.
    """
    tokenize, pack = _packing(preprocessor, seq_length, fixed_length=False)
    return pack_batches(dataset, pack, tokenize, bucket, seq_length, seed)


def _packing(preprocessor: Preprocessor, seq_length: int, fixed_length: bool) -> tuple[Callable, Callable]:
    """From columns of texts to segments of ids, and from these to packed ids."""

    def tokenize(pool):
        pool = dict(pool)
        texts = [pool.pop(name) for name in ("text", "text_pair") if name in pool]
        return {**pool, "segments": tuple(preprocessor.tokenize(text) for text in texts)}

    def pack(batch):
        packed = preprocessor.pack(batch["segments"], seq_length)
        return with_labels(fit_length(packed, seq_length if fixed_length else None), batch)

    return tokenize, pack


def with_labels(inputs, batch: dict):
    """What Keras wants of a batch: the inputs, and with them its `labels` and `weights` where it has them."""
    if "labels" not in batch:
        return inputs
    return (inputs, batch["labels"], batch["weights"]) if "weights" in batch else (inputs, batch["labels"])


def string_batches(examples: Examples, *, weights: np.ndarray | None = None, **how) -> tf.data.Dataset:
    """Make batches of strings, for text embedding modules that tokenize themselves.

    Args:
        examples: `n` single texts.
        weights: float `[n]`, how much each text counts in the loss.
        **how: as for `token_batches`.

    Returns:
        A dataset of string `[batch]`, `(strings, labels)` or `(strings, labels, weights)`.

    Raises:
        UserError: the examples are pairs, which these modules cannot take.
    """
    if examples.text_pairs is not None:
        raise UserError("a text embedding module takes one text; for pairs choose a BERT-like encoder.")
    dataset = make_batches(_source(examples, weights), lambda batch: with_labels(batch["text"], batch), **how)
    return tell_labels(dataset, labels_of_examples(examples))


def _source(examples: Examples, weights: np.ndarray | None = None) -> dict:
    if not len(examples):
        raise UserError(f"{examples.source} holds no examples.")
    source = {"text": examples.texts.tolist()}
    if examples.text_pairs is not None:
        source["text_pair"] = examples.text_pairs.tolist()
    if examples.labels is not None:
        source["labels"] = examples.labels
    if weights is not None:
        source["weights"] = np.asarray(weights, "float32")
    return source


def buckets_of(pool: dict, batch_size: int, seq_length: int, seed: int) -> tf.data.Dataset:
    """Cut a pool of tokenized texts into batches of like length, in random order."""
    lengths = sum(token_counts(segment) for segment in pool["segments"])
    # Texts arrive shuffled and the sort is stable, so that equally long ones meet other neighbours in each epoch.
    order = tf.argsort(tf.minimum(lengths, seq_length), stable=True)
    size = tf.shape(order)[0]
    count = (size + batch_size - 1) // batch_size
    # Another order in each pool and epoch, yet the same for the same seed: the lengths that happen to be here join the seed.
    mixed = tf.random.experimental.stateless_shuffle(
        tf.range(count),
        seed=tf.stack([tf.constant(seed, tf.int64), tf.reduce_sum(lengths * tf.range(tf.size(lengths, tf.int64)))]),
    )

    def batch(index):
        rows = order[index * batch_size : (index + 1) * batch_size]
        return tf.nest.map_structure(lambda value: tf.gather(value, rows), pool)

    return tf.data.Dataset.from_tensor_slices(mixed).map(tf.autograph.experimental.do_not_convert(batch))


def finish_batches(dataset: tf.data.Dataset, size: int, batch_size: int, drop_remainder: bool) -> tf.data.Dataset:
    """Say how many batches there are, perhaps leave the last, smaller one out, and prefetch.

    Args:
        dataset: batches.
        size: examples in all.
        batch_size: examples in a batch.
        drop_remainder: leave the last, smaller batch out.

    Raises:
        UserError: nothing would be left.
    """
    steps = math.ceil(size / batch_size)
    if drop_remainder and size % batch_size:
        if steps == 1:
            raise UserError(f"{size} example(s) do not fill one batch of {batch_size}; choose a smaller batch size.")
        dataset = dataset.filter(lambda *batch: tf.shape(tf.nest.flatten(batch)[0])[0] == batch_size)
        steps -= 1
    if drop_remainder:
        dataset = dataset.map(lambda *batch: _of_size(batch if len(batch) > 1 else batch[0], batch_size))
    # Keras shows progress against the number of steps only where the dataset knows it.
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(steps))
    options = tf.data.Options()
    # Batches of different lengths cannot be split by file; replicas share them by data.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return dataset.with_options(options).prefetch(tf.data.AUTOTUNE)


def _of_size(batch, batch_size: int):
    """The batch with a shape that says how many rows it has, as a TPU wants to know beforehand."""
    return tf.nest.map_structure(lambda value: tf.ensure_shape(value, [batch_size, *value.shape[1:]]), batch)
