"""Files of answers: safe in a spreadsheet, whole, and written by one process at a time."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from tl_keras.files import lock_folder, unlock
from tl_keras.serving.scorers import Classifier
from tl_keras.serving.stream import predict_file


class Always(Classifier):
    """Says the same of every text, and may die on the way."""

    def __init__(self, dies_behind: int | None = None):
        self.folder, self.classes, self.multi_label = "always", ("=yes", "no"), False
        self.left = dies_behind

    def scores(self, texts, text_pairs=None, batch_size=64):
        if self.left is not None:
            self.left -= len(texts)
            if self.left < 0:
                raise KeyboardInterrupt
        return np.tile(np.array([[0.75, 0.25]], "float32"), (len(texts), 1))


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "texts.csv"
    pd.DataFrame({"id": range(9), "text": ["=1+1", "plain", "+cmd", "@x", "-2", "영화", "a=b", "\t=x", "-x"]}).to_csv(
        path, index=False
    )
    return path


def test_a_spreadsheet_finds_no_formula_and_knows_utf_8(table, tmp_path, refused):
    out = tmp_path / "out.csv"
    predict_file(Always(), table, out, keep=["id"], chunk=4, spreadsheet_safe=True)
    raw = out.read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    assert raw.count(b"\xef\xbb\xbf") == 1
    found = pd.read_csv(out, keep_default_na=False, dtype=str)
    assert found.text.tolist() == ["'=1+1", "plain", "'+cmd", "'@x", "-2", "영화", "a=b", "'\t=x", "'-x"]
    assert found.label.tolist() == ["'=yes"] * 9
    assert found.score.tolist() == ["0.75"] * 9
    # Without it, the texts are what they were.
    predict_file(Always(), table, tmp_path / "plain.csv", keep=["id"])
    assert pd.read_csv(tmp_path / "plain.csv", keep_default_na=False, dtype=str).text[0] == "=1+1"
    refused(lambda: predict_file(Always(), table, tmp_path / "o.jsonl", spreadsheet_safe=True), "--spreadsheet-safe")


@pytest.mark.parametrize("harm", ["", "{", "[]", '{"rows": -1, "bytes": 0, "job": {}}', '{"rows": "x"}'])
def test_a_damaged_progress_note_costs_time_and_no_row(table, tmp_path, harm):
    out = tmp_path / "out.csv"
    with pytest.raises(KeyboardInterrupt):
        predict_file(Always(dies_behind=5), table, out, keep=["id"], chunk=2, resume=True)
    note = tmp_path / ".out.csv.progress"
    assert json.loads(note.read_text())["rows"] == 4
    note.write_text(harm)
    assert predict_file(Always(), table, out, keep=["id"], chunk=2, resume=True).rows == 9
    assert pd.read_csv(out)["id"].tolist() == list(range(9))


def test_two_processes_do_not_write_one_file_of_answers(table, tmp_path, refused):
    beside = tmp_path / ".out.csv.partial"
    beside.write_text("of the first process")
    lock = lock_folder(beside)
    refused(lambda: predict_file(Always(), table, tmp_path / "out.csv"), "another process writes there now")
    assert beside.read_text() == "of the first process"
    unlock(lock)
