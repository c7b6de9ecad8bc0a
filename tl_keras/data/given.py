"""What a user gives in Python as texts and labels: taken as it is meant, and refused in one line where it is something else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tl_keras.data.records import refuse_half_characters
from tl_keras.errors import UserError


def check_texts(texts: Sequence[str], name: str = "texts", of: str = "strings") -> None:
    """Refuse what is no list of strings, above all what Python would take for one: a string has letters, a DataFrame the names of its columns.

    Args:
        texts: what was given.
        name: what it is called, for the message.
        of: what should be in it.

    Raises:
        UserError: it is one string, a table, a dict, a set, or nothing with entries.

    Example:
        >>> check_texts({"text": ["good"]})
        Traceback (most recent call last):
        ...
        tl_keras.errors.UserError: texts must be a list of strings, not a dict: give the list in it that holds them.
    """
    wanted = f"{name} must be a list of {of}, not"
    if isinstance(texts, (str, bytes)) or (isinstance(texts, np.ndarray) and not texts.ndim):
        one = texts.item() if isinstance(texts, np.ndarray) else texts
        raise UserError(f"{wanted} one string: write [{str(one)[:40]!r}].")
    if is_frame(texts):
        columns = [str(column) for column in texts.columns]
        raise UserError(f"{wanted} a DataFrame: give one of its columns ({', '.join(columns[:20])}), as frame[{columns[0]!r}].")  # fmt: skip
    if isinstance(texts, Mapping):
        raise UserError(f"{wanted} a dict: give the list in it that holds them.")
    if isinstance(texts, (set, frozenset)):
        raise UserError(f"{wanted} a set, which has no order.")
    if not isinstance(texts, Iterable):
        raise UserError(
            f"{wanted} {type(texts).__name__}; batches of tagged texts and of questions are made by tl_keras.batches(model, examples)."
        )


def is_frame(given) -> bool:
    """Whether something is a DataFrame; pandas need not be imported to know."""
    return hasattr(given, "columns") and hasattr(given, "iloc")


def check_examples(examples, reader: str = "read_table(frame, text=..., label=...)") -> None:
    """Refuse a table or a list where examples are wanted.

    Raises:
        UserError: it is none of this package's examples.
    """
    if not hasattr(examples, "take") or not hasattr(examples, "source"):
        raise UserError(f"examples are wanted here, not a {type(examples).__name__}: make them with tl_keras.{reader}.")


def index_of(texts):
    """The index of a Series of texts, which their answers keep, so that they can be put beside them; None where there is none."""
    return getattr(texts, "index", None) if hasattr(texts, "iloc") else None


def string_array(
    values: Sequence[str], name: str, source: str | None = None, places: Sequence[str] | None = None
) -> np.ndarray:
    """Strings as an object array; `source` and `places` say in messages where they come from.

    Raises:
        UserError: an entry is no string, or holds half a character.
    """
    array = np.empty(len(values), object)
    for row, value in enumerate(values):
        if not isinstance(value, str):
            raise UserError(f"{name}: entry {row + 1} is {type(value).__name__} ({str(value)[:40]!r}), not a string.")
        array[row] = value
    prefix = "" if source is None else f"{source}, "
    refuse_half_characters(
        array, lambda row: f"{prefix}{places[row]}" if places is not None else f"{prefix}{name}: entry {row + 1}"
    )
    return array


def is_missing(value) -> bool:
    """Whether a value says that there is none, as pandas and NumPy say it."""
    return (
        value is None
        or type(value).__name__ in ("NAType", "NaTType")
        or (isinstance(value, (float, np.floating)) and value != value)
    )


def label_name(label) -> str:
    """The name of a class, however a label is written.

    Raises:
        UserError: it is missing, an array or an object, or bytes that are no UTF-8.

    Example:
        >>> label_name(1.0), label_name(" good "), label_name(b"bad"), label_name(True)
        ('1', 'good', 'bad', 'True')
    """
    if is_missing(label):
        raise UserError(f"a label is missing ({label}).")
    if isinstance(label, bytes):
        try:
            label = label.decode("utf-8")
        except UnicodeDecodeError:
            raise UserError(f"a label is bytes that are no UTF-8: {label[:40]!r}.") from None
    if isinstance(label, dict) or getattr(label, "ndim", 0):
        raise UserError(
            f"a label is a {type(label).__name__} ({str(label)[:40]}), not a name or a number; columns of 0 and 1 are read by "
            "tl_keras.read_table(frame, label=[...])."
        )
    # pandas makes whole-number labels floats as soon as one is missing: 1.0 is the class "1".
    if isinstance(label, (float, np.floating)) and float(label).is_integer():
        label = int(label)
    return str(label).strip()


def check_classes(classes: Sequence) -> tuple[str, ...]:
    """The names of classes, in the order given.

    Raises:
        UserError: these are no names, or one occurs twice.

    Example:
        >>> check_classes([1.0, 0.0])  # as `frame.label.unique()` has them where a label is missing elsewhere
        ('1', '0')
    """
    if isinstance(classes, (str, bytes)) or not isinstance(classes, Iterable):
        raise UserError('classes must be a list of label names, e.g. ["negative", "positive"].')
    try:
        names = tuple(label_name(name) for name in classes)
    except UserError as error:
        raise UserError(f"classes: {error}") from None
    if len(set(names)) != len(names):
        raise UserError(f"a class name occurs twice: {list(names)[:20]}.")
    return names


def label_names(labels: Sequence, source: str) -> tuple[list, bool]:
    """The names of labels, and whether a text may have several: then each has a list of them.

    Args:
        labels: names or numbers, or lists of them; among lists a name alone is a list of one.
        source: where they come from, for messages.

    Raises:
        UserError: names the first label that is none.
    """
    several, names = any(_is_list(label) for label in labels), []
    for row, label in enumerate(labels, 1):
        try:
            if several:
                names.append([label_name(one) for one in (label if _is_list(label) else [label])])
            else:
                names.append(label_name(label))
        except UserError as error:
            raise UserError(
                f"{source}, example {row}: {error} Leave out rows without a label (frame.dropna), or let read_table do it."
                if is_missing(label)
                else f"{source}, example {row}: {error}"
            ) from None
    return names, several


def _is_list(label) -> bool:
    return isinstance(label, (list, tuple, set, frozenset))


def class_finder(classes: Sequence[str]):
    """A function from a label as a user writes it to the name of a class, or None where it is none of their names.

    A number finds the class that is called by it, also `1` the class `1.0`; a truth value the class called so, in whatever case.

    Args:
        classes: their names.

    Example:
        >>> find = class_finder(["1.0", "0.0"])
        >>> find(1), find(0.0), find("1.0"), find("1"), find(2)
        ('1.0', '0.0', '1.0', None, None)
        >>> class_finder(["yes", "no"])(True) is None, class_finder(["true", "false"])(True)
        (True, 'true')
    """
    names = set(classes)
    numbers = class_numbers(classes) or {}
    lower = {name.lower(): name for name in classes}

    def find(label) -> str | None:
        name = label_name(label)
        if name in names or isinstance(label, (str, bytes)):
            return name if name in names else None
        if isinstance(label, (bool, np.bool_)) and name.lower() in lower:
            return lower[name.lower()]
        try:
            return numbers.get(float(label))
        except (TypeError, ValueError):
            return None

    return find


def class_numbers(classes: Sequence[str]) -> dict[float, str] | None:
    """Classes by number, where all of them are called by numbers, no two by the same; else None.

    Example:
        >>> class_numbers(["1.0", "2.5"]), class_numbers(["1", "b"]), class_numbers(["1", "01"])
        ({1.0: '1.0', 2.5: '2.5'}, None, None)
    """
    try:
        numbers = {float(name): name for name in classes}
    except ValueError:
        return None
    return numbers if len(numbers) == len(classes) and all(map(np.isfinite, numbers)) else None


class Texts(NamedTuple):
    """What a user gave as `x`: one text each, or pairs.

    Attributes:
        texts: `n` strings.
        text_pairs: `n` strings, or None.
    """

    texts: list[str]
    text_pairs: list[str] | None = None


def texts_of(x) -> Texts | None:
    """The texts in what a user gives as `x`; None where it holds none, such as arrays of token ids and datasets.

    Args:
        x: a list, array or Series of strings; pairs as a list of tuples, an array `[n, 2]`, or a tuple of two such sequences.

    Raises:
        UserError: a table whose columns are not two of texts.

    Example:
        >>> texts_of(["good", "bad"])
        Texts(texts=['good', 'bad'], text_pairs=None)
        >>> texts_of([("good", "great"), ("bad", "good")]) == texts_of((["good", "bad"], ["great", "good"]))
        True
    """
    if isinstance(x, tuple) and len(x) == 2 and all(_is_column(part) for part in x):
        return Texts(*(_strings(part) for part in x))
    if not _is_sequence(x) or not len(x):
        return None
    if isinstance(x, np.ndarray) and x.ndim > 2:
        return None
    first = x.iloc[0] if hasattr(x, "iloc") else x[0]
    if is_frame(x):
        if x.shape[1] != 2 and x.map(is_text).to_numpy().any():
            check_texts(x)
    elif is_missing(first):  # said of the text that is missing, not of what Keras makes of it
        first = next((one for one in x if not is_missing(one)), first)
    if is_text(first):
        return Texts(_strings(x))
    rows = x.to_numpy().tolist() if hasattr(x, "to_numpy") else x
    if hasattr(x, "columns") or (not isinstance(first, (str, bytes)) and _is_sequence(first) and len(first) == 2):
        pairs = [list(row) for row in rows]
        if pairs and all(len(row) == 2 and all(is_text(text) for text in row) for row in pairs):
            return Texts(_strings([a for a, _ in pairs]), _strings([b for _, b in pairs]))
        if is_frame(x) and any(is_text(text) for row in pairs for text in row):
            check_texts(x)
    return None


def _is_sequence(x) -> bool:
    return isinstance(x, (list, tuple, np.ndarray)) or (hasattr(x, "iloc") and hasattr(x, "to_numpy"))


def is_text(value) -> bool:
    """Whether a value is one text."""
    return isinstance(value, (str, bytes, np.str_))


def _is_column(part) -> bool:
    if not _is_sequence(part) or not len(part):
        return False
    return is_text(part.iloc[0] if hasattr(part, "iloc") else part[0])


def _strings(column: Sequence) -> list[str]:
    values = column.tolist() if hasattr(column, "tolist") else list(column)
    return [value.decode("utf-8") if isinstance(value, bytes) else value for value in values]
