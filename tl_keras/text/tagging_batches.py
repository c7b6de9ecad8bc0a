"""Tagged texts to batches: windows of tokens with the number of each token's tag."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import tensorflow as tf

from tl_keras.data.tagging import TaggedExamples, TagSet
from tl_keras.errors import UserError
from tl_keras.text.batch_labels import labels_of_tags, tell_labels
from tl_keras.text.offsets import OffsetTokenizer
from tl_keras.text.preprocessor import Preprocessor, fit_length
from tl_keras.text.tag_units import make_units, plain_begins, tags_of_units
from tl_keras.text.text_batches import make_batches
from tl_keras.text.windows import make_windows, window_sizes

logger = logging.getLogger(__name__)

MASKED = -1
"""The tag number of tokens without a tag: special tokens, padding, and all but the first token of a unit."""
TEXTS_AT_ONCE = 512


@dataclasses.dataclass(frozen=True)
class TaggedWindows:
    """Windows of tokens with their tags, in memory.

    Args:
        ids: for each window its token ids, int32; or its words, bytes, where these are the tokens.
        tags: for each window its tokens' tag numbers, int32, `MASKED` where there is none.
        texts: how many texts they come from.
        long_texts: how many of these needed several windows.
        spans: how many spans the texts have.
        learnable: how many of them stand alone in their units, so that the tags say them exactly.
        rows: int `[windows]`: which text each window is of.
    """

    ids: list[np.ndarray]
    tags: list[np.ndarray]
    texts: int
    long_texts: int
    spans: int
    learnable: int
    rows: np.ndarray


def tagged_windows(
    examples: TaggedExamples,
    tokenizer: OffsetTokenizer,
    tag_set: TagSet,
    seq_length: int,
    overlap: int | None = None,
    special: int = 2,
) -> TaggedWindows:
    """Tokenize texts, give each unit its tag, and lay windows.

    Args:
        examples: `n` texts with spans, not None.
        tokenizer: with offsets.
        tag_set: numbers the tags, and says which tokens carry them.
        seq_length: longest input, in tokens, special tokens included.
        overlap: tokens shared by neighbouring windows; by default a quarter.
        special: special tokens in each window.

    Raises:
        UserError: no texts, or a label that the tag set does not have.
    """
    if not len(examples):
        raise UserError(f"{examples.source} holds no examples.")
    size, step = window_sizes(seq_length, overlap, special)
    number = {label: i for i, label in enumerate(tag_set.labels)}
    unknown = {span.label for spans in examples.spans for span in spans} - set(number)
    if unknown:
        raise UserError(
            f"{examples.source}: the labels {sorted(unknown)} are not among those of the model, {list(tag_set.labels)}."
        )

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string),
            tf.RaggedTensorSpec([None, None, 3], tf.int32, ragged_rank=1),
        ],
        autograph=False,
    )
    def label(texts, spans):
        tokens = tokenizer(texts)
        units = make_units(tokens, tag_set, texts)
        unit_tags = tags_of_units(units, spans, tag_set)
        places = tf.cast(tf.where(units.first), tf.int64)
        tags = tf.tensor_scatter_nd_update(tf.fill([tf.size(units.first)], MASKED), places, unit_tags)
        windows = make_windows(tokens.ids.row_lengths(), size, step)
        begins = plain_begins(unit_tags, units) if tag_set.scheme == "plain" else unit_tags % 2 == 1
        exact = tf.reduce_sum(tf.cast(begins, tf.int32))
        return (
            tf.gather(tokens.ids.flat_values, windows.places),
            tf.gather(tags, windows.places),
            tf.reduce_sum(tf.cast(tokens.ids.row_lengths() > size, tf.int32)),
            exact,
            windows.texts,
        )

    ids, tags, texts, long_texts, learnable = [], [], [], 0, 0
    for start in range(0, len(examples), TEXTS_AT_ONCE):
        rows = slice(start, start + TEXTS_AT_ONCE)
        spans = [[(s.start, s.end, number[s.label]) for s in row] for row in examples.spans[rows]]
        flat = np.array([span for row in spans for span in row], "int32").reshape(-1, 3)
        ragged = tf.RaggedTensor.from_row_lengths(flat, [len(row) for row in spans])
        part_ids, part_tags, part_long, part_learnable, part_texts = label(
            tf.constant(examples.texts[rows].tolist()), ragged
        )
        # Splitting the flat values is a hundred times quicker than asking a ragged tensor for its rows.
        cuts = part_ids.row_limits().numpy()[:-1]
        ids += np.split(part_ids.flat_values.numpy(), cuts)
        tags += np.split(part_tags.flat_values.numpy(), cuts)
        long_texts += int(part_long)
        learnable += int(part_learnable)
        texts.append(start + part_texts.numpy())
    total = sum(len(row) for row in examples.spans)
    return TaggedWindows(ids, tags, len(examples), long_texts, total, learnable, np.concatenate(texts))


def tagging_batches(
    examples: TaggedExamples,
    tokenizer: OffsetTokenizer,
    preprocessor: Preprocessor,
    *,
    seq_length: int,
    tag_set: TagSet | None = None,
    overlap: int | None = None,
    training: bool = False,
    fixed_length: bool = False,
    numbered: bool = False,
    **how,
) -> tf.data.Dataset:
    """Make batches of packed token ids and tags. All texts are tokenized at once; a text too long for one window gets several.

    Args:
        examples: `n` texts with spans.
        tokenizer: with offsets, of the encoder.
        preprocessor: of the encoder; packs.
        seq_length: longest input, in tokens, special tokens included.
        tag_set: of the model; by default that of the examples.
        overlap: tokens shared by neighbouring windows; by default a quarter.
        training: shuffle, and put windows of like length together.
        fixed_length: pad everything to `seq_length`.
        numbered: give the tokens the number of their text in place of their tags, to find out which texts are in a batch.
        **how: `batch_size` (windows), `seed` and `drop_remainder`, see `make_batches`.

    Returns:
        A dataset of `(inputs, tags)`: inputs int32 `[batch, length]` each, tags int32 `[batch, length]` with `MASKED` (-1) where
        nothing is to be learned.

    Raises:
        UserError: no texts, no spans, or a label that the tag set does not have.
    """
    if examples.spans is None:
        raise UserError(f"{examples.source} has no entities to learn from.")
    before, behind = preprocessor.special_tokens_around
    tag_set = tag_set or examples.tag_set
    windows = tagged_windows(examples, tokenizer, tag_set, seq_length, overlap, before + behind)
    if numbered:
        tags = [np.full(len(ids), row, "int32") for ids, row in zip(windows.ids, windows.rows, strict=True)]
        windows = dataclasses.replace(windows, tags=tags)
    elif training:
        _report(examples, windows, seq_length)
    lengths = [len(row) for row in windows.ids]
    ids, tags = (tf.RaggedTensor.from_row_lengths(_flat(rows), lengths) for rows in (windows.ids, windows.tags))

    def pack(batch):
        packed = fit_length(
            pack_windows(preprocessor, batch["segments"][0], seq_length), seq_length if fixed_length else None
        )
        length = tf.shape(packed["input_word_ids"])[1]
        # Perhaps a place for [CLS] before; padding and [SEP] behind.
        tags = batch["tags"].to_tensor(MASKED)
        tags = tf.pad(tags, [[0, 0], [before, seq_length]], constant_values=MASKED)[:, :length]
        return packed, tf.ensure_shape(tags, [None, seq_length if fixed_length else None])

    dataset = make_batches({"segments": (ids,), "tags": tags}, pack, bucket=seq_length, training=training, **how)
    return dataset if numbered else tell_labels(dataset, labels_of_tags(examples, tag_set))


def _flat(rows: list[np.ndarray]) -> tf.Tensor:
    """Numbers as int32; words as they are."""
    values = np.concatenate(rows)
    return tf.constant(values.tolist(), tf.string) if values.dtype == object else tf.constant(values, tf.int32)


def pack_windows(preprocessor: Preprocessor, ids: tf.RaggedTensor, seq_length: int) -> dict[str, tf.Tensor]:
    """Special tokens around each window, padding behind; see `Preprocessor.pack`.

    Args:
        preprocessor: of the encoder.
        ids: int32, ragged `[windows, (tokens)]`.
        seq_length: of the result.
    """
    # Modules are surest to take what their own tokenizers give, words of tokens: here one word a window.
    words = tf.RaggedTensor.from_row_splits(ids, tf.range(ids.nrows() + 1))
    return preprocessor.pack([words], seq_length)


def _report(examples: TaggedExamples, windows: TaggedWindows, seq_length: int) -> None:
    lost = windows.spans - windows.learnable
    if lost > 0:
        logger.warning(
            "%s: %d of %d entities share their first word or token with an earlier one, or have no token at all, and are not learned.",
            examples.source, lost, windows.spans,
        )  # fmt: skip
    if windows.long_texts:
        logger.info(
            "%s: %d of %d texts are longer than %d tokens and go through overlapping windows.",
            examples.source, windows.long_texts, windows.texts, seq_length,
        )  # fmt: skip
