"""The preprocessing half of a pair: tokenizer and packer as a SavedModel, in the shape TF Hub publishes.

tensorflow_text's own `BertTokenizer` departs from the tokenizer that the checkpoints were trained with: it replaces
control characters by spaces instead of dropping them, knows only ASCII white space, folds case ("ß" becomes "ss")
instead of lowering it, counts the 100 characters of a word in bytes (12 Hangul syllables, once decomposed), and its
offsets point into the normalised text. Here the normalising is written out; splitting and WordPiece tokens are its ops.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import tensorflow as tf
import tensorflow_text as tf_text

from tl_keras.encoders.tokenizers import BytePairTokenizer, SentencePieceTokenizer
from tl_keras.encoders.vocabularies import (
    BytePairVocabulary,
    Packing,
    SentencePieceVocabulary,
    Vocabulary,
    WordPieceRules,
)
from tl_keras.text.offsets import lower_letters

# White space is mapped, the rest of the "other" categories dropped; tab, line feed and carriage return are both.
_WHITE_SPACE = r"[\t\n\r\p{Z}]"
_DROPPED = r"[\p{Cc}\p{Cf}\p{Co}\x{FFFD}]"
_PUNCTUATION = r"[!-/:-@\[-`{-~\p{P}]"
_CJK = (
    r"[\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{20000}-\x{2A6DF}\x{2A700}-\x{2B73F}\x{2B740}-\x{2B81F}"
    r"\x{2B820}-\x{2CEAF}\x{F900}-\x{FAFF}\x{2F800}-\x{2FA1F}]"
)


class _VocabularyFile(tf.lookup.TextFileInitializer):
    """Fills a table from a vocabulary: one WordPiece token a line, the line's number is its id.

    TensorFlow names the table after the file's place, and saves the name with the module. Here it is named after what the file
    holds: an encoder that is handed on tells nobody about its maker's folders, and making it twice gives the same bytes.
    """

    def __init__(self, vocab_file: str):
        self._content = hashlib.sha256(Path(vocab_file).read_bytes()).hexdigest()[:16]
        super().__init__(
            vocab_file,
            key_dtype=tf.string,
            key_index=tf.lookup.TextFileIndex.WHOLE_LINE,
            value_dtype=tf.int64,
            value_index=tf.lookup.TextFileIndex.LINE_NUMBER,
        )

    @property
    def _shared_name(self) -> str:
        return f"wordpiece_tokens_{self._content}"


class WordPieceTokenizer(tf.Module):
    """Strings -> WordPiece ids, by BERT's rules.

    Args:
        vocab_file: one WordPiece token a line; the line's number, from 0, is its id.
        options: how text is split into words.
    """

    def __init__(self, vocab_file: str, options: WordPieceRules):
        super().__init__(name="wordpiece")
        self._options = options
        self._strip = options.lower_case if options.strip_accents is None else options.strip_accents
        self.table = tf.lookup.StaticVocabularyTable(_VocabularyFile(vocab_file), num_oov_buckets=1)
        self._tokens = tf_text.WordpieceTokenizer(
            self.table,
            max_bytes_per_word=4 * options.max_chars_per_word,  # UTF-8 needs at most four; characters are counted below
            token_out_type=tf.int64,
            unknown_token=options.token("unknown"),
        )
        keep = f"{_PUNCTUATION}|{_CJK}" if options.tokenize_chinese_chars else _PUNCTUATION
        self._delimiters, self._kept_delimiters = rf" +|{keep}", keep

    def tokenize(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """UTF-8 strings `[batch]` -> int32 ids `[batch, (words), (tokens)]`; bytes that are no UTF-8 are dropped."""
        texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")
        return self._split(self._normalize(texts))[0]

    def tokenize_with_offsets(self, texts: tf.Tensor) -> list[tf.RaggedTensor]:
        """As `tokenize`, with the first and the last + 1 byte of each token in the text as it was given (int64)."""
        chars, starts = tf.strings.unicode_split_with_offsets(texts, "UTF-8", errors="replace")
        # Every step of the normalising looks at one character at a time, so it can be done on each, and remembered.
        normal = self._normalize(chars.flat_values)
        sizes = tf.cast(tf.strings.length(normal), tf.int64)
        limits = tf.cumsum(sizes)  # of each character, in all normalised texts set one after another
        joined = tf.strings.reduce_join(chars.with_flat_values(normal), axis=-1)
        ids, begin, end = self._split(joined)
        text_sizes = tf.cast(tf.strings.length(joined), tf.int64)
        text_of_token = tf.gather(begin.value_rowids(), begin.values.value_rowids())
        shift = tf.gather(tf.cumsum(text_sizes, exclusive=True), text_of_token)
        first = tf.searchsorted(limits, begin.flat_values + shift, side="right", out_type=tf.int64)
        last = tf.searchsorted(limits, end.flat_values + shift - 1, side="right", out_type=tf.int64)
        # A character's limit is the start of the next one, or the end of its text.
        size = tf.cast(tf.strings.length(texts), tf.int64)
        char_limits = tf.concat([starts, size[:, tf.newaxis]], axis=1)[:, 1:].flat_values
        return [
            ids,
            ids.with_flat_values(tf.gather(starts.flat_values, first)),
            ids.with_flat_values(tf.gather(char_limits, last)),
        ]

    def _normalize(self, texts: tf.Tensor) -> tf.Tensor:
        texts = tf.strings.regex_replace(texts, _WHITE_SPACE, " ")
        texts = tf.strings.regex_replace(texts, _DROPPED, "")
        if self._strip:
            texts = tf_text.normalize_utf8(texts, "NFD")
            texts = tf.strings.regex_replace(texts, r"\p{Mn}", "")
        if self._options.lower_case:
            texts = lower_letters(texts)
        return texts

    def _split(self, texts: tf.Tensor) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.RaggedTensor]:
        words, starts, limits = tf_text.regex_split_with_offsets(texts, self._delimiters, self._kept_delimiters)
        long = tf.strings.length(words.flat_values, unit="UTF8_CHAR") > self._options.max_chars_per_word
        known = tf.where(long, self._options.token("unknown"), words.flat_values)
        ids, begin, end = self._tokens.tokenize_with_offsets(words.with_flat_values(known))
        rows = ids.values.value_rowids()  # the word each token belongs to
        first = tf.gather(starts.flat_values, rows)
        last = tf.where(tf.gather(long, rows), tf.gather(limits.flat_values, rows), first + end.flat_values)
        ids = tf.cast(ids, tf.int32)
        return ids, ids.with_flat_values(first + begin.flat_values), ids.with_flat_values(last)


_Tokenizer = WordPieceTokenizer | SentencePieceTokenizer | BytePairTokenizer


class _Tokenize(tf.Module):
    """The attribute `tokenize` of the saved object."""

    def __init__(self, tokens: _Tokenizer, special_ids: dict[str, int]):
        super().__init__(name="tokenize")
        self._tokens = tokens
        self._special_ids = special_ids

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, "sentences")])
    def __call__(self, sentences):
        """Strings `[batch]` -> int32 ids `[batch, (words), (tokens)]` of WordPiece, else `[batch, (tokens)]`."""
        return self._tokens.tokenize(sentences)

    @tf.function(autograph=False, input_signature=[])
    def get_special_tokens_dict(self):
        """The ids that packing and masking need, as scalars."""
        return {name: tf.constant(value, tf.int32) for name, value in self._special_ids.items()}


class _TokenizeWithOffsets(tf.Module):
    """The attribute `tokenize_with_offsets` of the saved object."""

    def __init__(self, tokens: _Tokenizer):
        super().__init__(name="tokenize_with_offsets")
        self._tokens = tokens

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, "sentences")])
    def __call__(self, sentences):
        """Strings `[batch]` -> ids, first byte and last byte + 1 of each token, ragged as `tokenize` gives them."""
        return self._tokens.tokenize_with_offsets(sentences)


class _PackInputs(tf.Module):
    """The attribute `bert_pack_inputs` of the saved object."""

    def __init__(self, special_ids: dict[str, int], packing: Packing):
        super().__init__(name="bert_pack_inputs")
        self._ids, self._packing = special_ids, packing

    @tf.function(autograph=False)
    def __call__(self, inputs, seq_length):
        """One or two segments of ids (ragged, rank 2 or 3) -> the encoder's inputs, int32 `[batch, seq_length]`."""
        return self.pack(inputs, seq_length)

    def pack(self, segments, seq_length) -> dict[str, tf.Tensor]:
        """Trim the segments in turn to fit, join them with the special tokens, and pad to `seq_length`."""
        segments = [s.merge_dims(1, 2) if s.shape.rank == 3 else s for s in segments]
        sizes = [tf.cast(segment.row_lengths(), tf.int32)[:, tf.newaxis] for segment in segments]
        separators = self._packing.separators
        kept = self._round_robin(sizes, seq_length - 2 - separators * (len(segments) - 1))
        # Each place of the output is looked up by its number; ragged concatenation would cost hundreds of small ops.
        place = tf.range(seq_length)[tf.newaxis, :]
        end = tf.zeros_like(kept[0])  # the place of the special token before the next segment
        ids = tf.where(place == end, self._ids["start_of_sequence_id"], self._ids["padding_id"])
        types = tf.zeros_like(ids)
        for i, (segment, size) in enumerate(zip(segments, kept, strict=True)):
            if i:
                # All end tokens between the texts but the last, which the first text has brought.
                for _ in range(separators - 1):
                    end += 1
                    ids = tf.where(place == end, self._ids["end_of_segment_id"], ids)
            start, end = end + 1, end + 1 + size
            number = tf.cast(segment.row_starts(), tf.int32)[:, tf.newaxis] + place - start
            tokens = tf.concat([segment.flat_values, [0]], axis=0)  # one more, for when there are none
            token = tf.gather(tokens, tf.clip_by_value(number, 0, tf.size(tokens) - 1))
            ids = tf.where((place >= start) & (place < end), token, ids)
            ids = tf.where(place == end, self._ids["end_of_segment_id"], ids)
            types = tf.where((place >= start) & (place <= end), i, types)
        return {"input_word_ids": ids, "input_mask": tf.cast(place <= end, tf.int32), "input_type_ids": types}

    def _round_robin(self, sizes: list[tf.Tensor], room) -> list[tf.Tensor]:
        """How much stays of each segment when they take turns, one token at a time, until the room is full."""
        if len(sizes) == 1:
            return [tf.minimum(sizes[0], room)]
        first, second = sizes
        return [
            tf.minimum(first, tf.maximum((room + 1) // 2, room - second)),
            tf.minimum(second, tf.maximum(room // 2, room - first)),
        ]

    def trace(self) -> None:
        """Trace one and two segments, of words or of tokens."""
        length = tf.TensorSpec([], tf.int32, "seq_length")
        for segments in (1, 2):
            for rank in (2, 3):
                spec = tf.RaggedTensorSpec([None] * rank, tf.int32, ragged_rank=rank - 1)
                self.__call__.get_concrete_function([spec] * segments, length)


class PreprocessModule(tf.Module):
    """The object that is saved: strings -> the encoder's inputs, and the parts of that way.

    Args:
        vocabulary: of the tokenizer.
        vocab_file: where a WordPiece vocabulary stands as a file, which is copied into the SavedModel.
        seq_length: length of the packed inputs when the object itself is called.
        prompts: what `get_prompts()` gives: what the encoder wants before a text, by what it is, a `query` or a `passage`. The module
            itself puts nothing before texts; `tl_keras.text.preprocessor.Preprocessor` does.
    """

    variables = None
    trainable_variables = None

    def __init__(
        self, vocabulary: Vocabulary, vocab_file: str, seq_length: int, prompts: Mapping[str, str] | None = None
    ):
        super().__init__(name="preprocess")
        special_ids = vocabulary.special_ids()
        if isinstance(vocabulary, SentencePieceVocabulary):
            tokens = SentencePieceTokenizer(vocabulary.model, vocabulary.rules)
        elif isinstance(vocabulary, BytePairVocabulary):
            tokens = BytePairTokenizer(vocabulary.tokens, vocabulary.merges, vocabulary.add_prefix_space)
        else:
            tokens = WordPieceTokenizer(vocab_file, vocabulary.rules)
        self._seq_length = seq_length
        self.tokenize = _Tokenize(tokens, special_ids)
        self.tokenize_with_offsets = _TokenizeWithOffsets(tokens)
        self.bert_pack_inputs = _PackInputs(special_ids, vocabulary.packing)
        if prompts:
            constants = {role: tf.constant(prompt) for role, prompt in prompts.items()}
            self.get_prompts = tf.function(lambda: constants, autograph=False, input_signature=[])
        self.variables, self.trainable_variables, self.regularization_losses = [], [], []

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, "sentences")])
    def __call__(self, sentences):
        """Strings `[batch]` -> int32 `input_word_ids`, `input_mask`, `input_type_ids` `[batch, seq_length]`."""
        return self.bert_pack_inputs.pack([self.tokenize(sentences)], self._seq_length)

    def trace(self) -> dict[str, Callable]:
        """Trace every way to call the object, and return the signatures to save."""
        self.bert_pack_inputs.trace()
        return {"serving_default": self.__call__.get_concrete_function()}
