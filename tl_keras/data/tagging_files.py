"""Read tagged texts: columns of words and tags, KLUE's characters, sentences with their tags, objects with spans or tokens."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

from tl_keras.data.file_tables import EXCEL, JSON_LINES, PARQUET
from tl_keras.data.formats import expand
from tl_keras.data.frames import is_path
from tl_keras.data.tagging import TaggedExamples
from tl_keras.data.tagging_columns import guess_format, read_column_lines, read_sentence_lines
from tl_keras.data.tagging_objects import read_objects
from tl_keras.data.tags import Scheme, tags_of_spans
from tl_keras.data.text_files import decode_file, kind_of
from tl_keras.errors import UserError

logger = logging.getLogger(__name__)

Format = Literal["auto", "conll", "characters", "sentences", "jsonl"]
FORMATS = ("auto", "conll", "characters", "sentences", "jsonl")


def read_tagged(
    data,
    format: Format = "auto",
    *,
    labels: Sequence[str] | None = None,
    scheme: Scheme = "auto",
    word_column: int | None = None,
    tag_column: int = -1,
    overlaps: Literal["error", "longest"] = "error",
    encoding: str = "utf-8",
) -> TaggedExamples:
    r"""Read texts with labelled spans.

    Args:
        data: a file (perhaps with `.gz` or `.zst`), a pattern or a list of them; or what is in memory: a Hugging Face
            `datasets.Dataset` with tokens and tags, a DataFrame or a list of dicts with either these or spans.
        format: of text files. `"conll"`: a word and its tag a line, in columns (tabs, or else white space), an empty line between texts;
            lines that begin with `# ` or `## ` are comments, `-DOCSTART-` lines are skipped, and a column of running numbers before the
            words is passed over. `"characters"`: KLUE's, the same with one character a line, spaces among them. `"sentences"`: a
            sentence, a tab, and as many tags, with blanks between both. `"jsonl"` (also for `.json` and `.parquet`): objects with a text
            and its spans, as `{"text": ..., "entities": [{"start", "end", "label"}]}` or `{"text": ..., "label": [[0, 3, "PER"]]}`, or
            with `tokens` and their `tags`. `"auto"`: by the file's name and content.
        labels: all label names in the order wanted (for a validation file: those of the training data).
        scheme: of the tags: `"bio"`, `"bioes"`, `"plain"` or `"auto"`. `B_PER`, `PER-B` and `PER_B` are read as `B-PER`, and with them
            `-` and `_` as `O`.
        word_column: of CoNLL files, from 0; by default the first that is not a running number.
        tag_column: of CoNLL files, from 0; negative numbers count from the last.
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
    if kind in (*JSON_LINES, ".json", *PARQUET, *EXCEL) or ".json" in file.name:
        return True
    return decode_file(file, encoding).lstrip()[:1] == "{"


def shown(examples: TaggedExamples, count: int = 2, width: int = 240) -> list[str]:
    """What was understood of some examples, in words: for the user to see before training.

    Args:
        examples: with spans.
        count: how many, those with spans first.
        width: characters in each at most.

    Example:
        >>> shown(TaggedExamples.from_words([["Ada", "sleeps"]], [["B-PER", "O"]]))
        ['words: Ada | sleeps; tags: B-PER | O']
    """
    if examples.spans is None:
        return []
    rows = sorted(range(len(examples)), key=lambda row: (not examples.spans[row], row))[:count]
    lines = []
    for row in rows:
        text, spans = examples.texts[row], examples.spans[row]
        if examples.words is None:
            found = ", ".join(f"{text[span.start : span.end]!r} {span.label}" for span in spans) or "none"
            lines.append(f"text: {_short(text, width // 2)}; spans: {_short(found, width // 2)}")
            continue
        words = examples.words[row]
        of_words, word = [], 0
        for span in spans:
            first = next(i for i in range(word, len(words)) if words[i][1] > span.start)
            word = next((i for i in range(first, len(words)) if words[i][0] >= span.end), len(words))
            of_words.append((first, word, span.label))
        tags = tags_of_spans(of_words, len(words), examples.scheme)
        given = " | ".join(text[start:end] for start, end in words)
        lines.append(f"words: {_short(given, width // 2)}; tags: {_short(' | '.join(tags), width // 2)}")
    return lines


def _short(text: str, width: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 3] + "..."
