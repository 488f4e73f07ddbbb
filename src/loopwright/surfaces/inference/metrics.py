"""Tells Prometheus what this process answered: calls, rows, failures, shadow, log, latency by endpoint."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from loopwright.serving.runtime import Runtime

__all__ = ["RuntimeCollector"]

_LABELS = ("endpoint",)


class RuntimeCollector(Collector):
    """Reads a runtime's counters whenever it is asked; endpoints are a closed set, so labels stay few."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def collect(self) -> Iterator[Metric]:
        """One family for each thing that is counted, with a line for each endpoint that is loaded."""
        counted = {name: self._runtime.statistics(name) for name in sorted(self._runtime.tables())}
        families = {
            "requests": ("Prediction requests answered", "requests"),
            "rows": ("Rows answered", "rows"),
            "failures": ("Prediction requests refused or failed", "failed"),
            "shadow_rows": ("Rows answered in shadow", "shadow_rows"),
            "shadow_dropped_rows": ("Rows that shadow versions were too slow for", "shadow_dropped"),
            "log_dropped_rows": ("Rows that found the payload log full", "log_dropped"),
        }
        for name, (text, field) in families.items():
            family = CounterMetricFamily(f"loopwright_prediction_{name}", text, labels=_LABELS)
            for endpoint, found in counted.items():
                family.add_metric((endpoint,), float(getattr(found, field)))
            yield family
        yield self._latencies(list(counted))

    def _latencies(self, endpoints: list[str]) -> HistogramMetricFamily:
        family = HistogramMetricFamily(
            "loopwright_prediction_seconds", "Seconds from rows read to rows scored", labels=_LABELS
        )
        for endpoint in endpoints:
            buckets, total_s = self._runtime.latencies(endpoint)
            family.add_metric((endpoint,), buckets=buckets, sum_value=total_s)
        return family
