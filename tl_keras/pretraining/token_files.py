"""Corpora as token ids on disk: written once, mapped into memory, reused by later runs and on other machines."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tl_keras.errors import UserError, no_os_error
from tl_keras.files import whole_folder
from tl_keras.pretraining.corpus import CorpusFile, read_documents
from tl_keras.pretraining.vocabulary import WordPiece, read_vocabulary, vocabulary_hash, write_vocabulary

logger = logging.getLogger(__name__)

FORMAT = 1
_SENTENCES_AT_ONCE = 4096


@dataclass(frozen=True)
class TokenFile:
    """One part (training or held-out) of the corpora, as arrays mapped from disk.

    Attributes:
        tokens: uint16 or uint32 `[tokens]`, all sentences one after another, without special tokens.
        sentences: int64 `[sentences + 1]`, where each sentence begins in `tokens`.
        documents: int64 `[documents + 1]`, where each document begins in `sentences`.
        files: int64 `[files + 1]`, where each corpus file begins in `documents`.
    """

    tokens: np.ndarray
    sentences: np.ndarray
    documents: np.ndarray
    files: np.ndarray

    @property
    def token_count(self) -> int:
        """Tokens in all."""
        return int(self.sentences[-1])


@dataclass(frozen=True)
class TokenFolder:
    """A folder of token files, with the vocabulary they were written with.

    Attributes:
        train: What the encoder learns from.
        heldout: Whole documents kept back, to measure on.
        vocabulary: The tokens.
        meta: What was read and how: corpora with hashes, fractions, seed.
    """

    train: TokenFile
    heldout: TokenFile
    vocabulary: list[str]
    meta: dict

    def word_piece(self) -> WordPiece:
        """The tokenizer that the files were written with."""
        return WordPiece(self.vocabulary, self.meta["lower_case"], self.meta["strip_accents"])


def token_settings(
    corpora: Sequence[CorpusFile], word_piece: WordPiece, lowercase_fraction: float, heldout_fraction: float, seed: int
) -> dict:
    """Everything that decides what the token files hold; equal settings mean equal files."""
    return {
        "format": FORMAT,
        "corpora": [corpus.as_dict() for corpus in corpora],
        "vocabulary_size": len(word_piece.vocabulary),
        "vocabulary_sha256": vocabulary_hash(word_piece.vocabulary),
        "lower_case": word_piece.lower_case,
        "strip_accents": word_piece.strip_accents,
        "lowercase_fraction": lowercase_fraction,
        "heldout_fraction": heldout_fraction,
        "seed": seed,
    }


def prepare_token_files(
    folder: str | Path,
    corpora: Sequence[CorpusFile],
    word_piece: WordPiece,
    lowercase_fraction: float = 0.0,
    heldout_fraction: float = 0.01,
    seed: int = 0,
) -> TokenFolder:
    """Write the token files, or reuse the ones that are there if they hold the same.

    Args:
        folder: Where they lie; replaced only when it holds something else.
        corpora: Scanned corpus files.
        word_piece: The tokenizer.
        lowercase_fraction: Fraction of documents that are lower-cased.
        heldout_fraction: Fraction of documents kept back for measuring; at least one.
        seed: For both choices.

    Returns:
        The opened folder.
    """
    folder = Path(folder)
    settings = token_settings(corpora, word_piece, lowercase_fraction, heldout_fraction, seed)
    if (folder / "meta.json").is_file():
        if {**json.loads((folder / "meta.json").read_text("utf-8")), "counts": None} == {**settings, "counts": None}:
            logger.info("reusing the token files in %s", folder)
            return open_token_files(folder)
        logger.info("%s was written from other corpora or options; writing it anew", folder)
    with whole_folder(folder, replace=True) as draft, no_os_error(folder):
        counts = _write(draft, corpora, word_piece, lowercase_fraction, heldout_fraction, seed)
        write_vocabulary(draft / "vocab.txt", word_piece.vocabulary)
        (draft / "meta.json").write_text(json.dumps({**settings, "counts": counts}, indent=2), "utf-8")
    return open_token_files(folder)


def open_token_files(folder: str | Path) -> TokenFolder:
    """Map a folder of token files into memory; nothing is read until it is used.

    Raises:
        UserError: The folder holds no token files, or files of another format.
    """
    folder = Path(folder)
    if not (folder / "meta.json").is_file():
        raise UserError(f"{folder} holds no token files (meta.json is missing); make them with --corpus")
    meta = json.loads((folder / "meta.json").read_text("utf-8"))
    if meta.get("format") != FORMAT:
        raise UserError(f"{folder} has token files of format {meta.get('format')}; write them anew with --corpus")
    dtype = _token_dtype(meta["vocabulary_size"])
    parts = {}
    for part in ("train", "heldout"):
        arrays = {}
        for name, kind in (("tokens", dtype), ("sentences", np.int64), ("documents", np.int64), ("files", np.int64)):
            path = folder / f"{part}.{name}"
            if not path.is_file():
                raise UserError(f"{path} is missing; write the token files anew with --corpus")
            arrays[name] = np.memmap(path, dtype=kind, mode="r") if path.stat().st_size else np.zeros(0, kind)
        parts[part] = TokenFile(**arrays)
        if len(parts[part].tokens) != parts[part].token_count:
            raise UserError(f"{folder / part}.tokens is damaged: write the token files anew with --corpus")
    return TokenFolder(parts["train"], parts["heldout"], read_vocabulary(folder / "vocab.txt"), meta)


def _token_dtype(vocabulary_size: int) -> np.dtype:
    return np.dtype(np.uint16 if vocabulary_size <= 1 << 16 else np.uint32)


def _write(folder, corpora, word_piece, lowercase_fraction, heldout_fraction, seed) -> dict:
    dtype = _token_dtype(len(word_piece.vocabulary))
    rng = np.random.default_rng([seed, 0x4E1D])
    writers = {part: _Writer(folder, part, dtype) for part in ("train", "heldout")}
    done = 0
    for index, corpus in enumerate(corpora):
        for documents in _groups(read_documents(corpus, lowercase_fraction, seed=seed + index)):
            sentences = [
                (word_piece.between if i else "") + s for document in documents for i, s in enumerate(document)
            ]
            ids = iter(word_piece.encode(sentences))
            for document in documents:
                # The first two documents are dealt out, one to each part, so that neither is ever empty.
                heldout = rng.random() < heldout_fraction if done > 1 else done == 1 and heldout_fraction > 0
                writers["heldout" if heldout else "train"].add([next(ids) for _ in document])
                done += 1
        for writer in writers.values():
            writer.end_file()
    return {part: writer.close() for part, writer in writers.items()}


def _groups(documents):
    """Lists of documents with some thousands of sentences together: the tokenizer is fastest on many at once."""
    group, size = [], 0
    for document in documents:
        group.append(document)
        size += len(document)
        if size >= _SENTENCES_AT_ONCE:
            yield group
            group, size = [], 0
    if group:
        yield group


class _Writer:
    """Appends documents to the four arrays of one part."""

    def __init__(self, folder: Path, part: str, dtype: np.dtype):
        self._dtype = dtype
        self._files = {name: (folder / f"{part}.{name}").open("wb") for name in TokenFile.__annotations__}
        self.tokens = self.sentences = self.documents = 0
        for name in ("sentences", "documents", "files"):
            self._put(name, [0])

    def add(self, document: list[list[int]]) -> None:
        kept = [ids for ids in document if ids]
        if not kept:
            return
        self._put("tokens", [token for ids in kept for token in ids], self._dtype)
        self._put("sentences", self.tokens + np.cumsum([len(ids) for ids in kept]))
        self.tokens += sum(map(len, kept))
        self.sentences += len(kept)
        self.documents += 1
        self._put("documents", [self.sentences])

    def end_file(self) -> None:
        self._put("files", [self.documents])

    def close(self) -> dict:
        for stream in self._files.values():
            stream.close()
        return {"documents": self.documents, "sentences": self.sentences, "tokens": self.tokens}

    def _put(self, name: str, values, dtype=np.int64) -> None:
        self._files[name].write(np.asarray(values, dtype).tobytes())
