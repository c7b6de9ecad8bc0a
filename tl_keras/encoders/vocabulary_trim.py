"""The vocabulary of an encoder pair: read again, used on texts, and cut down to some of its tokens together with the encoder.

A multilingual vocabulary is most of a small encoder's weights: of XLM-R's 250,002 tokens a tenth is enough for two
languages. The rows that stay are the encoder's own, so texts whose tokens all stay give the same vectors as before.

Source: Ushio et al. 2023, https://arxiv.org/abs/2305.15020.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tl_keras.encoders.encoder_weights import MLM_HEAD, EncoderWeights, MlmWeights
from tl_keras.encoders.pair_preprocess import PreprocessModule
from tl_keras.encoders.vocabularies import (
    BYTE_PAIR_FILE,
    BytePairVocabulary,
    Packing,
    SentencePieceRules,
    SentencePieceVocabulary,
    Vocabulary,
    WordPieceRules,
    WordPieceVocabulary,
)
from tl_keras.errors import UserError


def read_pair_vocabulary(folder: str | os.PathLike) -> Vocabulary:
    """Read the vocabulary that an encoder pair was written with.

    Args:
        folder: holds `encoder/`, `preprocess/` and the `info.json` of `write_encoder_pair`.

    Raises:
        UserError: the pair was made by something else, so that the rules of its tokenizer are not known.
    """
    folder = Path(folder)
    try:
        facts = json.loads((folder / "info.json").read_text(encoding="utf-8"))["tokenizer"]
        return read_vocabulary_file(folder / "encoder" / "assets", facts)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{folder} has no info.json that describes its tokenizer ({error}): make the pair again with `tl-keras convert`."
        ) from error


def read_vocabulary_file(folder: Path, facts: Mapping[str, Any]) -> Vocabulary:
    """Read what a vocabulary's `write` wrote.

    Args:
        folder: holds the file.
        facts: what its `info` said under "tokenizer".
    """
    packing = Packing(facts["separators"], facts["segments"])
    if facts["kind"] == "SentencePiece":
        # Pairs made before there were rules have none.
        text_rules = SentencePieceRules(**facts.get("rules", {}))
        model = (folder / "sentencepiece.model").read_bytes()
        return SentencePieceVocabulary(model, facts["special_tokens"], packing, text_rules)
    if facts["kind"] == "BytePair":
        content = json.loads((folder / BYTE_PAIR_FILE).read_text(encoding="utf-8"))
        merges = [tuple(pair) for pair in content["merges"]]
        return BytePairVocabulary(
            content["tokens"], merges, facts["add_prefix_space"], facts["special_tokens"], packing
        )
    rules = WordPieceRules(**facts["rules"])
    name = "vocab_uncased.txt" if rules.lower_case else "vocab_cased.txt"
    return WordPieceVocabulary((folder / name).read_text(encoding="utf-8").split("\n")[:-1], rules, packing)


_AT_ONCE = 2048


class VocabularyIds:
    """The tokenizer that a pair with this vocabulary has, ready to use.

    Args:
        vocabulary: of any kind.

    Attributes:
        vocabulary: its tokens by id.
        lower_case, strip_accents: what it does to letters first.
        between: what stands before a sentence that does not begin a text, so that it is split as it is within one.
    """

    def __init__(self, vocabulary: Vocabulary):
        self.vocabulary = list(vocabulary.tokens)
        self.lower_case = vocabulary.lower_case
        self.strip_accents = isinstance(vocabulary, WordPieceVocabulary) and bool(vocabulary.rules.strip_accents)
        # Byte pairs tell a word at the beginning of a text from one behind a blank.
        self.between = " " if isinstance(vocabulary, BytePairVocabulary) and not vocabulary.add_prefix_space else ""
        # The lookup table of a WordPiece vocabulary reads its file when it is made.
        with tempfile.TemporaryDirectory() as folder:
            module = PreprocessModule(vocabulary, str(vocabulary.write(Path(folder))), seq_length=128)
            # Saved and loaded, because a SentencePiece model that is made eagerly belongs to a cached kernel, which setting a seed throws away.
            tf.saved_model.save(module, f"{folder}/saved")
            self._module = tf.saved_model.load(f"{folder}/saved")
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


_BLANK = "▁"  # stands for a blank in SentencePiece's tokens
_CONTINUATION = "##"
_ROWS = "word_embeddings/embeddings"
_OUTPUT_BIAS = f"{MLM_HEAD}/output_bias/bias"


def always_kept(vocabulary: Vocabulary) -> np.ndarray:
    """The tokens that every trimmed vocabulary keeps: the special ones, and all single characters.

    Single characters at the beginning of a word or within: letters, Hangul syllables, digits, punctuation. So a word of
    which no longer token is left is spelled, and is not unknown, as far as the vocabulary has its characters.

    Returns:
        bool `[tokens]`.

    Raises:
        UserError: it is a byte-pair vocabulary, whose tokens are made of one another.
    """
    if isinstance(vocabulary, BytePairVocabulary):
        raise UserError("A byte-pair vocabulary can't be trimmed yet: leave out --vocabulary-from and --languages.")
    special = set(vocabulary.special_ids().values()) - {vocabulary.special_ids()["vocab_size"]}
    kept = np.asarray([len(_bare(token)) <= 1 for token in vocabulary.tokens])
    if isinstance(vocabulary, SentencePieceVocabulary):
        pieces = _model(vocabulary).pieces
        kinds = np.asarray([piece.type for piece in pieces])
        normal = np.flatnonzero(kinds == pieces[0].NORMAL)
        kept |= kinds != pieces[0].NORMAL
        # What an unknown character costs follows from the lowest score of all tokens.
        kept[normal[np.argmin([pieces[index].score for index in normal])]] = True
    else:
        unknown = vocabulary.rules.token("unknown")
        kept |= np.asarray([token == unknown for token in vocabulary.tokens])
    kept[sorted(special)] = True
    return kept


def count_tokens(encoded: Iterable[Sequence[int]], vocabulary_size: int) -> np.ndarray:
    """How often each token occurs in encoded texts.

    Returns:
        int64 `[vocabulary_size]`.

    Example:
        >>> count_tokens([[0, 2], [2]], 4).tolist()
        [1, 0, 2, 0]
    """
    counts = np.zeros(vocabulary_size, np.int64)
    for ids in encoded:
        np.add.at(counts, np.asarray(ids, np.int64), 1)
    return counts


def trim_vocabulary(vocabulary: Vocabulary, kept: np.ndarray) -> Vocabulary:
    """A vocabulary of some tokens of another.

    A text whose tokens are all kept is split as before: WordPiece takes the longest token that fits, which is still there,
    and the best of SentencePiece's segmentations is still possible, with no better one beside it.

    Args:
        vocabulary: the larger one.
        kept: increasing ids; a token's id in the new vocabulary is its place here.
    """
    if not isinstance(vocabulary, SentencePieceVocabulary):
        return dataclasses.replace(vocabulary, tokens=[vocabulary.tokens[index] for index in kept])
    proto = _model(vocabulary)
    pieces = [proto.pieces[index] for index in kept.tolist()]
    place = {int(old): new for new, old in enumerate(kept)}
    del proto.pieces[:]
    proto.pieces.extend(pieces)
    for name in ("unk_id", "bos_id", "eos_id", "pad_id"):
        setattr(proto.trainer_spec, name, place.get(getattr(proto.trainer_spec, name), -1))
    proto.trainer_spec.vocab_size = len(pieces)
    return dataclasses.replace(vocabulary, model=proto.SerializeToString())


def trim_weights(weights: EncoderWeights, kept: np.ndarray) -> EncoderWeights:
    """The network with the embeddings of the kept tokens only."""
    return dataclasses.replace(weights, arrays={**weights.arrays, _ROWS: weights.arrays[_ROWS][kept]})


def trim_mlm(mlm: MlmWeights, kept: np.ndarray) -> MlmWeights:
    """The masked-LM head that scores the kept tokens only."""
    return dataclasses.replace(mlm, arrays={**mlm.arrays, _OUTPUT_BIAS: mlm.arrays[_OUTPUT_BIAS][kept]})


def frequent_words(languages: Sequence[str], count: int) -> Iterator[str]:
    """The most frequent words of some languages, as they stand within a sentence and at its beginning.

    Args:
        languages: codes such as `ko` and `en`.
        count: words of each.

    Raises:
        UserError: `wordfreq` is not installed, or does not know a language.

    Source: Speer 2022, https://github.com/rspeer/wordfreq; words of Wikipedia, subtitles, news, books and the web.
    """
    if not importlib.util.find_spec("wordfreq"):
        raise UserError('--languages needs wordfreq: pip install "tl_keras[compress]".')
    import wordfreq

    known = wordfreq.available_languages()
    for language in languages:
        if language not in known:
            raise UserError(
                f"--languages: there is no word list for {language!r}, only for {', '.join(sorted(known))}."
            )
    for language in languages:
        for word in wordfreq.top_n_list(language, count):
            yield word
            if word.capitalize() != word:
                yield word.capitalize()


def _bare(token: str) -> str:
    return token.removeprefix(_BLANK).removeprefix(_CONTINUATION)


def _model(vocabulary: SentencePieceVocabulary):
    from tl_keras.encoders.sentencepiece_files import parse_model

    return parse_model(vocabulary.model)
