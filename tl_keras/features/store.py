"""Features on disk: a folder with the vectors, memory-mapped, and a key that says of which encoder and texts they are."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from tl_keras.data.examples import Examples
from tl_keras.errors import UserError
from tl_keras.files import file_sha256

FORMAT = 1
VECTORS, TOKENS, TEXTS, KEY = "vectors.npy", "tokens.npy", "texts.npy", "key.json"
_DIGEST = "S16"
# What the key says, as the user would say it.
_WORDS = {
    "format": "in another format",
    "encoder": "of another encoder, or of other weights",
    "preprocessor": "of another tokenizer",
    "seq_length": "of texts cut elsewhere",
    "layers": "of another number of blocks",
    "pooling": "pooled in another way",
    "dtype": "of another precision",
    "shape": "of another width",
}


@dataclasses.dataclass
class Features:
    """Vectors of texts, each different text once.

    Args:
        texts: bytes `[rows]`, what `digests` gives, sorted.
        vectors: float32 `[rows, ...]`, an array or a memory map.
        tokens: int64 `[rows]`, how many tokens each text has; None for a text embedding module.
    """

    texts: np.ndarray
    vectors: np.ndarray
    tokens: np.ndarray | None

    def rows(self, examples: Examples, advice: str) -> np.ndarray:
        """Where the vectors of these examples stand: int64 `[n]`.

        Args:
            examples: `n` texts or pairs.
            advice: what to do if some are missing.

        Raises:
            UserError: of some there is none.
        """
        wanted = digests(examples)
        found = np.minimum(np.searchsorted(self.texts, wanted), len(self.texts) - 1)
        missing = np.flatnonzero(self.texts[found] != wanted)
        if len(missing):
            raise UserError(
                f"{examples.source}: {len(missing)} of {len(examples)} texts are not among those whose features were computed, the first: "
                f"{examples.texts[missing[0]][:40]!r}; {advice}."
            )
        return found.astype("int64")


def digests(examples: Examples) -> np.ndarray:
    """Sixteen bytes for each text or pair, the same for the same text, for any two others different: bytes `[n]`."""
    pairs = [None] * len(examples) if examples.text_pairs is None else examples.text_pairs
    return np.array([_digest(text, pair) for text, pair in zip(examples.texts, pairs, strict=True)], _DIGEST)


def _digest(text: str, pair: str | None) -> bytes:
    content = text.encode("utf-8", "surrogatepass")
    # The length stands before the text, so that no two pairs run together to the same bytes.
    parts = [len(content).to_bytes(8, "little"), content]
    if pair is not None:
        parts += [b"pair", pair.encode("utf-8", "surrogatepass")]
    return hashlib.blake2b(b"".join(parts), digest_size=16).digest()


def different(examples: Iterable[Examples]) -> tuple[np.ndarray, Examples]:
    """All different texts in several sets of examples, sorted by digest: `(digests, examples without labels)`.

    Raises:
        UserError: there are no texts, or single texts beside pairs.
    """
    examples = list(examples)
    if not examples or not all(len(part) for part in examples):
        raise UserError(
            f"{examples[0].source} holds no examples." if examples else "give the examples to compute features of."
        )
    if len({part.text_pairs is None for part in examples}) > 1:
        raise UserError(
            "some examples are pairs of texts and others single texts; one model takes the one or the other."
        )
    texts = np.concatenate([part.texts for part in examples])
    pairs = None if examples[0].text_pairs is None else np.concatenate([part.text_pairs for part in examples])
    names, first = np.unique(np.concatenate([digests(part) for part in examples]), return_index=True)
    return names, Examples(texts[first], None if pairs is None else pairs[first], source=examples[0].source)


def weights_digest(weights: Iterable) -> str:
    """A hash of the values of weights, in hexadecimal."""
    total = hashlib.blake2b(digest_size=16)
    for weight in weights:
        value = np.ascontiguousarray(weight.numpy())
        total.update(f"{value.dtype} {value.shape};".encode())
        total.update(value.reshape(-1).view("uint8").data)
    return total.hexdigest()


def folder_digest(folder: str | os.PathLike | None, variables: bool) -> str:
    """A hash of a SavedModel's files, in hexadecimal; empty for None.

    Args:
        folder: the SavedModel, local or on a file system that TensorFlow reads.
        variables: whether the files with the weights count too.
    """
    if folder is None:
        return ""
    import tensorflow as tf

    root, total = os.fspath(folder), hashlib.blake2b(digest_size=16)
    for directory, _, names in sorted(tf.io.gfile.walk(root)):
        inside = os.path.relpath(directory, root)
        if inside == "variables" and not variables:
            continue
        for name in sorted(names):
            total.update(f"{inside}/{name};".encode())
            with tf.io.gfile.GFile(os.path.join(directory, name), "rb") as stream:
                while block := stream.read(1 << 20):
                    total.update(block)
    return total.hexdigest()


def write(
    folder: Path, key: dict, texts: np.ndarray, tokens: np.ndarray | None, fill: Callable[[np.ndarray], None]
) -> Features:
    """Compute vectors into a folder, which appears whole or not at all.

    Args:
        folder: to write; may be there if it is empty.
        key: what the vectors depend on; `shape` is that of one.
        texts: their digests, sorted.
        tokens: of each text.
        fill: writes the vectors into float32 `[rows, ...]`.

    Raises:
        UserError: it cannot be written.
    """
    work, mine = None, True
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Beside, not under /tmp: renaming is only atomic on the same file system.
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".partial", dir=folder.parent))
        vectors = np.lib.format.open_memmap(work / VECTORS, "w+", np.float32, (len(texts), *key["shape"]))
        fill(vectors)
        vectors.flush()
        del vectors
        np.save(work / TEXTS, texts)
        if tokens is not None:
            np.save(work / TOKENS, tokens)
        files = {file.name: file_sha256(file) for file in sorted(work.iterdir())}
        (work / KEY).write_text(json.dumps({**key, "files": files}, indent=1) + "\n", "utf-8")
        work.chmod(0o755)
        try:
            work.rename(folder)
        except OSError:
            # Another process may have been quicker; `read` sees whether its vectors are the same.
            if not (folder / KEY).is_file():
                raise
            mine = False
    except OSError as error:
        raise UserError(f"cannot write the features to {folder}: {error.strerror}.") from error
    finally:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)
    return read(folder, key, check_content=not mine)


def read(folder: Path, key: dict, check_content: bool = True) -> Features:
    """Open a folder that `write` made, if it is of the same encoder and settings.

    Args:
        folder: with the features.
        key: what they should depend on.
        check_content: whether to read all files through and compare their hashes.

    Raises:
        UserError: they are of another encoder or setting, or damaged, or this is no such folder.
    """
    if not (folder / KEY).is_file():
        raise UserError(f"{folder} exists and holds no cached features; name another folder for them.")
    damaged = f"the cached features in {folder} are damaged: "
    remedy = " Delete the folder to compute them anew."
    try:
        found = json.loads((folder / KEY).read_text("utf-8"))
        files = dict(found.pop("files"))
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise UserError(f"{damaged}{KEY} cannot be read.{remedy}") from error
    other = [name for name in key if found.get(name) != key[name]]
    if other:
        told = [
            f"{name} is {found.get(name)!r}, not {key[name]!r}" for name in other if _short(found.get(name), key[name])
        ]
        raise UserError(
            f"the cached features in {folder} are {' and '.join(_WORDS.get(name, name) for name in other)}"
            + (f" ({', '.join(told)})" if told else "")
            + ". Delete the folder to compute them anew, or name another."
        )
    try:
        for name, digest in files.items():
            if check_content and file_sha256(folder / name) != digest:
                raise UserError(f"{damaged}{name} is not as it was written.{remedy}")
        vectors = np.load(folder / VECTORS, mmap_mode="r", allow_pickle=False)
        texts = np.load(folder / TEXTS, allow_pickle=False)
        tokens = np.load(folder / TOKENS, allow_pickle=False) if TOKENS in files else None
    except UserError:
        raise
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{damaged}{error}.{remedy}") from error
    if len(texts) != len(vectors) or not len(texts):
        raise UserError(f"{damaged}{len(vectors)} vectors for {len(texts)} texts.{remedy}")
    return Features(texts, vectors, tokens)


def _short(*values) -> bool:
    """Whether values tell a person something; hashes do not."""
    return all(len(str(value)) < 32 for value in values)
