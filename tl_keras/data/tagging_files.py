"""Read tagged texts from files of any kind: lines of words and tags, objects with spans or tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from tl_keras.data.file_tables import EXCEL, JSON_LINES, PARQUET, holds_json
from tl_keras.data.formats import expand
from tl_keras.data.frames import is_path
from tl_keras.data.tagging import TaggedExamples
from tl_keras.data.tagging_lines import guess_format, read_column_lines, read_sentence_lines
from tl_keras.data.tagging_objects import read_objects
from tl_keras.data.tags import Scheme
from tl_keras.data.text_files import decode_file, kind_of
from tl_keras.errors import UserError

Format = Literal["auto", "conll", "characters", "sentences", "jsonl"]
FORMATS = ("auto", "conll", "characters", "sentences", "jsonl")


def read_tagged(
    data,
    format: Format = "auto",
    *,
    labels: Sequence[str] | None = None,
    scheme: Scheme = "auto",
    word_column: int | None = None,
    tag_column: int | None = None,
    overlaps: Literal["error", "longest"] = "error",
    encoding: str = "utf-8",
) -> TaggedExamples:
    r"""Read texts with labelled spans.

    Args:
        data: a file (perhaps with `.gz` or `.zst`), a pattern or a list of them; or what is in memory: a Hugging Face
            `datasets.Dataset` with tokens and tags, a DataFrame or a list of dicts with either these or spans.
        format: of text files. `"conll"`: a word and its tag a line, in columns (tabs, or else commas or white space), an empty line
            between texts; lines that begin with `# ` or `## ` are comments, `-DOCSTART-` lines and a header are skipped, and a column of
            numbers before the words (of words, or of sentences) is passed over. `"characters"`: KLUE's, the same with one character a
            line, spaces among them. `"sentences"`: a sentence, a tab, and as many tags, with blanks between both, or `word/TAG`
            throughout. `"jsonl"` (also for `.json` and `.parquet`): objects with a text
            and its spans, as `{"text": ..., "entities": [{"start", "end", "label"}]}` or `{"text": ..., "label": [[0, 3, "PER"]]}`, or
            with `tokens` and their `tags`. `"auto"`: by the file's name and content.
        labels: all label names in the order wanted (for a validation file: those of the training data).
        scheme: of the tags: `"bio"`, `"bioes"`, `"plain"` or `"auto"`. `B_PER`, `B:PER`, `b-per`, `PER-B` and `PER_B` are read as
            `B-PER`, and with them `-`, `_` and `o` as `O`.
        word_column: of CoNLL files, from 0; by default the first that holds neither numbers nor the tags.
        tag_column: of CoNLL files, from 0; negative numbers count from the last. By default the last, unless another one alone holds
            tags such as B-PER.
        overlaps: of spans: `"error"`, or `"longest"` keeps the longest of entities that overlap.
        encoding: of text.

    Raises:
        UserError: no such file, nothing in it, or a line that cannot be read; the message names the line.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.conll"
        >>> _ = path.write_text("Ada\tB-PER\nsleeps\tO\n\nOslo\tB-LOC\n", "utf-8")
        >>> read_tagged(path).spans
        ((Span(start=0, end=3, label='PER'),), (Span(start=0, end=4, label='LOC'),))
    """
    if format not in FORMATS:
        raise UserError(f"format={format!r} is not known; choose one of: {', '.join(FORMATS)}.")
    if not is_path(data):
        return read_objects(data, labels, scheme, overlaps, encoding)
    files = expand(data)
    if format == "jsonl" or (format == "auto" and all(_holds_objects(file, encoding) for file in files)):
        return read_objects(data, labels, scheme, overlaps, encoding)
    texts, formats = [], set()
    for file in files:
        lines = decode_file(file, encoding).replace("\r\n", "\n").split("\n")
        if not any(line.strip() for line in lines):
            raise UserError(f"{file} is empty.")
        kind = guess_format(lines) if format == "auto" else format
        formats.add(kind)
        if kind == "sentences":
            found = read_sentence_lines(file, lines)
        else:
            found = read_column_lines(file, lines, word_column, tag_column, characters=kind == "characters")
        texts += [[(str(file), line, word, tag) for line, word, tag in text] for text in found]
    if len(formats) > 1 and "characters" in formats:
        raise UserError(f"{data}: some of the files have words, others characters; read them one by one.")
    several = len(files) > 1
    return TaggedExamples._from_units(
        [[word for _, _, word, _ in text] for text in texts],
        [[tag for *_, tag in text] for text in texts],
        [[f"{file}, line {line}" if several else f"line {line}" for file, line, *_ in text] for text in texts],
        labels,
        scheme,
        "" if "characters" in formats else " ",
        str(data) if not isinstance(data, (list, tuple)) else f"{files[0]} and {len(files) - 1} more",
        keep_words="characters" not in formats,
    )


def _holds_objects(file, encoding: str) -> bool:
    """Whether a file holds objects with names, by its name or its first character."""
    kind = kind_of(file)
    return kind in (*JSON_LINES, ".json", *PARQUET, *EXCEL) or ".json" in file.name or holds_json(file, encoding)
