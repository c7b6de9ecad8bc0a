"""Batches across clients: rows that wait for the same signature go through it together."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Executor

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

Columns = dict[str, np.ndarray]
Function = Callable[[Columns], Columns]


@dataclasses.dataclass
class _Waiting:
    """Rows of one request, and who waits for their answers."""

    columns: Columns
    rows: int
    answer: asyncio.Future
    arrived: float

    @property
    def kind(self) -> tuple:
        """What rows must have in common to be put together: all but the first dimension."""
        return tuple((name, values.shape[1:]) for name, values in sorted(self.columns.items()))


class _Lane:
    """What waits for one function."""

    def __init__(self, function: Function):
        self.function = function
        self.waiting: deque[_Waiting] = deque()
        self.rows = 0
        self.timer: asyncio.TimerHandle | None = None


class Scheduler:
    """Puts the rows of many requests together, runs them in threads, and hands each request its own answers.

    A batch goes off when a thread is free, and it is full or its oldest row has waited long enough. All of it is called in one event
    loop, so nothing needs a lock.

    Args:
        executor: threads to compute in.
        max_batch_size: most rows in a batch.
        delay: seconds a row may wait for company.
        parallel: batches that are computed at the same time.
        observe: called with the rows of each batch and its seconds.
    """

    def __init__(
        self,
        executor: Executor,
        max_batch_size: int,
        delay: float,
        parallel: int,
        observe: Callable[[int, float], None] = lambda rows, seconds: None,
    ):
        self.executor = executor
        self.max_batch_size = max_batch_size
        self.delay = delay
        self.free = parallel
        self.observe = observe
        self.lanes: dict[Hashable, _Lane] = {}
        # Batches under way: the event loop itself keeps only weak references to its tasks.
        self.running: set[asyncio.Task] = set()

    async def run(self, key: Hashable, function: Function, columns: Columns) -> Columns:
        """The answers to rows, computed together with others that have the same key.

        Args:
            key: of the function; the same key means the same function.
            function: columns of rows -> columns of rows; called in a thread.
            columns: arrays of the same length, at most `max_batch_size`.

        Raises:
            Exception: what the function raised for these rows.
        """
        loop = asyncio.get_running_loop()
        lane = self.lanes.get(key)
        if lane is None:
            lane = self.lanes[key] = _Lane(function)
        rows = len(next(iter(columns.values())))
        entry = _Waiting(columns, rows, loop.create_future(), loop.time())
        lane.waiting.append(entry)
        lane.rows += rows
        self._dispatch()
        return await entry.answer

    def forget(self, key: Hashable) -> None:
        """Let go of a function that nobody will ask for again; what waits for it must have been answered."""
        lane = self.lanes.pop(key, None)
        if lane is not None and lane.timer is not None:
            lane.timer.cancel()

    def _dispatch(self) -> None:
        """Start as many batches as are ready and as threads are free, lane by lane in turn."""
        loop = asyncio.get_running_loop()
        started = True
        while self.free and started:
            started = False
            for key, lane in list(self.lanes.items()):
                if not self.free:
                    return
                if not self._ready(lane, loop):
                    continue
                batch = self._take(lane)
                if not batch:
                    continue
                # Behind the others, so that a busy model does not starve them.
                self.lanes[key] = self.lanes.pop(key)
                self.free -= 1
                task = loop.create_task(self._compute(lane.function, batch))
                self.running.add(task)
                task.add_done_callback(self.running.discard)
                started = True

    def _ready(self, lane: _Lane, loop: asyncio.AbstractEventLoop) -> bool:
        if not lane.waiting:
            return False
        if lane.rows >= self.max_batch_size:
            return True
        due = lane.waiting[0].arrived + self.delay
        if loop.time() >= due - 1e-4:  # timers may be early by the clock's resolution
            return True
        if lane.timer is None or lane.timer.cancelled() or lane.timer.when() <= loop.time():
            lane.timer = loop.call_at(due, self._dispatch)
        return False

    def _take(self, lane: _Lane) -> list[_Waiting]:
        """The next batch of a lane, in the order of arrival; whoever has gone is left out."""
        batch: list[_Waiting] = []
        rows = 0
        while lane.waiting:
            entry = lane.waiting[0]
            if not entry.answer.done():
                if batch and (rows + entry.rows > self.max_batch_size or entry.kind != batch[0].kind):
                    break
                batch.append(entry)
                rows += entry.rows
            lane.waiting.popleft()
            lane.rows -= entry.rows
        return batch

    async def _compute(self, function: Function, batch: list[_Waiting]) -> None:
        try:
            await self._answer(function, batch)
        finally:
            self.free += 1
            self._dispatch()

    async def _answer(self, function: Function, batch: list[_Waiting]) -> None:
        loop = asyncio.get_running_loop()
        together = {
            name: values if len(batch) == 1 else np.concatenate([entry.columns[name] for entry in batch])
            for name, values in batch[0].columns.items()
        }
        begin = time.perf_counter()
        try:
            outputs = await loop.run_in_executor(self.executor, function, together)
        except Exception as error:
            if len(batch) == 1:
                if not batch[0].answer.done():
                    batch[0].answer.set_exception(error)
                return
            # Somebody's rows are to blame, and the others shall not suffer for it.
            for entry in batch:
                await self._answer(function, [entry])
            return
        self.observe(sum(entry.rows for entry in batch), time.perf_counter() - begin)
        start = 0
        for entry in batch:
            stop = start + entry.rows
            # Whoever has gone away meanwhile has cancelled it.
            if not entry.answer.done():
                entry.answer.set_result(trimmed({name: values[start:stop] for name, values in outputs.items()}))
            start = stop


def trimmed(outputs: Columns) -> Columns:
    """Rows cut out of a batch as they would be without it: spans are padded to the most spans in a batch, which `count` tells.

    Example:
        >>> rows = {"starts": np.array([[3, -1, -1]]), "count": np.array([1])}
        >>> trimmed(rows)["starts"].tolist()
        [[3]]
    """
    count = outputs.get("count")
    if count is None or count.ndim != 1:
        return outputs
    most = int(count.max(initial=0))
    return {name: values[:, :most] if values.ndim == 2 else values for name, values in outputs.items()}


def joined(parts: list[Columns]) -> Columns:
    """The outputs of several batches, one behind the other; where one is wider, the others are padded as the taggers pad.

    Example:
        >>> joined([{"starts": np.array([[3]])}, {"starts": np.array([[0, 5]])}])["starts"].tolist()
        [[3, -1], [0, 5]]
    """
    result = {}
    for name, first in parts[0].items():
        arrays = [part[name] for part in parts]
        if first.ndim == 2:
            width = max(values.shape[1] for values in arrays)
            fill = -1 if first.dtype.kind == "i" else b"" if first.dtype.kind in "OS" else 0
            arrays = [_widened(values, width, fill) for values in arrays]
        result[name] = np.concatenate(arrays)
    return result


def _widened(values: np.ndarray, width: int, fill) -> np.ndarray:
    wide = np.full((len(values), width), fill, values.dtype)
    wide[:, : values.shape[1]] = values
    return wide


SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """Counters of one server, in a registry of their own.

    Args:
        waiting: gives the rows that have been taken in and not been answered yet.
        versions: gives the number of the version that is served, by name of the model.
    """

    def __init__(self, waiting: Callable[[], int], versions: Callable[[], dict[str, int]]):
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "tl_keras_requests",
            "Requests by model, method and status.",
            ["model", "method", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "tl_keras_request_seconds",
            "From the first byte of a request's body to the last of its answer.",
            ["model", "method"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.rows = Counter("tl_keras_rows", "Rows answered.", ["model"], registry=self.registry)
        self.batch_rows = Histogram(
            "tl_keras_batch_rows", "Rows that went through a model together.", buckets=ROWS, registry=self.registry
        )
        self.batch_seconds = Histogram(
            "tl_keras_batch_seconds", "Computing a batch.", buckets=SECONDS, registry=self.registry
        )
        Gauge("tl_keras_waiting_rows", "Rows that wait for their answers.", registry=self.registry).set_function(
            waiting
        )
        self.version = Gauge("tl_keras_model_version", "The version served.", ["model"], registry=self.registry)
        self.versions = versions

    def batch(self, rows: int, seconds: float) -> None:
        """Count a batch."""
        self.batch_rows.observe(rows)
        self.batch_seconds.observe(seconds)

    def text(self) -> bytes:
        """All of them, in Prometheus' text format."""
        for name, number in self.versions().items():
            self.version.labels(name).set(number)
        return generate_latest(self.registry)
