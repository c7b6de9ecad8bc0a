"""Strings -> SentencePiece tokens in the graph."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_text as tf_text

from tl_keras.encoders.vocabularies import SentencePieceRules
from tl_keras.text.composed import lower_letters


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
