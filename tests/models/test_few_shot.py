"""Few labels: heads that are worked out, contrastive fine-tuning, the trained model and its export, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from sklearn.linear_model import LogisticRegression

import tl_keras as tlk
from tl_keras.data.examples import Examples, sample_per_class
from tl_keras.errors import UserError
from tl_keras.models import few_shot
from tl_keras.models.few_shot import choose_method, few_shot_classifier
from tl_keras.models.few_shot_heads import logistic_head
from tl_keras.models.similarity_losses import SameClassCosine
from tl_keras.tasks.task_settings import TextClassificationSettings
from tl_keras.tasks.text_classification import TextClassificationRun


@pytest.fixture(scope="module")
def few(reviews):
    return sample_per_class(reviews, 6, seed=1)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_logistic_head_gives_the_probabilities_of_scikit_learn(classes):
    rng = np.random.default_rng(0)
    labels = np.arange(4 * classes) % classes
    vectors = rng.normal(size=(len(labels), 5)).astype("float32") + labels[:, None]
    kernel, bias = logistic_head(vectors, labels)
    expected = (
        LogisticRegression(C=1.0, max_iter=2000, class_weight="balanced").fit(vectors, labels).predict_proba(vectors)
    )
    np.testing.assert_allclose(tf.nn.softmax(vectors @ kernel + bias), expected, atol=1e-5)


def test_the_contrastive_loss_is_that_of_all_pairs():
    labels = np.array([0, 1, 0, 1, 0])
    vectors = np.random.default_rng(1).normal(size=(5, 3)).astype("float32")
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = []
    for i in range(5):
        same = [(unit[i] @ unit[j] - 1) ** 2 for j in range(5) if j != i and labels[i] == labels[j]]
        other = [(unit[i] @ unit[j]) ** 2 for j in range(5) if labels[i] != labels[j]]
        rows.append((np.mean(same) + np.mean(other)) / 2)
    assert float(SameClassCosine()(tf.constant(labels), tf.constant(vectors))) == pytest.approx(np.mean(rows), rel=1e-5)


def test_nearest_mean_is_what_its_name_says_and_so_is_its_export(encoder, reviews, few, tmp_path, serve):
    model = few_shot_classifier(encoder, few, "nearest-mean")
    # By hand: unit vectors, the mean of the class means taken out, unit again; the class with the higher cosine.
    vectors = tlk.encode(encoder, [*few.texts, *reviews.texts], "mean", normalize=True)
    train, test = vectors[: len(few)], vectors[len(few) :]
    centre = np.mean([train[few.labels == c].mean(0) for c in (0, 1)], axis=0)
    train, test = ((v - centre) / np.linalg.norm(v - centre, axis=1, keepdims=True) for v in (train, test))
    means = np.stack([train[few.labels == c].mean(0) for c in (0, 1)])
    cosines = test @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
    answers = tlk.predict(model, list(reviews.texts))
    assert answers["label"].tolist() == [few.classes[i] for i in cosines.argmax(1)]
    np.testing.assert_allclose(
        answers["score"], 1 / (1 + np.exp(-10 * np.abs(cosines[:, 0] - cosines[:, 1]))), rtol=1e-3
    )
    tlk.export(model, tmp_path / "1")
    served = serve(tmp_path / "1", text=list(reviews.texts[:5]))
    assert served["label"] == answers["label"][:5].tolist()


DESCRIPTIONS = {"negative": "a bad film", "positive": "a very good film"}


def test_texts_without_labels_and_descriptions_help(encoder, reviews, few, tmp_path, serve):
    more = {"unlabelled": [*reviews.texts, *reviews.texts], "descriptions": DESCRIPTIONS}
    model = few_shot_classifier(encoder, few, "nearest-mean", **more)
    # By hand, from a decomposition of the vectors themselves: each text once, labelled or not; a description counts as four texts.
    different = list(dict.fromkeys([*few.texts, *reviews.texts]))
    vectors = tlk.encode(encoder, [*different, *DESCRIPTIONS.values()], "mean", normalize=True).astype("float64")
    vectors, described = vectors[:-2], vectors[-2:]
    mean = vectors.mean(0)
    _, stretch, directions = np.linalg.svd(vectors - mean, full_matrices=False)

    def unit(differences):
        coordinates = differences @ directions.T * stretch**0.5
        return coordinates / np.linalg.norm(coordinates, axis=1, keepdims=True)

    texts, described = unit(vectors - mean), unit(described - described.mean(0))
    means = np.stack([texts[: len(few)][few.labels == c].sum(0) + 4 * described[c] for c in (0, 1)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    cosines = texts[[different.index(text) for text in reviews.texts]] @ means.T
    answers = tlk.predict(model, list(reviews.texts))
    assert answers["label"].tolist() == [few.classes[i] for i in cosines.argmax(1)]
    sure = 1 / (1 + np.exp(-10 * np.abs(cosines[:, 0] - cosines[:, 1])))
    np.testing.assert_allclose(answers["score"], sure, rtol=1e-3)
    tlk.export(model, tmp_path / "1")
    assert serve(tmp_path / "1", text=list(reviews.texts[:5]))["label"] == answers["label"][:5].tolist()


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"unlabelled": []}, "holds no text that is not among the labelled ones"),
        ({"descriptions": {"negative": "bad"}}, "the class 'positive' has no description; describe all classes"),
        ({"descriptions": {"negative": "bad", "positive": " "}}, "the class 'positive' has no description"),
        ({"descriptions": {**DESCRIPTIONS, "so so": "x"}}, "'so so' is described, but no class; the classes are neg"),
    ],
)
def test_descriptions_and_texts_without_labels_that_will_not_do(encoder, few, more, reason):
    with pytest.raises(UserError, match=reason) as error:
        few_shot_classifier(encoder, few, **more)
    assert "\n" not in str(error.value)


def test_contrastive_fine_tuning_brings_classes_together(encoder, few, monkeypatch):
    monkeypatch.setitem(few_shot.PART_OF_THE_WAY, "two classes", 1.0)

    def separation(model):
        centred = model.get_layer("centred")
        from tl_keras._keras import keras
        from tl_keras.models.text_vectors import TextVectors

        vectors = TextVectors(keras.Model(model.input, centred.input), encoder).compute(few)
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        cosines, same = unit @ unit.T, few.labels[:, None] == few.labels
        return cosines[same].mean() - cosines[~same].mean()

    before = separation(few_shot_classifier(encoder, few, "logistic"))
    model = few_shot_classifier(encoder, few, "contrastive", steps=30, learning_rate=0.01)
    assert separation(model) > before + 0.3
    assert tlk.evaluate(model, few).accuracy == 1.0


def test_contrastive_fine_tuning_goes_a_part_of_the_way(encoder, few, monkeypatch):
    def kernels(method):
        body = few_shot_classifier(encoder, few, method, steps=6, learning_rate=0.01)
        return [weight for weight in body.get_weights()[:-2] if weight.ndim == 2 and weight.dtype == "float32"]

    before, kept = kernels("logistic"), kernels("contrastive")
    monkeypatch.setitem(few_shot.PART_OF_THE_WAY, "two classes", 1.0)
    after = kernels("contrastive")
    moved = 0
    for a, b, c in zip(before, kept, after, strict=True):
        np.testing.assert_allclose(b, 0.7 * a + 0.3 * c, atol=1e-5)
        moved += np.abs(c - a).max() > 0.01
    assert moved > 5


def test_the_method_follows_the_number_of_labels(reviews):
    methods = [choose_method(sample_per_class(reviews, n)) for n in (1, 2, 16)]
    assert methods == ["nearest-mean", "contrastive", "contrastive"]
    two, three = sample_per_class(reviews, 2), Examples.from_lists(["a"] * 6, [0, 0, 1, 1, 2, 2])
    assert [choose_method(examples, described=True) for examples in (two, three)] == ["logistic", "contrastive"]


@pytest.mark.parametrize(
    ("more", "said"), [({}, True), ({"transfer": "freeze"}, False), ({"text_pair": "other"}, False)]
)
def test_fine_tuning_with_few_labels_points_here(reviews, tmp_path, caplog, more, said):
    rows = {"text": reviews.texts, "label": reviews.label_names, "other": reviews.texts}
    pd.DataFrame(rows).to_csv(tmp_path / "r.csv", index=False)
    settings = TextClassificationSettings(train=str(tmp_path / "r.csv"), out=str(tmp_path / "run"), per_class=8, **more)
    with caplog.at_level("INFO"):
        TextClassificationRun(settings).read()
    assert ("a class: --transfer few-shot is expected to do better" in caplog.text) is said


def test_drawing_from_each_class(reviews):
    drawn = sample_per_class(reviews, 8, seed=3)
    assert drawn.counts() == {"negative": 8, "positive": 8}
    assert set(drawn.texts) <= set(reviews.texts)
    assert set(sample_per_class(reviews, 3, seed=3).texts) <= set(drawn.texts)
    assert drawn.texts.tolist() != sample_per_class(reviews, 8, seed=4).texts.tolist()
    with pytest.raises(UserError, match=r"has 32 example.s. of the class 'negative', fewer than the 40 to draw"):
        sample_per_class(reviews, 40)


@pytest.mark.parametrize(
    ("examples", "method", "reason"),
    [
        (
            Examples.from_lists(["a", "b"], ["x", "x"]),
            "auto",
            "every example is of the class 'x'; at least two are needed",
        ),
        (
            Examples.from_lists(["a"], ["x"], classes=["x", "y"]),
            "auto",
            "no example of the class 'y'; give at least one",
        ),
        (Examples.from_lists(["a", "b"], [["x"], ["x", "y"]]), "auto", "takes one label a text"),
        (Examples.from_lists(["a", "b"]), "auto", "has no labels to learn from"),
        (
            Examples.from_lists(["a", "b"], ["x", "y"]),
            "setfit",
            "the method 'setfit' is not known; choose one of: auto, nearest-mean",
        ),
    ],
)
def test_what_cannot_be_learned_from(encoder, examples, method, reason):
    with pytest.raises(UserError, match=reason) as error:
        few_shot_classifier(encoder, examples, method)
    assert "\n" not in str(error.value)


def test_on_the_command_line(call, tiny_pair, reviews, tmp_path):
    table = pd.DataFrame({"text": reviews.texts, "label": reviews.label_names})
    table.to_csv(tmp_path / "r.csv", index=False)
    base = [
        "train",
        "text-classification",
        "--train",
        tmp_path / "r.csv",
        "--encoder",
        tiny_pair,
        "--transfer",
        "few-shot",
        "--seq-length",
        32,
    ]
    (tmp_path / "others.txt").write_text("\n".join(reviews.texts), "utf-8")
    others = ["--unlabelled", tmp_path / "others.txt"]
    others += [word for name, meaning in DESCRIPTIONS.items() for word in ("--describe", f"{name}={meaning}")]
    others += ["--per-class", 10]
    code, _, err = call(*base, *others, "--out", tmp_path / "run", "--validation", tmp_path / "r.csv")
    assert code == 0, err
    config, metrics = (json.loads((tmp_path / "run" / name).read_text()) for name in ("config.json", "metrics.json"))
    assert (config["few_shot_method"], config["train_examples"], config["validation_examples"]) == ("logistic", 20, 64)
    model = few_shot_classifier(
        tlk.load_encoder(str(tiny_pair), seq_length=32),
        sample_per_class(Examples.from_lists(table["text"].tolist(), table["label"].tolist()), 10),
        unlabelled=reviews.texts,
        descriptions=DESCRIPTIONS,
    )
    assert metrics["accuracy"] == pytest.approx(tlk.evaluate(model, reviews).accuracy)
    assert metrics["interrupted"] is False
    assert "few-shot" in (tmp_path / "run" / "report.md").read_text("utf-8")
    code, out, _ = call("predict", tmp_path / "run", "a very good film", "this plot was awful")
    assert code == 0
    assert len(out.strip().split("\n")) == 3
    # What was not drawn is measured on, and not learned.
    code, _, err = call(*base, *others, "--out", tmp_path / "drawn")
    assert code == 0, err
    config, metrics = (json.loads((tmp_path / "drawn" / name).read_text()) for name in ("config.json", "metrics.json"))
    assert (config["train_examples"], config["validation_examples"]) == (20, 44)
    assert config["exported_model_learned_from_validation_too"] is False
    drawn = sample_per_class(reviews, 10).texts.tolist()
    rest = Examples.from_lists(
        *zip(
            *[pair for pair in zip(reviews.texts, reviews.label_names, strict=True) if pair[0] not in drawn],
            strict=True,
        )
    )
    if len(rest) == 44:  # no text stands twice
        assert metrics["accuracy"] == pytest.approx(tlk.evaluate(tmp_path / "drawn", rest).accuracy)
    assert np.allclose(
        tlk.load_exported(tmp_path / "drawn").scores(reviews.texts),
        tlk.load_exported(tmp_path / "run").scores(reviews.texts),
        atol=1e-5,
    )
    # A finished run is no encoder to train from.
    code, _, err = call(*base[:4], "--encoder", tmp_path / "run", "--out", tmp_path / "other")
    assert (code, "a finished model and no encoder" in err) == (2, True), err
    for more, reason in (
        (["--per-class", 40], "has 32 example(s) of the class 'negative', fewer than the 40"),
        (["--hidden", 8], "so --hidden means nothing to it"),
        (["--unlabelled", tmp_path / "none.txt"], "none.txt"),
        (["--describe", "positive=good"], "the class 'negative' has no description"),
    ):
        code, _, err = call(*base, "--out", tmp_path / "other", *more)
        assert code == 2
        assert reason in err
        assert not (tmp_path / "other").exists()
