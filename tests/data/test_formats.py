"""The same rows in every kind of file and object are the same examples; what cannot be read is said in one line."""

from __future__ import annotations

import gzip
import itertools
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import zstandard

from tl_keras import UserError, read_table
from tl_keras.data.formats import RowStream, Tables
from tl_keras.data.pairs import read_collection, read_retrieval_pairs, read_scored

pytestmark = pytest.mark.one_keras

ROWS = [
    {"id": 7, "document": 'he said "no", twice', "mood": "bad", "more": 1.5},
    {"id": 8, "document": "두 줄\n영화 😀", "mood": "good", "more": None},
    {"id": 9, "document": "fine", "mood": "good", "more": 2.0},
]
FRAME = pd.DataFrame(ROWS)


def json_lines(rows) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def write_csv(path, **options):
    FRAME.to_csv(path, index=False, **options)


def write_parquet_of_the_hub(path):
    """As `datasets` writes it: numbers, and their names in the file's notes."""
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_pandas(FRAME.assign(mood=[0, 1, 1]), preserve_index=False)
    features = {"mood": {"names": ["bad", "good"], "_type": "ClassLabel"}, "id": {"dtype": "int64", "_type": "Value"}}
    notes = {"huggingface": json.dumps({"info": {"features": features}})}
    pyarrow.parquet.write_table(table.replace_schema_metadata(notes), path)


def write_parts(path):
    FRAME[:1].to_csv(path.parent / "part-1.csv", index=False)
    # Another order of the columns, another kind of file.
    (path.parent / "part-2.jsonl").write_bytes(json_lines([dict(reversed(row.items())) for row in ROWS[1:]]))


def write_excel(path):
    FRAME.to_excel(path, index=False)


