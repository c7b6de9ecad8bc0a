"""The tokenizer of an encoder pair, with what pre-training asks of one: its special tokens, its packing, which tokens go on with a word."""

from __future__ import annotations

import functools
import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tl_keras.encoders.vocabularies import BytePairVocabulary, Vocabulary, WordPieceVocabulary
from tl_keras.errors import UserError
from tl_keras.files import whole_folder
from tl_keras.pretraining.vocabulary import SpecialTokens

_FACTS = "tokenizer.json"


class PairTokenizer:
    """Text -> ids by a pair's own vocabulary, of whatever kind; all that it does needs TensorFlow.

    Args:
        pair_vocabulary: as it was read from the pair, and as it is written with the pair that is made.

    Attributes:
        vocabulary: the tokens by id.
        special: ids by role.
        packing: how one or two texts become a row.
        continuation: bool `[vocabulary]`, see `continues_a_word`.
    """

    strip_accents = False

    def __init__(self, pair_vocabulary: Vocabulary):
        self.pair_vocabulary = pair_vocabulary
        self.vocabulary = list(pair_vocabulary.tokens)
        self.lower_case = pair_vocabulary.lower_case
        self.special = SpecialTokens.of(pair_vocabulary)
        self.packing = pair_vocabulary.packing
        self.continuation = continues_a_word(pair_vocabulary)

    @functools.cached_property
    def _ids(self):
        from tl_keras.encoders.vocabulary_trim import VocabularyIds

        return VocabularyIds(self.pair_vocabulary)

    @property
    def between(self) -> str:
        """What stands before a sentence that is not a document's first."""
        return self._ids.between

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, without special tokens."""
        return self._ids.encode(texts)

    def write(self, folder: Path) -> None:
        """Keep it in a folder, so that a run goes on without the pair that it began from."""
        with whole_folder(folder, replace=True) as draft:
            self.pair_vocabulary.write(draft)
            (draft / _FACTS).write_text(json.dumps(self.pair_vocabulary.info()["tokenizer"]), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> PairTokenizer:
        """Read what `write` kept.

        Raises:
            UserError: it is missing or damaged.
        """
        from tl_keras.encoders.vocabulary_trim import read_vocabulary_file

        try:
            facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
            return cls(read_vocabulary_file(folder, facts))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{folder} does not hold the vocabulary that the run began with ({error})") from error


def continues_a_word(vocabulary: Vocabulary) -> np.ndarray:
    """Which tokens go on with the word that the token before belongs to; for whole-word masking.

    WordPiece marks them with `##`. SentencePiece and byte pairs mark the others, with a blank before them; there punctuation is a word of
    its own too, as it is in BERT.

    Returns:
        bool `[vocabulary]`.

    Example:
        >>> from tl_keras.encoders.vocabularies import ROBERTA_TOKENS
        >>> words = [*ROBERTA_TOKENS.values(), "Ġfilm", "s", ".", "Ġ("]
        >>> continues_a_word(BytePairVocabulary(words, []))[-4:].tolist()
        [False, True, False, False]
    """
    if isinstance(vocabulary, WordPieceVocabulary):
        return np.asarray([token.startswith("##") for token in vocabulary.tokens])
    goes_on = _bytes_go_on if isinstance(vocabulary, BytePairVocabulary) else _goes_on
    return np.asarray([goes_on(token) for token in vocabulary.tokens])


def _bytes_go_on(token: str) -> bool:
    from tl_keras.encoders.tokenizers import byte_pair_text

    text = byte_pair_text(token)
    half_a_character = text == token and not token.isascii()
    return not token.startswith("Ġ") if half_a_character else _goes_on(text)


def _goes_on(token: str) -> bool:
    # Letters, the marks that go with them, and digits.
    return not token.startswith("▁") and any(unicodedata.category(character)[0] in "LMN" for character in token)
