"""What a tokenizer is made of, whichever checkpoint it came from: WordPiece, SentencePiece or byte-level byte pairs.

Each knows the ids of its special tokens, how its family packs two texts, its file, and what `info.json` says about it.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tl_keras.errors import UserError

if TYPE_CHECKING:
    from sentencepiece.sentencepiece_model_pb2 import ModelProto

BERT_TOKENS = {"unknown": "[UNK]", "padding": "[PAD]", "start": "[CLS]", "end": "[SEP]", "mask": "[MASK]"}
BYTE_PAIR_FILE = "byte_pairs.json"
ROBERTA_TOKENS = {"unknown": "<unk>", "padding": "<pad>", "start": "<s>", "end": "</s>", "mask": "<mask>"}


@dataclass(frozen=True)
class Packing:
    """How one or two texts become one input.

    Attributes:
        separators: how many end tokens stand between two texts.
        segments: whether the network tells the two texts apart by their segment ids; otherwise it was trained with 0 for both, and
            what it adds for 0 becomes a part of every position.
    """

    separators: int
    segments: bool


BERT_PACKING = Packing(separators=1, segments=True)
"""`[CLS] A [SEP] B [SEP]`, segment ids 0 and 1: BERT, ELECTRA, ALBERT."""
ROBERTA_PACKING = Packing(separators=2, segments=False)
"""`<s> A </s> </s> B </s>`, no segments: RoBERTa, XLM-R, and the BERT networks with XLM-R's vocabulary."""


@dataclass(frozen=True)
class WordPieceRules:
    """How text becomes words before WordPiece splits them; the names are Hugging Face's where it has one.

    Attributes:
        lower_case: lower the case of the text (an uncased vocabulary).
        strip_accents: decompose (NFD) and drop the accents; None does what `lower_case` says, as BERT does. NFD takes Hangul
            apart, so an uncased Korean vocabulary wants `False`, unless its tokens are made of jamo.
        tokenize_chinese_chars: make every CJK ideograph a word of its own.
        max_chars_per_word: longer words become one unknown token.
        special_tokens: the vocabulary's words for `unknown`, `padding`, `start` (of the sequence), `end` (of a segment) and
            `mask`, where they are others than BERT's.
    """

    lower_case: bool
    strip_accents: bool | None = None
    tokenize_chinese_chars: bool = True
    max_chars_per_word: int = 100
    special_tokens: Mapping[str, str] = field(default_factory=dict)

    def token(self, role: str) -> str:
        """The special token of a role."""
        return {**BERT_TOKENS, **self.special_tokens}[role]


@dataclass(frozen=True)
class WordPieceVocabulary:
    """A WordPiece vocabulary.

    Attributes:
        tokens: by id, continuations marked by `##`, special tokens included.
        rules: how text is split into words.
    """

    tokens: Sequence[str]
    rules: WordPieceRules
    packing: Packing = BERT_PACKING
    asset: ClassVar[str] = "vocab_file"

    @property
    def lower_case(self) -> bool:
        """Whether it is an uncased vocabulary."""
        return self.rules.lower_case

    @functools.cached_property
    def lines(self) -> list[str]:
        """The tokens as a lookup table accepts them; see `vocabulary_lines`."""
        return vocabulary_lines(self.tokens)

    def special_ids(self) -> dict[str, int]:
        """The ids that packing and masking need, and the size of the vocabulary.

        Raises:
            UserError: a special token is not in the vocabulary.
        """
        return _special_ids(self.lines, {**BERT_TOKENS, **self.rules.special_tokens})

    def write(self, folder: Path) -> Path:
        """Write it to a file in `folder`, as it is kept with the encoder."""
        path = folder / ("vocab_uncased.txt" if self.lower_case else "vocab_cased.txt")
        path.write_text("".join(f"{line}\n" for line in self.lines), encoding="utf-8", newline="\n")
        return path

    def info(self) -> dict[str, Any]:
        """What `info.json` says about it."""
        return {
            "lower_case": self.rules.lower_case,
            "strip_accents": self.rules.strip_accents,
            "tokenizer": {
                "kind": "WordPiece",
                "rules": dataclasses.asdict(self.rules),
                **dataclasses.asdict(self.packing),
            },
        }


@dataclass(frozen=True)
class SentencePieceRules:
    """What becomes of a text before SentencePiece sees it: nothing for XLM-R, all three for ALBERT.

    Attributes:
        lower_case: lower the case of the text.
        strip_accents: decompose (NFKD) and drop the accents.
        straighten_quotes: two backquotes or two apostrophes become one straight quote, as in the Penn Treebank.
    """

    lower_case: bool = False
    strip_accents: bool = False
    straighten_quotes: bool = False

    def __bool__(self) -> bool:
        return self.lower_case or self.strip_accents or self.straighten_quotes


