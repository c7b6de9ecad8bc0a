"""From a handle to a local folder: preset names, TF Hub and Kaggle URLs, archives and folders."""

from __future__ import annotations

import difflib
import json
import logging
import os
from importlib import resources
from pathlib import Path

from tl_keras.encoders.download import fetch_url, modules_in, refuse_unsafe, unpack
from tl_keras.encoders.packed_pair import is_packed, unpacked
from tl_keras.encoders.presets import PACKAGE_PREFIX, near_presets, preset_for_handle
from tl_keras.encoders.saved_model_files import (
    damage,
    is_preprocessor,
    is_saved_model,
    other_format,
    saved_models_below,
    takes_strings,
)
from tl_keras.errors import UserError
from tl_keras.manifest import tree_sha256
from tl_keras.paths import on_disk, path_text
from tl_keras.saved_models import check_saved_model, is_export

logger = logging.getLogger(__name__)

ENCODER, PREPROCESS = "encoder", "preprocess"
PIN = "#sha256="
"""Ends the place in a handle; behind it stands the hash that is asked for."""
_ARCHIVES = (".tar", ".tar.gz", ".tgz")


def resolve(handle: str | os.PathLike) -> Path | str:
    """Find the SavedModel that a handle means, and download or unpack it if it must be.

    Args:
        handle: a folder, a `.tar.gz`, a URL, or a preset name. What exists as a file or folder is taken for one. Of an
            encoder pair, the encoder is meant.

    Returns:
        Its folder; a `gs://` address stays a string, which TensorFlow reads where it is.

    Raises:
        UserError: nothing is there, it cannot be fetched, or it is no whole SavedModel.
    """
    return _half(handle, ENCODER)


def resolve_pair(
    handle: str | os.PathLike, preprocessor: str | os.PathLike | None = None
) -> tuple[Path | str, Path | str | None]:
    """Find an encoder and its preprocessing module.

    Args:
        handle: as for `resolve`; a folder or archive may hold `encoder/` and `preprocess/`.
        preprocessor: handle of the preprocessing module. Without it, the preset table says which belongs to a URL.

    Returns:
        `(encoder, preprocess)`, two folders; the second is None for a text embedding module, which takes strings.

    Raises:
        UserError: nothing is there, or it is not a pair and the preprocessing module is not known.
    """
    if preprocessor is not None:
        return _half(handle, ENCODER), _half(preprocessor, PREPROCESS)
    folder = locate(handle)
    if isinstance(folder, Path) and not is_saved_model(folder):
        return _pair_in(folder, handle)
    encoder = _require_whole(folder)
    preset = preset_for_handle(os.fspath(handle).partition(PIN)[0])
    if preset is not None and (preset.preprocessor or preset.kind == "text-embedding"):
        return encoder, _half(preset.preprocessor, PREPROCESS) if preset.preprocessor else None
    if isinstance(encoder, Path):
        if is_preprocessor(encoder):
            raise UserError(f"{handle} is a preprocessing module; give the handle of the encoder it belongs to.")
        if is_export(encoder):
            raise UserError(_not_a_model(encoder, handle))
        if takes_strings(encoder):
            return encoder, None
        # `pair/encoder` given instead of `pair`
        if encoder.name == ENCODER and is_saved_model(encoder.parent / PREPROCESS):
            return encoder, _require_whole(encoder.parent / PREPROCESS)
    raise UserError(
        f"{handle} is an encoder, but which preprocessing module belongs to it is not known; name it with "
        f"preprocessor=, or put both into one folder, as {ENCODER}/ and {PREPROCESS}/."
    )


def _half(handle: str | os.PathLike, name: str) -> Path | str:
    """The SavedModel under a handle; if that is a pair, its half of this name."""
    folder = locate(handle)
    if isinstance(folder, str) or is_saved_model(folder):
        return _require_whole(folder)
    if is_saved_model(folder / name):
        return _require_whole(folder / name)
    raise UserError(_not_a_model(folder, handle))


def locate(handle: str | os.PathLike) -> Path | str:
    """The folder that a handle means, whatever it holds.

    A handle that ends in `#sha256=` and the hash of `tree_sha256` is pinned: anything else under it is refused.
    """
    text, _, pinned = path_text(handle).partition(PIN)
    folder = _locate(text, bool(pinned))
    if pinned:
        if isinstance(folder, str):
            raise UserError(
                f"{text} is read where it is, so it cannot be pinned; copy it to a folder, or leave out {PIN}..."
            )
        found = tree_sha256(folder)
        if found != pinned.lower():
            raise UserError(
                f"{text} has the hash {found}, not {pinned} as its handle asks for: it is another version, or was changed on its way."
            )
    return folder


