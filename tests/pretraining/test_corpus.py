from __future__ import annotations

import gzip
import json
import tracemalloc

import pandas as pd
import pytest

from tl_keras.errors import UserError
from tl_keras.pretraining.corpus import read_documents, scan_corpora, scan_corpus

pytestmark = pytest.mark.one_keras


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_empty_lines_part_documents_and_a_file_without_them_has_independent_lines(tmp_path):
    stories = scan_corpus(write(tmp_path / "s.txt", "\n\n하나.\n둘.\n\n \nthree.\n\n"), licence="CC0")
    assert (stories.lines, stories.documents, stories.independent, stories.licence) == (3, 2, False, "CC0")
    assert list(read_documents(stories)) == [["하나.", "둘."], ["three."]]
    reviews = scan_corpus(write(tmp_path / "r.txt", "\ufeffgood\r\nbad\n\n"))
    assert (reviews.documents, reviews.independent) == (2, True)
    assert list(read_documents(reviews)) == [["good"], ["bad"]]


def test_a_share_of_documents_is_lower_cased_whole(tmp_path):
    corpus = scan_corpus(write(tmp_path / "c.txt", "A b\nC d\n\n" * 400))
    documents = list(read_documents(corpus, lowercase_fraction=0.25, seed=3))
    lowered = [document for document in documents if document == ["a b", "c d"]]
    assert all(document in (["a b", "c d"], ["A b", "C d"]) for document in documents)
    assert 70 <= len(lowered) <= 130  # 100 expected of 400, deviation 8.7
    assert documents == list(read_documents(corpus, lowercase_fraction=0.25, seed=3))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "0 line"),
        ("only one line\n", "1 line"),
        (b"good\nbi\0nary\n", "line 2: holds a zero byte"),
        ("하나\n둘\n".encode("cp949"), "line 1: not UTF-8"),
    ],
)
def test_bad_files_are_refused_with_the_place(tmp_path, content, reason):
    with pytest.raises(UserError, match=reason):
        scan_corpus(write(tmp_path / "bad.txt", content))
    with pytest.raises(UserError, match="does not exist"):
        scan_corpus(tmp_path / "none.txt")
    with pytest.raises(UserError, match="not a file"):
        scan_corpus(tmp_path)


def test_reading_holds_one_document_at_a_time(tmp_path):
    line = "가나다라마바사 " * 20 + "\n"
    path = write(tmp_path / "big.txt", (line * 5 + "\n") * 3000)  # about 6.6 MB
    corpus = scan_corpus(path)
    tracemalloc.start()
    count = sum(len(document) for document in read_documents(corpus))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 15000
    assert peak < 300_000, f"reading took {peak} bytes"


def test_tables_packed_files_and_patterns_hold_the_same_documents(tmp_path):
    documents = [["Ein Satz.", "Noch einer."], ["셋, 넷."]]
    texts = ["\n".join(document) for document in documents]
    write(tmp_path / "a.txt.gz", gzip.compress("\n\n".join(texts).encode()))
    write(tmp_path / "b.csv", 'id,story\n1,"Ein Satz.\nNoch einer."\n2,"셋, 넷."\n')
    write(tmp_path / "c.jsonl.gz", gzip.compress("\n".join(json.dumps({"story": text}) for text in texts).encode()))
    pd.DataFrame({"story": [*texts, None]}).to_parquet(tmp_path / "d.parquet")
    corpora = scan_corpora([str(tmp_path / "[ab].*"), tmp_path / "c.jsonl.gz", tmp_path / "d.parquet"], text="story")
    assert len(corpora) == 4
    for corpus in corpora:
        assert (corpus.lines, corpus.documents, corpus.independent) == (3, 2, False), corpus.path
        assert list(read_documents(corpus)) == documents
    assert "column" not in corpora[0].as_dict()
    assert corpora[1].as_dict()["column"] == "story"
    reviews = scan_corpus(write(tmp_path / "e.csv", "text\ngood\nbad\n"))
    assert (reviews.documents, reviews.independent) == (2, True)
    with pytest.raises(UserError, match="has no column 'text'; its columns are: id, story"):
        scan_corpus(tmp_path / "b.csv")
    write(tmp_path / "cut.txt.gz", (tmp_path / "a.txt.gz").read_bytes()[:-9])
    with pytest.raises(UserError, match="damaged or was cut off"):
        scan_corpus(tmp_path / "cut.txt.gz")
