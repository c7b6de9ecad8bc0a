"""Bring an archive with a SavedModel to a folder in the TF Hub cache, and throw away what is damaged there."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import logging
import os
import shutil
import socket
import tarfile
import tempfile
import urllib.error
import uuid
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from tl_keras.encoders.saved_model_files import damage, is_saved_model, other_format, saved_models_below
from tl_keras.errors import UserError

logger = logging.getLogger(__name__)

_TFHUB = "https://tfhub.dev"
_BY_HAND = "download the model by hand and give its .tar.gz or the unpacked folder instead"
_TIMEOUT_SECONDS = 60


def fetch_url(url: str) -> Path | str:
    """Download a module, unless the cache has it whole, with `tensorflow_hub.resolve`.

    `TL_KERAS_HUB_MIRROR` names a base URL that replaces `https://tfhub.dev`.

    Args:
        url: `http(s)://...`, a TF Hub or Kaggle page or an archive; or `gs://...`, which TensorFlow reads where it is.

    Returns:
        The folder in the cache; a `gs://` address as it is.

    Raises:
        UserError: the server refuses, cannot be reached, or what it sends is no SavedModel.
    """
    mirror = os.environ.get("TL_KERAS_HUB_MIRROR", "").rstrip("/")
    if mirror and url.startswith(_TFHUB + "/"):
        url = mirror + url.removeprefix(_TFHUB)
    cached = _has_files(_cached(url))
    folder = _hub_resolve(url)
    if "://" in folder:
        return folder
    return _whole(Path(folder), (lambda: _hub_resolve(url)) if cached else None, url)


def unpack(archive: Path) -> Path:
    """Unpack a local archive into the cache, unless it is there whole.

    The archive is not trusted: members that would land outside the folder, links that lead out of it and devices are
    refused.

    Args:
        archive: a `.tar`, `.tar.gz` or `.tgz` file.

    Returns:
        The folder in the cache.

    Raises:
        UserError: it is no tar archive, is cut off, has such members or holds no SavedModel.
    """
    stat = archive.stat()
    # The same path may hold another archive tomorrow.
    folder = _cached(f"{archive.resolve()} {stat.st_size} {stat.st_mtime_ns}")
    cached = _has_files(folder)
    if not cached:
        _extract(archive, folder)
    return _whole(folder, (lambda: _extract(archive, folder)) if cached else None, str(archive))


def cache_folder() -> Path:
    """Where `tensorflow_hub` keeps modules: `TFHUB_CACHE_DIR`, or a folder for temporary files."""
    return Path(os.environ.get("TFHUB_CACHE_DIR") or Path(tempfile.gettempdir()) / "tfhub_modules")


def modules_in(folder: Path) -> list[Path]:
    """The SavedModels in an unpacked archive: the folder itself, or those below it."""
    return [folder] if is_saved_model(folder) else saved_models_below(folder)


def _cached(source: str) -> Path:
    # tensorflow_hub names its folders so too.
    return cache_folder() / hashlib.sha1(source.encode("utf-8", "surrogateescape")).hexdigest()


def _has_files(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _whole(folder: Path, fetch_again: Callable[[], object] | None, source: str) -> Path:
    """Return `folder` if all in it is whole; else remove it, and if it was an old copy, fetch it again.

    The operating system may empty a folder for temporary files and leave the folder itself (tensorflow/hub#896), and
    `tensorflow_hub` takes any folder that is not empty for a finished download.
    """
    fault = _fault(folder)
    if fault and fetch_again is not None:
        _remove(folder)
        logger.warning("%s: the copy in the cache was damaged (%s); removed %s, fetching again", source, fault, folder)
        fetch_again()
        fault = _fault(folder)
    if fault:
        kind = other_format(folder)
        _remove(folder)
        if kind:
            raise UserError(f"{source} holds {kind}.")
        raise UserError(
            f"{source} does not hold a whole SavedModel ({fault}); look whether it is the right archive, and complete."
        )
    logger.info("%s: using %s", source, folder)
    return folder


def _fault(folder: Path) -> str | None:
    """What is wrong with an unpacked archive; None if it holds SavedModels and all of them are whole."""
    modules = modules_in(folder)
    if modules != [folder]:
        # Where the files are gone, the folders they lay in still show that there was a SavedModel.
        remains = {path.parent for path in folder.glob("**/variables")} | {folder / "encoder", folder / "preprocess"}
        modules = sorted({*modules, *(path for path in remains if path.is_dir())})
    for module in modules or [folder]:
        fault = damage(module)
        if fault:
            return fault if module == folder else f"in {module.relative_to(folder)}/, {fault}"
    return None


def _remove(folder: Path) -> None:
    """Remove a folder of the cache, and nothing else."""
    if folder.resolve().parent != cache_folder().resolve():
        raise UserError(f"{folder} holds no whole SavedModel and lies outside the cache; remove it by hand.")
    shutil.rmtree(folder, ignore_errors=True)


def _hub_resolve(url: str) -> str:
    import tensorflow as tf

    from tl_keras.encoders.tfhub import hub

    try:
        with _timeout():
            return hub.resolve(url)
    except urllib.error.HTTPError as error:
        raise UserError(f"{url}: the server answers {error.code} ({_http_reason(error)}); {_BY_HAND}.") from error
    except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise UserError(
            f"{url} cannot be reached ({reason}); look at the network connection, or {_BY_HAND}."
        ) from error
    except (OSError, EOFError, ValueError, zlib.error, tarfile.TarError, tf.errors.OpError) as error:
        reason = error.__context__ or error
        raise UserError(
            f"{url} does not give a whole tar archive with a SavedModel ({reason}); try again, or {_BY_HAND}."
        ) from error


def _http_reason(error: urllib.error.HTTPError) -> str:
    return {
        401: "it wants a login",
        403: "forbidden: the model may need a licence to be accepted in the browser, or no longer be served to scripts",
        404: "there is no such model or version",
    }.get(error.code, str(error.reason))


@contextlib.contextmanager
def _timeout() -> Iterator[None]:
    """Give up on a silent server; `tensorflow_hub` would wait for ever."""
    before = socket.getdefaulttimeout()
    if before is None:
        socket.setdefaulttimeout(_TIMEOUT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _extract(archive: Path, folder: Path) -> None:
    if not hasattr(tarfile, "data_filter"):
        raise UserError(f"this Python cannot unpack {archive} safely (PEP 706); unpack it by hand and give the folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}.tmp")
    try:
        with tarfile.open(archive) as tar:
            size = sum(member.size for member in tar.getmembers())
            free = shutil.disk_usage(folder.parent).free
            if size > free:
                raise UserError(
                    f"{archive} unpacks to {size:,} bytes, but {folder.parent} has only {free:,} left; free some."
                )
            tar.extractall(partial, filter="data")
        try:
            if folder.is_dir() and not _has_files(folder):
                folder.rmdir()
            partial.rename(folder)
        except OSError:
            # Another process may have been quicker; its copy is as good.
            if not _has_files(folder):
                raise
    except tarfile.FilterError as error:
        raise UserError(f"{archive} is refused, because it would write outside its own folder: {error}.") from error
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise UserError(f"{archive} is no whole tar archive ({error}); fetch it again.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
