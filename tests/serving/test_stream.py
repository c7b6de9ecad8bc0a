"""Predictions for a file in chunks: the same as for the list, in its order, whole or not at all, and able to go on."""

from __future__ import annotations

import gzip
import json
import os
from functools import partial

import numpy as np
import pandas as pd
import pytest

from tl_keras import UserError, predict
from tl_keras.serving.scorers import Classifier
from tl_keras.serving.stream import predict_file


class ByLength(Classifier):
    """A classifier whose scores follow from each text alone; counts what it is asked, and may die on the way."""

    def __init__(self, dies_behind: int | None = None, multi_label: bool = False):
        self.folder, self.classes, self.multi_label = "by-length", ("long", "short"), multi_label
        self.asked: list[str] = []
        self.dies_behind = dies_behind

    def scores(self, texts, text_pairs=None, batch_size=64):
        if self.dies_behind is not None and len(self.asked) + len(texts) > self.dies_behind:
            raise KeyboardInterrupt
        self.asked += texts
        lengths = np.array([len(a + b) for a, b in zip(texts, text_pairs or [""] * len(texts), strict=True)])
        scores = 1 / (1 + np.exp(-(lengths - 12.0) / 4))
        return np.stack([scores, 1 - scores], 1).astype("float32")


@pytest.fixture
def texts():
    rng = np.random.default_rng(0)
    words = ['say "hi"', "a, b", "영화", "two\nlines", "", "good", "나쁜 영화, 정말"]
    return [" ".join(words[i] for i in rng.integers(7, size=rng.integers(1, 4))) for _ in range(500)]


@pytest.fixture
def table(texts, tmp_path):
    path = tmp_path / "texts.csv"
    pd.DataFrame({"id": range(500), "text": texts}).to_csv(path, index=False)
    return path


def test_as_predict_does_in_the_order_of_the_file(table, texts, tmp_path):
    seen = []
    result = predict_file(
        ByLength(), table, tmp_path / "out.csv", chunk=64, keep=["id"], progress=lambda *done: seen.append(done)
    )
    assert (result.rows, result.resumed) == (500, 0)
    assert seen[0] == (64, 500)
    assert seen[-1] == (500, 500)
    written = pd.read_csv(tmp_path / "out.csv", keep_default_na=False)
    expected = predict(ByLength(), texts)
    assert written["id"].tolist() == list(range(500))
    assert written["text"].tolist() == texts
    assert written["label"].tolist() == expected["label"].tolist()
    np.testing.assert_allclose(written["score"], expected["score"], rtol=1e-6)
    assert [path.name for path in tmp_path.iterdir()] in (["texts.csv", "out.csv"], ["out.csv", "texts.csv"])


def test_a_killed_job_goes_on_behind_the_last_whole_chunk(table, tmp_path):
    predict_file(ByLength(), table, tmp_path / "whole.csv", chunk=50)
    out = tmp_path / "out.csv"
    with pytest.raises(KeyboardInterrupt):
        predict_file(ByLength(dies_behind=160), table, out, chunk=50)
    assert not out.exists()
    # Killed in the middle of writing: half a row that does not count.
    with open(tmp_path / ".out.csv.partial", "ab") as stream:
        stream.write(b'"half a ro')
    with pytest.raises(UserError, match=r"was another one .*threshold changed"):
        predict_file(ByLength(), table, out, chunk=50, resume=True, threshold=0.7)
    second = ByLength()
    result = predict_file(second, table, out, chunk=50, resume=True)
    assert (result.rows, result.resumed, len(second.asked)) == (500, 150, 350)
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert not list(tmp_path.glob(".out*"))
    with pytest.raises(UserError, match="is finished"):
        predict_file(ByLength(), table, out, resume=True)


