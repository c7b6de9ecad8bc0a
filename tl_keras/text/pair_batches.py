"""Batches of two texts side by side, each packed by itself: what two towers are trained with."""

from __future__ import annotations

import tensorflow as tf

from tl_keras.data.examples import Examples
from tl_keras.data.pairs import RetrievalPairs
from tl_keras.errors import UserError
from tl_keras.text.preprocessor import Preprocessor, fit_length
from tl_keras.text.text_batches import check_sizes, make_batches, with_labels

TOWERS = ("query", "document")


def pair_batches(
    examples: Examples,
    preprocessor: Preprocessor | None,
    *,
    seq_length: int,
    training: bool = False,
    batch_size: int = 32,
    seed: int = 0,
    fixed_length: bool = False,
    drop_remainder: bool = False,
) -> tf.data.Dataset:
    """Make batches of pairs for `bi_encoder`, tokenizing on the way; shuffled and bucketed as `token_batches` does.

    Each tower is trimmed by itself: short questions are not padded to the length of their documents.

    Args:
        examples: pairs: scored ones, or questions and documents.
        preprocessor: tokenizes and packs; None for a text embedding module, which takes strings.
        seq_length: longest input in tokens.
        training: shuffle anew each epoch and bucket by length; otherwise the order is kept.
        batch_size: pairs in a batch. With in-batch negatives it is also how many documents a question chooses from: larger is
            better there.
        seed: of the shuffling.
        fixed_length: pad everything to `seq_length`, for TPUs.
        drop_remainder: leave the last, smaller batch out.

    Returns:
        A dataset of `(inputs, labels)`, or of inputs where there are no labels: inputs by name, `query_...` and `document_...`,
        int32 `[batch, length]` each (for a text embedding module `query` and `document`, string `[batch]`). Labels: the scores,
        float32 `[batch]`; for questions and documents the document's number, int64 `[batch]`, by which a batch knows that two
        of its questions share a document.

    Raises:
        UserError: the examples are single texts, or there are none.
    """
    check_sizes(batch_size, seq_length)
    if not len(examples):
        raise UserError(f"{examples.source} holds no examples.")
    if examples.text_pairs is None:
        raise UserError(f"{examples.source} holds single texts; two towers compare pairs (text_pair, --text-pair).")
    source = {"query": examples.texts.tolist(), "document": examples.text_pairs.tolist()}
    if isinstance(examples, RetrievalPairs):
        source["labels"] = examples.document_ids
    elif examples.labels is not None:
        source["labels"] = examples.labels
    # Two texts that are compared are of one kind; a question and a document are not.
    roles = ("query", "passage") if isinstance(examples, RetrievalPairs) else ("query", "query")

    def tokenize(pool):
        pool = dict(pool)
        segments = tuple(preprocessor.tokenize(pool.pop(name), role) for name, role in zip(TOWERS, roles, strict=True))
        return {**pool, "segments": segments}

    def pack(batch):
        if preprocessor is None:
            return with_labels({name: batch[name] for name in TOWERS}, batch)
        inputs = {}
        for tower, tokens in zip(TOWERS, batch["segments"], strict=True):
            packed = fit_length(preprocessor.pack([tokens], seq_length), seq_length if fixed_length else None)
            inputs.update({f"{tower}_{name}": value for name, value in packed.items()})
        return with_labels(inputs, batch)

    own = {} if preprocessor is None else {"bucket": seq_length, "tokenize": tokenize}
    return make_batches(
        source, pack, batch_size=batch_size, training=training, seed=seed, drop_remainder=drop_remainder, **own
    )
