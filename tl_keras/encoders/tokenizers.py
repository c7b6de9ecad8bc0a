"""Tokenizers in TensorFlow ops, part of a preprocessor's graph: byte-level byte pairs, as RoBERTa and GPT-2 have them, and SentencePiece.

KerasHub's `BytePairTokenizer` splits with marks that it puts into the text, and remembers words in a table that grows: it has no
offsets, and no SavedModel holds it. Here the splitting is done by tensorflow_text, and the merging in a loop over the batch's words.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text

from tl_keras.encoders.vocabularies import SentencePieceRules
from tl_keras.text.offsets import lower_letters

# `\s` as Unicode understands it.
_BLANK, _OTHER = r"[\t-\r\x{85}\p{Z}]", r"[^\t-\r\x{85}\p{Z}]"
# GPT-2 leaves the last blank of a run to the word behind it. It says so by looking ahead, which TensorFlow's expressions can't.
_CHUNKS = rf"{_BLANK}?{_OTHER}+|{_BLANK}"
_WORDS = rf"'s|'t|'re|'ve|'m|'ll|'d| ?\p{{L}}+| ?\p{{N}}+| ?[^\t-\r\x{{85}}\p{{Z}}\p{{L}}\p{{N}}]+|{_BLANK}+"


def byte_characters() -> list[str]:
    """The character that stands for each byte in a byte-level vocabulary: itself where it can be seen, else one behind U+00FF.

    Source: Radford et al. 2019, GPT-2, section 2.2, and the files published with it.

    Example:
        >>> characters = byte_characters()
        >>> characters[65], characters[32], characters[10], len(set(characters))
        ('A', 'Ġ', 'Ċ', 256)
    """
    seen = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    characters = {byte: chr(byte) for byte in seen}
    for byte in range(256):
        if byte not in characters:
            characters[byte] = chr(256 + len(characters) - len(seen))
    return [characters[byte] for byte in range(256)]


def byte_pair_text(token: str) -> str:
    """A byte-level token as text, a blank as SentencePiece writes it; a token that is a part of a character as it is.

    Example:
        >>> byte_pair_text("Ġfilm"), byte_pair_text("Ã©"), byte_pair_text("Ã"), byte_pair_text("<mask>")
        ('▁film', 'é', 'Ã', '<mask>')
    """
    try:
        return bytes(_byte_numbers()[character] for character in token).decode("utf-8").replace(" ", "▁")
    except (KeyError, UnicodeDecodeError):  # no byte-level token, or half a character
        return token


@functools.cache
def _byte_numbers() -> dict[str, int]:
    return {character: byte for byte, character in enumerate(byte_characters())}


class BytePairTokenizer(tf.Module):
    """Strings -> token ids by merging bytes, as GPT-2 and RoBERTa do.

    Args:
        tokens: by id, bytes written as `byte_characters`; all 256 of them, and the results of all merges.
        merges: pairs of tokens, those to be merged first standing first.
        add_prefix_space: put a blank before a text that begins with none.

    Source: Sennrich et al. 2016, https://arxiv.org/abs/1508.07909, on bytes as in Radford et al. 2019 (GPT-2).
    """

    def __init__(self, tokens: Sequence[str], merges: Sequence[tuple[str, str]], add_prefix_space: bool = False):
        super().__init__(name="byte_pairs")
        ids: Mapping[str, int] = {token: number for number, token in enumerate(tokens)}
        self._add_prefix_space = add_prefix_space
        self._size = len(tokens)
        self._byte_ids = tf.constant([ids[character] for character in byte_characters()], tf.int64)
        # A pair's key tells its two ids; where it stands among the sorted keys, its rank and its result stand too.
        keys = np.asarray([ids[left] * self._size + ids[right] for left, right in merges] or [-1], np.int64)
        results = np.asarray([ids[left + right] for left, right in merges] or [0], np.int64)
        order = np.argsort(keys)
        self._keys, self._ranks = tf.constant(keys[order]), tf.constant(order.astype(np.int64))
        self._results = tf.constant(results[order])

    def tokenize(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """UTF-8 strings `[batch]` -> int32 ids `[batch, (tokens)]`."""
        return self.tokenize_with_offsets(texts)[0]

    def tokenize_with_offsets(self, texts: tf.Tensor) -> list[tf.RaggedTensor]:
        """As `tokenize`, with the first and the last + 1 byte of each token in the text as it was given (int64).

        A token that begins with a blank begins there; one that is a part of a character has the bytes of that part.
        """
        # tensorflow_text ends a text at U+0000; U+0001 is read in its place.
        texts = tf.strings.regex_replace(texts, r"\x00", "\x01")
        added = tf.zeros_like(texts, tf.int64)
        sizes = tf.cast(tf.strings.length(texts), tf.int64)
        if self._add_prefix_space:
            begins_with_none = (tf.strings.substr(texts, 0, 1) != " ") & (sizes > 0)
            added = tf.cast(begins_with_none, tf.int64)
            texts = tf.strings.join([tf.where(begins_with_none, " ", ""), texts])
        words, word_starts = _split(texts)
        different, number = tf.unique(words.flat_values, out_idx=tf.int64)
        ids, starts, limits = (tf.gather(part, number) for part in self._merge(different))
        shift = tf.repeat(word_starts.flat_values - tf.gather(added, words.value_rowids()), ids.row_lengths())

        def per_text(part: tf.RaggedTensor, values: tf.Tensor) -> tf.RaggedTensor:
            return words.with_flat_values(part.with_flat_values(values)).merge_dims(1, 2)

        return [
            per_text(ids, tf.cast(ids.flat_values, tf.int32)),
            # The blank that was put before a text has no place in it.
            per_text(starts, tf.maximum(starts.flat_values + shift, 0)),
            per_text(limits, tf.maximum(limits.flat_values + shift, 0)),
        ]

    def _merge(self, words: tf.Tensor) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.RaggedTensor]:
        """Strings `[words]` -> ids, first byte and last byte + 1 of each token, int64 `[words, (tokens)]`."""
        single = tf.strings.bytes_split(words)
        total = tf.size(single.flat_values, tf.int64)
        values = tf.reshape(tf.io.decode_raw(single.flat_values, tf.uint8), [total])
        word = single.value_rowids()
        count = tf.size(words, tf.int64)
        ids = tf.gather(self._byte_ids, tf.cast(values, tf.int32))
        # Bytes are counted through all words until the end.
        state = (total > 1, ids, word, tf.range(total))
        free = tf.TensorShape([None])
        _, ids, word, starts = tf.while_loop(
            lambda more, *_: more,
            lambda _, *tokens: self._merge_once(*tokens, count),
            state,
            shape_invariants=(tf.TensorShape([]), free, free, free),
        )
        limits = tf.concat([starts, [total]], axis=0)[1:]
        first = tf.gather(single.row_starts(), word)
        rows = tf.RaggedTensor.from_value_rowids(ids, word, nrows=count, validate=False)
        return rows, rows.with_flat_values(starts - first), rows.with_flat_values(limits - first)

    def _merge_once(self, ids, word, starts, count):
        """Merge, in each word, the pair that comes first among the merges, wherever it stands in the word."""
        left = word[:-1]
        keys = ids[:-1] * self._size + ids[1:]
        place = tf.minimum(tf.searchsorted(self._keys, keys), tf.size(self._keys) - 1)
        known = (tf.gather(self._keys, place) == keys) & (left == word[1:])
        rank = tf.where(known, tf.gather(self._ranks, place), tf.int64.max)
        best = known & (rank == tf.gather(tf.math.unsorted_segment_min(rank, left, count), left))
        # Where pairs overlap, as in "aaa", the first is merged, and every second one behind it.
        run = tf.cumsum(tf.cast(~best, tf.int64))
        before = tf.cumsum(tf.cast(best, tf.int64), exclusive=True)
        in_run = before - tf.gather(tf.math.unsorted_segment_min(before, run, tf.size(run, tf.int64) + 1), run)
        merged = best & (in_run % 2 == 0)
        no = tf.constant([False])
        ids = tf.where(tf.concat([merged, no], axis=0), tf.concat([tf.gather(self._results, place), [0]], axis=0), ids)
        stay = ~tf.concat([no, merged], axis=0)
        return tf.reduce_any(merged), *(tf.boolean_mask(part, stay) for part in (ids, word, starts))


def _split(texts: tf.Tensor) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
    """Strings `[batch]` -> words `[batch, (words)]`, most with the blank before them, and the first byte of each."""
    chunks, starts, _ = tf_text.regex_split_with_offsets(texts, _CHUNKS, _CHUNKS)
    # What is left of a run of blanks is one word; they were split off one by one.
    row, blank = chunks.value_rowids(), tf.strings.regex_full_match(chunks.flat_values, _BLANK)
    follows = tf.concat([[False], blank[:-1] & (row[1:] == row[:-1])], axis=0)[: tf.size(blank)] & blank
    first = tf.where(~follows)[:, 0]
    joined = tf.strings.unsorted_segment_join(
        chunks.flat_values, tf.cumsum(tf.cast(~follows, tf.int64)) - 1, tf.size(first, tf.int64)
    )
    parts, part_starts, _ = tf_text.regex_split_with_offsets(joined, _WORDS, _WORDS)
    rows = tf.RaggedTensor.from_value_rowids(parts, tf.gather(row, first), nrows=chunks.nrows(), validate=False)
    shift = tf.repeat(tf.gather(starts.flat_values, first), part_starts.row_lengths())
    return rows.merge_dims(1, 2), rows.with_flat_values(part_starts.flat_values + shift).merge_dims(1, 2)


class SentencePieceTokenizer(tf.Module):
    """Strings -> token ids by a SentencePiece model, which is kept in the graph as a constant.

    Ids are those of the `sentencepiece` library, but for ties: of five dots that are `...` and `..` or `..` and `...`, equally likely,
    the two may choose differently (53 of 10,000 Korean film reviews with XLM-R's vocabulary; the tokens are the same). Texts are
    normalised by the table in the model. XLM-R's published table differs from SentencePiece's `nmt_nfkc`, which a model made anew may
    carry, in U+0340, U+0341 and U+200D: it makes a blank of the last.

    Args:
        model: the serialized model.
        rules: what is done to texts first.
    """

    def __init__(self, model: bytes, rules: SentencePieceRules | None = None):
        super().__init__(name="sentencepiece")
        self._rules = rules or SentencePieceRules()
        self._tokens = tf_text.SentencepieceTokenizer(model, out_type=tf.int32)

    def tokenize(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """UTF-8 strings `[batch]` -> int32 ids `[batch, (tokens)]`."""
        return self._tokens.tokenize(self._normalize(self._straighten(texts)) if self._rules else texts)

    def tokenize_with_offsets(self, texts: tf.Tensor) -> list[tf.RaggedTensor]:
        """As `tokenize`, with the first and the last + 1 byte of each token in the text as it was given (int64).

        They are SentencePiece's own: a word's first token begins at the blank before the word.
        """
        if not self._rules:
            return self._split(texts)
        size = tf.cast(tf.strings.length(texts), tf.int64)
        chars, starts = tf.strings.unicode_split_with_offsets(self._straighten(texts), "UTF-8", errors="replace")
        # What else is done is done to each character by itself.
        normal = self._normalize(chars.flat_values)
        limits = tf.cumsum(tf.cast(tf.strings.length(normal), tf.int64))
        ids, begin, end = self._split(tf.strings.reduce_join(chars.with_flat_values(normal), axis=-1))
        before = tf.gather(tf.concat([[0], limits], axis=0), chars.row_starts())  # bytes of the texts before
        shift = tf.gather(before, ids.value_rowids())
        last = tf.maximum(tf.size(limits, tf.int64) - 1, 0)
        first, final = (
            tf.minimum(tf.searchsorted(limits, place + shift, side="right", out_type=tf.int64), last)
            for place in (begin.flat_values, tf.maximum(end.flat_values - 1, begin.flat_values))
        )
        # Both characters of a straightened quote belong to it.
        dropped = tf.concat([chars.flat_values == "\x01", [False]], axis=0)[1:]
        quote = dropped & (chars.flat_values == '"')
        row_last = tf.gather(chars.row_limits(), ids.value_rowids()) - 1
        final = tf.minimum(final + tf.cast(tf.gather(quote, final), tf.int64), row_last)
        # A character ends where the next one begins, or its text ends.
        ends = tf.concat([starts, size[:, tf.newaxis]], axis=1)[:, 1:].flat_values
        return [
            ids,
            ids.with_flat_values(tf.gather(starts.flat_values, first)),
            ids.with_flat_values(tf.gather(ends, final)),
        ]

    def _split(self, texts: tf.Tensor) -> list[tf.RaggedTensor]:
        ids, starts, ends = self._tokens.tokenize_with_offsets(texts)
        return [ids, *(part.with_flat_values(tf.cast(part.flat_values, tf.int64)) for part in (starts, ends))]

    def _straighten(self, texts: tf.Tensor) -> tf.Tensor:
        if not self._rules.straighten_quotes:
            return texts
        # Of the same length, so that places stay; the second character is dropped with the next step.
        return tf.strings.regex_replace(texts, "``|''", '"\x01')

    def _normalize(self, texts: tf.Tensor) -> tf.Tensor:
        texts = tf.strings.regex_replace(texts, r"\x01", "")
        if self._rules.strip_accents:
            texts = tf.strings.regex_replace(tf_text.normalize_utf8(texts, "NFKD"), r"\p{M}", "")
        return lower_letters(texts) if self._rules.lower_case else texts
