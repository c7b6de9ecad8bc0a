"""Labels named when it is asked: by similarity and by entailment, in Python, in the export and on the command line."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import tl_keras as tlk
from tl_keras.errors import UserError
from tl_keras.serving.predict import load_exported

TEXTS = ["the film was good", "지루하다 영화", "a very dull plot"]
LABELS = {"pos": "good great love", "neg": "bad awful", "other": "music"}


def test_by_similarity_it_is_the_softmax_of_cosines(encoder, tmp_path, serve, call, tiny_pair):
    classifier = tlk.zero_shot_classifier(encoder, LABELS)
    vectors = tlk.encode(encoder, [*TEXTS, *LABELS.values()], "mean", normalize=True)
    weights = np.exp(20 * vectors[:3] @ vectors[3:].T)
    expected = weights / weights.sum(1, keepdims=True)
    np.testing.assert_allclose(classifier.scores(TEXTS), expected, atol=1e-4)
    answers = classifier.predict(TEXTS)
    assert answers["label"].tolist() == [list(LABELS)[i] for i in expected.argmax(1)]
    # Other labels, in another number, without anything being built anew.
    np.testing.assert_allclose(
        classifier.scores(TEXTS, ["good great love", "music"]),
        (w := weights[:, [0, 2]]) / w.sum(1, keepdims=True),
        atol=1e-4,
    )
    with pytest.raises(UserError, match="several labels a text take a model that tells entailment"):
        classifier.scores(TEXTS, multi_label=True)

    tlk.export(classifier, tmp_path / "1")
    served = serve(tmp_path / "1", text=TEXTS, label=list(LABELS.values()))
    np.testing.assert_allclose(served["scores"], expected, atol=1e-4)
    assert served["label"] == [list(LABELS.values())[i] for i in expected.argmax(1)]
    loaded = load_exported(tmp_path / "1")
    np.testing.assert_allclose(loaded.scores(TEXTS, LABELS), expected, atol=1e-4)

    given = [part for name, text in LABELS.items() for part in ("--label", f"{name}={text}")]
    code, out, err = call("zero-shot", tiny_pair, *TEXTS, *given, "--seq-length", 32)
    assert code == 0, err
    assert [line.split("\t")[1] for line in out.strip().split("\n")[1:]] == answers["label"].tolist()
    # A file of texts that nobody has labelled, or some of them only.
    pd.DataFrame({"id": range(3), "text": TEXTS}).to_csv(tmp_path / "texts.csv", index=False)
    pd.DataFrame({"text": TEXTS, "label": ["x", "", ""]}).to_csv(tmp_path / "some.csv", index=False)
    for name in ("texts.csv", "some.csv"):
        call_on = ("--data", tmp_path / name, "--out", tmp_path / "out.csv", *given, "--seq-length", 32)
        code, out, err = call("zero-shot", tiny_pair, *call_on)
        assert code == 0, err
        assert pd.read_csv(tmp_path / "out.csv").label.tolist() == answers["label"].tolist()
    code, _, err = call("zero-shot", tmp_path / "never", "a text", "--label", "good")
    assert (code, "name another with --label" in err) == (2, True)


def test_answers_of_a_series_keep_its_index(encoder):
    texts = pd.Series(TEXTS, index=[7, 3, 5])
    answers = tlk.zero_shot_classifier(encoder, LABELS).predict(texts)
    assert answers.index.tolist() == [7, 3, 5]
    assert answers.text.tolist() == TEXTS


@pytest.fixture(scope="module")
def judge(tiny_pair):
    """A pair classifier that was never trained: its weights are enough to check the arithmetic."""
    encoder = tlk.load_encoder(str(tiny_pair), seq_length=32)
    return tlk.text_classifier(encoder, ["contradiction", "entailment", "neutral"], "freeze", dropout=0.0)


def test_by_entailment_it_is_the_softmax_of_what_entails(judge, tmp_path, serve):
    labels, template = ["good", "bad", "music"], "it is {}."
    classifier = tlk.zero_shot_classifier(judge, template=template)
    expected, several = np.empty((3, 3)), np.empty((3, 3))
    for column, label in enumerate(labels):
        scores = tlk.predict(judge, TEXTS, [f"it is {label}."] * 3, all_scores=True)
        expected[:, column] = scores["score_entailment"]
        several[:, column] = scores["score_entailment"] / (scores["score_entailment"] + scores["score_contradiction"])
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(classifier.scores(TEXTS, labels), expected, atol=1e-5)
    np.testing.assert_allclose(classifier.scores(TEXTS, labels, multi_label=True), several, atol=1e-5)
    chosen = classifier.predict(TEXTS, labels, multi_label=True, threshold=several[0, 0] - 1e-3)
    assert chosen["label"][0] == [
        label for label, score in zip(labels, several[0], strict=True) if score >= several[0, 0] - 1e-3
    ]

    tlk.export(classifier, tmp_path / "1")
    np.testing.assert_allclose(serve(tmp_path / "1", text=TEXTS, label=labels)["scores"], expected, atol=1e-5)
    loaded = load_exported(tmp_path / "1")
    np.testing.assert_allclose(loaded.scores(TEXTS, labels), expected, atol=1e-5)
    np.testing.assert_allclose(loaded.scores(TEXTS, labels, multi_label=True), several, atol=1e-5)
    with pytest.raises(UserError, match=r"the template of .* is settled: 'it is \{\}.'"):
        tlk.zero_shot_classifier(tmp_path / "1", labels, template="about {}")


def test_what_is_refused(encoder, judge):
    classifier = tlk.zero_shot_classifier(encoder)
    for labels, reason in (
        (None, "name the labels"),
        (["one"], "at least two labels are needed to choose between, not 1"),
        ({"a": "good", "b": " "}, "the label 'b' has no description"),
        ({"a": "good", "b": None}, "the label 'b' has no description"),
        (["a", "a"], "the label 'a' is named twice"),
        ("good, bad", "labels must be a list of names, not one string"),
    ):
        with pytest.raises(UserError, match=reason):
            classifier.scores(TEXTS, labels)
    with pytest.raises(UserError, match=r"no place for a label: write \{\} where it belongs"):
        tlk.zero_shot_classifier(encoder, template="about")
    with pytest.raises(UserError, match="this one has the classes no, yes; train one with tl-keras train zero-shot"):
        tlk.zero_shot_classifier(tlk.text_classifier(encoder, ["no", "yes"], "freeze"))


def test_a_run_learns_entailment_and_answers_for_any_label(call, tiny_pair, tmp_path):
    rows = [
        ("the film was good", f"it is {word}", label)
        for word, label in (("good", "entailment"), ("bad", "contradiction"))
    ] * 12
    pd.DataFrame(rows, columns=["sentence1", "sentence2", "gold_label"]).to_csv(
        tmp_path / "nli.tsv", sep="\t", index=False
    )
    base = [
        "train",
        "zero-shot-classification",
        "--train",
        tmp_path / "nli.tsv",
        "--encoder",
        tiny_pair,
        "--epochs",
        20,
        "--seq-length",
        32,
    ]
    code, _, err = call(
        *base, "--out", tmp_path / "run", "--template", "it is {}", "--transfer", "freeze", "--learning-rate", 0.05
    )
    assert code == 0, err
    code, out, err = call("zero-shot", tmp_path / "run", "the film was good", "--label", "bad", "--label", "good")
    assert code == 0, err
    assert out.strip().split("\n")[1].split("\t")[:2] == ["the film was good", "good"]
    code, _, err = call("predict", tmp_path / "run", "a text")
    assert code == 2
    assert "has no labels of its own; name them: tl-keras zero-shot" in err
    code, _, err = call("zero-shot", tmp_path / "run", "a text")
    assert code == 2
    assert "name the candidate labels: --label" in err
