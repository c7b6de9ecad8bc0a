"""An index as a folder: written whole, looked through when it is read, and known to belong to an encoder by a few vectors."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tl_keras._version import __version__
from tl_keras.errors import UserError, no_os_error
from tl_keras.files import need_space, whole_folder
from tl_keras.manifest import check_manifest, write_manifest
from tl_keras.paths import on_disk
from tl_keras.serving.nearest_search import ApproximateIndex, SharedWords
from tl_keras.serving.scorers import SentenceEncoder

FORMAT = 2
"""1 had no lexical part of its own: its encoder, kept in `encoder/`, gave vectors with one joined to them."""
META, TEXTS, VECTORS, PROBES, GRAPH = "meta.json", "texts.jsonl", "vectors.npy", "fingerprint.npy", "neighbours.usearch"

_META_KINDS = {
    "format": int,
    "tl_keras": str,
    "texts": int,
    "width": int,
    "made_with": dict,
    "approximate": bool,
    "lexical_weight": float,
}


class IndexContent(NamedTuple):
    """What an index folder holds, beside what `meta.json` says.

    Attributes:
        texts: `n` strings.
        vectors: float32 `[n, width]`, of length 1.
        probes: the encoder's fingerprint.
        graph: over the vectors; None for exact search.
        words: the texts' terms, or None.
    """

    texts: Sequence[str]
    vectors: np.ndarray
    probes: np.ndarray
    graph: ApproximateIndex | None
    words: SharedWords | None


def write_index(folder: str | os.PathLike, content: IndexContent, settings: dict, *, overwrite: bool) -> Path:
    """Write an index: `vectors.npy`, `texts.jsonl`, `fingerprint.npy`, `meta.json`, and with shared words `terms.json`, `terms.npz`.

    Args:
        folder: to write; it appears whole or not at all.
        content: of the index.
        settings: `made_with` and `lexical_weight`, for `meta.json`.
        overwrite: replace an index that is there.

    Raises:
        UserError: the folder exists, is no index, or cannot be written.
    """
    folder = Path(folder).expanduser()
    if folder.exists():
        if not overwrite:
            raise UserError(f"{folder} exists; choose another folder or pass overwrite=True (--overwrite).")
        if not folder.is_dir() or (any(folder.iterdir()) and not (folder / META).is_file()):
            raise UserError(f"{folder} is no index (it has no {META}), so it is not overwritten.")
    meta = {
        "format": FORMAT,
        "tl_keras": __version__,
        "texts": len(content.texts),
        "width": int(content.vectors.shape[1]),
        "approximate": content.graph is not None,
        **settings,
    }
    need_space(folder, content.vectors.nbytes + (0 if content.words is None else content.words.nbytes), "the index")
    with whole_folder(folder, replace=overwrite) as work, no_os_error(folder):
        np.save(work / VECTORS, content.vectors)
        np.save(work / PROBES, content.probes)
        with open(work / TEXTS, "w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(json.dumps(text, ensure_ascii=False) + "\n" for text in content.texts)
        if content.graph is not None:
            content.graph.save(work / GRAPH)
        if content.words is not None:
            content.words.save(work)
        (work / META).write_text(json.dumps(meta, ensure_ascii=False, indent=2) + "\n", "utf-8")
        write_manifest(work)
    return folder


def read_index(folder: str | os.PathLike, meta: dict, *, exact: bool) -> IndexContent:
    """Read what an index folder holds.

    Args:
        folder: that `write_index` wrote.
        meta: from `read_meta`.
        exact: leave an approximate index unread.

    Raises:
        UserError: it is damaged.
    """
    folder = on_disk(folder)
    try:
        probes = np.load(folder / PROBES, allow_pickle=False)
        vectors = np.load(folder / VECTORS, allow_pickle=False)
        texts = [json.loads(line) for line in (folder / TEXTS).read_text("utf-8").split("\n") if line]
    except (OSError, ValueError, EOFError, RecursionError) as error:
        raise UserError(f"the index {folder} is damaged ({error}); build it again.") from error
    if vectors.ndim != 2 or vectors.shape[1] != meta["width"] or not all(isinstance(text, str) for text in texts):
        raise UserError(
            f"the index {folder} is damaged: {VECTORS} or {TEXTS} does not hold what {META} says; build it again."
        )
    if not len(texts) == len(vectors) == meta["texts"]:
        raise UserError(
            f"the index {folder} is damaged: {META} says {meta['texts']} texts, there are {len(texts)} texts and "
            f"{len(vectors)} vectors; build it again."
        )
    graph = ApproximateIndex.load(folder / GRAPH) if meta["approximate"] and not exact else None
    words = SharedWords.load(folder) if meta["lexical_weight"] else None
    if words is not None and len(words) != len(texts):
        raise UserError(f"the index {folder} is damaged: its terms are not those of its texts; build it again.")
    return IndexContent(texts, vectors, probes, graph, words)


def read_meta(folder: str | os.PathLike) -> dict:
    """What an index folder says about itself.

    Raises:
        UserError: no index is there, or it was written by a later version.
    """
    path = on_disk(folder) / META
    if not path.is_file():
        what = f"is no index: it has no {META}" if Path(folder).exists() else "does not exist"
        raise UserError(f"{folder} {what}; tl-keras index builds one.")
    check_manifest(folder, "build the index again")
    try:
        meta = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({' '.join(str(error).split())}); build the index again.") from error
    if isinstance(meta, dict) and meta.get("format") == 1:
        meta["lexical_weight"] = 0.0
    wrong = [
        name for name, kind in _META_KINDS.items() if not isinstance(meta, dict) or type(meta.get(name)) is not kind
    ]
    if wrong or not isinstance(meta["made_with"].get("encoder"), str):
        raise UserError(
            f"{path} is damaged: {(wrong or ['made_with'])[0]!r} is missing or wrong; build the index again."
        )
    if meta["format"] > FORMAT:
        raise UserError(
            f"the index {folder} was written by tl_keras {meta['tl_keras']}, in a later format than this version "
            f"({__version__}) reads; update the package or build the index again."
        )
    return meta


# A short text, other scripts, upper case and accents, digits, and one long enough to show another seq_length.
PROBE_TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    "여기에서 서울까지 기차로 두 시간 반이 걸립니다.",
    "Ünïted Çafé: 3.14 + 42%",
    " ".join(f"word{number}" for number in range(300)),
)
TOLERANCE = 1e-3
"""The largest difference, for vectors of length 1: rounding on other machines and exports gives 1e-5, another model far more."""


def fingerprint(encoder: SentenceEncoder) -> np.ndarray:
    """The vectors of the probe texts, float32 `[probes, width]`, of length 1.

    A model and its export, which store their weights differently, have the same fingerprint; another training run, pooling,
    `seq_length` or vocabulary has another.
    """
    return encoder.unit_vectors(list(PROBE_TEXTS))


def same_encoder(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two fingerprints are those of one encoder.

    Example:
        >>> same_encoder(np.eye(2), np.eye(2) + 1e-5), same_encoder(np.eye(2), np.eye(2)[::-1])
        (True, False)
    """
    return one.shape == other.shape and bool(np.abs(one - other).max() < TOLERANCE)
