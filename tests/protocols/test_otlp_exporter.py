"""OpenTelemetry's own SDK and exporter, with nothing of MLflow, against the server."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.app.processes import server

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
exporting = pytest.importorskip("opentelemetry.exporter.otlp.proto.http.trace_exporter")
sdk = pytest.importorskip("opentelemetry.sdk.trace")
export = pytest.importorskip("opentelemetry.sdk.trace.export")
resources = pytest.importorskip("opentelemetry.sdk.resources")


def asked(url: str, path: str, value: Any = None) -> Any:
    body = None if value is None else json.dumps(value).encode()
    question = urllib.request.Request(f"{url}{path}", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(question, timeout=20) as answer:
        return json.loads(answer.read())


@pytest.mark.parametrize("compression", ["NoCompression", "Gzip"])
def test_spans_of_a_plain_program_are_a_trace(tmp_path: Path, compression: str) -> None:
    with server(tmp_path) as (_, said):
        packed = getattr(exporting.Compression, compression)
        exporter = exporting.OTLPSpanExporter(
            endpoint=f"{said['url']}/v1/traces", headers={"x-mlflow-experiment-id": "0"}, compression=packed
        )
        provider = sdk.TracerProvider(resource=resources.Resource({"service.name": "shop"}))
        provider.add_span_processor(export.BatchSpanProcessor(exporter))
        tracer = provider.get_tracer("tests")
        with tracer.start_as_current_span("checkout") as root:
            root.set_attribute("gen_ai.conversation.id", "c1")
            with tracer.start_as_current_span("chat") as chat:
                chat.set_attributes(
                    {
                        "gen_ai.operation.name": "chat",
                        "gen_ai.request.model": "gpt-x",
                        "gen_ai.usage.input_tokens": 12,
                        "gen_ai.usage.output_tokens": 30,
                        "gen_ai.input.messages": '[{"role": "user", "content": "how much?"}]',
                    }
                )
            try:
                with tracer.start_as_current_span("pay"):
                    raise ValueError("declined")
            except ValueError:
                pass
        assert provider.force_flush()
        provider.shutdown()
        trace_id = f"tr-{root.get_span_context().trace_id:032x}"
        found = asked(said["url"], f"/api/v1/traces/{trace_id}")
    trace, spans = found["trace"], {span["name"]: span for span in found["spans"]}
    assert trace["state"] == "OK"
    assert trace["tags"]["service.name"] == "shop"
    assert trace["metadata"]["mlflow.trace.session"] == "c1"
    assert json.loads(trace["metadata"]["mlflow.trace.tokenUsage"])["total_tokens"] == 42
    assert spans["chat"]["type"] == "CHAT_MODEL"
    assert spans["chat"]["parent_id"] == spans["checkout"]["id"]
    assert spans["chat"]["attributes"]["mlflow.spanInputs"] == [{"role": "user", "content": "how much?"}]
    assert spans["pay"]["status"] == "ERROR"
    assert spans["pay"]["events"][0]["attributes"]["exception.message"] == "declined"
