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
import urllib.parse
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

from tl_keras.encoders.saved_model_files import damage, is_saved_model, other_format, saved_models_below
from tl_keras.errors import UserError
from tl_keras.files import need_space, whole_folder

logger = logging.getLogger(__name__)

_TFHUB = "https://tfhub.dev"
_BY_HAND = "download the model by hand and give its .tar.gz or the unpacked folder instead"
_TIMEOUT_SECONDS = 60
ALLOW_HTTP = "TL_KERAS_ALLOW_HTTP"
"""Environment variable: with it set, modules are fetched from `http://` too."""
RATIO = 100
"""Weights hardly shrink by compression: no honest archive unpacks to so many times its size."""
SMALLEST_LIMIT = 1 << 28
"""Bytes; what unpacks to less is not looked at that closely."""
MOST_FILES = 10_000


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


def refuse_unsafe(url: str, pinned: bool) -> None:
    """Refuse an address that anybody on the way can answer in place of its server.

    Args:
        url: of a module.
        pinned: whether a hash says what must come.

    Raises:
        UserError: it is `http://`, not on this machine, nothing is pinned, and `TL_KERAS_ALLOW_HTTP` is not set.
    """
    parts = urllib.parse.urlsplit(url)
    here = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if parts.scheme != "http" or here or pinned or os.environ.get(ALLOW_HTTP):
        return
    raise UserError(
        f"{url} is fetched without encryption, so that anybody on the way can put another model in its place; write https://, pin it with "
        f"#sha256=..., or set {ALLOW_HTTP}=1."
    )


def refuse_bomb(archive: Path, source: str) -> None:
    """Refuse an archive that would unpack to far more than it holds, before anything is written.

    Args:
        archive: the file.
        source: for the message.

    Raises:
        UserError: beyond `SMALLEST_LIMIT` bytes it unpacks to more than `RATIO` times its size, or holds too many files.
    """
    limit, total = max(SMALLEST_LIMIT, RATIO * archive.stat().st_size), 0
    with tarfile.open(archive) as tar:
        for count, member in enumerate(tar, 1):
            # Its header says how large a member is; what it holds is not read yet.
            total += member.size
            if total > limit or count > MOST_FILES:
                what = f"more than {limit / 1e6:,.0f} MB" if total > limit else f"more than {MOST_FILES:,} files"
                raise UserError(
                    f"{source} is refused: its {archive.stat().st_size / 1e6:,.1f} MB unpack to {what}, as no model does. If you trust it, "
                    "unpack it by hand and give the folder."
                )


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


def tensorflow_hub() -> ModuleType:
    """`tensorflow_hub`, imported without the warning that it gives about its own use of `pkg_resources`.

    The warning is right (see `setuptools<82` in setup.cfg), but nothing that a user of this package could mend.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
        import tensorflow_hub
    return tensorflow_hub


def _hub_resolve(url: str) -> str:
    import tensorflow as tf

    hub = tensorflow_hub()
    try:
        with _timeout(), _looked_at_first():
            return hub.resolve(url)
    except UserError:
        raise
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
def _looked_at_first() -> Iterator[None]:
    """Have `tensorflow_hub` keep what comes in a file, and look at it, before it unpacks."""
    from tensorflow_hub import resolver

    original = resolver.DownloadManager.download_and_uncompress

    def looked_at(self, fileobj, dst_path):
        with tempfile.NamedTemporaryFile(dir=cache_folder(), prefix=".download-") as kept:
            shutil.copyfileobj(fileobj, kept, 1 << 20)
            kept.flush()
            refuse_bomb(Path(kept.name), self._url)
            kept.seek(0)
            return original(self, kept, dst_path)

    resolver.DownloadManager.download_and_uncompress = looked_at
    try:
        yield
    finally:
        resolver.DownloadManager.download_and_uncompress = original


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
    try:
        refuse_bomb(archive, str(archive))
        with tarfile.open(archive) as tar:
            need_space(folder, sum(member.size for member in tar.getmembers()), f"what {archive} unpacks to")
            with whole_folder(folder) as partial:
                tar.extractall(partial, filter="data")
    except UserError:
        # Another process may have been quicker; its copy is as good.
        if not _has_files(folder):
            raise
    except tarfile.FilterError as error:
        raise UserError(f"{archive} is refused, because it would write outside its own folder: {error}.") from error
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise UserError(f"{archive} is no whole tar archive ({error}); fetch it again.") from error
