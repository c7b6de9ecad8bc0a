"""The same tagged sentences in every form that people have them in are the same examples."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace

import pandas as pd
import pytest

from tl_keras import UserError, read_tagged
from tl_keras.data.examples import Examples
from tl_keras.data.pairs import RetrievalPairs, ScoredExamples
from tl_keras.data.preview import shown
from tl_keras.data.questions import QuestionExamples
from tl_keras.data.tagging import TaggedExamples

pytestmark = pytest.mark.one_keras

WORDS = [["비토리오", "양일", "만에", "출국"], ["박", "대통령", "방문"], ["아니다"]]
TAGS = [["B-PER", "B-DAT", "I-DAT", "O"], ["B-PER", "I-PER", "O"], ["O"]]
EXPECTED = TaggedExamples.from_words(WORDS, TAGS)
SPANS = [[(0, 4, "PER"), (5, 10, "DAT")], [(0, 5, "PER")], []]
TEXTS = [" ".join(words) for words in WORDS]


def columns(line: str, change=lambda tag: tag, blank: bool = True) -> str:
    texts = [
        "".join(
            line.format(i=i, j=i + 1, s=s, group="" if i else f"Sentence: {s}", word=word, tag=change(tag)) + "\n"
            for i, (word, tag) in enumerate(zip(words, tags, strict=True))
        )
        for s, (words, tags) in enumerate(zip(WORDS, TAGS, strict=True), 1)
    ]
    return ("\n" if blank else "").join(texts)


def suffixed(tag: str) -> str:
    return "-" if tag == "O" else f"{tag[2:]}_{tag[0]}"


def objects(*rows: dict) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def with_spans(text: str, spans: str, make) -> str:
    return objects(
        *(
            {"id": i, text: t, spans: [make(*s) for s in found]}
            for i, (t, found) in enumerate(zip(TEXTS, SPANS, strict=True))
        )
    )


FORMS = {
    "running numbers, suffixes and dashes": columns("{j}\t{word}\t{tag}", suffixed),
    "running numbers without empty lines": columns("{j}\t{word}\t{tag}", suffixed, blank=False),
    "running numbers between blanks": columns("{i} {word} {tag}"),
    "CoNLL-U": columns("{j}\t{word}\t_\tNOUN\t_\t{tag}").replace(
        "1\t박", "# text = 박 ...\n1-2\t박대통령\t_\t_\t_\t_\n1\t박"
    ),
    "underscores": columns("{word}\t{tag}", lambda tag: tag.replace("-", "_")),
    "suffixes": columns("{word} {tag}", lambda tag: tag if tag == "O" else f"{tag[2:]}-{tag[0]}"),
    "sentences": "".join(f"{text}\t{' '.join(tags)}\n" for text, tags in zip(TEXTS, TAGS, strict=True)),
    "numbered sentences": "".join(
        f"{i}\t{text}\t{' '.join(map(suffixed, tags))}\n"
        for i, (text, tags) in enumerate(zip(TEXTS, TAGS, strict=True))
    ),
    "a header": "word\ttag\n" + columns("{word}\t{tag}"),
    "a header of other columns": "Sentence #\tWord\tPOS\tTag\n" + columns("{s}\t{word}\tNN\t{tag}", blank=False),
    "numbers of sentences": columns("{s}\t{word}\t{tag}", blank=False),
    "sentences.csv": "Sentence #,Word,POS,Tag\n" + columns("{group},{word},NN,{tag}", blank=False),
    "words.csv": "word,tag\n" + columns("{word},{tag}"),
    "tags first": columns("{tag}\t{word}"),
    "tags first, numbered": columns("{j}\t{tag}\t{word}"),
    "tags in the middle": columns("{word}\t{tag}\t0.{j}"),
    "tags before a number": columns("{word} {tag} {j}"),
    "colons": columns("{word}\t{tag}", lambda tag: tag.replace("-", ":")),
    "blanks in tags": columns("{word}\t{tag}", lambda tag: tag.replace("-", " -")),
    "small letters": columns("{word}\t{tag}", lambda tag: tag[0].lower() + tag[1:]),
    "tags before the sentence": "".join(f"{' '.join(tags)}\t{text}\n" for text, tags in zip(TEXTS, TAGS, strict=True)),
    "sentences with a header": "sentence\ttags\n"
    + "".join(f"{text}\t{' '.join(tags)}\n" for text, tags in zip(TEXTS, TAGS, strict=True)),
    "sentences in quotes": "".join(f'"{text}"\t"{" ".join(tags)}"\n' for text, tags in zip(TEXTS, TAGS, strict=True)),
    "sentences and bars": "".join(f"{text} ||| {' '.join(tags)}\n" for text, tags in zip(TEXTS, TAGS, strict=True)),
    "slashes": "".join(
        " ".join(f"{word}/{tag}" for word, tag in zip(words, tags, strict=True)) + "\n"
        for words, tags in zip(WORDS, TAGS, strict=True)
    ),
    "objects.txt": with_spans("text", "label", lambda start, end, name: [start, end, name]),
    "array.txt": json.dumps([{"text": t, "spans": s} for t, s in zip(TEXTS, SPANS, strict=True)]),
    "tokens.jsonl": objects(*({"tokens": w, "ner_tags": t} for w, t in zip(WORDS, TAGS, strict=True))),
    "words.jsonl": objects(*({"id": "x", "words": w, "labels": t} for w, t in zip(WORDS, TAGS, strict=True))),
    "doccano.jsonl": with_spans("text", "label", lambda start, end, name: [start, end, name]),
    "doccano-2.jsonl": with_spans(
        "text", "entities", lambda start, end, name: {"id": 3, "label": name, "start_offset": start, "end_offset": end}
    ),
    "prodigy.jsonl": with_spans("text", "spans", lambda start, end, name: {"start": start, "end": end, "label": name}),
    "corpus.json": json.dumps(
        [
            {"sentence": text, "NE": [{"form": text[s:e], "label": n, "begin": s, "end": e} for s, e, n in found]}
            for text, found in zip(TEXTS, SPANS, strict=True)
        ]
    ),
    "unusual.jsonl": with_spans("text", "marked", lambda start, end, name: {"type": name, "begin": start, "end": end}),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_holds_the_same(tmp_path, name, caplog):
    path = tmp_path / name.replace(" ", "-")
    path.write_text(FORMS[name], "utf-8")
    with caplog.at_level(logging.INFO, "tl_keras"):
        examples = read_tagged(path)
    assert (examples.texts.tolist(), examples.spans, examples.labels) == (TEXTS, EXPECTED.spans, ("DAT", "PER"))
    objects_with_spans = name.endswith((".jsonl", ".json", ".txt")) and name not in ("tokens.jsonl", "words.jsonl")
    assert (examples.words is None) == objects_with_spans
    assert examples.scheme == "bio"
    assert "do not follow" not in caplog.text


def test_what_is_in_memory(tmp_path):
    names = SimpleNamespace(names=["O", "B-PER", "I-PER", "B-DAT", "I-DAT"])
    numbers = [[names.names.index(tag) for tag in tags] for tags in TAGS]

    class Dataset:
        column_names = ["tokens", "ner_tags"]  # noqa: RUF012
        features = {"tokens": object(), "ner_tags": SimpleNamespace(feature=names)}  # noqa: RUF012

        def __len__(self):
            return 3

        def __getitem__(self, name):
            return {"tokens": WORDS, "ner_tags": numbers}[name]

    assert read_tagged(Dataset()).spans == EXPECTED.spans
    frame = pd.DataFrame({"tokens": WORDS, "tags": TAGS})
    assert read_tagged(frame).words == EXPECTED.words
    frame.to_parquet(tmp_path / "a.parquet")
    assert read_tagged(tmp_path / "a.parquet").spans == EXPECTED.spans
    # What pandas reads from Parquet are arrays in cells.
    assert read_tagged(pd.read_parquet(tmp_path / "a.parquet")).spans == EXPECTED.spans
    assert read_tagged([{"text": t, "entities": s} for t, s in zip(TEXTS, SPANS, strict=True)]).spans == EXPECTED.spans
    with pytest.raises(UserError, match="row 1: the tag 1 is no name, such as B-PER"):
        read_tagged(pd.DataFrame({"tokens": WORDS, "tags": numbers}))


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("Ada\tB-PER\nx\tB-\n", "a.conll", "line 2: the tag 'B-' has no label"),
        ("Ada\tX-PER\nx\tO\n", "a.conll", "line 1: the tag 'X-PER' begins with X-, which no scheme has"),
        ("Ada\tB-PER\nx\tX-PER\n", "a.conll", "line 2: the tag 'X-PER' begins with X-, which no scheme has"),
        ("Ada\tB:\nx\tO\n", "a.conll", "line 1: the tag 'B:' has no label"),
        ("Ada\t1\nsleeps\t0\n", "a.conll", "line 1: the tag '1' is a number.*--tag-column"),
        ("Ada\t0.99\tx\t0.5\nsleeps\t0.98\ty\t0.7\n", "a.conll", "line 1: the tag '0.5' is a number"),
        ("Ada sleeps\nB-PER O\n\nOslo is\nB-LOC O\n", "a.txt", "line 2: 'B-PER' looks like a tag"),
        ("Ada lives in Oslo\nand sleeps\n", "a.txt", "line 2: 2 columns, but other lines have 4"),
        ("Ada B-PER\nNew York B-LOC\nsleeps O\n", "a.txt", "line 2: 3 columns, but other lines have 2"),
        ("Ada sleeps\tPER-B\nAda sleeps\tPER-B O\n", "a.txt", "line 1: 2 words but 1 tags"),
        ("Ada sleeps\tPER-B O\n" + "x\tplain\n" * 4, "a.txt", "line 1: 'PER-B O' are several tags for 'Ada sleeps'"),
        ("".join(f"{i}a\t{i}b\n" for i in range(30)), "a.txt", "30 different tags for 30 words"),
        ("text,label\ngood,1\n", "a.csv", "no column holds tags such as B-PER"),
        ("Ada\t_\nx\t_\n", "a.conll", "every word has the tag '_'.*--tag-column"),
        ("a b\tPER-B O\na b c\tO O\nd e\tO O\nf g\tO O\n" + "h i\tO O\n" * 9, "a.txt", "line 2: 3 words but 2 tags"),
        ('{"text": "a b", "spans": ["b"]}\n', "a.jsonl", "line 1: 'spans' holds b, which is no span"),
        ('{"title": "a b", "body": "c"}\n', "a.jsonl", 'line 1: expected an object with "text".*it has: title, body'),
        (
            '{"tokens": ["a", "b"], "tags": ["O"]}\n{"tokens": ["a"], "tags": ["O"]}\n{"tokens": ["a"], "tags": ["O"]}',
            "a.jsonl",
            "line 1: 2 words",
        ),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(tmp_path, content, name, message):
    (tmp_path / name).write_text(content, "utf-8")
    with pytest.raises(UserError, match=message):
        read_tagged(tmp_path / name)


def test_columns_that_are_named_and_tags_that_are_plain_are_taken_as_they_are(tmp_path):
    path = tmp_path / "a.conll"
    path.write_text("Ada x B-PER 1\nNew York x B-LOC 2\n", "utf-8")
    assert read_tagged(path, word_column=0, tag_column=-2).labels == ("LOC", "PER")
    path.write_text("Ada\t1\nsleeps\t0\n", "utf-8")
    assert read_tagged(path, scheme="plain").labels == ("0", "1")
    # Those of training: whatever a validation file holds, its tags are among them or refused.
    assert read_tagged(path, labels=["0", "1"]).labels == ("0", "1")
    path.write_text("NN\tB-PER\nVB\tO\n", "utf-8")
    assert read_tagged(path).labels == ("PER",)
    with pytest.raises(UserError, match="line 1: 'B-PER' looks like a tag, but stands where the words are"):
        read_tagged(path, word_column=1, tag_column=0)
    assert read_tagged(path, word_column=1, tag_column=0, scheme="plain").labels == ("NN", "VB")


def test_tags_without_labels_and_plain_ones(tmp_path):
    (tmp_path / "a.txt").write_text("Ada B\nLovelace I\nsleeps O\n", "utf-8")
    assert [tuple(span) for span in read_tagged(tmp_path / "a.txt").spans[0]] == [(0, 12, "ENTITY")]
    (tmp_path / "b.txt").write_text("Ada X-1\nsleeps X-2\n", "utf-8")
    assert read_tagged(tmp_path / "b.txt", scheme="plain").labels == ("X-1", "X-2")
    (tmp_path / "c.txt").write_text("a B-X\nb M-X\nc E-X\nd S-X\n", "utf-8")
    assert [tuple(span) for span in read_tagged(tmp_path / "c.txt").spans[0]] == [(0, 5, "X"), (6, 7, "X")]


def test_what_is_shown_before_training():
    assert shown(EXPECTED.take([2, 0, 1])) == [
        "words: 비토리오 | 양일 | 만에 | 출국; tags: B-PER | B-DAT | I-DAT | O",
        "words: 박 | 대통령 | 방문; tags: B-PER | I-PER | O",
    ]
    spans = TaggedExamples.from_spans(TEXTS, SPANS)
    pairs = Examples.from_lists(["good", "bad"], ["x", "y"], ["one", "two"])
    assert shown(pairs, 1) == ["text: 'good'; second text: 'one'; label: 'x'"]
    assert shown(Examples.from_lists(["a\nb"], [["x", "y"]])) == ["text: 'a b'; labels: ['x', 'y']"]
    assert shown(ScoredExamples.from_lists(["a", "b"], [1.5, 2])) == ["text: 'a'; score: 1.5", "text: 'b'; score: 2.0"]
    found = RetrievalPairs.from_lists(["Who?"], ["Ada sleeps."])
    assert shown(found) == ["text: 'Who?'; second text: 'Ada sleeps.'"]
    asked = QuestionExamples.from_lists(["Who?", "Why?"], ["Ada sleeps.", "So."], [[("Ada", 0)], []])
    assert shown(asked) == [
        "question: 'Who?'; context: 'Ada sleeps.'; answer: 'Ada'", "question: 'Why?'; context: 'So.'; answer: 'none'",
    ]  # fmt: skip
    assert shown(spans, 1) == ["text: 비토리오 양일 만에 출국; spans: '비토리오' PER, '양일 만에' DAT"]
