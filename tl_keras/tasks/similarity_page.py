"""The page a run of sentence similarity leaves for people."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tl_keras.data.pairs import ScoredExamples
from tl_keras.serving.predict import as_predictor
from tl_keras.tasks.outcome import Outcome
from tl_keras.tasks.page import MISTAKES, best_epoch_line, cell, draw, section, write_page


def write_similarity_page(folder: Path, outcome: Outcome, model, valid: ScoredExamples) -> None:
    """Write `report.md` and, where matplotlib is installed, `plots/training.png`.

    Args:
        folder: the run folder.
        outcome: of the run.
        model: to look for the largest disagreements with.
        valid: validation examples.
    """
    config, report = outcome.config, outcome.report
    draw(folder, outcome)
    low, high = config["score_range"]
    towers = config["architecture"] == "bi-encoder"
    kind = f"{config['architecture']}, {config['loss']} loss" if towers else config["architecture"]
    metrics = f"Spearman **{report.spearman:.4f}**, Pearson **{report.pearson:.4f}**"
    if report.mean_absolute_error is not None:
        metrics += (
            f", mean absolute error {report.mean_absolute_error:.4f}, root mean squared error "
            f"{report.root_mean_squared_error:.4f} (scores from {low:g} to {high:g})"
        )
    if towers:
        before = config["before_training"]
        metrics += f" (before training: {before['spearman']:.4f} and {before['pearson']:.4f})"
    write_page(
        folder,
        outcome,
        made_of=f"{kind}, encoder `{config['encoder']}`, {config['transfer']}, pooling {config['pooling']}",
        data=f", columns `{config['text']}`, `{config['text_pair']}` and `{config['label']}`",
        kept=kept_line(outcome, "Spearman"),
        metrics=[metrics, ""],
        mistakes=_disagreements(model, valid, towers),
        use=f'tl-keras predict {config["out"]} "one text" "another text"',
        output="gives `embedding`; the similarity of two texts is the cosine of their vectors"
        if towers
        else "takes `text` and `text_pair` and gives `score`",
    )


def kept_line(outcome: Outcome, measure: str) -> list[str]:
    """Which weights were kept, those from before training among the choices."""
    if outcome.config.get("kept_weights_from_before_training"):
        return [f"- weights kept: those from before training, which no epoch beat in {measure}"]
    return best_epoch_line(outcome, f"with the best {measure}")


def _disagreements(model, valid: ScoredExamples, towers: bool) -> list[str]:
    """The pairs that the model ranks most unlike people: where wrong scores and blind spots show."""
    predictor = as_predictor(model)
    predicted = (predictor.similarity if towers else predictor.scores)(valid.texts, valid.text_pairs)
    true_ranks, ranks = (np.argsort(np.argsort(values, kind="stable")) for values in (valid.labels, predicted))
    worst = np.argsort(-np.abs(true_ranks - ranks), kind="stable")[:MISTAKES]
    rows = [
        [cell(valid.texts[i]), cell(valid.text_pairs[i]), f"{valid.labels[i]:g}", f"{predicted[i]:.2f}"] for i in worst
    ]
    columns = ["text", "other text", "score", "cosine" if towers else "predicted"]
    return section("Largest disagreements in rank", columns, rows)
