"""The labelled data sets that ways of transfer are compared on: which files and columns, and what is training and what is test."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np


@dataclasses.dataclass(frozen=True)
class Data:
    """Where a data set is, and how it is read.

    Attributes:
        train: file below the data folder.
        test: the same, or how many rows of the training file are held out.
        text, text_pair, label: columns.
        names: label names in place of those in the file.
    """

    train: str
    test: str | int
    text: str = "text"
    text_pair: str | None = None
    label: str = "label"
    names: dict[str, str] | None = None


DATA = {
    "nsmc": Data("nsmc/train.csv", "nsmc/validation.csv", "document"),
    "sst2": Data("sst2/train.csv", "sst2/dev.csv"),
    # No test file is at hand: 865 of 5,365 rows are held out, the same for all seeds.
    "trec": Data("trec/train.csv", 865, label="label_name"),
    # CAUTION: in this file `is_duplicate` is the reverse of its name, 0 = the same question, 1 = another one.
    "question_pair": Data(
        "question_pair/train.csv",
        "question_pair/dev.csv",
        "question1",
        "question2",
        "is_duplicate",
        {"0": "same", "1": "different"},
    ),
}


def read(folder: Path, data: Data):
    """Training and test examples; no text of the test is in the training part."""
    import tl_keras as tlk
    from tl_keras.advice.texts import text_keys

    def table(file: str):
        examples = tlk.read_table(folder / file, data.text, data.label, data.text_pair)
        return examples if data.names is None else renamed(examples, data.names)

    train = table(data.train)
    if isinstance(data.test, int):
        train, test = train.split(data.test / len(train), seed=0)
    else:
        test = table(data.test)
    known = set(text_keys(test))
    kept = np.array([row for row, key in enumerate(text_keys(train)) if key not in known])
    return train.take(kept), test


def renamed(examples, names: dict[str, str]):
    """The same examples under other label names."""
    import tl_keras as tlk

    labels = [names[name] for name in examples.label_names]
    return tlk.data.Examples.from_lists(
        examples.texts.tolist(), labels, examples.text_pairs.tolist(), tuple(names.values()), examples.source
    )
