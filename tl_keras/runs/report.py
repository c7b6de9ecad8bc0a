"""The page and the plots a run leaves for people."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from tl_keras.data.examples import Examples
from tl_keras.errors import UserError
from tl_keras.evaluation.classification import ClassificationReport
from tl_keras.evaluation.plots import plot_confusion_matrix, plot_history
from tl_keras.serving.predict import predict

logger = logging.getLogger(__name__)

MISTAKES = 10


def write_report(
    folder: Path,
    config: dict,
    report: ClassificationReport,
    history: dict,
    best_epoch: int | None,
    seconds: float,
    model,
    valid: Examples,
) -> None:
    """Write `plots/*.png` (where matplotlib is installed) and `report.md`.

    Args:
        folder: the run folder.
        config: what `config.json` holds.
        report: on the validation examples.
        history: of `fit`.
        best_epoch: from 0, or None.
        seconds: of training.
        model: to look for the surest mistakes with.
        valid: validation examples.
    """
    plots = _draw(folder / "plots", report, history, best_epoch)
    pair = f" + `{config['text_pair']}`" if config["text_pair"] else ""
    lines = [
        f"# {config['task']}: {Path(config['train']).name}",
        "",
        f"- encoder `{config['encoder']}`, {config['transfer']}, pooling {config['pooling']}, seq_length {config['seq_length']}",
        f"- {config['train_examples']} training and {config['validation_examples']} validation examples, "
        f"columns `{config['text']}`{pair} and `{config['label']}`",
        f"- {config['epochs']} epochs of batches of {config['batch_size']}, peak learning rate {config['learning_rate']:.2g}, "
        f"seed {config['seed']}: {seconds:.0f} s of training with {config['keras']}",
        ""
        if best_epoch is None
        else f"- weights kept: those after epoch {best_epoch + 1}, which had the lowest loss on the validation examples below; "
        "so their figures flatter a little, the more the fewer they are",
        "",
        "## On the validation examples",
        "",
        f"accuracy **{report.accuracy:.4f}**, macro F1 **{report.macro_f1:.4f}**, loss {report.loss:.4f}",
        "",
        "| class | precision | recall | F1 | examples |",
        "|---|---|---|---|---|",
        *(
            f"| {_cell(name)} | {row.precision:.4f} | {row.recall:.4f} | {row.f1:.4f} | {row.support:.0f} |"
            for name, row in report.per_class.iterrows()
        ),
        "",
        *(f"![{name.stem.replace('_', ' ')}](plots/{name.name})\n" for name in plots),
        *_mistakes(model, valid),
        "## Use it",
        "",
        "```",
        f'tl-keras predict {config["out"]} "..."',
        f"tl-keras evaluate {config['out']} --data FILE",
        "```",
        "",
        "`saved_model/1` takes strings and needs only `tensorflow` and `tensorflow_text`.",
    ]
    (folder / "report.md").write_text("\n".join(lines) + "\n", "utf-8")


def _draw(folder: Path, report: ClassificationReport, history: dict, best_epoch: int | None) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    try:
        if history:
            plot_history(history, folder / "training.png", best_epoch)
            drawn.append(folder / "training.png")
        if report.confusion is not None and len(report.classes) <= 40:
            plot_confusion_matrix(report, folder / "confusion_matrix.png")
            drawn.append(folder / "confusion_matrix.png")
    except UserError as error:
        logger.warning("No plots: %s", error)
    return drawn


def _mistakes(model, valid: Examples) -> list[str]:
    """The validation texts that the model got wrong while most sure: where label errors and blind spots show first."""
    if valid.multi_label:
        return []
    frame = predict(model, valid.texts.tolist(), None if valid.text_pairs is None else valid.text_pairs.tolist())
    frame["true"] = valid.label_names
    wrong = frame[frame.label != frame.true].sort_values("score", ascending=False, kind="stable").head(MISTAKES)
    if not len(wrong):
        return []
    texts = wrong.text if "text_pair" not in wrong else wrong.text + " / " + wrong.text_pair
    rows = [
        f"| {_cell(text)} | {_cell(true)} | {_cell(label)} | {score:.2f} |"
        for text, true, label, score in zip(texts, wrong.true, wrong.label, np.asarray(wrong.score), strict=True)
    ]
    return ["## Surest mistakes", "", "| text | label | predicted | score |", "|---|---|---|---|", *rows, ""]


def _cell(text: str, width: int = 120) -> str:
    text = " ".join(str(text).split()).replace("|", "\\|")
    return text if len(text) <= width else text[: width - 1] + "…"
