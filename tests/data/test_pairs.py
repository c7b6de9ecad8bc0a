"""Scored pairs, questions with their documents, and collections to search in."""

from __future__ import annotations

import csv
import gzip
import json

import numpy as np
import pandas as pd
import pytest

from tl_keras.data.pairs import RetrievalPairs, ScoredExamples, read_collection, read_retrieval_pairs, read_scored
from tl_keras.errors import UserError

pytestmark = pytest.mark.one_keras

SQUAD = {
    "data": [
        {
            "paragraphs": [
                {
                    "context": "The tower was built in 1889.",
                    "qas": [
                        {"question": "When was it built?", "answers": [{"text": "1889", "answer_start": 23}]},
                        {"question": "Who sold it?", "answers": [], "is_impossible": True},
                    ],
                },
                {"context": "한강은 서울을 지난다.", "qas": [{"question": "어디를 지나나?", "answers": []}]},
            ]
        }
    ]
}


def test_scores_are_numbers_in_their_range(tmp_path):
    path = tmp_path / "sts.tsv"
    # As KorSTS is written: quotes are ordinary characters, scores have three decimals.
    path.write_text('id\tscore\ta\tb\n007\t4.750\t"말을 탄다\t아이가 말을 탄다\n8\t0.000\tx\ty\n', "utf-8")
    pairs = read_scored(path, "a", "b", score_range=(0, 5))
    assert pairs.texts.tolist() == ['"말을 탄다', "x"]
    assert pairs.text_pairs.tolist() == ["아이가 말을 탄다", "y"]
    assert (pairs.labels.dtype, pairs.labels.tolist()) == (np.float32, [4.75, 0.0])
    assert pairs.score_range == (0.0, 5.0)
    assert read_scored(path, "a", "b").score_range == (0.0, 4.75)
    single = read_scored(path, "a", None)
    assert single.text_pairs is None


@pytest.mark.parametrize(
    ("scores", "options", "message"),
    [
        (["1", "good", "2"], {}, r"the score 'good' \(example 2\) is no number"),
        (["1", "4,5", "2"], {}, "'4,5'"),
        (["1", "inf", "2"], {}, "'inf'"),
        (["1", "6", "2"], {"score_range": (0, 5)}, r"score 6 \(example 2\) lies outside the range 0 to 5"),
        (["3", "3", "3.0"], {}, "every score is 3"),
        (["1", "2", "3"], {"score_range": (5, 0)}, "from a lower to a higher number"),
        (["1", "2", "3"], {"score_range": 5}, "two numbers"),
    ],
)
def test_wrong_scores(scores, options, message):
    frame = pd.DataFrame({"text": ["a", "b", "c"], "text_pair": ["d", "e", "f"], "score": scores})
    with pytest.raises(UserError, match=message):
        read_scored(frame, **options)


def test_scored_examples_split_and_sampled():
    pairs = ScoredExamples.from_lists([f"t{i}" for i in range(50)], np.arange(50) / 10, [f"p{i}" for i in range(50)])
    train, valid = pairs.split(0.2, seed=3)
    assert (len(train), len(valid)) == (40, 10)
    assert sorted([*train.texts, *valid.texts]) == sorted(pairs.texts)
    # Text, partner and score stay together.
    assert all(t[1:] == p[1:] == f"{round(s * 10)}" for t, p, s in zip(*_columns(valid), strict=True))
    assert valid.score_range == train.score_range == pytest.approx((0.0, 4.9))
    assert len(pairs.sample(7)) == 7
    with pytest.raises(UserError, match="3 texts but 2 scores"):
        ScoredExamples.from_lists(["a", "b", "c"], [1, 2])


def _columns(examples):
    return examples.texts, examples.text_pairs, examples.labels


def test_questions_and_their_documents(tmp_path):
    pairs = RetrievalPairs.from_lists(["q1", "q2", "q1", "q3"], ["d1", "d2", "d3", "d2"])
    assert pairs.documents.tolist() == ["d1", "d2", "d3"]
    assert pairs.document_ids.tolist() == [0, 1, 2, 1]
    assert pairs.questions() == (["q1", "q2", "q3"], [{0, 2}, {1}, {1}])
    pd.DataFrame({"question": pairs.texts, "document": pairs.text_pairs}).to_csv(tmp_path / "q.csv", index=False)
    again = read_retrieval_pairs(tmp_path / "q.csv")
    assert (again.texts.tolist(), again.text_pairs.tolist()) == (pairs.texts.tolist(), pairs.text_pairs.tolist())


def test_split_by_document_keeps_their_questions_together():
    pairs = RetrievalPairs.from_lists([f"q{i}" for i in range(60)], [f"d{i % 20}" for i in range(60)])
    train, valid = pairs.split(0.25, seed=1)
    assert len(valid.documents) == 5
    assert len(valid) == 15
    assert not set(train.documents) & set(valid.documents)
    with pytest.raises(UserError, match="too few to split"):
        RetrievalPairs.from_lists(["a", "b"], ["d", "d"]).split(0.5)


def test_squad_files(tmp_path):
    path = tmp_path / "squad.json"
    path.write_text(json.dumps(SQUAD), "utf-8")
    pairs = read_retrieval_pairs(path)
    # The question that its paragraph does not answer is left out.
    assert pairs.texts.tolist() == ["When was it built?", "어디를 지나나?"]
    assert pairs.text_pairs.tolist() == ["The tower was built in 1889.", "한강은 서울을 지난다."]
    path.write_text('{"data": [{"title": "x"}]}')
    with pytest.raises(UserError, match='data\\[0\\]: there is no "paragraphs"'):
        read_retrieval_pairs(path)
    path.write_text('{"data":\n [}')
    with pytest.raises(UserError, match="line 2: not JSON"):
        read_retrieval_pairs(path)
    path.write_text('{"data": []}')
    with pytest.raises(UserError, match="no questions"):
        read_retrieval_pairs(path)


def test_collections(tmp_path):
    (tmp_path / "a.txt").write_text("one\r\n\n two\n", "utf-8")
    assert read_collection(tmp_path / "a.txt") == ["one", "two"]
    with gzip.open(tmp_path / "b.csv.gz", "wt", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([["id", "body"], ["1", "first, with a comma"], ["2", "second\nline"]])
    assert read_collection(tmp_path / "b.csv.gz", "body") == ["first, with a comma", "second\nline"]
    (tmp_path / "c.json").write_text(json.dumps(SQUAD), "utf-8")
    assert read_collection(tmp_path / "c.json") == ["The tower was built in 1889.", "한강은 서울을 지난다."]
    with pytest.raises(UserError, match="no table"):
        read_collection(tmp_path / "a.txt", "body")
    (tmp_path / "empty.txt").write_text(" \n")
    with pytest.raises(UserError, match="holds no text"):
        read_collection(tmp_path / "empty.txt")
    with pytest.raises(UserError, match="no file"):
        read_collection(tmp_path / "none.txt")


@pytest.mark.real_data
def test_real_files(shared_dir):
    korsts = shared_dir / "data" / "korsts" / "train.tsv"
    pairs = read_scored(korsts, "sentence1", "sentence2", score_range=(0, 5))
    assert (len(pairs), float(pairs.labels.max())) == (5405, 5.0)
    xquad = read_retrieval_pairs(shared_dir / "data" / "xquad_en" / "train.json")
    assert (len(xquad), len(xquad.documents)) == (970, 190)
