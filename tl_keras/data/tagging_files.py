"""Read tagged texts: columns of words and tags, KLUE's characters, sentences with their tags, objects with spans or tokens."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from typing import Literal

from tl_keras.data.file_tables import EXCEL, JSON_LINES, PARQUET
from tl_keras.data.formats import expand
from tl_keras.data.frames import is_path
from tl_keras.data.tagging import TaggedExamples
from tl_keras.data.tagging_objects import read_objects
from tl_keras.data.tags import Scheme, looks_like_tag, tags_of_spans
from tl_keras.data.text_files import decode_file, kind_of
from tl_keras.errors import UserError

logger = logging.getLogger(__name__)

LOOKED_AT = 1000
"""Lines from which the form of a file is guessed."""
_RANGE = re.compile(r"\d+[-.]\d+")
"""The number of a line of CoNLL-U that stands for several words, or for none."""

TaggedText = list[tuple[int, str, str]]
"""The words of a text: the number of each one's line, the word, and its tag."""


def guess_format(lines: Sequence[str]) -> str:
    r"""`"characters"`, `"sentences"` or `"conll"`.

    Example:
        >>> guess_format(["Ada sleeps\tPER-B O"]), guess_format(["Ada\tB-PER", "sleeps\tO"])
        ('sentences', 'conll')
    """
    # Only where every character has a line does a space have one.
    if any(line.startswith(" \t") for line in lines):
        return "characters"
    some = [line for line in lines[:LOOKED_AT] if line.strip() and not line.startswith(("# ", "## "))]
    pairs = [_sentence(line) for line in some]
    fit = [pair for pair in pairs if pair is not None and len(pair[0]) == len(pair[1])]
    several = [words for words, _ in fit if len(words) > 1]
    return "sentences" if several and len(fit) >= 0.9 * len(some) else "conll"


def read_sentence_lines(path: str | os.PathLike, lines: Sequence[str]) -> list[TaggedText]:
    """Lines of a sentence, a tab, and a tag for each of its words; a number may stand before them.

    Raises:
        UserError: a line has more or fewer tags than words.
    """
    texts = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        found = _sentence(line)
        if found is None:
            raise UserError(f"{path}, line {number}: expected a sentence, a tab and its tags, not {line[:60]!r}.")
        if len(found[0]) != len(found[1]):
            raise UserError(f"{path}, line {number}: {len(found[0])} words but {len(found[1])} tags in {line[:60]!r}.")
        texts.append([(number, word, tag) for word, tag in zip(*found, strict=True)])
    return texts


def _sentence(line: str) -> tuple[list[str], list[str]] | None:
    """Words and tags of a line; None if it has not this form."""
    cells = line.split("\t")
    if len(cells) == 3 and cells[0].strip().isdecimal():
        cells = cells[1:]
    if len(cells) != 2:
        return None
    words, tags = cells[0].split(), cells[1].split()
    return (words, tags) if words and all(looks_like_tag(tag) for tag in tags) else None


def read_column_lines(
    path: str | os.PathLike,
    lines: Sequence[str],
    word_column: int | None,
    tag_column: int,
    characters: bool = False,
) -> list[TaggedText]:
    """Lines of a word and its tag in columns, an empty line between texts.

    Args:
        path: for messages.
        lines: of the file.
        word_column: from 0; None for the first that holds no running numbers.
        tag_column: from 0, or from the last with negative numbers.
        characters: whether every line has one character, spaces among them.

    Raises:
        UserError: a line has no tag, or not so many columns.
    """
    tabs = characters or any("\t" in line for line in lines if not line.startswith("#"))
    _refuse_commas(path, lines, tabs)
    numbered = word_column is None and not characters and _has_running_numbers(lines, tabs)
    if numbered:
        logger.info("%s: the first column holds running numbers; the words are read from the second.", path)
    word_column = int(numbered) if word_column is None else word_column
    texts: list[TaggedText] = [[]]
    last = -1
    for number, line in enumerate(lines, 1):
        if not line.strip("\n") or (not line.strip() and "\t" not in line):
            texts.append([])
            continue
        cells = line.split("\t") if tabs else line.split()
        if _is_comment(line, cells, tabs) or cells[0].strip().startswith("-DOCSTART-"):
            continue
        if numbered:
            if _RANGE.fullmatch(cells[0].strip()):
                continue
            place = int(cells[0]) if cells[0].strip().isdecimal() else last + 1
            # Not every such file has empty lines.
            if place <= last and texts[-1]:
                texts.append([])
            last = place
        if len(cells) < 2:
            raise UserError(
                f"{path}, line {number}: {line[:60]!r} has a word but no tag; each line needs a word and a tag, "
                f"{'separated by a tab' if tabs else 'separated by white space'}, and texts an empty line between them."
            )
        try:
            word, tag = cells[word_column], cells[tag_column].strip()
        except IndexError:
            raise UserError(
                f"{path}, line {number}: {len(cells)} columns, but the word is read from column {word_column} and the tag "
                f"from column {tag_column} (--word-column, --tag-column; the first is 0)."
            ) from None
        if not characters:
            word = word.strip()
        if not word or not tag:
            raise UserError(f"{path}, line {number}: the {'tag' if word else 'word'} is empty in {line[:60]!r}.")
        if characters and len(word) != 1:
            raise UserError(f'{path}, line {number}: {word!r} is not one character; is the format "conll"?')
        texts[-1].append((number, word, tag))
    texts = [text for text in texts if text]
    if not texts:
        raise UserError(f"{path} holds no tagged words.")
    return texts


def _has_running_numbers(lines: Sequence[str], tabs: bool) -> bool:
    """Whether the first of at least three columns counts the words of each text."""
    last, count, running = -1, 0, 0
    for line in lines[:LOOKED_AT]:
        cells = line.split("\t") if tabs else line.split()
        if not line.strip() or line.startswith("#") or _RANGE.fullmatch(cells[0].strip()):
            continue
        count += 1
        if len(cells) < 3 or not cells[0].strip().isdecimal():
            continue
        number = int(cells[0])
        running += number == last + 1 or number in (0, 1)
        last = number
    return count > 0 and running > 0.95 * count


def _refuse_commas(path, lines: Sequence[str], tabs: bool) -> None:
    """A table with commas would be read as words that have no tag, or as nonsense."""
    some = [line for line in lines[:LOOKED_AT] if line.strip()]
    if not tabs and len(some) > 1 and all(line.count(",") == some[0].count(",") > 0 for line in some):
        raise UserError(
            f"{path}, line 1: {some[0][:60]!r} looks like a table with commas; tagged words stand in columns with tabs or blanks between "
            "them. (Or pass read_tagged a DataFrame with a list of tokens and a list of tags in each row.)"
        )


def _is_comment(line: str, cells: list[str], tabs: bool) -> bool:
    if not line.startswith(("# ", "## ")):
        return False
    # In files with spaces between the columns, `# O` is the word "#".
    return tabs or not (len(cells) > 1 and looks_like_tag(cells[-1]) and cells[-1] != "-")


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
