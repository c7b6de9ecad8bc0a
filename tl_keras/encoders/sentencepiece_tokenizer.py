"""Strings -> SentencePiece tokens in the graph."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_text as tf_text


class SentencePieceTokenizer(tf.Module):
    """Strings -> token ids by a SentencePiece model, which is kept in the graph as a constant.

    Ids are those of the `sentencepiece` library, but for ties: of five dots that are `...` and `..` or `..` and `...`, equally likely,
    the two may choose differently (53 of 10,000 Korean film reviews with XLM-R's vocabulary; the tokens are the same). Texts are
    normalised by the table in the model. XLM-R's published table differs from SentencePiece's `nmt_nfkc`, which a model made anew may
    carry, in U+0340, U+0341 and U+200D: it makes a blank of the last.

    Args:
        model: the serialized model.
    """

    def __init__(self, model: bytes):
        super().__init__(name="sentencepiece")
        self._tokens = tf_text.SentencepieceTokenizer(model, out_type=tf.int32)

    def tokenize(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """UTF-8 strings `[batch]` -> int32 ids `[batch, (tokens)]`."""
        return self._tokens.tokenize(texts)

    def tokenize_with_offsets(self, texts: tf.Tensor) -> list[tf.RaggedTensor]:
        """As `tokenize`, with the first and the last + 1 byte of each token in the text as it was given (int64).

        They are SentencePiece's own: a word's first token begins at the blank before the word.
        """
        ids, starts, ends = self._tokens.tokenize_with_offsets(texts)
        return [ids, *(part.with_flat_values(tf.cast(part.flat_values, tf.int64)) for part in (starts, ends))]
