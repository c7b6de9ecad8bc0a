"""Reading SQuAD files: v1.1, v2.0, KorQuAD; what is wrong in them; splits that keep contexts together."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest

from tl_keras import UserError
from tl_keras.data.questions import Answer, QuestionExamples
from tl_keras.data.squad import read_squad

pytestmark = pytest.mark.one_keras


@pytest.fixture
def write(tmp_path):
    """Write a file: its text, or the paragraphs of documents as `[[(context, [question, ...]), ...], ...]`."""

    def to_file(content, name="a.json"):
        if not isinstance(content, str):
            data = [
                {"title": str(i), "paragraphs": [{"context": context, "qas": qas} for context, qas in document]}
                for i, document in enumerate(content)
            ]
            content = json.dumps({"version": "1.1", "data": data})
        path = tmp_path / name
        path.write_text(content, "utf-8")
        return path

    return to_file


def question(text="Who?", *answers, **more):
    return {"id": "q", "question": text, "answers": [{"text": a, "answer_start": s} for a, s in answers], **more}


def test_version_1_in_characters(write):
    context = "🙂 서울은 넓다. Ada lives."
    examples = read_squad(
        write([[(context, [question("어디?", ("서울", 2)), question("Who?", ("Ada", 10), ("Ada lives", 10))])]])
    )
    assert examples.questions.tolist() == ["어디?", "Who?"]
    assert examples.answers == ((Answer("서울", 2, 4),), (Answer("Ada", 10, 13), Answer("Ada lives", 10, 19)))
    assert all(context[a.start : a.end] == a.text for given in examples.answers for a in given)
    assert (examples.ids.tolist(), examples.misplaced, examples.is_impossible.tolist()) == (
        ["q", "q"],
        0,
        [False, False],
    )


def test_version_2_and_questions_to_be_answered(write, caplog):
    there = question("a?", ("a", 0), is_impossible=False)
    none = question("b?", is_impossible=True, plausible_answers=[{"text": "b", "answer_start": 2}])
    examples = read_squad(write([[("a b", [there, none])]]))
    assert examples.is_impossible.tolist() == [False, True]
    assert examples.answers[1] == ()
    assert len(examples.learnable()) == 2
    with caplog.at_level(logging.WARNING, "tl_keras"):
        read_squad(write([[("a b", [there, question("b?", ("b", 2), is_impossible=True)])]]))
    assert '1 question(s) with "is_impossible": true have answers' in caplog.text
    # Neither answers nor marks: a test set.
    for qas in ([{"question": "b?"}], [question("b?")]):
        asked = read_squad(write([[("a b", qas)]]))
        assert asked.answers is None
        with pytest.raises(UserError, match="no answers to learn from"):
            asked.learnable()


def test_misplaced_answers_are_counted_reported_and_not_moved(write, caplog):
    qas = [question("1", ("b", 2)), question("2", ("b", 0)), question("3", ("x", 0), ("a", 0)), question("4", ("z", 1))]
    with caplog.at_level(logging.WARNING, "tl_keras"):
        examples = read_squad(write([[("a b", qas)]]))
    assert "3 answer(s) do not stand at their answer_start" in caplog.text
    assert "data[0].paragraphs[0].qas[1] ('b'; it is elsewhere in the context)" in caplog.text
    assert examples.answers[1] == (Answer("b", -1, -1),)
    assert examples.misplaced == 2
    # The third has another answer that is in its place.
    assert examples.learnable().questions.tolist() == ["1", "3"]
    assert len(examples) == 4


ONE = '{"data": [{"paragraphs": [{"context": "a b", "qas": [%s]}]}]}'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ('{"data": [\n', "line 2: not JSON"),
        ("[]", "holds no objects with names"),
        ('{"a":\n1}', 'at the top: there is no "data"'),
        ('{"data":\n{}}', '"data" must be a list, not dict'),
        ('{"data": []}', "holds no questions"),
        ('{"data": [{"title": "x"}]}', r'data\[0\]: there is no "paragraphs"'),
        ('{"data": [{"paragraphs": [{"qas": []}]}]}', r'data\[0\]\.paragraphs\[0\]: there is no "context"'),
        ('{"data": [{"paragraphs": [{"context": " ", "qas": []}]}]}', r"paragraphs\[0\]: the context is empty"),
        (ONE % '{"id": "1"}', r'paragraphs\[0\]\.qas\[0\]: there is no "question"'),
        (ONE % '"q"', r'qas\[0\]: expected an object with "question", not str'),
        (ONE % '{"question": " "}', r"qas\[0\]: the question is empty"),
        (ONE % '{"question": "q", "answers": [{"text": "b"}]}', 'must have "text" and "answer_start"'),
        (ONE % '{"question": "q", "answers": [{"text": "b", "answer_start": "2"}]}', "a whole number"),
        (
            ONE % '{"question": "q", "answers": [{"text": "b", "answer_start": 3}]}',
            "outside its context of 3 characters",
        ),
        (ONE % '{"question": "q", "answers": [{"text": "b", "answer_start": -1}]}', "outside its context"),
        (ONE % '{"question": "q", "answers": [{"text": "", "answer_start": 0}]}', "an answer is empty"),
        (
            ONE % '{"question": "q", "answers": [{"text": "b", "answer_start": 2}]}, {"question": "r", "answers": []}',
            r"qas\[1\]: no answers, and not marked impossible",
        ),
        (ONE % '{"question": "q", "is_impossible": "yes"}', "must be true or false"),
    ],
)
def test_bad_files_say_where(write, content, message):
    with pytest.raises(UserError, match=message):
        read_squad(write(content))


def test_bad_lists():
    with pytest.raises(UserError, match="2 questions but 1 contexts"):
        QuestionExamples.from_lists(["a", "b"], ["c"])
    with pytest.raises(UserError, match="question 2: the context is empty"):
        QuestionExamples.from_lists(["a", "b"], ["c", ""])
    with pytest.raises(UserError, match="not one string"):
        QuestionExamples.from_lists("a", ["c"])


def test_a_split_keeps_documents_whole_and_contexts_on_one_side():
    rng = np.random.default_rng(0)
    documents = np.repeat(np.arange(12), rng.integers(1, 9, size=12))
    contexts = [f"context {d} {i % 2}" for i, d in enumerate(documents)]
    contexts[-1] = contexts[0]  # the last document repeats a context of the first
    examples = QuestionExamples.from_lists(
        [f"q{i}" for i in range(len(documents))], contexts, [[("context", 0)]] * len(documents), documents=documents
    )
    for seed in range(5):
        train, valid = examples.split(0.3, seed)
        assert not set(train.contexts) & set(valid.contexts)
        assert sorted([*train.questions, *valid.questions]) == sorted(examples.questions)
        assert abs(len(valid) / len(examples) - 0.3) < 0.1
        # Whole documents, but for the shared context, which is with the first.
        assert not set(train.documents) & set(valid.documents)
    assert examples.split(0.3, 1)[1].ids.tolist() == examples.split(0.3, 1)[1].ids.tolist()
    # One document: by context.
    one = QuestionExamples.from_lists(["a", "b", "c"], ["x", "y", "x"], documents=[7, 7, 7])
    train, valid = one.split(0.3)
    assert {len(train), len(valid)} == {1, 2}
    with pytest.raises(UserError, match="about one context"):
        one.take(np.array([0, 2])).split(0.5)
    with pytest.raises(UserError, match="between 0 and 1"):
        one.split(1.0)


def test_a_sample_is_drawn_with_the_seed():
    examples = QuestionExamples.from_lists([str(i) for i in range(50)], ["c"] * 50)
    part = examples.sample(10, seed=1)
    assert len(set(part.questions)) == 10
    assert part.questions.tolist() == examples.sample(10, seed=1).questions.tolist()
    assert examples.sample(99) is examples
    with pytest.raises(UserError, match="at least 1"):
        examples.sample(0)


def test_the_sample_data_of_the_project():
    from pathlib import Path

    for name, count in (("questions_en.json", 38), ("questions_ko.json", 39)):
        examples = read_squad(Path(__file__).resolve().parents[2] / "data" / name)
        assert (len(examples), examples.misplaced, len(set(examples.contexts))) == (count, 0, 10)


@pytest.mark.real_data
def test_real_files(shared_dir):
    english = read_squad(shared_dir / "data" / "xquad_en" / "train.json")
    assert (len(english), len(set(english.contexts)), len(set(english.documents)), english.misplaced) == (
        970,
        190,
        38,
        0,
    )
    korean = read_squad(shared_dir / "data" / "korquad" / "train.json")
    assert (len(korean), len(set(korean.contexts)), len(set(korean.documents)), korean.misplaced) == (4241, 659, 110, 0)


def test_several_files_and_tables_give_the_same_questions(write, tmp_path):
    first = [[("Ada sleeps.", [{**question("Who sleeps?", ("Ada", 0)), "id": "1"}])]]
    second = [
        [
            (
                "Ben reads.",
                [
                    {**question("Who reads?", ("Ben", 0)), "id": "2"},
                    {**question("Why?", is_impossible=True), "id": "3"},
                ],
            )
        ]
    ]
    paths = [write(first, "part-1.json"), write(second, "part-2.json")]
    answers = ((Answer("Ada", 0, 3),), (Answer("Ben", 0, 3),), ())
    rows = [
        {
            "id": "1",
            "question": "Who sleeps?",
            "context": "Ada sleeps.",
            "answers": {"text": ["Ada"], "answer_start": [0]},
        },
        {
            "id": "2",
            "question": "Who reads?",
            "context": "Ben reads.",
            "answers": {"text": ["Ben"], "answer_start": [0]},
        },
        {"id": "3", "question": "Why?", "context": "Ben reads.", "answers": {"text": [], "answer_start": []}},
    ]
    lines = tmp_path / "squad.jsonl"
    lines.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    for source in (str(tmp_path / "part-*.json"), paths, lines, rows):
        examples = read_squad(source)
        assert examples.ids.tolist() == ["1", "2", "3"]
        assert examples.answers == answers
        # One document in each file: the second file's two questions stay together, apart from the first's.
        assert examples.documents.tolist() == [0, 1, 1]
    # A column of lists that are all empty leaves questions to be answered.
    assert read_squad([{**row, "answers": {"text": [], "answer_start": []}} for row in rows]).answers is None
    write('{"data": [{}]}', "part-3.json")
    with pytest.raises(UserError, match=r'part-3\.json, data\[0\]: there is no "paragraphs"'):
        read_squad(str(tmp_path / "part-*.json"))
    with pytest.raises(UserError, match="row 1: 1 answers but 2 places"):
        read_squad([{**rows[0], "answers": {"text": ["Ada"], "answer_start": [0, 1]}}])
