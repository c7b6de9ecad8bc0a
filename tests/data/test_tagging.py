"""Readers of tagged texts: every format ends as text and character spans."""

from __future__ import annotations

import json
import logging

import pytest

from tl_keras import UserError
from tl_keras.data.questions import QuestionExamples
from tl_keras.data.tagging import TaggedExamples, TagSet
from tl_keras.data.tagging_files import read_tagged
from tl_keras.data.tags import spans_of_tags, tags_of_spans

pytestmark = pytest.mark.one_keras

ENTITIES = [{"start": 0, "end": 3, "label": "PER"}, {"start": 13, "end": 21, "label": "LOC"}]
TEXT = "Ada lives in New York"


@pytest.fixture
def write(tmp_path):
    def write(content: str, name: str = "data.conll"):
        path = tmp_path / name
        path.write_text(content, "utf-8", newline="")
        return path

    return write


@pytest.mark.parametrize(
    "content",
    [
        "Ada\tB-PER\nlives\tO\nin\tO\nNew\tB-LOC\nYork\tI-LOC\n",
        "-DOCSTART- -X- O O\n\nAda NNP B-PER\nlives VBZ O\nin IN O\nNew NNP B-LOC\nYork NNP I-LOC\n\n\n",
        "# id = 1\nAda\tS-PER\r\nlives\tO\r\nin\tO\r\nNew\tB-LOC\r\nYork\tE-LOC\r\n",
        "Ada U-PER\nlives O\nin O\nNew B-LOC\nYork L-LOC",
        "Ada I-PER\nlives O\nin O\nNew I-LOC\nYork I-LOC",
    ],
    ids=["bio", "docstart-columns", "bioes-crlf-comment", "bilou", "iob1"],
)
def test_columns(write, content):
    examples = read_tagged(write(content))
    assert examples.texts.tolist() == [TEXT]
    assert [s._asdict() for s in examples.spans[0]] == ENTITIES
    assert examples.labels == ("LOC", "PER")
    assert examples.words == (((0, 3), (4, 9), (10, 12), (13, 16), (17, 21)),)
    assert examples.tag_set == TagSet(("LOC", "PER"), "bio", "first")


def test_hashes_that_are_words(write):
    tabs = read_tagged(write("## a note\twith a tab\n#\tO\n#fun\tB-X\n"))
    assert tabs.texts.tolist() == ["# #fun"]
    spaces = read_tagged(write("# newdoc\n# O\n#fun B-X\n"))
    assert spaces.texts.tolist() == ["# #fun"]


def test_klues_characters(write):
    lines = "## 컬럼명 : CHAR\tNE_TAG\n## guid-1\t<박:PS>씨 <16명:QT>을\n박\tB-PS\n씨\tO\n \tO\n1\tB-QT\n6\tI-QT\n명\tI-QT\n을\tO\n\n## guid-2\t가\n가\tO\n"
    examples = read_tagged(write(lines, "klue.tsv"))
    assert examples.texts.tolist() == ["박씨 16명을", "가"]
    assert [tuple(s) for s in examples.spans[0]] == [(0, 1, "PS"), (3, 6, "QT")]
    assert examples.words is None
    assert examples.tag_set.tokens == "all"


def test_json_lines(write):
    rows = [
        {"text": TEXT, "entities": ENTITIES},
        {"text": "none", "entities": []},
        {"text": "🙂 Oslo", "entities": [{"start": 2, "end": 6, "label": "LOC", "text": "Oslo"}]},
    ]
    examples = read_tagged(write("\n".join(json.dumps(row) for row in rows), "a.jsonl"))
    assert [s._asdict() for s in examples.spans[0]] == ENTITIES
    assert examples.counts() == {"LOC": 2, "PER": 1}
    untagged = read_tagged(write('{"text": "a"}\n{"text": "b"}\n', "b.jsonl"))
    assert untagged.spans is None


