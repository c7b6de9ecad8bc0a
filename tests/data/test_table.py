"""Reading tables: what a tired user's files hold, and what the errors say."""

from __future__ import annotations

import csv
import gzip
import logging
import unicodedata

import numpy as np
import pandas as pd
import pytest

from tl_keras import UserError, read_table
from tl_keras.data.formats import RowStream

pytestmark = pytest.mark.one_keras


def write(path, content: str | bytes):
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def test_quotes_commas_line_breaks_and_words_that_look_missing(tmp_path):
    path = write(tmp_path / "r.csv", '\ufefftext,label\n"good, ""really""",1\n"two\nlines",0\nNA,1\nnull,0\n')
    examples = read_table(path)
    assert examples.texts.tolist() == ['good, "really"', "two\nlines", "NA", "null"]
    assert examples.labels.tolist() == [1, 0, 1, 0]
    assert examples.classes == ("0", "1")


def test_same_rows_as_pandas_for_a_well_formed_file(tmp_path):
    frame = pd.DataFrame(
        {"id": range(50), "document": [f'리뷰 {i}, "{i}"\t;' for i in range(50)], "label": [i % 3 for i in range(50)]}
    )
    frame.to_csv(tmp_path / "r.csv", index=False)
    examples = read_table(tmp_path / "r.csv", text="document")
    assert examples.texts.tolist() == frame.document.tolist()
    assert [int(name) for name in examples.label_names] == frame.label.tolist()


def test_tab_separated_files_quote_nothing(tmp_path):
    # As in XNLI: a lone quote would swallow every line up to the next one.
    path = write(tmp_path / "r.tsv", 'text\tlabel\n"he said\tx\nfine\ty\nthe "end"\tx\n')
    examples = read_table(path)
    assert examples.texts.tolist() == ['"he said', "fine", 'the "end"']
    quoted = write(tmp_path / "q.tsv", 'text\tlabel\n"a\tb"\tx\nc\ty\n')
    assert read_table(quoted, quoting="standard").texts.tolist() == ["a\tb", "c"]
    # As pandas writes it, which quotes what holds a quote, a tab or a line break.
    texts = ['a "meal", they said', "a\tb", "a\nb", "plain", '"all of it"']
    pd.DataFrame({"text": texts, "label": range(5)}).to_csv(quoted, sep="\t", index=False)
    assert read_table(quoted).texts.tolist() == texts
    assert len(pd.read_csv(path, sep="\t", quoting=csv.QUOTE_NONE)) == 3


