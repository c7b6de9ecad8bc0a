"""Metrics against numbers counted by hand, and plots that show them."""

from __future__ import annotations

import math
import warnings

import matplotlib
import numpy as np
import pytest
from fontTools.ttLib import TTFont
from matplotlib import font_manager

from tl_keras import UserError, evaluate, text_classifier
from tl_keras.data import Examples
from tl_keras.evaluation.classification import classification_report
from tl_keras.plots import plot_confusion_matrix, plot_history

# Six texts: true a a a b b c, predicted a a b b c c.
LABELS = np.array([0, 0, 0, 1, 1, 2])
SCORES = np.array(
    [[0.8, 0.1, 0.1], [0.6, 0.2, 0.2], [0.3, 0.5, 0.2], [0.1, 0.7, 0.2], [0.2, 0.3, 0.5], [0.1, 0.1, 0.8]]
)


def test_against_numbers_counted_by_hand():
    report = classification_report(LABELS, SCORES, ["a", "b", "c"])
    assert report.confusion.tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 1]]
    assert report.accuracy == pytest.approx(4 / 6)
    # F1: a 2*1*(2/3)/(5/3) = 0.8; b 0.5; c 2*0.5*1/1.5 = 2/3.
    assert report.per_class.f1.tolist() == pytest.approx([0.8, 0.5, 2 / 3])
    assert report.macro_f1 == pytest.approx((0.8 + 0.5 + 2 / 3) / 3)
    assert report.loss == pytest.approx(-np.mean(np.log([0.8, 0.6, 0.3, 0.7, 0.3, 0.8])))
    written = report.to_dict()
    assert written["per_class"]["b"]["support"] == 2
    assert written["confusion_matrix"] == [[2, 1, 0], [0, 1, 1], [0, 0, 1]]
    assert "accuracy 0.6667" in str(report)


def test_a_class_never_predicted_has_precision_zero():
    report = classification_report(np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]]), ["x", "y"])
    assert report.per_class.loc["y"].tolist() == [0.0, 0.0, 0.0, 1.0]


def test_several_labels():
    labels = np.array([[1, 0], [1, 1], [0, 0]], "float32")
    report = classification_report(labels, np.array([[0.9, 0.2], [0.8, 0.4], [0.6, 0.1]]), ["x", "y"])
    assert report.accuracy == pytest.approx(1 / 3)  # only the first row is right as a whole
    assert report.per_class.f1.tolist() == pytest.approx([2 * (2 / 3) * 1 / (5 / 3), 0.0])
    # Decisions: 2 true positives, 1 false positive, 1 false negative.
    assert report.micro_f1 == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert report.confusion is None
    assert report.to_dict()["confusion_matrix"] is None


def test_the_loss_of_several_labels_counts_those_that_are_wrong_and_stays_finite():
    # Chances of what is true: 0.9 and 1 - 0.2; 1 - 0.6 and 0.5.
    report = classification_report(np.array([[1, 0], [0, 1]]), np.array([[0.9, 0.2], [0.6, 0.5]]), ["x", "y"])
    assert report.loss == pytest.approx(-math.log(0.9 * 0.8 * 0.4 * 0.5) / 4)
    # Surely wrong, either way: as bad as a chance of one in ten million, not infinite.
    for label in (0, 1):
        report = classification_report(np.array([[label]]), np.array([[1.0 - label]]), ["x"])
        assert report.loss == pytest.approx(7 * math.log(10), rel=1e-6)


def test_evaluate_maps_classes_by_name(encoder, reviews):
    model = text_classifier(encoder, ["positive", "negative"])
    report = evaluate(model, reviews)
    turned = evaluate(text_classifier(encoder, ["positive", "negative"]), reviews)
    assert report.classes == turned.classes == ("positive", "negative")
    assert report.per_class.support.to_dict() == {"positive": 32, "negative": 32}
    with pytest.raises(UserError, match="'other'"):
        evaluate(model, Examples.from_lists(["a"], ["other"]))
    with pytest.raises(UserError, match="no labels"):
        evaluate(model, Examples.from_lists(["a"]))


def test_plots_hold_the_numbers(tmp_path):
    history = {"loss": [1.0, 0.5], "val_loss": [1.1, 0.7], "accuracy": [0.5, 0.75], "val_accuracy": [0.5, 0.6]}
    figure = plot_history(history, tmp_path / "h.png", best_epoch=1)
    lines = {line.get_label(): list(line.get_ydata()) for line in figure.axes[0].lines}
    assert lines["training"] == [1.0, 0.5]
    assert lines["validation"] == [1.1, 0.7]
    assert (tmp_path / "h.png").read_bytes()[1:4] == b"PNG"
    figure = plot_confusion_matrix(classification_report(LABELS, SCORES, ["a", "b", "c"]), tmp_path / "c.png")
    assert [text.get_text() for text in figure.axes[0].texts] == ["2", "1", "0", "0", "1", "1", "0", "0", "1"]
    # Two of three, one of two; of a class that no text has, nothing, not a division by zero.
    with np.errstate(all="raise"):
        figure = plot_confusion_matrix(
            classification_report(LABELS, np.pad(SCORES, ((0, 0), (0, 1))), ["a", "b", "c", "d"])
        )
    shown = np.ma.getdata(figure.axes[0].images[0].get_array())
    np.testing.assert_allclose(shown, [[2 / 3, 1 / 3, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 1, 0], [0, 0, 0, 0]])
    with pytest.raises(UserError, match="no training history"):
        plot_history({})


@pytest.mark.parametrize("system_fonts", [True, False])
def test_hangul_is_drawn(system_fonts, tmp_path, monkeypatch):
    if not system_fonts:
        monkeypatch.setattr("tl_keras.evaluation.plots._SYSTEM_FONTS", ())
    before = list(matplotlib.rcParams["font.family"])
    names = ["긍정", "부정", "뷁 café"]
    report = classification_report(LABELS, SCORES, names)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of each letter that no font has
        figure = plot_confusion_matrix(report, tmp_path / "hangul.png")
    labels = figure.axes[0].get_xticklabels()
    assert [label.get_text() for label in labels] == names
    for label in labels:
        families = label.get_fontfamily()
        files = [font_manager.findfont(font_manager.FontProperties(family=[family])) for family in families]
        glyphs = set().union(*(TTFont(file, fontNumber=0).getBestCmap() for file in files))
        assert set(map(ord, label.get_text())) <= glyphs
        assert families[: len(before)] == before  # Latin letters stay in the usual font
    assert list(matplotlib.rcParams["font.family"]) == before
    # Boxes would look alike, whatever the label.
    pictures = []
    for name in ("긍정", "부정"):
        plot_confusion_matrix(classification_report(LABELS, SCORES, ["a", "b", name]), tmp_path / "one.png")
        pictures.append((tmp_path / "one.png").read_bytes())
    assert pictures[0] != pictures[1]