def _locate(text: str, pinned: bool) -> Path | str:
    if not text.strip():
        raise UserError("the handle is empty; give a preset name, a URL, an archive or a folder.")
    if text.startswith(PACKAGE_PREFIX):
        return _package_folder(text)
    if "://" in text:
        refuse_unsafe(text, pinned)
        fetched = fetch_url(text)
        return _only_module(fetched) if isinstance(fetched, Path) else fetched
    path = on_disk(text)
    if path.is_dir():
        # Nothing new to somebody who named the whole path.
        logger.log(logging.DEBUG if path.is_absolute() else logging.INFO, "%s: using %s", text, path.resolve())
        return unpacked(path) if is_packed(path) else path
    if path.is_file():
        if path.name.endswith(_ARCHIVES):
            return _only_module(unpack(path))
        raise UserError(f"{path} is {other_format(path) or 'no folder and no .tar.gz with a SavedModel'}.")
    preset = preset_for_handle(text)
    if preset is not None:
        return locate(preset.handle)
    raise UserError(_not_found(text, path))


def _package_folder(handle: str) -> Path:
    name = handle.removeprefix(PACKAGE_PREFIX)
    folder = Path(str(resources.files("tl_keras") / "encoders" / name))
    if not folder.is_dir():
        raise UserError(f"this installation of tl_keras has no encoder {name!r} inside; install the package again.")
    return unpacked(folder) if is_packed(folder) else folder


def _only_module(folder: Path) -> Path:
    """Step down into an archive's single outer folder, which many archives have."""
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    if not is_saved_model(folder) and len(entries) == 1 and entries[0].is_dir() and modules_in(entries[0]):
        return entries[0] if entries[0].name != ENCODER else folder
    return folder


def _pair_in(folder: Path, handle) -> tuple[Path, Path]:
    for half in (ENCODER, PREPROCESS):
        check_saved_model(folder / half)
    missing = [name for name in (ENCODER, PREPROCESS) if not is_saved_model(folder / name)]
    if not missing:
        return _require_whole(folder / ENCODER), _require_whole(folder / PREPROCESS)
    if len(missing) == 2 and PREPROCESS not in {entry.name for entry in folder.iterdir()}:
        raise UserError(_not_a_model(folder, handle))
    raise UserError(
        f"{handle} is not an encoder pair: it has no SavedModel in {' nor in '.join(f'{name}/' for name in missing)}"
        f"{_near_folders(folder, missing)}."
    )


def _near_folders(folder: Path, missing: list[str]) -> str:
    has = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    near = [match for name in missing for match in difflib.get_close_matches(name, has, n=1, cutoff=0.5)]
    near = [name for name in near if name not in (ENCODER, PREPROCESS)]
    if near:
        return f"; rename {', '.join(f'{name}/' for name in near)} if that is it"
    return f" (it has: {', '.join(f'{name}/' for name in has)})" if has else ""


def _require_whole(folder: Path | str) -> Path | str:
    if isinstance(folder, Path):
        check_saved_model(folder)
    fault = damage(folder) if isinstance(folder, Path) else None
    if fault:
        raise UserError(f"the SavedModel in {folder} is damaged ({fault}); copy or download it again.")
    return folder


def _not_a_model(folder: Path, handle) -> str:
    if is_export(folder):
        return (
            f"{handle} is a run or an export of this package, a finished model and no encoder: use it with tl-keras predict, and train from the "
            "encoder that it was made of."
        )
    kind = other_format(folder)
    if kind:
        return f"{handle} is {kind}."
    below = saved_models_below(folder)
    if below:
        return (
            f"{handle} itself holds no SavedModel; give the folder in it that does: {', '.join(map(str, below[:5]))}."
        )
    has = sorted(entry.name for entry in folder.iterdir())
    listed = ", ".join(has[:8]) + (", ..." if len(has) > 8 else "") if has else "nothing"
    return (
        f"{handle} is neither a SavedModel (no saved_model.pb) nor an encoder pair (no {ENCODER}/ and {PREPROCESS}/); "
        f"it holds: {listed}."
    )


def _not_found(text: str, path: Path) -> str:
    if text.startswith(("tfhub.dev/", "www.kaggle.com/", "kaggle.com/")):
        return f"{text} is neither a file, a folder nor a preset; for the web address write https://{text}."
    near = near_presets(text)
    parent = path.parent
    siblings = [entry.name for entry in parent.iterdir()] if parent.is_dir() else []
    near += [str(parent / name) for name in difflib.get_close_matches(path.name, siblings, n=2, cutoff=0.7)]
    hint = f"the nearest are: {', '.join(near)}" if near else "tl-keras encoders lists the presets"
    if text.count("/") == 1:
        hint += "; another library's checkpoint is converted first: tl-keras convert CHECKPOINT --out FOLDER"
    return f"{text} is neither a file, a folder nor a preset; {hint}."


def read_suggestions(encoder_folder: str | Path) -> dict:
    """What an encoder's makers found to work, from the `info.json` beside `encoder/`; empty without one.

    Args:
        encoder_folder: the encoder's SavedModel.

    Returns:
        See `Encoder.suggested`.

    Raises:
        UserError: the file is no JSON.
    """
    folder = Path(encoder_folder)
    path = folder.parent / "info.json"
    if folder.name != ENCODER or not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text("utf-8")).get("suggested", {}))
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON: {error}.") from error