def test_gzip_and_other_encodings(tmp_path):
    content = "text,label\n정말 재미있는 영화였습니다,긍정\n지루하다,부정\n"
    (tmp_path / "r.csv.gz").write_bytes(gzip.compress(content.encode()))
    assert read_table(tmp_path / "r.csv.gz").classes == ("긍정", "부정")
    korean = write(tmp_path / "k.csv", content.encode("cp949"))
    with pytest.raises(UserError, match=r"line 2: byte 0x.. is not utf-8.*cp949"):
        read_table(korean)
    assert read_table(korean, encoding="cp949").texts[1] == "지루하다"
    with pytest.raises(UserError, match="utf-16"):
        read_table(write(tmp_path / "u.csv", content.encode("utf-16")))
    for read in (read_table, lambda path, encoding: RowStream(path, ["text"], encoding=encoding)):
        with pytest.raises(UserError, match="no encoding is called 'hangeul'; common ones are utf-8, cp949"):
            read(korean, encoding="hangeul")
    assert list(RowStream(korean, ["text"], encoding="cp949"))[1] == ["지루하다", "부정"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("text,label\n", "no rows"),
        ("\ntext,label\na,b\n", "header, is empty"),
        ("text,label\nfine,1\nnot, good,0\n", r"line 3: 3 cells, but the header has 2.*in quotes"),
        ('text,label\n"two\nlines",1\nfine\n', r"line 4: 1 cells"),
        ('text,label\nfine,1\n"open,0\nfine,1\n', r"line 3: .*--quoting none"),
        ("text,text\na,b\n", "names a column twice"),
        ("review,label\na,b\n", r"no column 'text'; its columns are: review, label.*--text"),
        ("text,labels\na,b\n", r"no column 'label'.*did you mean 'labels'"),
        ("text,label\n101,a\n102,b\n", "every text in column 'text' is a number"),
        ("text,label\n,a\n  ,b\n", "no row is left"),
    ],
)
def test_bad_files(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        read_table(write(tmp_path / "r.csv", content))


def test_missing_file_names_near_ones(tmp_path):
    write(tmp_path / "reviews.csv", "text,label\na,b\n")
    with pytest.raises(UserError, match=r"no file .*review\.csv; there is .*reviews\.csv"):
        read_table(tmp_path / "review.csv")
    with pytest.raises(UserError, match="folder"):
        read_table(tmp_path)
    with pytest.raises(UserError, match=r"\.feather is not read.*DataFrame"):
        read_table(write(tmp_path / "r.feather", "x"))
    with pytest.raises(UserError, match=r"r\.parquet is damaged or no Parquet file"):
        read_table(write(tmp_path / "r.parquet", "x"))


def test_empty_texts_are_counted_and_dropped_or_kept(tmp_path, caplog):
    path = write(tmp_path / "r.csv", "text,label\nfine,1\n,0\n   ,0\nbad,0\nunlabelled,\n")
    with caplog.at_level(logging.WARNING):
        assert read_table(path).texts.tolist() == ["fine", "bad"]
    assert "2 row(s) with an empty text dropped (first: line 3)" in caplog.text
    assert "1 row(s) without a label dropped (first: line 6)" in caplog.text
    assert read_table(path, on_empty="keep").texts.tolist() == ["fine", "", "   ", "bad"]
    assert read_table(path, label=None, on_empty="keep").labels is None
    with pytest.raises(UserError, match=r"2 row\(s\) with an empty text, the first at line 3"):
        read_table(path, on_empty="error")


def test_data_frames_with_missing_values_and_float_labels():
    frame = pd.DataFrame({"text": ["a", None, "b", float("nan")], "label": [1.0, 0.0, 0.0, None]})
    examples = read_table(frame)
    assert examples.texts.tolist() == ["a", "b"]
    assert examples.classes == ("0", "1")


def test_a_text_of_a_megabyte_is_one_cell(tmp_path):
    long = "word " * 200_000
    examples = read_table(write(tmp_path / "r.csv", f"text,label\n{long},1\nshort,0\n"))
    assert len(examples.texts[0]) == 1_000_000


def test_pairs_and_several_labels(tmp_path):
    pairs = read_table(write(tmp_path / "p.csv", "q1,q2,label\na,b,x\nc,,y\nd,e,y\n"), "q1", text_pair="q2")
    assert pairs.text_pairs.tolist() == ["b", "e"]
    many = read_table(write(tmp_path / "m.csv", "text,label\na,x|y\nb,\nc, y \n"), label_separator="|")
    assert many.classes == ("x", "y")
    assert many.labels.tolist() == [[1, 1], [0, 0], [0, 1]]
    assert many.label_names == [["x", "y"], [], ["y"]]


def test_a_cell_without_labels_has_none_also_in_a_frame():
    frame = pd.DataFrame({"text": ["a", "b", "c"], "label": ["x|y", np.nan, None]})
    assert read_table(frame, label_separator="|").label_names == [["x", "y"], [], []]
    # As pandas and `predict --out` write lists into a file.
    for cells in (["['x', 'y, z']", "[]"], ['["x", "y, z"]', "[]"]):
        frame = pd.DataFrame({"text": ["a", "b"], "label": cells})
        assert read_table(frame).label_names == [["x", "y, z"], []]
    assert read_table(pd.DataFrame({"text": ["a", "b"], "label": ["[x]", "[y]"]})).classes == ("[x]", "[y]")
    assert read_table(pd.DataFrame({0: ["a", "b"], 1: ["x", "y"]}), text=0, label=1).classes == ("x", "y")
    rows = [{"text": "a", "label": ["x", "y"]}, {"text": "b", "label": "x"}]
    assert read_table(rows).label_names == [["x", "y"], ["x"]]


def test_a_label_training_never_saw_is_named_with_its_row(tmp_path):
    path = write(tmp_path / "v.csv", "text,label\na,x\nb,z\n")
    with pytest.raises(UserError, match=r"label 'z' \(example 2\) is not among the classes \['x', 'y'\]"):
        read_table(path, classes=["x", "y"])


@pytest.mark.real_data
def test_published_files_keep_all_their_rows(shared_dir):
    # The counts are those of the data's README; pandas' defaults read 1,567 of the XNLI rows.
    xnli = read_table(shared_dir / "data/xnli_ko/dev.tsv", "sentence1", "gold_label", "sentence2")
    assert (len(xnli), xnli.classes) == (2486, ("contradiction", "entailment", "neutral"))
    nsmc = read_table(shared_dir / "data/nsmc/test.csv", "document")
    assert (len(nsmc), nsmc.counts()["1"]) == (5000, 2500)
    with pytest.raises(UserError, match="is a number"):
        read_table(shared_dir / "data/nsmc/test.csv", "id")


def test_names_of_files_however_hangul_is_written(tmp_path, monkeypatch):
    """As macOS writes them: taken apart; in a folder, a pattern, a list."""
    composed = "\ud55c\uae00 \uc790\ub8cc"  # 한글 자료
    (tmp_path / unicodedata.normalize("NFD", composed)).mkdir()
    write(tmp_path / unicodedata.normalize("NFD", f"{composed}/{composed}.csv"), "text,label\na,x\nb,y\n")
    named = tmp_path / composed / f"{composed}.csv"
    assert len(read_table(named)) == 2
    assert len(read_table(str(named).replace(f"{composed}.csv", "\ud55c*.csv"))) == 2
    assert len(read_table([named, named])) == len(read_table(f"{named},{named}")) == 4
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(read_table(f"~/{composed}/{composed}.csv")) == 2
    # Two that differ by that alone are two.
    write(tmp_path / "\ud55c.csv", "text,label\na,x\n")
    write(tmp_path / "\u1112\u1161\u11ab.csv", "text,label\nb,y\nc,y\n")
    assert [len(read_table(tmp_path / name)) for name in ("\ud55c.csv", "\u1112\u1161\u11ab.csv")] == [1, 2]


def test_several_labels_in_a_cell_are_warned_of(caplog):
    with caplog.at_level(logging.WARNING):
        read_table(pd.DataFrame({"text": list("abcd"), "label": ["x", "y|x", "y", "y | x"]}))
        assert "the label 'y | x' is made of labels" in caplog.text
        assert "and so are 1 more" in caplog.text
        assert '--label-separator "|"' in caplog.text
        caplog.clear()
        read_table(pd.DataFrame({"text": list("abc"), "label": ["x", "y, z", "y"]}))
    assert "made of labels" not in caplog.text


@pytest.mark.parametrize(
    "names",
    [
        ("Positive", "positive ", "ｐositive"),
        ("good", "good\u200b"),
        ("1", "1.0", "01"),
        ("긍정", "\u1100\u1173\u11bc정"),
    ],
)
def test_labels_written_in_several_ways_are_warned_of(names, caplog):
    frame = pd.DataFrame({"text": ["a"] * (len(names) + 1), "label": [*names, "negative"]})
    with caplog.at_level(logging.WARNING):
        assert len(read_table(frame).classes) == len(names) + 1
    said = " and ".join(f"{name.strip()!r} (1)" for name in sorted(names))
    assert caplog.text.count("WARNING") == 1
    assert all(f"{name.strip()!r} (1)" in caplog.text for name in names), said
    assert "differ by case, blanks, width or zeros alone" in caplog.text


@pytest.mark.parametrize("written", ["\ufeff본문", "본문\u200b", " 본문", "\u1107\u1169\u11ab문"])
def test_columns_are_found_however_their_names_are_written(tmp_path, written):
    frame = pd.DataFrame({written: ["a", "b"], "label": ["x", "y"]})
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    frame.to_parquet(tmp_path / "a.parquet")
    for name in ("본문", written):
        for table in (frame, *(tmp_path / f"a.{kind}" for kind in ("csv", "jsonl", "parquet"))):
            assert read_table(table, name).texts.tolist() == ["a", "b"], (name, table)
        for kind in ("csv", "jsonl", "parquet"):
            stream = RowStream(tmp_path / f"a.{kind}", [name], texts=[name])
            assert [row[stream.place(name)] for row in stream] == ["a", "b"]


def test_texts_of_a_stream_are_texts(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": 5, "id": [1]}\n{"text": null, "id": 2}\n{"text": ["a"], "id": 3}\n')
    rows = iter(RowStream(path, ["text"], texts=["text"]))
    assert [next(rows), next(rows)] == [["5", [1]], [None, 2]]
    with pytest.raises(UserError, match=r"a\.jsonl, line 3: the text is a list"):
        next(rows)
    # Other columns hold what they will.
    assert len(list(RowStream(path))) == 3


def test_json_that_is_called_otherwise(tmp_path):
    for name, content in (
        ("a.txt", '{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}\n'),
        ("a.csv", '[{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]'),
        ("a", '\n[\n {"text": "a", "label": "x"}, {"text": "b", "label": "y"}]'),
    ):
        (tmp_path / name).write_text(content)
        assert read_table(tmp_path / name).label_names == ["x", "y"]


def test_one_column_is_not_two():
    rows = [{"text": "a", "label": "x"}]
    for options in ({"label": "text"}, {"text": "label"}, {"text_pair": "label"}, {"label": ["text", "label"]}):
        with pytest.raises(UserError, match="is to be both the text and its label"):
            read_table(rows, **options)


@pytest.mark.parametrize("entries", [["a", 1], [{"text": "a"}, "b"], [], [("a", "x")], None, 5, np.zeros((2, 2))])
def test_what_is_no_table(entries):
    with pytest.raises(UserError, match="a table is a path, a DataFrame, a list of dicts"):
        read_table(entries)
