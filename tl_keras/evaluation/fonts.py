"""Letters that matplotlib's own font lacks, Hangul above all: a font of the system that has them, else one from a package."""

from __future__ import annotations

from importlib import util
from pathlib import Path

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
