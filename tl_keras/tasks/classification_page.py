"""The page a text classifier's run leaves for people."""

from __future__ import annotations

from pathlib import Path

from tl_keras.data.examples import Examples
from tl_keras.evaluation.plots import plot_confusion_matrix
from tl_keras.serving.predict import predict
from tl_keras.tasks.outcome import Outcome
from tl_keras.tasks.page import MISTAKES, best_epoch_line, cell, draw, section, table, write_page
from tl_keras.tasks.run_encoder import coverage_line, encoder_line


def write_classification_page(folder: Path, outcome: Outcome, model, valid: Examples) -> None:
    """Write `report.md` and, where matplotlib is installed, `plots/*.png`.

    Args:
        folder: the run folder.
        outcome: of the run.
        model: to look for the most confident errors with.
        valid: validation examples.
    """
    config, report = outcome.config, outcome.report

    def confusion(plots: Path) -> None:
        if report.confusion is not None and len(report.classes) <= 40:
            plot_confusion_matrix(report, plots / "confusion_matrix.png")

    draw(folder, outcome, confusion)
    pair = f" + `{config['text_pair']}`" if config["text_pair"] else ""
    rows = [
        [cell(name), f"{row.precision:.4f}", f"{row.recall:.4f}", f"{row.f1:.4f}", f"{row.support:.0f}"]
        for name, row in report.per_class.iterrows()
    ]
    write_page(
        folder,
        outcome,
        made_of=f"{encoder_line(config)}, pooling {config['pooling']}",
        data=f", columns `{config['text']}`{pair} and `{config['label']}`",
        kept=coverage_line(config)
        + best_epoch_line(
            outcome,
            "which had the lowest loss on the validation examples below; so their metrics flatter a little, the more the fewer "
            "they are",
        ),
        metrics=[
            f"accuracy **{report.accuracy:.4f}**, macro F1 **{report.macro_f1:.4f}**, loss {report.loss:.4f}",
            "",
            *table(["class", "precision", "recall", "F1", "examples"], rows),
        ],
        mistakes=_mistakes(model, valid),
        use=f'tl-keras predict {config["out"]} "..."',
        output="gives `label`, `score` and `scores`",
        plots=["confusion_matrix.png"],
    )


def _mistakes(model, valid: Examples) -> list[str]:
    """The validation texts that the model got wrong while most sure: where label errors and blind spots show first."""
    if valid.multi_label:
        return []
    frame = predict(model, valid.texts.tolist(), None if valid.text_pairs is None else valid.text_pairs.tolist())
    frame["true"] = valid.label_names
    wrong = frame[frame.label != frame.true].sort_values("score", ascending=False, kind="stable").head(MISTAKES)
    texts = wrong.text if "text_pair" not in wrong else wrong.text + " / " + wrong.text_pair
    rows = [
        [cell(text), cell(true), cell(label), f"{score:.2f}"]
        for text, true, label, score in zip(texts, wrong.true, wrong.label, wrong.score, strict=True)
    ]
    return section("Most confident errors", ["text", "label", "predicted", "score"], rows)