def test_plain_tags(write):
    examples = read_tagged(write("Ada NOUN\nsleeps VERB\nNew NOUN\nYork NOUN\n"))
    assert examples.scheme == "plain"
    assert examples.tag_set.tags == ("O", "NOUN", "VERB")
    # Neighbours with the same tag stay two.
    assert [tuple(s)[:2] for s in examples.spans[0]] == [(0, 3), (4, 10), (11, 14), (15, 19)]


@pytest.mark.parametrize(
    ("tags", "scheme", "spans", "broken"),
    [
        ("O I-A I-A O", "bio", [(1, 3, "A")], [1]),
        ("B-A I-B", "bio", [(0, 1, "A"), (1, 2, "B")], [1]),
        ("B-A B-A I-A", "bio", [(0, 1, "A"), (1, 3, "A")], []),
        ("B-A I-A E-A S-B B-A", "bioes", [(0, 3, "A"), (3, 4, "B"), (4, 5, "A")], [4]),
        ("B-A O E-A", "bioes", [(0, 1, "A"), (2, 3, "A")], [1, 2]),
        ("S-A I-A", "bioes", [(0, 1, "A"), (1, 2, "A")], [1]),
    ],
)
def test_spans_by_hand(tags, scheme, spans, broken):
    found, wrong = spans_of_tags(tags.split(), scheme)
    assert (found, wrong) == (spans, broken)


def test_tags_and_back():
    tags = ["O", "B-A", "I-A", "B-A", "O", "B-C"]
    assert tags_of_spans(spans_of_tags(tags)[0], 6) == tags


def test_broken_sequences_are_reported_with_their_line(write, caplog):
    with caplog.at_level(logging.WARNING, "tl_keras"):
        read_tagged(write("Ada\tO\nLovelace\tI-PER\n\nOslo\tB-LOC\nBergen\tI-PER\n"))
    assert "2 tag(s) do not follow" in caplog.text
    assert "I-PER at line 2, I-PER at line 5" in caplog.text


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("Ada\tB-PER\nlives\n", "a.conll", "line 2: 'lives' has a word but no tag"),
        ("Ada\tB-PER\nx\t\n", "a.conll", "line 2: the tag is empty"),
        ("Ada\tB-PER\nx\tLOC\n", "a.conll", "line 2: the tag 'LOC' is neither O nor begins with"),
        ("\n\n", "a.conll", "is empty"),
        ("# only\n", "a.conll", "holds no tagged words"),
        (
            '{"text": "a", "entities": [{"start": 0, "end": 2, "label": "X"}]}',
            "a.jsonl",
            "line 1: .* outside its text of 1",
        ),
        (
            '{"text": "abcd", "entities": [{"start": 0, "end": 3, "label": "X"}, {"start": 2, "end": 4, "label": "Y"}]}',
            "a.jsonl",
            "line 1: .*overlap",
        ),
        ('{"text": "한국", "entities": [{"start": 3, "end": 6, "label": "X"}]}', "a.jsonl", "outside its text"),
        (
            '{"text": "한국 b", "entities": [{"start": 0, "end": 1, "label": "X", "text": "한국"}]}',
            "a.jsonl",
            "there stands '한'",
        ),
        ('{"text": "a b", "entities": [{"start": 1, "end": 2, "label": "X"}]}', "a.jsonl", "only white space"),
        ('{"text": "a", "entities": [{"start": 0.5, "end": 1, "label": "X"}]}', "a.jsonl", "whole numbers"),
        ('{"text": "a", "entities": [{"start": 0, "label": "X"}]}', "a.jsonl", "must have"),
        (
            '{"text": "a", "entities": [{"start": 0, "end": 1, "label": "X"}]}\n{"text": "b"}',
            "a.jsonl",
            'line 2: no "entities"',
        ),
        ("{text: 1}", "a.jsonl", "line 1: not JSON"),
    ],
)
def test_bad_files_name_the_line(write, content, name, message):
    with pytest.raises(UserError, match=message):
        read_tagged(write(content, name))


