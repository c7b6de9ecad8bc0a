"""The loss plot of a pre-training run, from the history that it left."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tl_keras.pretraining.run_log import read_history


def plot_losses(folder: str | Path, losses: Mapping[str, str], tokens: str, unit: str, shared: bool = False) -> Path:
    """Draw losses over the tokens seen, in training and on the held-out documents.

    Args:
        folder: A run folder with `history.csv`.
        losses: Columns of the history, with a title for each.
        tokens: What the tokens are: words, tokens.
        unit: What the losses are.
        shared: Whether the losses are of one kind, and drawn to one scale.

    Returns:
        The picture, `plots/loss.png`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = read_history(folder)
    # A figure of its own, not pyplot's: drawing must not change the caller's backend.
    figure = Figure(figsize=(8, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(losses), sharey=shared, squeeze=False)[0]
    for axis, (loss, title) in zip(axes, losses.items(), strict=True):
        for column, label in ((loss, "training"), (f"heldout_{loss}", "held out")):
            points = [(int(row["tokens"]) / 1e6, float(row[column])) for row in rows if row[column]]
            if points:
                axis.plot(*zip(*points, strict=True), label=label, marker="." if len(points) < 40 else None)
        axis.set(title=title, xlabel=f"million {tokens} seen", ylabel=unit)
        if axis.lines:
            axis.legend()
    path = Path(folder) / "plots" / "loss.png"
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)
    return path
