"""Learning a vocabulary from text: WordPiece for a BERT, byte pairs for a GPT."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from tl_keras.encoders.vocabularies import BERT_PACKING, Vocabulary, WordPieceRules, WordPieceVocabulary
from tl_keras.errors import UserError

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MAX_CHARS_PER_WORD = 100


@dataclass(frozen=True)
class SpecialTokens:
    """Ids of the tokens that frame rows, and of the mask, by role."""

    start: int
    end: int
    padding: int
    mask: int

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> SpecialTokens:
        """Those of an encoder pair's vocabulary."""
        ids = vocabulary.special_ids()
        return cls(ids["start_of_sequence_id"], ids["end_of_segment_id"], ids["padding_id"], ids["mask_id"])


def learn_vocabulary(
    texts: Iterable[str],
    size: int,
    lower_case: bool = False,
    alphabet_size: int | None = None,
) -> list[str]:
    """Learn WordPiece tokens from text.

    Args:
        texts: Sentences; iterated over twice.
        size: Tokens wanted, the five special tokens included.
        lower_case: Learn from lower-cased text (an uncased vocabulary).
        alphabet_size: The most frequent characters that are kept; a word with any other character is `[UNK]`. Each
            takes up to two tokens, at a word's start and inside. By default at most a sixth of `size`.

    Returns:
        The tokens by id, the same ones each time: the special tokens in the order of `SPECIAL_TOKENS`, the characters
        in the order of their code points, then what was merged of them.

    Raises:
        UserError: The text cannot fill a vocabulary of this size.

    Example:
        >>> learn_vocabulary(["low lower", "low lower"], size=13, alphabet_size=9)[5:]
        ['e', 'l', 'o', 'r', 'w', '##e', '##o', '##r']
    """
    if size <= len(SPECIAL_TOKENS):
        raise UserError(f"--vocab-size {size} leaves no room beside the {len(SPECIAL_TOKENS)} special tokens")
    tokenizer = _tokenizer(models.WordPiece(unk_token="[UNK]"), lower_case, strip_accents=False)
    alphabet, inside = _characters(texts, tokenizer, alphabet_size or max(size // 6, 1))
    # The trainer numbers characters as it meets them in a hash table, and breaks ties between merges by these numbers,
    # so the same text would give another vocabulary each time. Named beforehand, all characters have fixed numbers.
    known = [*SPECIAL_TOKENS, *alphabet, *(f"##{character}" for character in inside)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=2,
        limit_alphabet=len(alphabet),
        initial_alphabet=alphabet,
        special_tokens=known[:size],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokens = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    _check_filled(len(tokens), size)
    return [token for token, _ in tokens][:size]


def _check_filled(tokens: int, size: int) -> None:
    if tokens < size:
        raise UserError(
            f"the corpus can fill a vocabulary of {tokens} tokens at most, but --vocab-size is {size}; "
            "give a smaller --vocab-size or more text"
        )


def _characters(texts: Iterable[str], tokenizer: Tokenizer, limit: int) -> tuple[list[str], list[str]]:
    """The most frequent characters, and those of them that stand inside words; both by code point."""
    chunks = Counter(chunk for text in texts for chunk in tokenizer.normalizer.normalize_str(text).split())
    counts, inside = Counter(), set()
    for chunk, count in chunks.items():
        for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(chunk):
            for character in word:
                counts[character] += count
            inside.update(word[1:])
    kept = sorted(counts, key=lambda character: (-counts[character], character))[:limit]
    return sorted(kept), sorted(inside.intersection(kept))


def _tokenizer(model, lower_case: bool, strip_accents: bool) -> Tokenizer:
    tokenizer = Tokenizer(model)
    # strip_accents means NFD, which splits each Hangul syllable into jamo: never for a vocabulary of our own.
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=strip_accents, lowercase=lower_case
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


class WordPiece:
    """Text -> ids, the same ids as the preprocessor that is exported with the encoder. Needs no TensorFlow.

    Args:
        vocabulary: The tokens by id, all of `SPECIAL_TOKENS` among them.
        lower_case: Lower-case the text first.
        strip_accents: Decompose the text (NFD) and drop accents; only for vocabularies that were made so.

    Attributes:
        special: Ids of the special tokens by role.
        continuation: bool `[vocabulary]`, True for the tokens that continue a word.

    Example:
        >>> word_piece = WordPiece([*SPECIAL_TOKENS, "영화", "##가", "good"])
        >>> word_piece.encode(["영화가 good", "bad"])
        [[5, 6, 7], [1]]
    """

    packing = BERT_PACKING
    between = ""

    def __init__(self, vocabulary: Sequence[str], lower_case: bool = False, strip_accents: bool = False):
        table = {token: index for index, token in enumerate(vocabulary)}
        missing = [token for token in SPECIAL_TOKENS if token not in table]
        if missing:
            raise UserError(f"the vocabulary has no {missing[0]}; BERT pre-training needs {', '.join(SPECIAL_TOKENS)}")
        self.vocabulary = list(vocabulary)
        self.lower_case, self.strip_accents = lower_case, strip_accents
        self.special = SpecialTokens(table["[CLS]"], table["[SEP]"], table["[PAD]"], table["[MASK]"])
        self.continuation = np.asarray([token.startswith("##") for token in vocabulary])
        model = models.WordPiece(vocab=table, unk_token="[UNK]", max_input_chars_per_word=MAX_CHARS_PER_WORD)
        self._tokenizer = _tokenizer(model, lower_case, strip_accents)

    @property
    def pair_vocabulary(self) -> WordPieceVocabulary:
        """It as an encoder pair keeps it."""
        return WordPieceVocabulary(self.vocabulary, WordPieceRules(self.lower_case, self.strip_accents))

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, without special tokens."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    def tokens(self, texts: Iterable[str], at_once: int = 4096) -> Iterator[list[str]]:
        """The tokens of each text, as strings, as a stream."""
        chunk: list[str] = []
        for text in texts:
            chunk.append(text)
            if len(chunk) == at_once:
                yield from self._strings(chunk)
                chunk = []
        yield from self._strings(chunk)

    def _strings(self, texts: list[str]) -> Iterator[list[str]]:
        for ids in self.encode(texts):
            yield [self.vocabulary[index] for index in ids]


def read_vocabulary(path: str | Path) -> list[str]:
    """Read a `vocab.txt`: one token per line, the line number is the id.

    Raises:
        UserError: There is no such file, or it is not UTF-8.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"vocabulary file {path} does not exist")
    try:
        tokens = path.read_bytes().decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"vocabulary file {path} is not UTF-8") from error
    return [token.rstrip("\r") for token in (tokens[:-1] if not tokens[-1] else tokens)]


def write_vocabulary(path: str | Path, vocabulary: Sequence[str]) -> None:
    """Write a `vocab.txt`, which `read_vocabulary` and the preprocessor read."""
    Path(path).write_bytes(("\n".join(vocabulary) + "\n").encode())


def vocabulary_hash(vocabulary: Sequence[str]) -> str:
    """SHA-256 over the tokens, in order: two equal hashes mean equal ids."""
    return hashlib.sha256("\n".join(vocabulary).encode()).hexdigest()


END_OF_TEXT = "<|endoftext|>"
"""Begins and ends every text; GPT-2 has one token for both."""
MERGES = "merges.txt"


class BytePairs:
    """Text -> ids, and the vocabulary behind them.

    Every byte is a token of its own, so no text is unknown and every text comes back as it was. It stands in for a
    tokenizer where token files are made.

    Source: Radford et al. 2019, "Language models are unsupervised multitask learners", section 2.2.

    Args:
        vocabulary: The tokens by id, in GPT-2's spelling of bytes.
        merges: Pairs of tokens, "a b", in the order in which they are merged.
    """

    lower_case = strip_accents = False
    between = ""  # sentences are joined by line feeds

    def __init__(self, vocabulary: Sequence[str], merges: Sequence[str]):
        self.vocabulary, self.merges = list(vocabulary), list(merges)
        table = {token: index for index, token in enumerate(self.vocabulary)}
        if END_OF_TEXT not in table:
            raise UserError(f"the vocabulary has no {END_OF_TEXT}, which begins and ends every text of a GPT-2")
        self.end, self.newline = table[END_OF_TEXT], table["Ċ"]
        pairs = [tuple(merge.split(" ")) for merge in self.merges]
        self._tokenizer = Tokenizer(models.BPE(vocab=table, merges=pairs))
        self._tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, without the tokens at its ends."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    def keras_tokenizer(self):
        """The same tokenizer as a `keras_hub.models.GPT2Tokenizer`."""
        import keras_hub

        table = {token: index for index, token in enumerate(self.vocabulary)}
        return keras_hub.models.GPT2Tokenizer(vocabulary=table, merges=self.merges)

    def write_merges(self, folder: str | Path) -> None:
        """Write `merges.txt` into a folder; the vocabulary stands in the token files."""
        (Path(folder) / MERGES).write_text("\n".join(self.merges) + "\n", encoding="utf-8")


def read_byte_pairs(vocabulary: Sequence[str], folder: str | Path) -> BytePairs:
    """The tokenizer of an earlier run.

    Raises:
        UserError: `merges.txt` is not there.
    """
    path = Path(folder) / MERGES
    if not path.is_file():
        raise UserError(f"{path} is missing, so the vocabulary cannot be used again: begin a new run")
    # Not splitlines(), which also breaks at characters that stand for bytes, such as U+0085.
    return BytePairs(vocabulary, path.read_text("utf-8").rstrip("\n").split("\n"))


def learn_byte_pairs(texts: Iterable[str], size: int) -> BytePairs:
    """Learn a vocabulary from text.

    Args:
        texts: Sentences; iterated over once.
        size: Tokens wanted, the end of text and the 256 bytes included.

    Raises:
        UserError: The text cannot fill a vocabulary of this size, or it leaves no room for merges.

    Example:
        >>> learned = learn_byte_pairs(["low lower lowest", "low lower"], size=261)
        >>> learned.vocabulary[257:], learned.encode(["low"])
        (['lo', 'low', 'Ġlow', 'Ġlowe'], [[258]])
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    if size <= 1 + len(alphabet):
        raise UserError(f"--vocab-size {size} leaves no room beside the 256 bytes and {END_OF_TEXT}; give a larger one")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    # Named as special tokens, the bytes have fixed ids; else the same text would give other ids each time. As in GPT-2, id 0, with
    # which KerasHub pads, is not the end of text: it would take padding for a text that has ended.
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        initial_alphabet=alphabet,
        special_tokens=[*alphabet, END_OF_TEXT],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    _check_filled(len(tokens), size)
    return BytePairs(tokens, [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]])
