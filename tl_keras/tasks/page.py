"""What the pages of all runs have in common: `report.md`, written for people, with its plots."""

from __future__ import annotations

import logging
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from tl_keras.errors import UserError
from tl_keras.evaluation.plots import plot_history
from tl_keras.printable import markdown
from tl_keras.tasks.folder import Outcome

logger = logging.getLogger(__name__)

MISTAKES = 10
"""So many of the worst answers are shown."""


def write_page(
    folder: Path,
    outcome: Outcome,
    *,
    made_of: str,
    data: str = "",
    kept: Sequence[str] = (),
    metrics: Sequence[str],
    mistakes: Sequence[str],
    use: str,
    output: str,
    plots: Sequence[str] = (),
    more_plots: Callable[[Path], None] | None = None,
) -> None:
    """Write `report.md` and, where matplotlib is installed, `plots/*.png`.

    Args:
        folder: the run folder.
        outcome: of the run.
        made_of: encoder, transfer and what else matters of the model, in one line.
        data: ends the line on the number of examples.
        kept: lines on which weights were kept, and why.
        metrics: lines: what was measured, and tables of it.
        mistakes: lines: the worst answers.
        use: the commands that use the run, besides `evaluate`.
        output: what the export takes and gives; ends a sentence.
        plots: files under `plots/` that `more_plots` may draw besides the training curves.
        more_plots: draws them, given that folder.
    """
    config = outcome.config
    _draw(folder / "plots", outcome, more_plots)
    drawn = [name for name in ["training.png", *plots] if (folder / "plots" / name).is_file()]
    lines = [
        f"# {config['task']}: {markdown(Path(config['train']).name)}",
        "",
        f"- {made_of}, seq_length {config['seq_length']}",
        f"- {config['train_examples']} training and {config['validation_examples']} validation examples{data}",
        f"- {_learning(config)}, seed {config['seed']}: {outcome.seconds:.0f} s of training with {config['keras']}",
        *kept,
        "",
        "## On the validation examples",
        "",
        *metrics,
        *(f"![{Path(name).stem.replace('_', ' ')}](plots/{name})\n" for name in drawn),
        *mistakes,
        "## Use it",
        "",
        "```",
        use,
        f"tl-keras evaluate {in_shell(config['out'])} --data FILE",
        "```",
        "",
        f"`saved_model/1` takes strings and needs only `tensorflow` and `tensorflow_text`; it {output}.",
    ]
    (folder / "report.md").write_text("\n".join(lines) + "\n", "utf-8")


def _learning(config: dict) -> str:
    if config["epochs"]:
        return f"{config['epochs']} epochs of batches of {config['batch_size']}, peak learning rate {config['learning_rate']:.2g}"
    also = (
        ", the exported model from the validation examples too"
        if config.get("exported_model_learned_from_validation_too")
        else ""
    )
    return f"learned by the method `{config['few_shot_method']}`{also}"


def in_shell(path: str) -> str:
    """A path as it is typed: in quotes where a shell would read it otherwise.

    Example:
        >>> in_shell("runs/첫"), in_shell("내 실험/1")
        ('runs/첫', "'내 실험/1'")
    """
    return path if re.fullmatch(r"[\w./:@%+=-]+", path) else shlex.quote(path)


def _draw(plots: Path, outcome: Outcome, more: Callable[[Path], None] | None) -> None:
    """Draw the training curves and more; without matplotlib, say so and go on."""
    plots.mkdir(parents=True, exist_ok=True)
    try:
        if outcome.history:
            plot_history(outcome.history, plots / "training.png", outcome.best_epoch)
        if more is not None:
            more(plots)
    except UserError as error:
        logger.warning("No plots: %s", error)


def score_table(scores: pd.DataFrame, of: str, counted: str) -> list[str]:
    """Precision, recall and F1 of each class or label, as a Markdown table.

    Args:
        scores: by name, as the reports of `evaluate` hold them.
        of: heading of the names.
        counted: heading of how many there are.
    """
    rows = [
        [cell(name), f"{row.precision:.4f}", f"{row.recall:.4f}", f"{row.f1:.4f}", f"{row.support:.0f}"]
        for name, row in scores.iterrows()
    ]
    return table([of, "precision", "recall", "F1", counted], rows)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table and an empty line.

    Example:
        >>> table(["class", "F1"], [["good", "0.8000"]])
        ['| class | F1 |', '|---|---|', '| good | 0.8000 |', '']
    """
    return [
        f"| {' | '.join(columns)} |",
        "|---" * len(columns) + "|",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]


def section(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table under a title; nothing where there are no rows."""
    return [f"## {title}", "", *table(columns, rows)] if rows else []


def cell(text: str, width: int = 120) -> str:
    """A text made fit for a table: on one line, not too long."""
    return markdown(text, width)


def best_epoch_line(outcome: Outcome, why: str) -> list[str]:
    """Which epoch's weights were kept, where it was one's."""
    return [] if outcome.best_epoch is None else [f"- weights kept: those after epoch {outcome.best_epoch + 1}, {why}"]


def kept_line(outcome: Outcome, measure: str) -> list[str]:
    """Which weights were kept, those from before training among the choices."""
    if outcome.config.get("kept_weights_from_before_training"):
        return [f"- weights kept: those from before training, which no epoch beat in {measure}"]
    return best_epoch_line(outcome, f"with the best {measure}")