@dataclass(frozen=True)
class SentencePieceVocabulary:
    """A SentencePiece unigram model.

    Attributes:
        model: the serialized model, whose ids are the rows of the network's embedding.
        special_tokens: its words for `unknown`, `padding`, `start` (of the sequence), `end` (of a segment) and `mask`.
        packing: how two texts are joined.
        rules: what is done to texts first.
    """

    model: bytes = field(repr=False)
    special_tokens: Mapping[str, str] = field(default_factory=lambda: dict(ROBERTA_TOKENS))
    packing: Packing = ROBERTA_PACKING
    rules: SentencePieceRules = SentencePieceRules()
    asset: ClassVar[str] = "sp_model_file"

    @property
    def lower_case(self) -> bool:
        """Whether texts are lower-cased."""
        return self.rules.lower_case

    @functools.cached_property
    def tokens(self) -> list[str]:
        """The tokens by id; a word's first token begins with "▁"."""
        return [piece.piece for piece in parse_model(self.model).pieces]

    def special_ids(self) -> dict[str, int]:
        """As of `WordPieceVocabulary`."""
        return _special_ids(self.tokens, self.special_tokens)

    def write(self, folder: Path) -> Path:
        """As of `WordPieceVocabulary`."""
        path = folder / "sentencepiece.model"
        path.write_bytes(self.model)
        return path

    def info(self) -> dict[str, Any]:
        """As of `WordPieceVocabulary`."""
        return {
            "tokenizer": {
                "kind": "SentencePiece",
                "rules": dataclasses.asdict(self.rules),
                "special_tokens": dict(self.special_tokens),
                **dataclasses.asdict(self.packing),
            }
        }


@dataclass(frozen=True)
class BytePairVocabulary:
    """A byte-level byte-pair vocabulary.

    Attributes:
        tokens: by id, bytes written as characters (`tokenizers.byte_characters`), special tokens included.
        merges: pairs of tokens, in the order in which they are merged.
        add_prefix_space: a text that begins with no blank is split as if it did.
        special_tokens, packing: as of `SentencePieceVocabulary`.
    """

    tokens: Sequence[str] = field(repr=False)
    merges: Sequence[tuple[str, str]] = field(repr=False)
    add_prefix_space: bool = False
    special_tokens: Mapping[str, str] = field(default_factory=lambda: dict(ROBERTA_TOKENS))
    packing: Packing = ROBERTA_PACKING
    asset: ClassVar[str] = "byte_pair_file"
    lower_case: ClassVar[bool] = False

    def special_ids(self) -> dict[str, int]:
        """As of `WordPieceVocabulary`."""
        return _special_ids(self.tokens, self.special_tokens)

    def write(self, folder: Path) -> Path:
        """As of `WordPieceVocabulary`."""
        path = folder / BYTE_PAIR_FILE
        content = {"tokens": list(self.tokens), "merges": [list(pair) for pair in self.merges]}
        path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8", newline="\n")
        return path

    def info(self) -> dict[str, Any]:
        """As of `WordPieceVocabulary`."""
        return {
            "tokenizer": {
                "kind": "BytePair",
                "add_prefix_space": self.add_prefix_space,
                "special_tokens": dict(self.special_tokens),
                **dataclasses.asdict(self.packing),
            }
        }


Vocabulary = WordPieceVocabulary | SentencePieceVocabulary | BytePairVocabulary


def vocabulary_lines(tokens: Sequence[str]) -> list[str]:
    """Give each token a line of its own that a lookup table accepts: no two alike, none empty.

    Raises:
        UserError: a token holds a line feed.

    Example:
        >>> vocabulary_lines(["[UNK]", "a", "", "a"])
        ['[UNK]', '[line 1]', '[line 2]', 'a']
    """
    last = {}
    for i, token in enumerate(tokens):
        if "\n" in token:
            raise UserError(f"Token {i} of the vocabulary, {token!r}, holds a line feed.")
        last[token] = i
    # Of a token that stands twice the last counts, as in Hugging Face's dictionary. The table wants every line once, and no
    # text gives a token with brackets and a space in it.
    return [token if last[token] == i and token else f"[line {i}]" for i, token in enumerate(tokens)]


def _special_ids(tokens: Sequence[str], special: Mapping[str, str]) -> dict[str, int]:
    ids = {token: i for i, token in enumerate(tokens)}
    for role, token in special.items():
        if token not in ids:
            raise UserError(
                f"The vocabulary has no {token!r} (the {role} token); name another by special_tokens or in tokenizer_config.json."
            )
    return {
        "start_of_sequence_id": ids[special["start"]],
        "end_of_segment_id": ids[special["end"]],
        "padding_id": ids[special["padding"]],
        "mask_id": ids[special["mask"]],
        "vocab_size": len(tokens),
    }


def parse_model(model: bytes, source: str = "the SentencePiece model") -> ModelProto:
    """Read a serialized SentencePiece model.

    Args:
        model: the file's content.
        source: what to call it in a message.

    Raises:
        UserError: it is damaged, or no unigram model.
    """
    from google.protobuf.message import DecodeError
    from sentencepiece import SentencePieceProcessor
    from sentencepiece.sentencepiece_model_pb2 import ModelProto, TrainerSpec

    try:
        proto = ModelProto.FromString(model)
    except DecodeError as error:
        raise UserError(f"{source} is damaged or no SentencePiece model.") from error
    if not proto.pieces:
        raise UserError(f"{source} is damaged or no SentencePiece model: it holds no tokens.")
    kind = proto.trainer_spec.model_type
    if kind != TrainerSpec.UNIGRAM:
        raise UserError(
            f"{source} is a SentencePiece model of kind {TrainerSpec.ModelType.Name(kind)}; only UNIGRAM models can be converted."
        )
    try:
        # Half a file can be a message all the same; the library itself has the last word.
        SentencePieceProcessor(model_proto=model)
    except RuntimeError as error:
        raise UserError(f"{source} is damaged or no SentencePiece model: {str(error).splitlines()[-1]}") from error
    return proto