def test_shards_one_behind_the_other_are_the_whole(texts, tmp_path):
    path = tmp_path / "pairs.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as stream:
        stream.writelines(json.dumps({"a": text, "b": "x" * (i % 5)}) + "\n" for i, text in enumerate(texts))
    options = {"text": "a", "text_pair": "b", "chunk": 33, "all_scores": True}
    model = ByLength(multi_label=True)
    predict_file(model, path, tmp_path / "whole.jsonl", **options)
    parts = [predict_file(model, path, tmp_path / f"{i}.jsonl", shard=(i, 3), **options) for i in range(3)]
    assert [part.rows for part in parts] == [166, 167, 167]
    whole = (tmp_path / "whole.jsonl").read_text("utf-8")
    assert "".join(part.out.read_text("utf-8") for part in parts) == whole
    first = json.loads(whole.splitlines()[0])
    # By hand: the length is that of both texts.
    share = 1 / (1 + np.exp(-(len(texts[0]) + 0 - 12.0) / 4))
    assert first["score_long"] == pytest.approx(share, abs=1e-6)
    assert first["label"] == (["long"] if share >= 0.5 else ["short"])
    tiny = tmp_path / "tiny.csv"
    tiny.write_text("text\ngood\n", "utf-8")
    assert predict_file(ByLength(), tiny, tmp_path / "none.csv", shard=(0, 2)).rows == 0
    assert (tmp_path / "none.csv").read_text() == "text,label,score\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "document,label\nx,1\n", "no column 'text'; its columns are: document, label"),
        ("a.csv", "text,id\ngood,1\nbad\n", "line 3: 1 cells, but the header has 2"),
        ("a.jsonl", '{"text": "good"}\n{"txt": "bad"}\n', "line 2: no 'text'; it has: txt"),
        ("a.jsonl", '{"text": "good"\n', "line 1: not JSON"),
        ("a.parquet", "", "is damaged or no Parquet file"),
        ("a.feather", "", ".feather is not read"),
        ("b.csv", None, "no file"),
    ],
)
def test_what_cannot_be_read(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_text(content, "utf-8")
    with pytest.raises(UserError, match=message):
        predict_file(ByLength(), tmp_path / name, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("kind", ["csv", "tsv.gz", "jsonl", "parquet", "xlsx", "part-*.csv"])
def test_rows_keep_their_columns_in_any_kind_of_file(tmp_path, kind):
    frame = pd.DataFrame(
        {
            "id": ["007", "8", "9"],
            "document": ["good, is it", "영화", "quite long a text"],
            "label": ["x", "y", "z"],
            "note": ["a", None, "c"],
        }
    )
    data = tmp_path / f"in.{kind}"
    if kind == "part-*.csv":
        data = tmp_path / kind
        frame[:1].to_csv(tmp_path / "part-1.csv", index=False)
        frame[1:].to_csv(tmp_path / "part-2.csv", index=False)
    elif kind == "jsonl":
        # Objects need not have all names.
        rows = [{name: value for name, value in row.items() if value is not None} for row in frame.to_dict("records")]
        data.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    else:
        {
            "csv": frame.to_csv,
            "tsv.gz": partial(frame.to_csv, sep="\t"),
            "parquet": frame.to_parquet,
            "xlsx": frame.to_excel,
        }[kind](data, index=False)
    out = tmp_path / "out.csv"
    with pytest.raises(KeyboardInterrupt):
        predict_file(ByLength(dies_behind=2), data, out, text="document", chunk=1)
    result = predict_file(ByLength(), data, out, text="document", chunk=1, resume=True)
    assert (result.rows, result.resumed) == (3, 2)
    # By hand: long at more than 12 characters. The file's own labels stay what they are.
    written = pd.read_csv(out, dtype=str, keep_default_na=False)
    assert written.columns.tolist() == ["id", "document", "label", "note", "predicted_label", "score"]
    assert written.drop(columns="score").to_numpy().tolist() == [
        ["007", "good, is it", "x", "a", "short"],
        ["8", "영화", "y", "", "short"],
        ["9", "quite long a text", "z", "c", "long"],
    ]
    predict_file(ByLength(), data, tmp_path / "few.jsonl", text="document", keep=["note"])
    first = json.loads((tmp_path / "few.jsonl").read_text("utf-8").splitlines()[0])
    assert list(first) == ["document", "note", "label", "score"]


def test_what_is_not_written(table, tmp_path):
    (tmp_path / "link.csv").symlink_to(table)
    for out, message in [
        (table, "which is read here and would be lost"),
        (tmp_path / "link.csv", "which is read here and would be lost"),
        (tmp_path / "out.parquet", "written as .csv, .tsv or .jsonl"),
        (tmp_path / "out.csv.gz", "written as .csv, .tsv or .jsonl"),
    ]:
        with pytest.raises(UserError, match=message):
            predict_file(ByLength(), table, out)
    assert len(table.read_text("utf-8")) > 1000


def test_whole_numbers_stay_whole_beside_gaps(tmp_path):
    """Of a column with a gap no floats are made, which know no number above 2 ** 53 exactly."""
    ids = [9007199254740993, None, 3]
    rows = [{"text": "good", "id": number} for number in ids]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, safe in (("a.csv", False), ("b.csv", True), ("c.jsonl", False)):
        predict_file(ByLength(), tmp_path / "in.jsonl", tmp_path / name, spreadsheet_safe=safe)
    for name in ("a.csv", "b.csv"):
        written = (tmp_path / name).read_text("utf-8-sig").splitlines()
        assert [line.split(",")[1] for line in written] == ["id", "9007199254740993", "", "3"]
    assert [json.loads(line)["id"] for line in (tmp_path / "c.jsonl").read_text().splitlines()] == ids


def test_what_is_no_file_is_neither_read_nor_replaced(table, tmp_path):
    pipe, folder, link = tmp_path / "pipe", tmp_path / "folder", tmp_path / "link.csv"
    os.mkfifo(pipe)
    folder.mkdir()
    for out, what in ((pipe, "a device or a pipe"), (folder, "a folder")):
        with pytest.raises(UserError, match=f"is {what}; .* name a file"):
            predict_file(ByLength(), table, out)
    assert pipe.is_fifo()
    for data, what in ((pipe, "is a pipe"), ("-", "means a pipe")):
        with pytest.raises(UserError, match=f"{what}.* save it to a file first"):
            predict_file(ByLength(), data, tmp_path / "out.csv")
    # A link stays one, and what it leads to is written.
    link.symlink_to(folder / "real.csv")
    predict_file(ByLength(), table, link)
    assert link.is_symlink()
    assert [path.name for path in folder.iterdir()] == ["real.csv"]
