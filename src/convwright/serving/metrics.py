"""Counters of a service in Prometheus' format."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SIZES = (1, 2, 4, 8, 16, 32, 64)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counters of one service."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.requests = Counter(
            "convwright_requests", "Requests by address and status.", ["route", "status"], registry=registry
        )
        self.seconds = Histogram(
            "convwright_request_seconds", "Time of requests.", ["route"], buckets=SECONDS, registry=registry
        )
        self.images = Counter("convwright_images", "Images predicted.", ["model"], registry=registry)
        self.batches = Histogram(
            "convwright_batch_images", "Images computed at once.", ["model"], buckets=SIZES, registry=registry
        )
        self.computing = Histogram(
            "convwright_batch_seconds", "Time of a batch.", ["model"], buckets=SECONDS, registry=registry
        )
        self.waiting = Gauge("convwright_requests_in_progress", "Requests for predictions now.", registry=registry)
        self.reloads = Counter("convwright_reloads", "Model reloads.", ["model", "result"], registry=registry)

    def observer(self, model: str) -> Callable[[int, float], None]:
        """Return what counts a model's batches: a function of their images and seconds."""
        images, sizes, seconds = self.images.labels(model), self.batches.labels(model), self.computing.labels(model)

        def observe(size: int, duration: float) -> None:
            images.inc(size)
            sizes.observe(size)
            seconds.observe(duration)

        return observe

    def text(self) -> bytes:
        """Return all counters as `GET /metrics` shows them."""
        return generate_latest(self.registry)
