"""What was answered, as Prometheus text."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from loopwright.serving.runtime import Runtime
from loopwright.surfaces.inference.metrics import RuntimeCollector
from tests.serving.worlds import ENDPOINT, deployed, row


def test_counters_of_endpoints() -> None:
    runtime = Runtime(deployed((1, 100.0), shadow=(2,)))
    for _ in range(3):
        runtime.predict(ENDPOINT, [row(), row()])
    runtime.flush()
    runtime.refused(ENDPOINT)
    registry = CollectorRegistry()
    registry.register(RuntimeCollector(runtime))
    families = text_string_to_metric_families(generate_latest(registry).decode())
    found = {sample.name: sample.value for family in families for sample in family.samples if sample.value}

    assert found["loopwright_prediction_requests_total"] == 3.0
    assert found["loopwright_prediction_rows_total"] == 6.0
    assert found["loopwright_prediction_failures_total"] == 1.0
    assert found["loopwright_prediction_shadow_rows_total"] == 6.0
    assert found["loopwright_prediction_seconds_count"] == 3.0
    assert found["loopwright_prediction_seconds_sum"] > 0
