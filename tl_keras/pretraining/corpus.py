"""Unlabelled text, in text files or in a column of tables -> documents: lists of consecutive sentences, read as a stream."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tl_keras.data.file_tables import TABLES
from tl_keras.data.formats import Tables, expand
from tl_keras.data.text_files import kind_of, open_bytes, reading
from tl_keras.errors import UserError
from tl_keras.files import file_sha256

logger = logging.getLogger(__name__)

# A document longer than this is cut, so that a file that is one endless document cannot fill the memory.
MAX_DOCUMENT_SENTENCES = 10_000


@dataclass(frozen=True)
class CorpusFile:
    """One corpus file and what a first pass over it found.

    Attributes:
        path: Where it lies.
        sha256: Hash of its bytes, for the model card.
        lines: Lines that hold text.
        documents: Groups of consecutive lines; for a file of independent lines, the lines themselves.
        independent: True where the file has no empty line, so that its lines are unrelated and give no sentence pairs.
        licence: What the caller says about its licence.
        column: Of a table the column with the texts, each of which is a document of its own; None for a text file.
    """

    path: str
    sha256: str
    lines: int
    documents: int
    independent: bool
    licence: str = "not stated"
    column: str | None = None

    def as_dict(self) -> dict:
        """The fields as plain values, with the file's name alone: a machine's folders are nobody's business."""
        values = {**asdict(self), "path": Path(self.path).name}
        if self.column is None:
            del values["column"]
        return values


def scan_corpora(
    files: Sequence[str | os.PathLike], licences: Sequence[str] = (), text: str = "text"
) -> list[CorpusFile]:
    """Read each corpus once, see `scan_corpus`; a pattern stands for the files that match, all under its licence.

    Args:
        files: Paths or patterns.
        licences: One for each of them, or none at all.
        text: The column of tables with the texts.
    """
    given = zip(files, licences or itertools.repeat("not stated", len(files)), strict=True)
    return [scan_corpus(path, licence, text) for entry, licence in given for path in expand(entry)]


def scan_corpus(path: str | Path, licence: str = "not stated", text: str = "text") -> CorpusFile:
    """Read a corpus file once: check that it is text, count it, and see whether it has documents.

    Args:
        path: UTF-8 text, one sentence per line, an empty line ending a document; or a table (`.csv`, `.tsv`, `.jsonl`, `.json`,
            `.parquet`, `.xlsx`), each row a document whose lines are its sentences. Text may be packed (`.gz`, `.zst`).
        licence: Free text for the model card.
        text: The column of a table with the text.

    Returns:
        What was found.

    Raises:
        UserError: The file is missing or damaged, is not UTF-8, holds binary bytes, lacks the column, or has fewer than two lines of text.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"corpus file {path} does not exist" if not path.exists() else f"{path} is not a file")
    column = text if kind_of(path) in TABLES else None
    lines = documents = 0
    in_document = False
    for line in _lines(path, column):
        if line:
            documents += not in_document
            lines, in_document = lines + 1, True
        else:
            # Empty lines before the first and after the last text are no boundary between documents.
            in_document = False
    if lines < 2:
        raise UserError(f"{path} holds {lines} line(s) of text; a corpus needs at least two sentences, one per line")
    independent = documents == 1 if column is None else documents == lines
    if independent:
        documents = lines
        logger.info(
            "%s has no %s: its %d lines count as independent and give no sentence pairs",
            path, "empty line" if column is None else "text of several lines", lines,
        )  # fmt: skip
    return CorpusFile(str(path), file_sha256(path), lines, documents, independent, licence, column)


def read_documents(corpus: CorpusFile, lowercase_fraction: float = 0.0, seed: int = 0) -> Iterator[list[str]]:
    """Yield the documents of a file, each a list of sentences; memory holds one document at a time.

    Args:
        corpus: A scanned file.
        lowercase_fraction: Fraction of the documents, chosen at random, that are lower-cased, so that a cased encoder also
            learns text without capitals.
        seed: For that choice.

    Yields:
        Non-empty lists of non-empty sentences. A file of independent lines gives one sentence per document.
    """
    rng = np.random.default_rng([seed, 0x10C])
    for document in _documents(corpus):
        if lowercase_fraction and rng.random() < lowercase_fraction:
            document = [sentence.lower() for sentence in document]
        yield document


class SentenceSample:
    """The sentences of some corpora, again and again; of very many, those of every n-th document.

    Learning a vocabulary holds every distinct word in memory, and has seen enough after some millions of sentences.

    Args:
        corpora: Scanned files.
        lowercase_fraction: As for `read_documents`.
        seed: Likewise.
        limit: About the number of sentences to give at most.
    """

    def __init__(
        self, corpora: Sequence[CorpusFile], lowercase_fraction: float = 0.0, seed: int = 0, limit: int = 5_000_000
    ):
        self.corpora, self.lowercase_fraction, self.seed = corpora, lowercase_fraction, seed
        self.every = max(round(sum(corpus.lines for corpus in corpora) / limit), 1)

    def __iter__(self) -> Iterator[str]:
        for index, corpus in enumerate(self.corpora):
            documents = read_documents(corpus, self.lowercase_fraction, self.seed + index)
            for document in itertools.islice(documents, 0, None, self.every):
                yield from document


def _documents(corpus: CorpusFile) -> Iterator[list[str]]:
    lines = _lines(Path(corpus.path), corpus.column)
    if corpus.independent:
        yield from ([line] for line in lines if line)
        return
    for has_text, group in itertools.groupby(lines, key=bool):
        while has_text and (document := list(itertools.islice(group, MAX_DOCUMENT_SENTENCES))):
            yield document


def _lines(path: Path, column: str | None) -> Iterator[str]:
    """The lines of a file, without white space around them; empty ones between documents."""
    if column is None:
        with open_bytes(path) as stream, reading(path):
            for number, raw in enumerate(stream, start=1):
                yield _decode(raw, path, number)
        return
    table = Tables(path)
    if column not in table.columns:
        raise UserError(
            f"{path} has no column {column!r}; its columns are: {', '.join(table.columns[:30])}. Name the column with the text (--text)"
        )
    cell = table.columns.index(column)
    for place, row in table.rows():
        text = "" if row[cell] is None else row[cell]
        if not isinstance(text, str):
            raise UserError(
                f"{path}, {table.where(place)}: {column!r} holds no text but {text!r}; name another column (--text)"
            )
        yield from (line for line in map(str.strip, text.splitlines()) if line)
        yield ""


def _decode(raw: bytes, path: Path, number: int) -> str:
    """One line of the file as text, or the reason why it is none."""
    if b"\0" in raw:
        raise UserError(f"{path}, line {number}: holds a zero byte, so this is no text file; give UTF-8 text")
    try:
        text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}, line {number}: not UTF-8 (byte {error.start + 1} of the line is 0x{raw[error.start]:02x}); "
            "convert the file, for Korean often with: iconv -f cp949 -t utf-8"
        ) from error
    return text.strip()
