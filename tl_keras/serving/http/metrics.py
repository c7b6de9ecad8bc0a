"""What the server counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

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