WRITERS = {
    "r.csv": write_csv,
    "semicolons.csv": lambda path: write_csv(path, sep=";"),
    "r.tsv.zst": lambda path: path.write_bytes(
        zstandard.compress(FRAME.to_csv(index=False, sep="\t").encode()[:40])
        + zstandard.compress(FRAME.to_csv(index=False, sep="\t").encode()[40:])
    ),
    "r.jsonl": lambda path: path.write_bytes(json_lines(ROWS)),
    "r.ndjson.gz": lambda path: path.write_bytes(gzip.compress(json_lines(ROWS))),
    "r.json": lambda path: path.write_text(json.dumps(ROWS, indent=1), "utf-8"),
    "lines.json": lambda path: path.write_bytes(json_lines(ROWS)),
    "r.parquet": lambda path: FRAME.to_parquet(path),
    "hub.parquet": write_parquet_of_the_hub,
    "r.xlsx": write_excel,
    "part-*": write_parts,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_file_holds_the_same(tmp_path, name):
    WRITERS[name](tmp_path / name)
    # Tables with tabs quote nothing by themselves.
    options = {"quoting": "standard"} if "tsv" in name else {}
    examples = read_table(tmp_path / name, "document", "mood", **options)
    assert examples.texts.tolist() == [row["document"] for row in ROWS]
    assert (examples.classes, examples.labels.tolist()) == (("bad", "good"), [0, 1, 1])
    stream = RowStream(tmp_path / name, ["document"], **options)
    assert stream.columns == list(FRAME.columns)
    assert [row[stream.place("document")] for row in stream] == [row["document"] for row in ROWS]
    assert [str(row[0]) for row in stream] == ["7", "8", "9"]
    scored = read_scored(tmp_path / name, "document", None, "id", score_range=(0, 10), **options)
    assert scored.labels.tolist() == [7, 8, 9]
    if options == {}:
        assert read_collection(str(tmp_path / name), "document") == [row["document"] for row in ROWS]


class ClassLabel:
    names = ["bad", "good"]  # noqa: RUF012


class Dataset:
    """What `datasets.Dataset` shows of itself."""

    column_names = ["document", "mood", "ner_tags"]  # noqa: RUF012
    features = {"document": object(), "mood": ClassLabel(), "ner_tags": SimpleNamespace(feature=ClassLabel())}  # noqa: RUF012

    def __init__(self, moods=(0, 1, 1, -1)):
        self.columns = {
            "document": [*(row["document"] for row in ROWS), "whose label nobody knows"],
            "mood": moods,
            "ner_tags": [[0, 1], [], [1], []],
        }

    def __len__(self):
        return len(self.columns["document"])

    def __getitem__(self, name):
        return self.columns[name]


def test_what_is_in_memory(caplog):
    import tensorflow as tf

    texts, moods = FRAME.document.tolist(), [0, 1, 1]
    named = tf.data.Dataset.from_tensor_slices((texts, moods)).batch(2)
    named.class_names = ["bad", "good"]
    one_hot = tf.data.Dataset.from_tensor_slices((texts, [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]))
    one_hot.class_names = ["bad", "good"]
    sources = [
        FRAME,
        ROWS,
        FRAME.to_dict("list"),
        Dataset(),
        named,
        one_hot,
        tf.data.Dataset.from_tensor_slices({"document": texts, "mood": ["bad", "good", "good"]}),
    ]
    for source in sources:
        examples = read_table(source, "document", "mood")
        assert examples.texts.tolist() == texts, source
        assert examples.label_names == ["bad", "good", "good"], source
    assert "1 row(s) without a label dropped" in caplog.text
    pairs = tf.data.Dataset.from_tensor_slices(((texts, texts[::-1]), moods))
    assert read_table(pairs, text_pair="second").text_pairs.tolist() == texts[::-1]
    many = read_table(Dataset(), "document", "ner_tags")
    assert many.label_names == [["bad", "good"], [], ["good"], []]
    for bad, message in [
        (pairs, r"gives 2 text\(s\) for each label, but 1 are wanted"),
        ({"train": Dataset(), "test": Dataset()}, r"several splits: pass one of them, e.g. data\['train'\]"),
        ({"text": ["a"], "label": []}, "no lists of the same length"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "has a column twice: 'a'"),
        (7, "a table is a path, a DataFrame.*not a int"),
        ([], "a table is a path"),
    ]:
        with pytest.raises(UserError, match=message):
            read_table(bad)


def test_a_folder_for_each_class(tmp_path):
    for name in ("neg/b.txt", "neg/a.txt", "pos/deep/c.txt", "pos/.hidden", "notes.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"text of {name}\n", "utf-8")
    examples = read_table(tmp_path)
    assert [text.strip() for text in examples.texts] == [
        "text of neg/a.txt",
        "text of neg/b.txt",
        "text of pos/deep/c.txt",
    ]
    assert examples.label_names == ["neg", "neg", "pos"]
    (tmp_path / "neg/a.txt").write_bytes("영화가 재미있다".encode("cp949"))
    with pytest.raises(UserError, match=r"neg/a\.txt, line 1: byte .* is not utf-8.*cp949"):
        read_table(tmp_path)
    empty = tmp_path / "pos"
    (empty / "deep/c.txt").rename(empty / "c.csv")
    with pytest.raises(UserError, match=r'no subfolders.*give the pattern ".*pos/\*\.csv"'):
        read_table(empty)


@pytest.mark.parametrize("file", ["manifest.json", "saved_model.pb", "1/saved_model.pb"])
def test_a_model_is_no_folder_of_texts(tmp_path, file):
    for name in ("encoder/assets/vocab.txt", file):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}", "utf-8")
    with pytest.raises(UserError, match="holds a model, not texts"):
        read_table(tmp_path)


def test_several_label_columns():
    comments = pd.DataFrame(
        {
            "text": ["a", "b", "c", "d"],
            "toxic": [1, 0, 1.0, None],
            "insult": ["1", "0", " 0", None],
            "toxic,x": [1, 1, 1, 1],
        }
    )
    for label in (["toxic", "insult"], "toxic,insult", "toxic, insult"):
        examples = read_table(comments, label=label)
        assert examples.classes == ("toxic", "insult")
        assert examples.labels.tolist() == [[1, 1], [0, 0], [1, 0]]
    # A column that is called so goes before.
    assert read_table(comments, label="toxic,x").classes == ("1",)
    # Validation in the order of training.
    assert read_table(comments, label=["toxic", "insult"], classes=["insult", "toxic"]).labels[2].tolist() == [0, 1]
    for frame, options, message in [
        (comments, {"label": ["toxic", "rude"]}, "no column 'rude'.*--label"),
        (comments.replace(1.0, -1), {"label": ["toxic", "insult"]}, "row 1: the label column 'toxic' says '-1'"),
        (comments, {"label": ["toxic", "insult"], "label_separator": "|"}, "is for one column"),
    ]:
        with pytest.raises(UserError, match=message):
            read_table(frame, **options)


def test_a_row_read_in_parts_is_named_by_its_place_in_the_file(tmp_path):
    # This encoding lets half a character through.
    (tmp_path / "r.csv").write_bytes(b"text,other\n" + b"fine,fine\n" * 5000 + b"fine,a +2D0- b\n")
    rows = iter(RowStream(tmp_path / "r.csv", ["text"], encoding="utf-7"))
    assert len(list(itertools.islice(rows, 5000))) == 5000
    with pytest.raises(UserError, match=r"r\.csv, line 5002 holds half a character \(U\+D83D"):
        next(rows)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.jsonl", b'{"text": "a", "label": 1}\n{"txt": "b", "label": 1}\n', r"line 2: no 'text'; it has: txt, label"),
        ("r.jsonl", b'{"text": "a"}\n[1]\n', "line 2: expected an object"),
        ("r.jsonl", b'{"text": "a \\ud83d b"}\n', r"line 1: half a character \(surrogate '\\ud83d'\)"),
        ("r.json", b'[{"text": "a", "label": 1}, {"text": "a \\ud83d b"}]', "entry 2: half a character"),
        ("r.jsonl", b"[" * 100_000, "nested too deeply|not JSON"),
        ("r.json", b'{"text": "a",\n "label": }', "line 2: not JSON"),
        ("r.json", b'{"text": ["a"]}', "no column 'label'|expected a list of objects"),
        ("r.xlsx", b"PK nothing", "damaged or no Excel workbook"),
        ("r.xls", b"", "only .xlsx"),
        (
            "r.csv.gz",
            gzip.compress(b"text,label\n" + bytes(range(48, 123)) * 9, mtime=0)[:60],
            "damaged or was cut off",
        ),
        ("r.csv.zst", zstandard.compress(b"text,label\n" + bytes(range(48, 123)) * 99)[:40], "damaged or was cut off"),
        ("r.csv", b"text;label\na;b;c\n", r"line 2: 3 cells.*that holds ';'.*--separator"),
        (
            "r.csv",
            "text,label\n어제 본 영화,1\n".encode() + b"\xc3,0\n",
            "line 3: byte 0xc3.*The rest of the file is UTF-8",
        ),
        ("r.csv", "text,label\ncaf\xe9 au lait is fine,1\n".encode("latin-1"), "line 2: byte 0xe9.*--encoding cp1252"),
        ("r.csv", "text,label\n영화,1\n".encode("cp949"), "line 2: .*--encoding cp949"),
        ("r.csv", b"PK\x03\x04" + bytes(60), "is a zip archive or an Excel workbook, not text"),
        ("r.txt", b"PAR1" + bytes(60), "is a Parquet file, not text"),
        ("r.csv", b"label,text, text\na,1,1\n", "names a column twice: 'text'"),
        ("r.csv", b"label,text,\xef\xbb\xbftext\na,1,1\n", "names a column twice: 'text'"),
        ("r.jsonl", b'{"text": ["a"], "label": 1}\n', r"line 1: the text is a list \(\['a'\]\), not a string"),
        ("r.jsonl", b'{"text": "a", "label": 1}\n{"text": {"a": 1}, "label": 1}\n', "line 2: the text is a dict"),
        ("r.json", b'{"text": {"0": "a"}, "label": {"0": "x"}}', "row 1: the text is a dict"),
        ("r.jsonl", b'{"text": "a", "label": {"x": 1}}\n', "line 1: the label is a dict"),
        ("missing-*.csv", None, "no file matches"),
    ],
)
def test_what_cannot_be_read(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        read_table(tmp_path / name)
    assert "\n" not in str(error.value)


def test_encodings_and_separators_that_are_named(tmp_path, caplog):
    (tmp_path / "utf8.csv").write_text("text,label\n어제 본 영화,1\n", "utf-8")
    # Also encodings in which any bytes are text.
    for encoding in ("euc-kr", "cp949", "latin-1", "cp1252", "utf-16", "johab", "shift_jis"):
        with pytest.raises(UserError, match=rf"is UTF-8, not {encoding}: leave encoding \(--encoding\) out"):
            read_table(tmp_path / "utf8.csv", encoding=encoding)
    for raw in ("text,label\n어제 본 영화,1\n".encode("cp949"), "text,label\ncafé à Orléans, là\n".encode("latin-1")):
        (tmp_path / "other.csv").write_bytes(raw)
        read_table(tmp_path / "other.csv", label=None, encoding="latin-1")
    assert caplog.text.count("It reads as Korean cp949") == 1
    for encoding in ("hex", "rot13", "no\0name"):
        with pytest.raises(UserError, match="common ones are utf-8, cp949"):
            read_table(tmp_path / "utf8.csv", encoding=encoding)
    (tmp_path / "p.txt").write_text("text^label\na,b^1\nc^0\n", "utf-8")
    assert read_table(tmp_path / "p.txt", separator="^").texts.tolist() == ["a,b", "c"]
    with pytest.raises(UserError, match="a separator is one character"):
        read_table(tmp_path / "p.txt", separator="||")
    # Spreadsheets leave columns without a name behind the last one.
    (tmp_path / "sms.csv").write_text('v1,v2,,,\nham,"hello, you",,,\nspam,win,,,\n', "utf-8")
    assert read_table(tmp_path / "sms.csv", "v2", "v1").classes == ("ham", "spam")
    assert RowStream(tmp_path / "sms.csv").columns == ["v1", "v2", "Unnamed: 2", "Unnamed: 3", "Unnamed: 4"]
    for read in (read_table, RowStream):
        (tmp_path / "twice.csv").write_text("text,label,label\na,1,1\n", "utf-8")
        with pytest.raises(UserError, match="names a column twice: 'label'"):
            read(tmp_path / "twice.csv")


def test_rows_of_several_files_are_named_by_file_and_line(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\nx,1\n", "utf-8")
    (tmp_path / "b.csv").write_text("label,text\n0,y\n1,\n", "utf-8")
    files = [tmp_path / "a.csv", str(tmp_path / "b.csv")]
    assert read_table(files, on_empty="keep").texts.tolist() == ["x", "y", ""]
    with pytest.raises(UserError, match=r"the first at b\.csv, line 3"):
        read_table(files, on_empty="error")
    (tmp_path / "b.csv").write_text("label,words\n0,y\n", "utf-8")
    with pytest.raises(UserError, match=r"b\.csv has other columns than .*a\.csv: text, words stand in one only"):
        read_table(files)
    assert len(Tables(str(tmp_path / "*.csv")).paths) == 2


def test_questions_from_tables_of_any_kind(tmp_path):
    rows = [{"question": "who?", "document": "she"}, {"question": "where?", "document": "there"}]
    (tmp_path / "q.json").write_text(json.dumps(rows), "utf-8")
    assert read_retrieval_pairs(tmp_path / "q.json").text_pairs.tolist() == ["she", "there"]
    assert np.array_equal(read_retrieval_pairs(rows).texts, ["who?", "where?"])


@pytest.mark.parametrize("separator", [None, ","])
def test_lists_of_labels_are_several_labels_with_or_without_a_separator(separator):
    frame = pd.DataFrame({"text": ["a", "b", "c"], "label": [["joy"], ["joy", "fear, a little"], []]})
    examples = read_table(frame, label_separator=separator)
    assert examples.classes == ("fear, a little", "joy")
    assert examples.labels.tolist() == [[0, 1], [1, 1], [0, 0]]
