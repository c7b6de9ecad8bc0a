"""An export of each task predicts and is scored with neither the builders nor the Keras switch of this package: in its own process."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np

import tl_keras as tlk

TEXTS, OTHERS = ["good film", "bad"], ["the music", "a bad film"]

ALONE = """
import json, sys
import tl_keras as tlk
from tl_keras.data import Examples, QuestionExamples, RetrievalPairs, ScoredExamples, TaggedExamples
from tl_keras.serving.by_handle import load_text_encoder

texts, others = ["good film", "bad"], ["the music", "a bad film"]
answers = [{"text": "music", "answer_start": 4}], [{"text": "film", "answer_start": 6}]
examples = {
    "text-classification": Examples.from_lists(texts, ["no", "yes"]),
    "token-classification": TaggedExamples.from_spans(texts, [[(0, 4, "X")], []]),
    "question-answering": QuestionExamples.from_lists(texts, others, answers),
    "sentence-similarity": ScoredExamples.from_lists(texts, [0.0, 1.0], others),
    "retrieval": RetrievalPairs.from_lists(texts, others),
}
found = {}
for task, folder in json.loads(sys.argv[1]).items():
    loaded = tlk.load_exported(folder)
    answers = tlk.predict(loaded, texts, others if task in ("question-answering", "sentence-similarity") else None)
    report = tlk.evaluate(loaded, examples[task])
    column = answers[{"token-classification": "entities", "retrieval": "embedding"}.get(task, "score")]
    found[task] = [loaded.task, type(report).__name__, [getattr(value, "tolist", lambda: value)() for value in column]]
searched = load_text_encoder(json.loads(sys.argv[1])["retrieval"])
index = tlk.TextIndex.build(searched, texts + others, lexical_weight=0.5)
apart = tlk.zero_shot_classifier(searched, ["good film", "the music"]).predict(["the music"])
nearest = [index.search(["good film"], k=1).text.item(), apart.label.item()]
ours = [name for name in sys.modules if name.startswith("tl_keras.")]
print(json.dumps({"found": found, "nearest": nearest, "ours": ours}))
"""
REPORTS = {
    "text-classification": "ClassificationReport",
    "token-classification": "TaggingReport",
    "question-answering": "QuestionReport",
    "sentence-similarity": "SimilarityReport",
    "retrieval": "RetrievalReport",
}


def test_predicting_and_scoring_with_an_export_of_each_task_load_no_builder(encoder, tmp_path):
    models = {
        "text-classification": tlk.text_classifier(encoder, ["no", "yes"], "freeze"),
        "token-classification": tlk.token_classifier(encoder, ["X"], "freeze"),
        "question-answering": tlk.question_answerer(encoder, "freeze"),
        "sentence-similarity": tlk.text_regressor(encoder, transfer="freeze"),
        "retrieval": tlk.sentence_encoder(encoder, "freeze"),
    }
    how = {"sentence-similarity": {"pairs": True}, "retrieval": {"task": "retrieval"}}
    folders = {task: str(tlk.export(model, tmp_path / task, **how.get(task, {}))) for task, model in models.items()}
    command = [sys.executable, "-c", ALONE, json.dumps(folders)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    answer = json.loads(done.stdout.splitlines()[-1])
    not_needed = ("_keras", "encoders", "models", "features", "training", "pretraining", "tasks")
    assert [name for name in answer["ours"] if name.split(".")[1] in not_needed] == []
    # A text is nearest to itself, by meaning and by its words.
    assert answer["nearest"] == ["good film", "the music"]
    found = answer["found"]
    assert {task: kind for task, (_, kind, _) in found.items()} == REPORTS
    assert {task: kept for task, (kept, _, _) in found.items()} == {task: task for task in models}
    # The same answers as those of the models, whose graphs they are.
    for task, column, pairs in (
        ("text-classification", "score", None),
        ("sentence-similarity", "score", OTHERS),
        ("retrieval", "embedding", None),
        ("question-answering", "score", OTHERS),
    ):
        expected = tlk.predict(models[task], TEXTS, pairs)[column].tolist()
        np.testing.assert_allclose(found[task][2], expected, atol=1e-5)
    assert found["token-classification"][2] == tlk.predict(models["token-classification"], TEXTS)["entities"].tolist()
