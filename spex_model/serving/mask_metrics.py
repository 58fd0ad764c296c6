"""What the mask service counts, as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spex_model.serving.mask_engine import MaskEngine


class _StoreCollector(Collector):
    """The counts of the feature store."""

    def __init__(self, engine: MaskEngine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        counts = self._engine.store.counts
        hits = CounterMetricFamily("spex_mask_cache_hits", "Features found, by where they were", labels=["level"])
        hits.add_metric(["memory"], counts.memory_hits)
        hits.add_metric(["disk"], counts.disk_hits)
        yield hits
        yield CounterMetricFamily("spex_mask_cache_misses", "Features not held", counts.misses)
        yield CounterMetricFamily("spex_mask_cache_spills", "Features moved from memory to disk", counts.spills)
        yield CounterMetricFamily("spex_mask_cache_dropped", "Features that fit in no budget", counts.dropped)
        held = GaugeMetricFamily("spex_mask_cache_bytes", "Features held", labels=["level"])
        held.add_metric(["memory"], counts.memory_bytes)
        held.add_metric(["disk"], counts.disk_bytes)
        yield held


class MaskMetrics:
    """Counters of one service, in a registry of their own."""

    def __init__(self, engine: MaskEngine) -> None:
        self.registry = registry = CollectorRegistry()
        registry.register(_StoreCollector(engine))
        self.requests = Counter(
            "spex_mask_requests", "Requests by route and status", ["route", "status"], registry=registry
        )
        self.seconds = Histogram(
            "spex_mask_work_seconds", "Time of model work, without waiting", ["work"], registry=registry
        )
        self.batch_tiles = Histogram(
            "spex_mask_batch_tiles", "Tiles in one pass of the decoder", buckets=(1, 2, 4, 8, 16, 32), registry=registry
        )
        self.cancelled = Counter(
            "spex_mask_cancelled", "Requests dropped because their client had gone", registry=registry
        )
        self.waiting = Gauge("spex_mask_waiting", "Decode requests that wait or are being decoded", registry=registry)
        self.swept = Counter("spex_mask_swept_files", "States files that nobody fetched", registry=registry)
        images = Gauge("spex_mask_images", "Images held", registry=registry)
        images.set_function(lambda: engine.count()[0])
        answers = Gauge("spex_mask_answers", "Answers whose states are held", registry=registry)
        answers.set_function(lambda: engine.count()[1])


class CountRequests:
    """Counts answers by route and status; a middleware."""

    def __init__(self, app: ASGIApp, metrics: MaskMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500

        async def note_status(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, note_status)
        finally:
            # The route's pattern, not the path: an id in a label would make a time series of its own.
            route = getattr(scope.get("route"), "path", "unknown")
            self._metrics.requests.labels(route, status).inc()
