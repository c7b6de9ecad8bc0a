"""Named models and their versions: found on the disk, loaded, switched, and let go when nobody uses them any more."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tl_keras.errors import UserError
from tl_keras.saved_models import versions_of
from tl_keras.serving.http.saved_model import SavedModel

logger = logging.getLogger(__name__)

ENDED_KEPT = 10
"""Versions that are told of in the status after they have ended."""


def state_of(folder: Path) -> tuple:
    """What changes when another model is written to the same folder, or when copying it goes on: times and sizes of its files."""
    found = []
    for file in sorted(folder.rglob("*")):
        with contextlib.suppress(FileNotFoundError):  # it went between listing and looking; the next look will see
            status = file.stat()
            found.append((str(file), status.st_mtime_ns, status.st_size))
    return tuple(found)


@dataclasses.dataclass(eq=False)  # each is itself, and can be a key
class Version:
    """One version of a model.

    Args:
        number: its folder's name.
        folder: where it is.
        files: `state_of` its folder when it was loaded.
        state: as TensorFlow Serving calls it: `LOADING`, `AVAILABLE`, `UNLOADING` or `END`.
        error: why it could not be loaded; empty if it could.
        model: while it is available or is being let go.
        in_flight: requests that are using it.
    """

    number: int
    folder: Path
    files: tuple
    state: str = "LOADING"
    error: str = ""
    model: SavedModel | None = None
    in_flight: int = 0

    def status(self) -> dict:
        """As TensorFlow Serving's status interface tells it."""
        code = "UNKNOWN" if self.error else "OK"
        return {
            "version": str(self.number),
            "state": self.state,
            "status": {"error_code": code, "error_message": self.error},
        }


class Model:
    """A model under its name: the versions that are served, and those that were.

    Args:
        name: in the address.
        path: run folder, folder of versions, or one version.
        keep: how many of the highest versions are served.
    """

    def __init__(self, name: str, path: Path, keep: int):
        self.name = name
        self.path = path
        self.keep = keep
        self.serving: dict[int, Version] = {}
        self.others: list[Version] = []
        self.missing_told = False

    @property
    def latest(self) -> Version | None:
        """The highest version that is served."""
        return self.serving[max(self.serving)] if self.serving else None

    @contextlib.contextmanager
    def using(self, number: int | None) -> Iterator[Version | None]:
        """A version, held while a request uses it: it is not let go before. `None` for the latest; gives `None` if it is not served."""
        version = self.latest if number is None else self.serving.get(number)
        if version is None:
            yield None
            return
        version.in_flight += 1
        try:
            yield version
        finally:
            version.in_flight -= 1

    def status(self, number: int | None) -> list[dict]:
        """The state of all versions, or of one; highest first."""
        known = [*self.serving.values(), *self.others]
        chosen = [version for version in known if number in (None, version.number)]
        return [version.status() for version in sorted(chosen, key=lambda version: -version.number)]

    def wanted(self) -> dict[int, Version]:
        """The highest versions on the disk, as they are now.

        Raises:
            UserError: there is none.
        """
        found = versions_of(self.path)
        chosen = sorted(found)[-self.keep :]
        return {number: Version(number, found[number], state_of(found[number])) for number in chosen}


class Models:
    """All models of a server.

    Args:
        paths: by name.
        keep: versions of each that are served at once.
        forget: called with a version that has ended, before its memory is given back.
    """

    def __init__(self, paths: dict[str, Path], keep: int, forget: Callable[[Version], None] = lambda version: None):
        self.models = {name: Model(name, path, keep) for name, path in paths.items()}
        self.forget = forget
        # One at a time, and not in the threads that compute.
        self.loader = ThreadPoolExecutor(1, thread_name_prefix="loader")
        self._ending: set[asyncio.Task] = set()

    @property
    def ready(self) -> bool:
        """Whether every model has a version that can be asked."""
        return all(model.latest is not None for model in self.models.values())

    def load_all(self) -> None:
        """Load what is on the disk, before the server begins.

        Raises:
            UserError: something cannot be loaded.
        """
        for model in self.models.values():
            for version in model.wanted().values():
                self._load(model, version)
                model.serving[version.number] = version

    async def watch(self, seconds: float) -> None:
        """Look for new, changed and vanished versions, for ever."""
        while True:
            await asyncio.sleep(seconds)
            for model in self.models.values():
                try:
                    await self.refresh(model)
                except Exception:
                    # Whatever happened, what is served now goes on being served, and the next look comes.
                    logger.exception("Looking for versions of %s failed.", model.name)

    async def refresh(self, model: Model) -> None:
        """Bring a model's versions to what is on the disk: new ones are loaded before old ones are let go."""
        loop = asyncio.get_running_loop()
        try:
            wanted = await loop.run_in_executor(self.loader, model.wanted)
        except UserError as error:
            if not model.missing_told:
                logger.warning("%s Version %s goes on being served.", error, model.latest and model.latest.number)
            model.missing_told = True
            return
        model.missing_told = False
        for number, version in sorted(wanted.items()):
            now = model.serving.get(number)
            if now is not None and now.files == version.files:
                continue
            if any(other.error and other.number == number and other.files == version.files for other in model.others):
                continue  # it has failed before, and has not changed since
            try:
                await loop.run_in_executor(self.loader, self._load, model, version)
            except UserError as error:
                # Perhaps it is still being copied: it is tried again when its files have changed.
                logger.warning("Version %d of %s: %s", number, model.name, error)
                version.state, version.error = "END", str(error)
                self._remember(model, version)
                continue
            model.others = [other for other in model.others if other.number != number]
            model.serving[number] = version
            if now is not None:
                self._end(model, now)
        # A version that cannot be loaded does not end those below it.
        loaded = [number for number in sorted(model.serving) if number in wanted]
        if len(loaded) == len(wanted):
            for number in sorted(model.serving.keys() - wanted.keys()):
                self._end(model, model.serving.pop(number))

    def _load(self, model: Model, version: Version) -> None:
        loaded = SavedModel(version.folder)
        loaded.warm_up()
        version.model, version.state = loaded, "AVAILABLE"
        logger.info("Model %s, version %d: %s", model.name, version.number, version.folder)

    def _end(self, model: Model, version: Version) -> None:
        """Let a version go, which gets no new requests any more, when its last request has been answered."""
        version.state = "UNLOADING"
        self._remember(model, version)
        task = asyncio.get_running_loop().create_task(self._ended(model, version))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _ended(self, model: Model, version: Version) -> None:
        while version.in_flight:
            await asyncio.sleep(0.01)
        self.forget(version)
        version.model, version.state = None, "END"
        logger.info("Model %s, version %d has ended.", model.name, version.number)

    @staticmethod
    def _remember(model: Model, version: Version) -> None:
        others = [other for other in model.others if other.number != version.number or other.state == "UNLOADING"]
        model.others = [*others, version][-ENDED_KEPT:]
