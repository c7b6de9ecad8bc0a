"""Whatever a user has in memory as a DataFrame: pandas, lists of dicts, Hugging Face's `datasets`, `tf.data`.

None of these libraries is imported here: their objects are known by what they can do.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tl_keras.data.file_tables import column_name, named
from tl_keras.data.formats import Tables
from tl_keras.errors import UserError


def as_frame(
    table,
    text: str | None = "text",
    label: str = "label",
    text_pair: str | None = None,
    *,
    separator: str | None = None,
    quoting: str = "auto",
    encoding: str = "utf-8",
) -> tuple[pd.DataFrame, str, Sequence[str] | None]:
    """A table as a DataFrame.

    Args:
        table: a path, a pattern or a list of them; a DataFrame; a list of dicts or a dict of lists; a `datasets.Dataset`, whose class
            numbers become names; or a `tf.data.Dataset` of strings, `(strings, labels)` or dicts, batched or not.
        text: what the text of a `tf.data.Dataset` is called; what objects in JSON lines must have.
        label: what its label is called.
        text_pair: what the second text is called.
        separator: of text files; see `Tables`.
        quoting: of text files.
        encoding: of text files.

    Returns:
        `(frame, source, places)`: the source's name for messages, and each row's place in it, where it comes from files.

    Raises:
        UserError: it cannot be read.
    """
    if is_path(table):
        required = [name for name in (text, text_pair) if name is not None]
        tables = Tables(table, separator, quoting, encoding, required)
        columns, places, rows = tables.columns, [], []
        for place, cells in tables.rows():
            places.append(place)
            rows.append(cells)
        return pd.DataFrame(rows, columns=columns, dtype=object), tables.source, _Places(tables, places)
    if isinstance(table, pd.DataFrame):
        frame, source = table.reset_index(drop=True), "the DataFrame"
    elif hasattr(table, "element_spec") and hasattr(table, "as_numpy_iterator"):
        frame, source = _of_tf_data(table, text, label, text_pair), "the tf.data.Dataset"
    elif hasattr(table, "column_names") and hasattr(table, "features"):
        frame, source = _of_hugging_face(table), "the Dataset"
    elif isinstance(table, Mapping) and all(hasattr(part, "column_names") for part in table.values()) and table:
        raise UserError(f"this holds several splits: pass one of them, e.g. data[{next(iter(table))!r}].")
    elif isinstance(table, Mapping) or (
        isinstance(table, Sequence) and table and all(isinstance(r, Mapping) for r in table)
    ):
        try:
            frame, source = pd.DataFrame(table, dtype=object), "the given table"
        except ValueError as error:
            raise UserError(f"the columns of the given table are no lists of the same length: {error}.") from error
    else:
        raise UserError(
            "a table is a path, a DataFrame, a list of dicts, a datasets.Dataset or a tf.data.Dataset of strings and labels, not "
            f"{_kind(table)}."
        )
    frame = frame.set_axis([column_name(str(name)) for name in frame.columns], axis=1)
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise UserError(f"{source} has a column twice: {twice[0]!r}.")
    return frame, source, None


def is_path(table) -> bool:
    """Whether something names a file, or is a list of names of files."""
    if isinstance(table, (str, bytes)) or hasattr(table, "__fspath__"):
        return True
    return (
        isinstance(table, (list, tuple))
        and bool(table)
        and all(isinstance(t, str) or hasattr(t, "__fspath__") for t in table)
    )


def _kind(table) -> str:
    """What something is, in words; of a list, what is in it."""
    name = type(table).__name__
    if not isinstance(table, (list, tuple)):
        return f"a {name}"
    inside = sorted({type(entry).__name__ for entry in table})
    return f"a {name} of {' and '.join(inside)}" if inside else f"an empty {name}"


class _Places(Sequence):
    """The place of each row, said in words only when it is asked for."""

    def __init__(self, tables: Tables, places: list):
        self.tables, self.places = tables, places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, row: int) -> str:
        return self.tables.where(self.places[row])


def _of_hugging_face(dataset) -> pd.DataFrame:
    """A `datasets.Dataset` or `IterableDataset`."""
    names = dataset.column_names or list(dataset.features or ())
    if hasattr(dataset, "__len__"):
        columns = {name: list(dataset[name]) for name in names}
    else:
        rows = list(dataset)
        columns = {name: [row.get(name) for row in rows] for name in names or (rows[0] if rows else ())}
    for name, values in columns.items():
        classes = _class_names((dataset.features or {}).get(name))
        if classes is not None:
            columns[name] = [named(value, classes) for value in values]
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})


def _class_names(feature) -> list[str] | None:
    """The names of a ClassLabel, perhaps of one in lists."""
    while feature is not None:
        if getattr(feature, "names", None):
            return list(feature.names)
        if isinstance(feature, (list, tuple)):
            feature = feature[0] if feature else None
        else:
            feature = getattr(feature, "feature", None)
    return None


def _of_tf_data(dataset, text: str, label: str, text_pair: str | None) -> pd.DataFrame:
    """A `tf.data.Dataset`; `class_names`, as Keras's `text_dataset_from_directory` gives it, names the classes."""
    rows: list[dict] = []
    wanted = [name for name in (text, text_pair) if name is not None]
    for element in dataset.as_numpy_iterator():
        labels = None
        if isinstance(element, tuple) and len(element) in (2, 3):
            # Behind the labels there may be weights of the rows; a table has no place for them.
            element, labels = element[:2]
        if isinstance(element, dict):
            columns = {**element, **({} if labels is None else {label: labels})}
        else:
            parts = element if isinstance(element, (tuple, list)) else (element,)
            if len(parts) != len(wanted):
                raise UserError(
                    f"the dataset gives {len(parts)} text(s) for each label, but {len(wanted)} are wanted ({', '.join(wanted)})."
                )
            columns = {**dict(zip(wanted, parts, strict=True)), **({} if labels is None else {label: labels})}
        first = np.asarray(next(iter(columns.values())))
        if first.ndim == 0:
            rows.append({name: _plain(value) for name, value in columns.items()})
        else:
            columns = {name: [_plain(value) for value in values] for name, values in columns.items()}
            rows += [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    frame = pd.DataFrame(rows, dtype=object)
    names = getattr(dataset, "class_names", None)
    if label in frame:
        frame[label] = _label_cells(frame[label].tolist(), names)
    return frame


def _label_cells(values: list, names: Sequence[str] | None) -> pd.Series:
    """Numbers of classes as names; vectors of 0 and 1 as the classes that have a 1."""
    if values and all(isinstance(row, list) and len(row) == 1 for row in values):
        values = [row[0] for row in values]
    if values and isinstance(values[0], list):
        if not all(x in (0, 1) for row in values for x in row):
            raise UserError("labels that are vectors hold 0 and 1, one for each class.")
        names = names or [str(i) for i in range(len(values[0]))]
        chosen = [[names[i] for i, x in enumerate(row) if x] for row in values]
        # One-hot vectors throughout are another way to write one class each.
        values = [row[0] for row in chosen] if all(len(row) == 1 for row in chosen) else chosen
    elif names is not None:
        values = [named(value, names) for value in values]
    return pd.Series(values, dtype=object)


def _plain(value):
    """A value of NumPy as one of Python; bytes as text."""
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"the dataset holds a string that is not UTF-8: {value[:40]!r}.") from error
    if isinstance(value, np.ndarray) and value.ndim:
        return [_plain(x) for x in value]
    return value.item() if hasattr(value, "item") else value


def no_column(source: str, role: str, column: str, names: list[str]) -> str:
    """A message that a table lacks a column, with the ones that it has."""
    near = difflib.get_close_matches(column, names, 1)
    shown = ", ".join(names[:30]) + (f" and {len(names) - 30} more" if len(names) > 30 else "")
    return (
        f"{source} has no column {column!r}; its columns are: {shown}. "
        f"Name the {role} column with {role}=... (--{role.replace('_', '-')})"
        + (f"; did you mean {near[0]!r}?" if near else ".")
    )
