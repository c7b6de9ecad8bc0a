"""Plots for people who would rather look: training curves and the confusion matrix (extra `plots`)."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from importlib import util
from pathlib import Path

import numpy as np

from tl_keras.errors import UserError
from tl_keras.evaluation.classification import ClassificationReport

# Of the usual systems: Linux (Noto, Nanum, Un), Windows, macOS.
_SYSTEM_FONTS = (
    "Noto Sans CJK KR",
    "Noto Sans KR",
    "NanumGothic",
    "NanumBarunGothic",
    "Malgun Gothic",
    "Apple SD Gothic Neo",
    "AppleGothic",
    "UnDotum",
)


def use_fonts_for_all_letters(figure) -> None:
    """Give each text of a figure, besides its own font, those that have the letters it lacks; `rcParams` stay as they are.

    matplotlib takes every letter from the first font of the list that has it, so Latin letters look as before. Letters for
    which no font is found are left: matplotlib warns of them when it draws.

    Args:
        figure: a `matplotlib.figure.Figure` with all its texts.
    """
    from matplotlib import font_manager
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        missing = {ord(letter) for letter in text.get_text() if not letter.isascii()}
        if missing:
            missing -= _letters_of(font_manager.findfont(text.get_fontproperties()))
            text.set_fontfamily([*text.get_fontfamily(), *_families_for(missing)])


def _families_for(letters: set[int]) -> list[str]:
    """Names of fonts which have these letters, a set of code points, as far as there are any."""
    from matplotlib import font_manager

    families: list[str] = []
    known = {font.name: font.fname for font in font_manager.fontManager.ttflist}
    for name in _SYSTEM_FONTS:
        if letters and name in known and letters & _letters_of(known[name]):
            families.append(name)
            letters = letters - _letters_of(known[name])
    packaged = _packaged_font()
    if letters and packaged is not None and letters & _letters_of(str(packaged)):
        families.append(font_manager.get_font(packaged).family_name)
        if families[-1] not in known:
            font_manager.fontManager.addfont(packaged)
    return families


def _packaged_font() -> Path | None:
    """NanumGothic (SIL Open Font License) of `koreanize-matplotlib`, of the extra `plots`.

    That package is not imported: doing so changes the font of all the user's plots.
    """
    spec = util.find_spec("koreanize_matplotlib")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder, "fonts", "NanumGothic.ttf")
        if path.is_file():
            return path
    return None


def _letters_of(font: str) -> set[int]:
    """The code points a font file has glyphs for."""
    from matplotlib import font_manager

    return set(font_manager.get_font(font).get_charmap())


logger = logging.getLogger(__name__)


def _figure(*size: float):
    try:
        # The object interface: no window system is asked for, and the user's own pyplot state stays untouched.
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError('plots need matplotlib: pip install "tl_keras[plots]"') from error
    return Figure(figsize=size, layout="constrained")


def _finish(figure, path: str | os.PathLike | None):
    use_fonts_for_all_letters(figure)
    if path is not None:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            figure.savefig(path, dpi=120)
        missing = [w for w in said if "missing from font" in str(w.message)]
        for warning in said:
            if warning not in missing:
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        if missing:
            # matplotlib says it once for each letter.
            logger.warning(
                "%s: no font here has all letters of the labels (for Hangul: pip install koreanize-matplotlib).", path
            )
    return figure


def plot_history(
    history: Mapping[str, Sequence[float]], path: str | os.PathLike | None = None, best_epoch: int | None = None
):
    """Training curves: a panel for each quantity, training and validation together, over epochs.

    Args:
        history: `model.fit(...).history`.
        path: where to save a PNG; None only returns the figure.
        best_epoch: (from 0) marked with a line.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        UserError: matplotlib is not installed, or the history is empty.
    """
    names = [name for name in history if not name.startswith("val_") and name not in {"epoch", "learning_rate", "lr"}]
    if not names:
        raise UserError("there is no training history to draw: no epoch was finished.")
    figure = _figure(4.6 * len(names), 3.6)
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(names))), names, strict=True):
        for key, label in ((name, "training"), ("val_" + name, "validation")):
            if key in history:
                values = list(history[key])
                axes.plot(range(1, len(values) + 1), values, marker="o", label=label)
        if best_epoch is not None:
            axes.axvline(best_epoch + 1, color="grey", linestyle=":", label="best epoch")
        axes.set_xlabel("epoch")
        axes.set_title(name.replace("_", " "))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    return _finish(figure, path)


def plot_confusion_matrix(report: ClassificationReport, path: str | os.PathLike | None = None):
    """The confusion matrix, coloured by the fraction of each true class, with counts.

    Args:
        report: of `evaluate`, for one label a text.
        path: where to save a PNG; None only returns the figure.

    Raises:
        UserError: matplotlib is not installed, or the report is of a multi-label model.
    """
    if report.confusion is None:
        raise UserError("a multi-label model has no confusion matrix.")
    size = max(3.2, 0.7 * len(report.classes) + 1.6)
    figure = _figure(size + 0.8, size)
    axes = figure.subplots()
    fractions = report.confusion / np.maximum(report.confusion.sum(1, keepdims=True), 1)
    image = axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(report.classes))
    names = list(report.classes)
    axes.set_xticks(ticks, names, rotation=45 if max(map(len, names)) > 4 else 0, ha="center")
    axes.set_yticks(ticks, names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    for row in ticks:
        for column in ticks:
            colour = "white" if fractions[row, column] > 0.55 else "black"
            axes.text(column, row, int(report.confusion[row, column]), ha="center", va="center", color=colour)
    figure.colorbar(image, ax=axes, label="fraction of the true class", shrink=0.8)
    return _finish(figure, path)
