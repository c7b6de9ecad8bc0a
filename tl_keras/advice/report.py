"""The folder that advice leaves for people: a page, two plots, and the numbers."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

from tl_keras.advice.charts import plot_learning_curve, plot_texts
from tl_keras.advice.result import Advice, curve_lines, domain_lines, label_line, length_lines
from tl_keras.errors import UserError, no_os_error
from tl_keras.files import whole_folder

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
