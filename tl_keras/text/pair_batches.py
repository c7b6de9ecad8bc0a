"""Batches of pairs of texts: texts that are compared, and questions with windows of their contexts."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tl_keras.data.examples import Examples
from tl_keras.data.pairs import RetrievalPairs
from tl_keras.data.questions import QuestionExamples
from tl_keras.errors import UserError
from tl_keras.text.offsets import OffsetTokenizer
from tl_keras.text.preprocessor import Preprocessor, fit_length
from tl_keras.text.text_batches import make_batches, with_labels
from tl_keras.text.windows import WindowSettings, context_windows

logger = logging.getLogger(__name__)

TOWERS = ("query", "document")
TEXTS_AT_ONCE = 512


def pair_batches(
    examples: Examples,
    preprocessor: Preprocessor | None,
    *,
    seq_length: int,
    fixed_length: bool = False,
    **how,
) -> tf.data.Dataset:
    """Make batches of pairs for `bi_encoder`, tokenizing on the way; shuffled and bucketed as `token_batches` does.

    Each tower is trimmed by itself: short questions are not padded to the length of their documents.

    Args:
        examples: pairs: scored ones, or questions and documents.
        preprocessor: tokenizes and packs; None for a text embedding module, which takes strings.
        seq_length: longest input in tokens.
        fixed_length: pad everything to `seq_length`, for TPUs.
        **how: `batch_size`, `training`, `seed` and `drop_remainder`, see `make_batches`. With in-batch negatives the size of a batch is
            also how many documents a question chooses from: larger is better there.

    Returns:
        A dataset of `(inputs, labels)`, or of inputs where there are no labels: inputs by name, `query_...` and `document_...`,
        int32 `[batch, length]` each (for a text embedding module `query` and `document`, string `[batch]`). Labels: the scores,
        float32 `[batch]`; for questions and documents the document's number, int64 `[batch]`, by which a batch knows that two
        of its questions share a document.

    Raises:
        UserError: the examples are single texts, or there are none.
    """
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
    return make_batches(source, pack, **own, **how)


def pack_questions(
    preprocessor: Preprocessor, questions: tf.RaggedTensor, contexts: tf.RaggedTensor, seq_length: int
) -> dict[str, tf.Tensor]:
    """`[CLS]` question `[SEP]` context `[SEP]`, padding behind; see `Preprocessor.pack`.

    Args:
        preprocessor: of the encoder.
        questions: int32 ids, ragged `[windows, (tokens)]`.
        contexts: int32 ids, ragged `[windows, (tokens)]`.
        seq_length: of the result.
    """
    # Modules are surest to take what their own tokenizers give, words of tokens: here one word a window.
    words = [tf.RaggedTensor.from_row_splits(ids, tf.range(ids.nrows() + 1)) for ids in (questions, contexts)]
    return preprocessor.pack(words, seq_length)


@dataclasses.dataclass(frozen=True)
class QuestionWindows:
    """Windows with the place of the answer, in memory.

    Args:
        questions: for each window the question's ids, int32.
        contexts: for each window the ids of its part of the context, int32.
        labels: int32 `[windows, 2]`: first and last token of the answer, counted through the packed input (`[CLS]` is 0); 0 and 0 where
            the window does not hold the whole answer.
        rows: int `[windows]`: which question each window is of.
        counts: for reports: `questions`, `cut` (too long), `long_contexts`, `lost` (answers that no window holds whole).
    """

    questions: list[np.ndarray]
    contexts: list[np.ndarray]
    labels: np.ndarray
    rows: np.ndarray
    counts: dict[str, int]


def question_windows(
    examples: QuestionExamples, tokenizer: OffsetTokenizer, settings: WindowSettings
) -> QuestionWindows:
    """Tokenize questions and contexts, lay windows, and find the answers' tokens.

    Of several right answers the first one that stands where the data say is learned.

    Args:
        examples: with answers.
        tokenizer: with offsets.
        settings: of the windows.

    Raises:
        UserError: nothing to learn from.
    """
    examples = examples.learnable()
    asked = [ids for ids, _, _ in _tokenize(examples.questions.tolist(), tokenizer)]
    texts = list(dict.fromkeys(examples.contexts))
    read = dict(zip(texts, _tokenize(texts, tokenizer), strict=True))
    cut = sum(len(ids) > settings.max_question_length for ids in asked)
    asked = [ids[: settings.max_question_length] for ids in asked]
    context_lengths = np.array([len(read[context][0]) for context in examples.contexts])
    windows = context_windows(tf.constant([len(ids) for ids in asked]), tf.constant(context_lengths), settings)
    rows, starts, lengths = (part.numpy() for part in windows)
    tokens = np.full((len(examples), 2), -1)
    for row, (context, given) in enumerate(zip(examples.contexts, examples.answers, strict=True)):
        answer = next((a for a in given if a.found), None)
        if answer is not None:
            tokens[row] = _tokens_of(answer.start, answer.end, *read[context][1:])
    first, last = tokens[rows].T
    whole = (first >= starts) & (last < starts + lengths) & (first >= 0)
    offset = settings.before_context + np.array([len(ids) for ids in asked])[rows] - starts
    labels = np.where(whole[:, np.newaxis], tokens[rows] + offset[:, np.newaxis], 0).astype("int32")
    answered = ~examples.is_impossible
    held = np.zeros(len(examples), bool)
    held[rows[whole]] = True
    return QuestionWindows(
        [asked[row] for row in rows],
        [read[examples.contexts[r]][0][s : s + n] for r, s, n in zip(rows, starts, lengths, strict=True)],
        labels,
        rows,
        {
            "questions": len(examples),
            "cut": cut,
            "long_contexts": int(np.sum(np.bincount(rows, minlength=len(examples)) > 1)),
            "lost": int(np.sum(answered & ~held)),
        },
    )


def question_batches(
    examples: QuestionExamples,
    tokenizer: OffsetTokenizer,
    preprocessor: Preprocessor,
    settings: WindowSettings,
    *,
    training: bool = False,
    fixed_length: bool = False,
    numbered: bool = False,
    **how,
) -> tf.data.Dataset:
    """Make batches of packed token ids and answer places. All texts are tokenized at once.

    Args:
        examples: with answers; those whose answers were not found in their places are left out.
        tokenizer: with offsets, of the encoder.
        preprocessor: of the encoder; packs.
        settings: of the windows.
        training: shuffle, and put windows of like length together.
        fixed_length: pad everything to the encoder's `seq_length`.
        **how: `batch_size` (windows), `seed` and `drop_remainder`, see `make_batches`.
        numbered: give the number of each question in place of both places, to find out which questions are in a batch.

    Returns:
        A dataset of `(inputs, places)`: inputs int32 `[batch, length]` each, places int32 `[batch, 2]`: the answer's first and last
        token, counted through the input, 0 and 0 (`[CLS]`) for windows that do not hold it.

    Raises:
        UserError: no questions, or no answers.
    """
    windows = question_windows(examples, tokenizer, settings)
    if numbered:
        windows = dataclasses.replace(windows, labels=np.stack([windows.rows] * 2, 1).astype("int32"))
    elif training:
        _report(examples, windows, settings)
    segments = tuple(_ragged(part) for part in (windows.questions, windows.contexts))

    def pack(batch):
        packed = pack_questions(preprocessor, *batch["segments"], settings.seq_length)
        packed = fit_length(packed, settings.seq_length if fixed_length else None)
        return packed, tf.ensure_shape(batch["labels"], [None, 2])

    source = {"segments": segments, "labels": windows.labels}
    return make_batches(source, pack, bucket=settings.seq_length, training=training, **how)


def _tokenize(texts: Sequence[str], tokenizer: OffsetTokenizer) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Ids, first characters and last characters plus one of each text's tokens."""
    found = []
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        tokens = tokenizer(tf.constant(texts[start : start + TEXTS_AT_ONCE]))
        # Splitting the flat values is a hundred times quicker than asking a ragged tensor for its rows.
        cuts = tokens.ids.row_limits().numpy()[:-1]
        found += zip(
            *(np.split(part.flat_values.numpy(), cuts) for part in (tokens.ids, tokens.starts, tokens.ends)),
            strict=True,
        )
    return found


