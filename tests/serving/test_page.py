"""The page to try a model in: what it shows by task, what it says of bad input, where its examples come from."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pandas as pd
import pytest

from tl_keras import UserError
from tl_keras.data import Examples
from tl_keras.serving.page import run_examples
from tl_keras.tasks.page import cell, section
from tl_keras.tasks.text_classification import multi_label_mistakes

gr = pytest.importorskip("gradio", reason="the page needs the extra `try`")
_spec = importlib.util.spec_from_file_location("pages", Path(__file__).with_name("pages.py"))
pages = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(pages)


def answer(model, *values):
    from tl_keras.serving.page_views import view_of

    view = view_of(model)
    shown = view.answer(*values)
    # As Gradio gets it: what it could not show would fail here.
    for output, value in zip(view.outputs, shown if isinstance(shown, tuple) else (shown,), strict=True):
        output.postprocess(value)
    return shown


def test_each_task_has_its_view(tmp_path):
    classifier = pages.classifier()
    assert answer(classifier, "ab", False) == ({"short": 0.25, "긴 글": 0.75}, "")
    # A character halves what is left of being short: "a b" has 7/8 of being long, "a" and "b" half each, so that both words bring the same.
    scores, words = answer(classifier, "a b", True)
    assert scores["긴 글"] == 0.875
    assert words.count('title="+0.4375"') == 2
    assert "up to 2,000 characters" in answer(classifier, "x " * 1001, True)[1]
    marked, table = answer(pages.tagger(), "김구 서울")
    assert marked == {
        "text": "김구 서울",
        "entities": [{"entity": "PER", "start": 0, "end": 2}, {"entity": "LOC", "start": 3, "end": 4}],
    }
    assert table == [["김구", "PER", "0.900"], ["서", "LOC", "0.500"]]
    told, marked, others = answer(pages.answerer(), "who?", "Kim came.")
    assert (told, others) == ("Kim  (0.500)", [["Kim ", "0.500"], ["Ki", "0.250"]])
    assert marked["entities"] == [{"entity": "answer", "start": 0, "end": 4}]
    told, marked, others = answer(pages.answerer(), "?", "Kim came.")
    assert (told, marked["entities"], others) == ("The text does not say. (0.125)", [], [])
    # Without the only word of a text there is no likeness, so that the two words share it.
    meter, words = answer(pages.encoder(), "a", "ab", True)
    assert "<b>0.707</b>" in meter
    assert words.count('title="+0.3536"') == 2
    meter, words = answer(pages.regressor(), "a", "b", True)
    assert "<b>4.000</b>" in meter
    assert "width:80.0%" in meter
    assert words.count('title="+0.0000"') == 2
    assert answer(pages.index(), "aab", 2).values.tolist() == [[1, "0.949", "abab"], [2, "0.894", "aaa"]]


def test_bad_input_is_told_in_a_sentence(call, tmp_path):
    with pytest.raises(gr.Error, match="Write something into every field first"):
        answer(pages.encoder(), "a", " \n", False)
    with pytest.raises(gr.Error, match="The text has 100,001 characters"):
        answer(pages.tagger(), "x" * 100_001)
    with pytest.raises(UserError, match="no page for a dict"):
        answer({})
    for path, message in ((tmp_path / "nowhere", "there is no folder"), (tmp_path, "holds no SavedModel")):
        code, _, err = call("try", path)
        assert (code, err.count("\n"), message in err) == (2, 1, True)


def test_examples_come_from_the_runs_own_errors(tmp_path):
    def run(task, *report, **config):
        (tmp_path / "report.md").write_text("\n".join(["# Report", "", *report, "", "## Use", "| x |"]), "utf-8")
        (tmp_path / "config.json").write_text(json.dumps({"task": task, **config}))
        return tmp_path

    assert run_examples(tmp_path, 1) == []
    rows = [[cell(text), "a", "b", "0.99"] for text in ("영화 a|b", "x" * 500, "second")]
    errors = section("Most confident errors", ["text", "label", "predicted", "score"], rows)
    assert run_examples(run("text-classification", *errors), 1) == [["영화 a|b"], ["second"]]
    # "two" is right; "none" is off by 0.9 in b, "one" by 0.6 in a.
    given = Examples.from_lists(["one", "two", "none"], [["a"], ["a", "b"], []])
    frame = pd.DataFrame({"text": given.texts, "label": [[], ["a", "b"], ["b"]], "true": given.label_names})
    frame = frame.assign(score_a=[0.4, 0.9, 0.2], score_b=[0.1, 0.8, 0.9])
    several = multi_label_mistakes(frame, given)
    assert [line for line in several if "one" in line] == ["| none |  | b | b 0.90 |", "| one | a |  | a 0.40 |"]
    assert run_examples(run("text-classification", *several), 1) == [["none"], ["one"]]
    pairs = section("Most confident errors", ["text", "label", "predicted", "score"], [["one / two", "a", "b", "0.9"]])
    assert run_examples(run("text-classification", *pairs), 2) == [["one", "two"]]
    ranks = section(
        "Largest disagreements in rank", ["text", "other text", "score", "cosine"], [["a", "b", "5", "0.1"]]
    )
    assert run_examples(run("sentence-similarity", *ranks), 2) == [["a", "b"]]
    asked = section(
        "Most confident errors", ["question", "right", "given", "score"], [["Who came?", "Kim", "Lee", "0.9"]]
    )
    context = "Lee and Kim came."
    answers = [{"text": "Kim", "answer_start": 8}]
    questions = [
        {"id": str(n), "question": text, "answers": answers} for n, text in enumerate(["Who came?", "Who did not?"])
    ]
    data = tmp_path / "squad.json"
    data.write_text(json.dumps({"data": [{"title": "t", "paragraphs": [{"context": context, "qas": questions}]}]}))
    assert run_examples(run("question-answering", *asked, train=str(data)), 2) == [["Who came?", context]]
    assert run_examples(run("question-answering", *asked, train="gone.json"), 2) == []
