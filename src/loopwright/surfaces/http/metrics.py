"""What is counted about requests and the process, as Prometheus text. Labels come from closed sets only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from starlette.responses import Response

__all__ = ["Metrics"]

UNMATCHED = "unmatched"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)


class _Process(Collector):
    """Resident memory, processor time, threads and open files of this process, read when asked."""

    def __init__(self) -> None:
        self._process = psutil.Process()

    def collect(self) -> Iterator[Metric]:
        with self._process.oneshot():
            times = self._process.cpu_times()
            readings = {
                "process_resident_memory_bytes": self._process.memory_info().rss,
                "process_cpu_seconds_total": times.user + times.system,
                "process_start_time_seconds": self._process.create_time(),
                "process_threads": self._process.num_threads(),
                "process_open_fds": self._process.num_fds(),
            }
        for name, value in readings.items():
            yield GaugeMetricFamily(name, name.replace("_", " "), value=value)


class Metrics:
    """Counters of one application; `registry` takes further collectors of what is mounted beside."""

    def __init__(self, operations: Iterable[str], version: str) -> None:
        self.registry = CollectorRegistry()
        self._known = frozenset(operations)
        self._requests = Counter(
            "loopwright_requests",
            "Requests by operation and status",
            ("operation", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "loopwright_request_seconds",
            "Seconds from a request to the start of its reply",
            ("operation",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.listeners = Gauge(
            "loopwright_live_listeners", "Open live feeds of events", registry=self.registry
        )
        build = Gauge("loopwright_build_info", "The version that runs", ("version",), registry=self.registry)
        build.labels(version).set(1)
        self.registry.register(_Process())

    def observe(self, operation: str, status: int, seconds: float) -> None:
        """Count one request; a name that is no operation is counted as unmatched."""
        label = operation if operation in self._known else UNMATCHED
        self._requests.labels(label, str(status)).inc()
        self._seconds.labels(label).observe(seconds)

    def reply(self) -> Response:
        """Everything as Prometheus text."""
        return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)
