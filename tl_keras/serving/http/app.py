"""The server's addresses: TensorFlow Serving's REST interface, `/healthz` and `/metrics`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import orjson
import tensorflow as tf
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from tl_keras.errors import on_signals
from tl_keras.serving.http.models import Model, Models, Version
from tl_keras.serving.http.options import ServerSettings
from tl_keras.serving.http.rest import Asked, RequestError, answer, parse
from tl_keras.serving.http.scheduler import Columns, Metrics, Scheduler, joined

logger = logging.getLogger(__name__)

METHODS = ("predict", "classify", "regress")
THROWN_AWAY = 8
"""Times the largest body that are read of one that is too large."""
LARGE = 256
"""Rows, or KiB of body, from which reading and writing JSON goes into a thread, so that others are not kept waiting."""
BODIES_AT_ONCE = 16
"""So many bodies of the largest size may be in memory at the same time."""


class Server:
    """What answers requests.

    Args:
        paths: of run folders or exports, by name.
        settings: batches and limits.
    """

    def __init__(self, paths: dict[str, Path], settings: ServerSettings):
        self.settings = settings
        self.models = Models(paths, settings.keep_versions, self._forget)
        self.metrics = Metrics(lambda: self.waiting, self._versions)
        self.executor = ThreadPoolExecutor(settings.parallel_batches, thread_name_prefix="batch")
        self.scheduler = Scheduler(
            self.executor,
            settings.max_batch_size,
            settings.batch_delay_ms / 1000,
            settings.parallel_batches,
            self.metrics.batch,
        )
        self.waiting = 0
        self.body_bytes = 0

    def app(self) -> Starlette:
        """The ASGI application."""
        version, model = "/v1/models/{name}/versions/{version:int}", "/v1/models/{name}"
        routes = [
            Route(version + ":{method}", self.answer, methods=["POST"]),
            Route(model + ":{method}", self.answer, methods=["POST"]),
            Route(version + "/metadata", self.metadata),
            Route(model + "/metadata", self.metadata),
            Route(version, self.status),
            Route(model, self.status),
            Route("/healthz", self.healthz),
            Route("/metrics", self.show_metrics),
        ]
        return Starlette(
            routes=routes,
            lifespan=self._lifespan,
            exception_handlers={HTTPException: _http_error, RequestError: _request_error},
        )

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        watcher = asyncio.create_task(self.models.watch(self.settings.poll))
        yield
        watcher.cancel()
        self.models.loader.shutdown(wait=False, cancel_futures=True)
        self.executor.shutdown(wait=True)

    async def answer(self, request: Request) -> Response:
        """Answer a `:predict`, `:classify` or `:regress`."""
        begin = time.perf_counter()
        name, method = request.path_params["name"], request.path_params["method"]
        model = self.models.models.get(name)
        if method not in METHODS:
            raise RequestError(f"there is no method {method!r}; there are {', '.join(METHODS)}.", 404)
        if model is None:
            raise _not_found(name, request)
        status = 500
        try:
            with model.using(request.path_params.get("version")) as version:
                if version is None:
                    raise _not_found(name, request)
                body, rows = await self._answer(request, version, method)
            status = 200
            self.metrics.rows.labels(name).inc(rows)
            return Response(body, media_type="application/json")
        except RequestError as error:
            status = error.status
            raise
        except ClientDisconnect:
            status = 499  # nobody reads it, but it is counted
            return Response(status_code=499)
        finally:
            self.metrics.requests.labels(name, method, str(status)).inc()
            self.metrics.seconds.labels(name, method).observe(time.perf_counter() - begin)

    async def _answer(self, request: Request, version: Version, method: str) -> tuple[bytes, int]:
        # Held apart: under the same name it would stay in memory until the answer is there.
        size = 0
        try:
            body = await self._body(request)
            size = len(body)
            self.body_bytes += size
            asked = await _perhaps_in_thread(
                size > LARGE * 1024, parse, body, version.model, method, self.settings.max_rows
            )
            del body
            rows = asked.rows
            if self.waiting + rows > self.settings.max_queue:
                raise RequestError(
                    f"{self.waiting} rows are waiting for their answers; {rows} more are too many. Try again later.",
                    503,
                )
            self.waiting += rows
            try:
                outputs = await self._run(asked, version, request)
            except tf.errors.OpError as error:
                raise RequestError(
                    f"the model refuses the values: {str(error.message).splitlines()[0][:300]}"
                ) from error
            finally:
                self.waiting -= rows
            text = await _perhaps_in_thread(rows > LARGE, answer, asked, outputs, version.model, method)
            return text, rows
        finally:
            self.body_bytes -= size

    async def _body(self, request: Request) -> bytes:
        """The body, if it is not too large and comes in time.

        Raises:
            RequestError: it is too large, too slow, or the server has its hands full of others.
        """
        limit = self.settings.max_body
        if request.headers.get("content-encoding", "identity") != "identity":
            raise RequestError("the body must not be compressed.", 415)
        if self.body_bytes > BODIES_AT_ONCE * limit:
            raise RequestError("too many large requests at once. Try again later.", 503)

        async def read() -> bytes:
            parts, size = [], 0
            async for part in request.stream():
                size += len(part)
                # What is too much is read and thrown away, up to a point: many clients look at the answer only when they have sent all.
                if size <= limit:
                    parts.append(part)
                elif size > THROWN_AWAY * limit:
                    break
                else:
                    parts.clear()
            if size > limit:
                raise RequestError(
                    f"the body is larger than the {self.settings.max_body_mb:g} MiB that are taken.", 413
                )
            return b"".join(parts)

        try:
            return await asyncio.wait_for(read(), self.settings.timeout)
        except asyncio.TimeoutError as error:  # another class than TimeoutError on Python 3.10
            raise RequestError(f"the body did not come within {self.settings.timeout:g} s.", 408) from error

    async def _run(self, asked: Asked, version: Version, request: Request) -> Columns:
        """The outputs for a request's rows: small ones together with others', large ones in parts of like length."""
        key, most = (version, asked.signature.name), self.settings.max_batch_size
        if asked.rows <= most:
            return await self.scheduler.run(key, asked.signature, asked.columns)
        lengths = sum(np.array([len(value) for value in c]) for c in asked.columns.values() if c.dtype == object)
        order = np.argsort(-lengths, kind="stable") if isinstance(lengths, np.ndarray) else np.arange(asked.rows)
        parts: list[Columns] = []
        # One part after another, so that small requests find room between them.
        for start in range(0, asked.rows, most):
            if await request.is_disconnected():
                raise ClientDisconnect
            rows = order[start : start + most]
            columns = {name: values[rows] for name, values in asked.columns.items()}
            parts.append(await self.scheduler.run(key, asked.signature, columns))
        back = np.argsort(order)
        return {name: values[back] for name, values in joined(parts).items()}

    async def status(self, request: Request) -> Response:
        """The states of a model's versions."""
        model, number = self._model(request), request.path_params.get("version")
        found = model.status(number)
        if not found:
            raise _not_found(model.name, request)
        return _json({"model_version_status": found})

    async def metadata(self, request: Request) -> Response:
        """A model's signatures: names, types and shapes of inputs and outputs."""
        model = self._model(request)
        with model.using(request.path_params.get("version")) as version:
            if version is None:
                raise _not_found(model.name, request)
            signatures = await asyncio.to_thread(version.model.signature_def)
            spec = {"name": model.name, "signature_name": "", "version": str(version.number)}
        return _json({"model_spec": spec, "metadata": {"signature_def": {"signature_def": signatures}}})

    async def healthz(self, request: Request) -> Response:
        """Whether every model can be asked."""
        told = {model.name: model.latest and model.latest.number for model in self.models.models.values()}
        return _json({"models": told}, 200 if self.models.ready else 503)

    async def show_metrics(self, request: Request) -> Response:
        """The counters, for Prometheus."""
        return Response(self.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    def _model(self, request: Request) -> Model:
        name = request.path_params["name"]
        if name not in self.models.models:
            raise _not_found(name, request)
        return self.models.models[name]

    def _forget(self, version: Version) -> None:
        for name in version.model.signatures:
            self.scheduler.forget((version, name))

    def _versions(self) -> dict[str, int]:
        return {model.name: model.latest.number for model in self.models.models.values() if model.latest}


async def _perhaps_in_thread(large: bool, function, *arguments):
    return await asyncio.to_thread(function, *arguments) if large else function(*arguments)


def _not_found(name: str, request: Request) -> RequestError:
    number = request.path_params.get("version")
    what = f"Latest({name})" if number is None else f"Specific({name}, {number})"
    return RequestError(f"Servable not found for request: {what}", 404)


def _json(content: dict, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


async def _request_error(request: Request, error: RequestError) -> Response:
    response = _json({"error": str(error)}, error.status)
    if error.status == 503:
        response.headers["Retry-After"] = "1"
    return response


async def _http_error(request: Request, error: HTTPException) -> Response:
    return _json({"error": f"{error.detail}: {request.method} {request.url.path}"}, error.status_code)


def run_server(paths: dict[str, Path], listening: socket.socket, settings: ServerSettings) -> None:
    """Load the models and answer until SIGTERM or SIGINT; requests under way are answered before it returns.

    Args:
        paths: of the models, by name.
        listening: from `bind`.
        settings: batches and limits.

    Raises:
        UserError: a model cannot be loaded.
    """
    server = Server(paths, settings)
    server.models.load_all()
    config = uvicorn.Config(
        server.app(),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=max(1, round(settings.timeout)),
        server_header=False,
        proxy_headers=False,
    )
    host, port = listening.getsockname()[:2]
    logger.info(
        "Serving %s on http://%s:%d/v1/models/NAME", ", ".join(paths), f"[{host}]" if ":" in host else host, port
    )
    # uvicorn sends itself the signal again when it has stopped cleanly; that shall not count as a crash.
    with on_signals(lambda number: None):
        uvicorn.Server(config).run(sockets=[listening])
