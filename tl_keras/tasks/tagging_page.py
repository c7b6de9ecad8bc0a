"""The page a tagger's run leaves for people."""

from __future__ import annotations

from pathlib import Path

from tl_keras.data.tagging import TaggedExamples
from tl_keras.serving.predict import predict
from tl_keras.tasks.outcome import Outcome
from tl_keras.tasks.page import MISTAKES, best_epoch_line, cell, draw, section, table, write_page
from tl_keras.tasks.run_encoder import coverage_line, encoder_line


def write_tagging_page(folder: Path, outcome: Outcome, model, valid: TaggedExamples) -> None:
    """Write `report.md` and, where matplotlib is installed, `plots/training.png`.

    Args:
        folder: the run folder.
        outcome: of the run.
        model: to look for the most confident errors with.
        valid: validation examples.
    """
    config, report = outcome.config, outcome.report
    draw(folder, outcome)
    units = "first tokens of words" if config["label_tokens"] == "first" else "all tokens"
    rows = [
        [cell(name), f"{row.precision:.4f}", f"{row.recall:.4f}", f"{row.f1:.4f}", f"{row.support:.0f}"]
        for name, row in report.per_label.iterrows()
    ]
    write_page(
        folder,
        outcome,
        made_of=f"{encoder_line(config)}, tags on {units}, longer texts in overlapping windows",
        kept=coverage_line(config) + best_epoch_line(outcome, "with the best entity F1"),
        metrics=[
            f"entity F1 **{report.f1:.4f}**, precision {report.precision:.4f}, recall {report.recall:.4f}, "
            f"macro F1 {report.macro_f1:.4f} (both ends and the label must be right; compared in {report.compared})",
            "",
            *table(["label", "precision", "recall", "F1", "entities"], rows),
        ],
        mistakes=_mistakes(model, valid),
        use=f'tl-keras predict {config["out"]} "..."',
        output="gives `starts`, `ends` (in characters), `labels`, `scores` and `count`",
    )


def _mistakes(model, valid: TaggedExamples) -> list[str]:
    """The predicted entities that are not there, most confident first: where label errors and blind spots show first."""
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
    wrong.sort(key=lambda row: -row[0])
    rows = [
        [cell(text), cell(true), f"{cell(entity['text'])} ({cell(entity['label'])})", f"{score:.2f}"]
        for score, entity, text, true in wrong[:MISTAKES]
    ]
    return section("Most confident errors", ["text", "entity there", "predicted", "score"], rows)