def test_bad_lists():
    with pytest.raises(UserError, match="example 1: 2 words but 1 tags"):
        TaggedExamples.from_words([["a", "b"]], [["O"]])
    with pytest.raises(UserError, match="'X' \\(example 1, word 1\\) is not among"):
        TaggedExamples.from_words([["a"]], [["B-X"]], labels=["Y"])
    with pytest.raises(UserError, match='scheme "bioes"'):
        TaggedExamples.from_words([["a"]], [["E-X"]], scheme="bio")
    with pytest.raises(UserError, match="not empty"):
        TagSet(())
    with pytest.raises(UserError, match="occurs twice"):
        TagSet(("A", "A"))


def test_overlaps_and_white_space_can_be_mended():
    examples = TaggedExamples.from_spans(["abcdef gh"], [[(0, 3, "X"), (2, 7, "Y"), (7, 9, "Z")]], overlaps="longest")
    assert [tuple(s) for s in examples.spans[0]] == [(2, 6, "Y"), (7, 9, "Z")]


def test_split_keeps_everything_together():
    texts = [f"text {i}" for i in range(10)]
    examples = TaggedExamples.from_spans(texts, [[(5, 6, "N")] for _ in texts])
    train, valid = examples.split(0.3, seed=1)
    assert sorted([*train.texts, *valid.texts]) == texts
    assert len(valid) == 3
    assert all(
        text[s.start : s.end] == text[5] for text, spans in zip(train.texts, train.spans, strict=True) for s in spans
    )
    assert len(examples.sample(4, seed=2)) == 4


@pytest.mark.real_data
def test_real_files(shared_dir):
    klue = read_tagged(shared_dir / "data" / "klue_ner" / "klue_format_train.tsv")
    assert len(klue) == 4000
    # The annotated sentence of the first comment: <경찰:OG>은 또 성매매 알선 자금을 관리한 <박:PS>씨의 딸(<32:QT>)과 ...
    assert [klue.texts[0][s.start : s.end] for s in klue.spans[0]] == ["경찰", "박", "32", "김", "33", "16명"]
    words = read_tagged(shared_dir / "data" / "klue_ner" / "train.conll")
    assert len(words) == 4000
    assert words.labels == klue.labels == ("DT", "LC", "OG", "PS", "QT", "TI")
    wnut = read_tagged(shared_dir / "data" / "wnut17" / "train.conll")
    assert len(wnut) == 3394
    assert "creative-work" in wnut.labels
    assert sum(not spans for spans in wnut.spans) == 2166


def test_words_of_languages_that_put_nothing_between_them():
    examples = TaggedExamples.from_words([["나는", "서울", "로"]], [["O", "B-LOC", "O"]], joiner="")
    assert examples.texts.tolist() == ["나는서울로"]
    assert [(span.start, span.end, span.label) for span in examples.spans[0]] == [(2, 4, "LOC")]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TaggedExamples.from_words([["a", "b"]], [[0, 1]]), r"example 1: a tag is 0, not a string; .*read_tagged"),
        (lambda: TaggedExamples.from_words([["a", None]], [["O", "O"]]), "example 1: a word is None"),
        (lambda: TaggedExamples.from_spans(["abc"], [None]), "entities are None"),
        (lambda: TaggedExamples.from_spans(["abc"], [[(0, 3, None)]]), "must be a name, not None"),
        (lambda: QuestionExamples.from_lists(["q"], ["abc"], [None]), "without an answer the list is empty"),
        (lambda: QuestionExamples.from_lists(["q"], ["abc"], ["abc"]), "its answers are 'abc', not a list"),
    ],
)  # fmt: skip
def test_what_is_missing_in_memory_is_one_line(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_answers_as_hugging_face_has_them():
    given = {"text": ["bc", "c"], "answer_start": [1, 2]}
    (answers,) = QuestionExamples.from_lists(["q"], ["abc"], [given]).answers
    assert [(answer.text, answer.start) for answer in answers] == [("bc", 1), ("c", 2)]
