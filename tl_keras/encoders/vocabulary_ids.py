"""Texts -> ids by a vocabulary that need not be part of a SavedModel yet."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import tensorflow as tf

from tl_keras.encoders.pair_preprocess import PreprocessModule
from tl_keras.encoders.vocabularies import Vocabulary, WordPieceVocabulary

_AT_ONCE = 2048


class VocabularyIds:
    """The tokenizer that a pair with this vocabulary has, ready to use.

    Args:
        vocabulary: WordPiece or SentencePiece.

    Attributes:
        vocabulary: its tokens by id.
        lower_case, strip_accents: what it does to letters first.
    """

    def __init__(self, vocabulary: Vocabulary):
        self.vocabulary = list(vocabulary.tokens)
        self.lower_case = vocabulary.lower_case
        self.strip_accents = isinstance(vocabulary, WordPieceVocabulary) and bool(vocabulary.rules.strip_accents)
        # The lookup table of a WordPiece vocabulary reads its file when it is made.
        with tempfile.TemporaryDirectory() as folder:
            self._module = PreprocessModule(vocabulary, str(vocabulary.write(Path(folder))), seq_length=128)
            self.encode(["a"])

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, without special tokens."""
        return list(self.stream(texts))

    def stream(self, texts: Iterable[str]) -> Iterator[list[int]]:
        """The same, text by text."""
        chunk: list[str] = []
        for text in texts:
            chunk.append(text)
            if len(chunk) == _AT_ONCE:
                yield from self._ids(chunk)
                chunk = []
        if chunk:
            yield from self._ids(chunk)

    def _ids(self, texts: list[str]) -> list[list[int]]:
        ids = self._module.tokenize(tf.constant(texts))
        return (ids.merge_dims(1, 2) if ids.shape.rank == 3 else ids).to_list()
