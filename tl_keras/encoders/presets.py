"""The published encoders that can be named without their address; the table itself is `presets.csv`."""

from __future__ import annotations

import csv
import difflib
import functools
import re
from dataclasses import dataclass
from importlib import resources
from urllib.parse import urlsplit

from tl_keras.errors import UserError

PACKAGE_PREFIX = "package:"


@dataclass(frozen=True)
class Preset:
    """One published encoder.

    Args:
        name: its TF Hub name without publisher and version.
        handle: where it is: a URL, or `package:NAME` for one that comes with this package.
        preprocessor: handle of its preprocessing module; None if it takes strings, or comes with it as a pair.
        kind: `"encoder"` (token ids in) or `"text-embedding"` (strings in, one vector out).
        language: codes joined by `;`, or `multilingual`.
        layers: transformer blocks, None if it has none or the number is not published.
        width: length of its vectors.
        parameters: worked out from the published architecture, the pooler included; None if that is not published.
        licence: as its page states it; tfhub.dev takes pages without a statement for Apache-2.0.
    """

    name: str
    handle: str
    preprocessor: str | None
    kind: str
    language: str
    layers: int | None
    width: int | None
    parameters: int | None
    licence: str | None


def list_presets(language: str | None = None, kind: str | None = None) -> list[Preset]:
    """The presets, in the order of the table.

    Args:
        language: only those that list this code, or are `multilingual`.
        kind: only `"encoder"` or `"text-embedding"`.

    Example:
        >>> list_presets(language="ko", kind="text-embedding")[0].name
        'nnlm-ko-dim50'
    """
    return [
        preset
        for preset in _table()
        if (kind is None or preset.kind == kind)
        and (language is None or language in preset.language.split(";") or preset.language == "multilingual")
    ]


def find_preset(name: str) -> Preset:
    """The preset of this name.

    Args:
        name: as in the table; the part before `_L-` is enough where only one preset has it.

    Raises:
        UserError: there is none; the message has the nearest names.

    Example:
        >>> find_preset("klue_bert_cased").handle
        'https://tfhub.dev/jeongukjae/klue_bert_cased_L-12_H-768_A-12/1'
    """
    preset = preset_for_handle(name)
    if preset is None:
        near = near_presets(name)
        hint = f"the nearest are: {', '.join(near)}" if near else "tl-keras encoders lists them all"
        raise UserError(f"there is no preset {name!r}; {hint}.")
    return preset


def preset_for_handle(handle: str) -> Preset | None:
    """The preset that a name, a TF Hub handle or URL (of any version), or a Kaggle URL means; None if there is none.

    Example:
        >>> url = "https://www.kaggle.com/models/tensorflow/bert/TensorFlow2/bert-multi-cased-l-12-h-768-a-12/4"
        >>> preset_for_handle(url).name
        'bert_multi_cased_L-12_H-768_A-12'
    """
    if handle.startswith(("http://", "https://")):
        address = urlsplit(handle)
        path = address.path.strip("/")
        if address.netloc.endswith("kaggle.com"):
            found = [preset for preset in _table() if _is_kaggle_path(preset, path)]
            # Kaggle's names leave out `small_bert/`, so one of them could mean two; the original has the shorter name.
            return min(found, key=lambda preset: len(preset.name), default=None)
        return next((preset for preset in _table() if _hub_path(preset.handle) == _without_version(path)), None)
    exact = (preset for preset in _table() if handle in (preset.name, preset.handle))
    by_path = (preset for preset in _table() if _hub_path(preset.handle) == _without_version(handle.strip("/")))
    by_stem = [preset for preset in _table() if preset.name.split("_L-")[0] == handle]
    return next(exact, None) or next(by_path, None) or (by_stem[0] if len(by_stem) == 1 else None)


def near_presets(name: str) -> list[str]:
    """At most three preset names like `name`, nearest first."""
    names = {preset.name.lower(): preset.name for preset in _table()}
    wanted = _without_version(name.rstrip("/")).lower()
    near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.6)
    # A beginning of a name is far from it by the letters, but is what people type.
    near += [key for key in names if wanted and wanted.replace("-", "_") in key.replace("-", "_")]
    return [names[key] for key in dict.fromkeys(near)][:3]


@functools.lru_cache(maxsize=1)
def _table() -> tuple[Preset, ...]:
    with (resources.files("tl_keras.encoders") / "presets.csv").open(encoding="utf-8", newline="") as file:
        return tuple(_preset(row) for row in csv.DictReader(file))


def _preset(row: dict[str, str]) -> Preset:
    values = {key: value or None for key, value in row.items()}
    for number in ("layers", "width", "parameters"):
        values[number] = int(values[number]) if values[number] else None
    return Preset(**values)


def _without_version(path: str) -> str:
    return re.sub(r"/\d+$", "", path)


def _hub_path(handle: str) -> str | None:
    path = urlsplit(handle).path.strip("/") if handle.startswith("https://tfhub.dev/") else ""
    return _without_version(path) if path else None


def _is_kaggle_path(preset: Preset, path: str) -> bool:
    """Whether a path like `models/tensorflow/bert/TensorFlow2/<variation>/4` is this preset's.

    Kaggle took the names over from TF Hub, in small letters and with dashes.
    """
    hub = _hub_path(preset.handle)
    parts = path.lower().split("/")
    if hub is None or len(parts) < 3 or parts[0] != "models":
        return False
    publisher, *_, name = hub.lower().replace("_", "-").split("/")
    return parts[1] == publisher and name in (_without_version("/".join(parts)).split("/")[-1], parts[2])