def _tokens_of(start: int, end: int, starts: np.ndarray, ends: np.ndarray) -> tuple[int, int]:
    """The first and the last token that touch characters `start` to `end`; (-1, -1) where none does."""
    first = int(np.searchsorted(ends, start, side="right"))
    last = int(np.searchsorted(starts, end, side="left")) - 1
    return (first, last) if first <= last else (-1, -1)


def _ragged(rows: list[np.ndarray]) -> tf.RaggedTensor:
    return tf.RaggedTensor.from_row_lengths(np.concatenate(rows).astype("int32"), [len(row) for row in rows])


def _report(examples: QuestionExamples, windows: QuestionWindows, settings: WindowSettings) -> None:
    counts = windows.counts
    if counts["cut"]:
        logger.warning(
            "%s: %d of %d questions are longer than %d tokens and are cut there (max_question_length).",
            examples.source, counts["cut"], counts["questions"], settings.max_question_length,
        )  # fmt: skip
    if counts["lost"]:
        logger.warning(
            "%s: %d of %d answers are not whole in any window and are not learned; a larger seq_length (--seq-length) may help.",
            examples.source, counts["lost"], counts["questions"],
        )  # fmt: skip
    if counts["long_contexts"]:
        logger.info(
            "%s: %d of %d contexts do not fit in %d tokens beside their question and go through overlapping windows.",
            examples.source, counts["long_contexts"], counts["questions"], settings.seq_length,
        )  # fmt: skip
