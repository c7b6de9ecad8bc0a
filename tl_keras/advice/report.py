"""The folder that advice leaves for people: a page, two plots (extra `plots`), and the numbers."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import numpy as np

from tl_keras.advice.result import Advice, curve_lines, domain_lines, label_line, length_lines
from tl_keras.errors import UserError, no_os_error
from tl_keras.evaluation.plots import _figure, _finish
from tl_keras.files import whole_folder

CLASSES_DRAWN = 20
_COLOURS = ("tab:blue", "tab:orange")


def plot_texts(advice: Advice, path: str | os.PathLike | None = None):
    """How many examples each class has, and how long the texts are, with the limit beyond which they are cut.

    Args:
        advice: of `advise`.
        path: where to save a PNG; None only returns the figure.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        UserError: matplotlib is not installed.
    """
    counts = sorted(advice.labels.counts.items(), key=lambda item: -item[1])[:CLASSES_DRAWN]
    figure = _figure(9.6, max(3.6, 0.28 * len(counts) + 1.4))
    bars, histogram = figure.subplots(1, 2)
    places = np.arange(len(counts))
    bars.barh(places, [count for _, count in counts])
    bars.set_yticks(places, [_short(name) for name, _ in counts])
    bars.invert_yaxis()
    for place, (_, count) in zip(places, counts, strict=True):
        bars.annotate(f" {count:,}", (count, place), va="center")
    bars.margins(x=0.15)
    bars.set_xlabel("examples")
    hidden = len(advice.labels.counts) - len(counts)
    bars.set_title("labels" if hidden < 1 else f"labels, the {len(counts)} most common of {len(counts) + hidden}")
    lengths = advice.lengths
    # A few very long texts must not squeeze all others into one bar.
    most = max(lengths.percentiles[99], lengths.seq_length if lengths.cut else 0) + 1
    # Bars of whole tokens: others would hold now one length and now two.
    step = -(-most // 40)
    most = -(-most // step) * step
    histogram.hist(np.minimum(lengths.lengths, most), bins=np.arange(0, most + step + 1, step))
    if lengths.seq_length is not None and lengths.seq_length <= most:
        label = f"seq_length {lengths.seq_length}: {lengths.cut:.1%} cut"
        histogram.axvline(lengths.seq_length, color="tab:red", linestyle="--", label=label)
        histogram.legend()
    histogram.set_xlabel(f"{lengths.unit} in a text (longer than {most - 1}: last bar)")
    histogram.set_ylabel("texts")
    histogram.set_title("lengths")
    return _finish(figure, path)


def plot_learning_curve(advice: Advice, path: str | os.PathLike | None = None):
    """Held-out accuracy against the number of labels, measured and forecast, for the frozen encoder and TF-IDF.

    Args:
        advice: of `advise`.
        path: where to save a PNG; None only returns the figure.

    Returns:
        A `matplotlib.figure.Figure`; one that says so if there was nothing to measure.

    Raises:
        UserError: matplotlib is not installed.
    """
    figure = _figure(7.2, 4.4)
    axes = figure.subplots()
    if not advice.curves:
        axes.set_axis_off()
        axes.text(0.5, 0.5, f"{advice.sampled} different texts: too few for a learning curve", ha="center")
        return _finish(figure, path)
    for curve, colour in zip(advice.curves, _COLOURS, strict=False):
        mean, spread = curve.accuracy.mean(axis=1), curve.accuracy.std(axis=1, ddof=1)
        axes.errorbar(curve.sizes, mean, yerr=spread, fmt="o", capsize=3, color=colour, label=curve.method)
        law = curve.law
        end = curve.forecasts[-1].labels
        line = np.geomspace(curve.sizes[0], end, 100)
        axes.plot(line, 1 - law.error(line), color=colour, linestyle=":")
        labels = [entry.labels for entry in curve.forecasts]
        low, high = ([getattr(entry, name) for entry in curve.forecasts] for name in ("low", "high"))
        axes.fill_between(labels, low, high, color=colour, alpha=0.15)
    now = advice.curves[0].with_all.labels
    axes.axvline(now, color="grey", linewidth=1, label=f"labels there are: {now:,}")
    axes.axhline(
        advice.labels.majority, color="grey", linestyle="--", linewidth=1, label="always the most common label"
    )
    axes.set_xscale("log")
    ticks = [*advice.curves[0].sizes, *(entry.labels for entry in advice.curves[0].forecasts)]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks], rotation=45)
    axes.minorticks_off()
    axes.set_xlabel("labels")
    axes.set_ylabel("accuracy on held-out texts")
    axes.set_title("measured (points, spread over splits) and forecast (dotted, shaded)")
    axes.grid(alpha=0.3)
    axes.legend()
    return _finish(figure, path)


def _short(name: str, most: int = 24) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


logger = logging.getLogger(__name__)
_FILES = {"advice.json", "report.md", "plots"}


def check_free(folder: str | os.PathLike, *, overwrite: bool = False) -> None:
    """Raise `UserError` unless advice may be written to `folder`."""
    path = Path(folder)
    if not path.exists():
        return
    if not path.is_dir():
        raise UserError(f"{path} is a file; choose another --out.")
    found = {entry.name for entry in path.iterdir()}
    if found and not overwrite:
        raise UserError(f"{path} exists; choose another --out, or pass --overwrite to replace it.")
    if not found <= _FILES:
        raise UserError(
            f"{path} holds other files than advice ({sorted(found - _FILES)[0]}), so it is not overwritten."
        )


def write_advice(advice: Advice, folder: str | os.PathLike, *, overwrite: bool = False) -> Path:
    """Write `advice.json`, `report.md` and, where matplotlib is installed, `plots/texts.png` and `plots/learning_curve.png`.

    Args:
        advice: of `advise`.
        folder: to write; it appears whole or not at all.
        overwrite: replace advice that is there.

    Returns:
        The folder.

    Raises:
        UserError: it exists, or cannot be written.
    """
    check_free(folder, overwrite=overwrite)
    target = Path(folder)
    with whole_folder(target, replace=overwrite) as work, no_os_error(target):
        (work / "plots").mkdir()
        drawn = _draw(advice, work / "plots")
        (work / "report.md").write_text(report_page(advice, drawn), "utf-8")
        (work / "advice.json").write_text(json.dumps(advice.to_dict(), ensure_ascii=False, indent=2) + "\n", "utf-8")
    return target


def report_page(advice: Advice, plots: list[str]) -> str:
    """The page, in Markdown.

    Args:
        advice: of `advise`.
        plots: names of the files in `plots/`.
    """
    found = [label_line(advice.labels), *length_lines(advice.lengths), *domain_lines(advice.domain)]
    lines = [
        f"# Advice: {Path(advice.source).name}",
        "",
        f"Encoder `{advice.encoder}`.",
        "",
        "## What to do",
        "",
        f"**{advice.recommendation.headline}**",
        "",
        *(f"- {line}" for line in (*advice.recommendation.reasons, *advice.notes)),
        "",
        "```",
        advice.command_line,
        "```",
        "",
        "## What was found",
        "",
        *(f"- {line}" for line in found),
        "",
        *(f"![{name.removesuffix('.png').replace('_', ' ')}](plots/{name})\n" for name in plots),
        "## Learning curve",
        "",
        "```",
        *curve_lines(advice.curves),
        "```",
    ]
    return "\n".join(lines) + "\n"


def _draw(advice: Advice, folder: Path) -> list[str]:
    try:
        plot_texts(advice, folder / "texts.png")
        plot_learning_curve(advice, folder / "learning_curve.png")
    except UserError as error:
        logger.warning("No plots: %s", error)
    return sorted(path.name for path in folder.glob("*.png"))
