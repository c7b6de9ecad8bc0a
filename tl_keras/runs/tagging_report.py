"""The page a tagger's run leaves for people."""

from __future__ import annotations

import logging
from pathlib import Path

from tl_keras.data.tagging import TaggedExamples
from tl_keras.errors import UserError
from tl_keras.evaluation.plots import plot_history
from tl_keras.evaluation.tagging import TaggingReport
from tl_keras.runs.report import _cell
from tl_keras.serving.predict import predict

logger = logging.getLogger(__name__)

MISTAKES = 10


def write_tagging_report(
    folder: Path,
    config: dict,
    report: TaggingReport,
    history: dict,
    best_epoch: int | None,
    seconds: float,
    model,
    valid: TaggedExamples,
) -> None:
    """Write `plots/training.png` (where matplotlib is installed) and `report.md`.

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
    drawn = _draw(folder / "plots", history, best_epoch)
    units = "first pieces of words" if config["label_pieces"] == "first" else "all pieces"
    lines = [
        f"# {config['task']}: {Path(config['train']).name}",
        "",
        f"- encoder `{config['encoder']}`, {config['transfer']}, tags on {units}, seq_length {config['seq_length']} "
        "(longer texts go through overlapping windows)",
        f"- {config['train_examples']} training and {config['validation_examples']} validation examples",
        f"- {config['epochs']} epochs of batches of {config['batch_size']}, peak learning rate {config['learning_rate']:.2g}, "
        f"seed {config['seed']}: {seconds:.0f} s of training with {config['keras']}",
        "" if best_epoch is None else f"- weights kept: those after epoch {best_epoch + 1}, with the best entity F1",
        "",
        "## On the validation examples",
        "",
        f"entity F1 **{report.f1:.4f}**, precision {report.precision:.4f}, recall {report.recall:.4f}, "
        f"macro F1 {report.macro_f1:.4f} (both ends and the label must be right; compared in {report.compared})",
        "",
        "| label | precision | recall | F1 | entities |",
        "|---|---|---|---|---|",
        *(
            f"| {_cell(name)} | {row.precision:.4f} | {row.recall:.4f} | {row.f1:.4f} | {row.support:.0f} |"
            for name, row in report.per_label.iterrows()
        ),
        "",
        *(["![training](plots/training.png)", ""] if drawn else []),
        *_mistakes(model, valid),
        "## Use it",
        "",
        "```",
        f'tl-keras predict {config["out"]} "..."',
        f"tl-keras evaluate {config['out']} --data FILE",
        "```",
        "",
        "`saved_model/1` takes strings and gives `starts`, `ends` (in characters), `labels`, `scores` and `count`; it needs only "
        "`tensorflow` and `tensorflow_text`.",
    ]
    (folder / "report.md").write_text("\n".join(lines) + "\n", "utf-8")


def _draw(folder: Path, history: dict, best_epoch: int | None) -> bool:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if history:
            plot_history(history, folder / "training.png", best_epoch)
            return True
    except UserError as error:
        logger.warning("No plots: %s", error)
    return False


def _mistakes(model, valid: TaggedExamples) -> list[str]:
    """The entities found that are not there, surest first: where label errors and blind spots show."""
    frame = predict(model, valid.texts.tolist())
    wrong = []
    for text, found, spans in zip(frame.text, frame.entities, valid.spans, strict=True):
        there = [(span.start, span.end, span.label) for span in spans]
        for entity in found:
            if (entity["start"], entity["end"], entity["label"]) not in there:
                touched = [
                    f"{text[a:b]} ({label})" for a, b, label in there if a < entity["end"] and entity["start"] < b
                ]
                wrong.append((entity["score"], entity, text, ", ".join(touched) or "none"))
    if not wrong:
        return []
    wrong.sort(key=lambda row: -row[0])
    rows = [
        f"| {_cell(text)} | {_cell(true)} | {_cell(entity['text'])} ({_cell(entity['label'])}) | {score:.2f} |"
        for score, entity, text, true in wrong[:MISTAKES]
    ]
    return ["## Surest mistakes", "", "| text | entity there | predicted | score |", "|---|---|---|---|", *rows, ""]
