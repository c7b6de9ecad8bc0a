"""Predictions for a file of any size: in chunks, in constant memory, in the file's order, and able to go on after a kill."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from tl_keras.data.file_tables import EXCEL, JSON_LINES, PARQUET, column_name
from tl_keras.data.formats import RowStream, shard_of
from tl_keras.data.text_files import COMPRESSED, kind_of
from tl_keras.errors import UserError, os_error_line
from tl_keras.files import lock_folder, refuse_input_as_output, unlock, write_whole
from tl_keras.printable import LoggedProgress, spreadsheet_cell
from tl_keras.serving.answerer import Answerer
from tl_keras.serving.predict import as_predictor, predict
from tl_keras.serving.scorers import SentenceEncoder
from tl_keras.serving.tagger import Tagger

logger = logging.getLogger(__name__)

CHUNK = 4096
"""Rows at once: enough to put texts of like length together, few enough to lose little by a kill."""


@dataclasses.dataclass(frozen=True)
class StreamResult:
    """How a job ended.

    Args:
        rows: written in all.
        resumed: how many of them were there before.
        out: the file.
    """

    rows: int
    resumed: int
    out: Path


def predict_file(
    model,
    data: str | os.PathLike | Sequence,
    out: str | os.PathLike,
    *,
    text: str = "text",
    text_pair: str | None = None,
    keep: Sequence[str] | None = None,
    resume: bool = False,
    shard: tuple[int, int] = (0, 1),
    batch_size: int = 64,
    chunk: int = CHUNK,
    threshold: float = 0.5,
    all_scores: bool = False,
    separator: str | None = None,
    quoting: str = "auto",
    encoding: str = "utf-8",
    spreadsheet_safe: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> StreamResult:
    """Answer for each row of a file, as `predict` does for a list of texts.

    The rows keep their columns, in their order and under their names; the answers follow. An answer whose name is taken, such as the
    `label` of a labelled file, is called `predicted_label`. They are written beside `out`, chunk by chunk, each on the disk before it
    counts; at the end the file gets its name. A job that was killed goes on behind the last chunk that counted.

    Args:
        model: as for `predict`; a path or an export needs no Keras.
        data: files of any kind that `read_table` reads; see `RowStream`.
        out: `.csv`, `.tsv`, or `.jsonl`. Spans, answers and vectors are written as JSON lines whatever its name.
        text: column with the text; for an answerer the question.
        text_pair: column with the second text; for an answerer the context.
        keep: the columns of `data` to copy into `out` beside the texts; by default all.
        resume: go on where a killed job of the same kind stopped; without one, start.
        shard: `(i, n)`: answer the `i`-th, from 0, of `n` parts only; see `shard_of`.
        batch_size: texts in a batch.
        chunk: rows at once.
        threshold: as for `predict`.
        all_scores: as for `predict`.
        separator: of text files; see `read_table`.
        quoting: of text files; see `read_table`.
        encoding: of text files.
        spreadsheet_safe: write a table for a spreadsheet: with a byte order mark, by which Excel knows UTF-8, and an apostrophe before
            cells that it would take for formulas.
        progress: called after each chunk with the rows done and all rows of the shard; by default that is logged, every ten seconds.

    Raises:
        UserError: a file or column is missing or broken, `out` is one of the files of `data` or of a kind that is not written, or the job
            that was killed was another one.
    """
    if chunk < 1 or batch_size < 1:
        raise UserError(f"chunk and batch_size must be at least 1, not {chunk} and {batch_size}.")
    texts_of = [column_name(name) for name in (text, text_pair) if name is not None]
    keep = None if keep is None else [column_name(name) for name in keep]
    stream = RowStream(
        data, [*texts_of, *(keep or ())], texts=texts_of, separator=separator, quoting=quoting, encoding=encoding
    )
    _check_out(Path(out), stream.paths)
    predictor = as_predictor(model)
    wanted = shard_of(stream.count(), shard)
    # Spans and vectors do not fit into the cells of a table.
    lists = isinstance(predictor, (Answerer, Tagger)) or (isinstance(predictor, SentenceEncoder) and text_pair is None)
    columns = [name for name in stream.columns if keep is None or name in keep or name in texts_of]
    stats = [path.stat() for path in stream.paths]
    job = {
        "data": [str(path) for path in stream.paths], "size": [stat.st_size for stat in stats],
        "changed": [stat.st_mtime for stat in stats], "columns": [*texts_of, *columns], "shard": list(shard),
        "model": _stamp(predictor), "threshold": threshold, "all_scores": all_scores,
        "spreadsheet_safe": spreadsheet_safe,
    }  # fmt: skip
    target = _Target(Path(out), job, resume, lists)
    done = before = target.rows
    options = {"batch_size": batch_size, "threshold": threshold, "all_scores": all_scores}
    if before:
        logger.info("Going on behind row %d of %d.", before, len(wanted))
    logged = LoggedProgress(done="rows answered")
    progress = progress or (lambda done, rows: logged(done - before, rows - before))
    rows = itertools.islice(stream, wanted.start + done, wanted.stop)
    renamed = free_names(answer_names(predict(predictor, *([] for _ in texts_of), all_scores=all_scores)), columns)
    for name, other in sorted(renamed.items()):
        logger.warning("%s has a column %r of its own: the answers stand in %r.", stream.source, name, other)
    kept, asked = [stream.place(name) for name in columns], [stream.place(name) for name in texts_of]

    def answered(batch: list[list]) -> pd.DataFrame:
        """Rows with their answers."""
        texts = [["" if row[place] is None else row[place] for row in batch] for place in asked]
        answers = predict(predictor, *texts, **options)
        answers = answers[answer_names(answers)].rename(columns=renamed)
        given = {
            name: pd.Series([row[place] for row in batch], dtype=object)
            for name, place in zip(columns, kept, strict=True)
        }
        return pd.concat([pd.DataFrame(given, columns=columns), answers], axis=1)

    try:
        while batch := list(itertools.islice(rows, chunk)):
            target.append(answered(batch))
            done += len(batch)
            progress(done, len(wanted))
        if not target.rows:
            # The header, so that whoever reads the file of an empty shard finds the columns.
            target.append(answered([]))
    finally:
        target.close()
    target.finish()
    return StreamResult(done, before, target.path)


_TEXTS = ("text", "text_pair", "question", "context")
"""Columns in which `predict` gives back what it was asked."""


def answer_names(frame: pd.DataFrame) -> list[str]:
    """The columns of answers alone: the texts stand in the file's own."""
    return [name for name in frame.columns if name not in _TEXTS]


def free_names(answers: list[str], taken: Sequence[str]) -> dict[str, str]:
    """Other names for answers whose names are taken by columns of the file."""
    names = {}
    for name in set(answers) & set(taken):
        names[name] = f"predicted_{name}"
        while names[name] in taken or names[name] in answers:
            names[name] += "_"
    return names


def _check_out(out: Path, files: Sequence[Path]) -> None:
    """Refuse to write over what is read, or a kind of file that is not written."""
    refuse_input_as_output(out, files)
    if out.exists() and not out.is_file():
        what = "a folder" if out.is_dir() else "a device or a pipe"
        raise UserError(
            f"{out} is {what}; answers are written beside a file and get its name when they are whole: name a file."
        )
    if kind_of(out) in (*PARQUET, *EXCEL, ".json", ".xls") or out.suffix.lower() in COMPRESSED:
        raise UserError(f"{out}: answers are written as .csv, .tsv or .jsonl.")


def _stamp(predictor) -> list:
    """By what a model is known again: its folder, and when that was written."""
    folder = Path(getattr(predictor, "folder", ""))
    saved = folder / "saved_model.pb"
    return [str(folder), saved.stat().st_mtime if saved.is_file() else None]


class _Target:
    """The output: what has been written and counts, and what is yet to come."""

    def __init__(self, path: Path, job: dict, resume: bool, lists: bool):
        # Through a link, as writing in place would.
        self.path = path = Path(os.path.realpath(path)) if path.is_symlink() else path
        self.job = json.loads(json.dumps(job))
        self.beside = path.with_name(f".{path.name}.partial")
        self.note = path.with_name(f".{path.name}.progress")
        self.is_json = lists or path.suffix in JSON_LINES
        self.separator = "\t" if path.suffix == ".tsv" else ","
        if self.is_json and job["spreadsheet_safe"]:
            raise UserError(f"{path} gets JSON lines, which no spreadsheet opens; leave out --spreadsheet-safe.")
        self.rows = self.size = 0
        said = self._noted() if resume else None
        if said is not None:
            changed = sorted(name for name in self.job if said["job"].get(name) != self.job[name])
            if changed:
                raise UserError(
                    f"the job that wrote {self.beside} was another one ({', '.join(changed)} changed); start anew without --resume."
                )
            self.rows, self.size = said["rows"], said["bytes"]
        elif resume and path.is_file() and not self.note.is_file():
            raise UserError(f"{path} is finished; there is nothing to resume.")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if self.size and (not self.beside.is_file() or self.beside.stat().st_size < self.size):
                logger.warning("%s is not what was written; starting anew.", self.beside)
                self.rows = self.size = 0
            self.beside.touch()
            self._lock = lock_folder(self.beside)
            self.stream = open(self.beside, "r+b" if self.size else "wb")  # noqa: SIM115 (see `close`)
        except OSError as error:
            raise UserError(f"cannot write {os_error_line(error, self.beside)}") from error
        # What a kill left behind the last chunk that counts is cut off.
        self.stream.truncate(self.size)
        self.stream.seek(self.size)
        if not self.size:
            self.note.unlink(missing_ok=True)

    def _noted(self) -> dict | None:
        """How far a killed job came; None where nobody knows."""
        if not self.note.is_file():
            return None
        try:
            said = json.loads(self.note.read_text("utf-8"))
            if isinstance(said["job"], dict) and all(type(said[n]) is int and said[n] >= 0 for n in ("rows", "bytes")):
                return said
        except (OSError, ValueError, KeyError, TypeError):
            pass
        logger.warning("%s, which says how far the job came, is damaged; starting anew.", self.note)
        return None

    def append(self, frame: pd.DataFrame) -> None:
        """Write rows, and note that they count when they are on the disk."""
        try:
            self.stream.write(self._lines(frame).encode("utf-8"))
            self.stream.flush()
            os.fsync(self.stream.fileno())
            self.rows, self.size = self.rows + len(frame), self.stream.tell()
            write_whole(self.note, json.dumps({"rows": self.rows, "bytes": self.size, "job": self.job}))
        except OSError as error:
            raise UserError(
                f"cannot write {os_error_line(error, self.beside)} What is written counts: the same command with --resume goes on."
            ) from error

    def close(self) -> None:
        """Let go of the file; it stays where it is."""
        self.stream.close()
        unlock(self._lock)

    def finish(self) -> None:
        """Give the file its name."""
        self.beside.replace(self.path)
        self.note.unlink(missing_ok=True)

    def _lines(self, frame: pd.DataFrame) -> str:
        if not self.is_json:
            text = io.StringIO()
            frame = _each(_cell, frame)
            if self.job["spreadsheet_safe"]:
                frame = _each(spreadsheet_cell, frame).rename(columns=spreadsheet_cell)
                text.write("" if self.rows else "\ufeff")
            frame.to_csv(text, index=False, header=self.rows == 0, sep=self.separator, lineterminator="\n")
            return text.getvalue()
        names = list(frame.columns)
        # Column by column: a row of a mixed frame would turn numbers into objects of NumPy.
        values = zip(*(frame[name].tolist() for name in names), strict=True)
        return "".join(
            json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False, default=_plain) + "\n" for row in values
        )


def _plain(value):
    """Arrays as lists, dates and the like as text, for JSON."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _each(function: Callable, frame: pd.DataFrame) -> pd.DataFrame:
    """Every cell changed. `DataFrame.map` makes one kind of each column: of whole numbers with a gap floats, which lose the end of long ones."""
    changed = {name: pd.Series([function(value) for value in frame[name].tolist()], dtype=object) for name in frame}
    return pd.DataFrame(changed, columns=frame.columns)


def _cell(value):
    """A list or an object of the input as JSON, since a cell of a table holds text only."""
    return json.dumps(value, ensure_ascii=False, default=_plain) if isinstance(value, (dict, list)) else value
