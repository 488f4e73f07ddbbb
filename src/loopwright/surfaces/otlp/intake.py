"""`POST /v1/traces`: what exporters of OpenTelemetry send, taken in by one hop to the ledger's writer.

Errors are raised: whoever mounts this tells them in the form that its clients know.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import Any, Protocol

from starlette.types import Receive, Send

from loopwright.core.errors import Invalid
from loopwright.core.traces import Span
from loopwright.engine.context import Context
from loopwright.llm.intake import MAX_SPANS, Sent, log_spans
from loopwright.surfaces.otlp import plain, protobuf
from loopwright.surfaces.otlp.values import Parts, made

__all__ = ["MAX_BYTES", "MAX_JSON_BYTES", "PATH", "SCOPE", "Call", "ReadBody", "exporter"]

PATH = "/v1/traces"
SCOPE = "trace:write"
"""what a caller needs"""

MAX_BYTES = 32 << 20
"""bytes of a request, packed or not"""
MAX_JSON_BYTES = 16 << 20
"""bytes of one in JSON, which costs many times as much to read"""
_SMALL = 64 << 10
"""bytes of a request that is read where it is written: a hop less"""
_HEADER = 200

Read = Callable[[bytes], Iterator[tuple[dict[str, Any], list[Parts]]]]
_FORMS: dict[bytes, tuple[Read, bytes]] = {
    b"application/x-protobuf": (protobuf.read, b""),
    b"application/json": (plain.read, b"{}"),
}


ReadBody = Callable[[Receive, Mapping[bytes, bytes], int], Awaitable[bytes]]
"""reads a whole body within a limit of bytes, unpacked where it came packed"""


class Call(Protocol):
    """One request, by whoever admitted it and found that it is for here."""

    @property
    def ctx(self) -> Context:
        """Who asks."""

    @property
    def headers(self) -> Mapping[bytes, bytes]:
        """Names in lower case."""

    @property
    def receive(self) -> Receive:
        """The body."""

    @property
    def send(self) -> Send:
        """The answer."""

    @property
    def in_thread(self) -> Callable[[Callable[[], Any]], Awaitable[Any]]:
        """Runs sync work in a thread."""

    @property
    def at_writer(self) -> Callable[[Callable[[], Any]], Awaitable[Any]]:
        """Runs quick work that writes where writes are."""


def exporter(read_body: ReadBody) -> Callable[[Call], Awaitable[None]]:
    """What answers a request."""
    return partial(_export, read_body)


async def _export(read_body: ReadBody, call: Call) -> None:
    kind = call.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind not in _FORMS:
        raise Invalid(
            f"Invalid Content-Type: {kind.decode('latin-1')[:100]}. "
            "Expected: application/x-protobuf or application/json"
        )
    read, reply = _FORMS[kind]
    experiment_id, run_id = _told(call, b"x-mlflow-experiment-id"), _told(call, b"x-mlflow-run-id")
    if experiment_id is None:
        raise Invalid(
            "the header x-mlflow-experiment-id is missing",
            hint="name the experiment: OTEL_EXPORTER_OTLP_TRACES_HEADERS=x-mlflow-experiment-id=0",
        )
    limit = MAX_BYTES if read is protobuf.read else MAX_JSON_BYTES
    body = await read_body(call.receive, call.headers, limit)
    take = partial(_taken, call.ctx, read, body, experiment_id, run_id)
    await (call.at_writer(take) if len(body) <= _SMALL else call.in_thread(take))
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(reply))]
    await call.send({"type": "http.response.start", "status": 200, "headers": headers})
    await call.send({"type": "http.response.body", "body": reply})


def _told(call: Call, name: bytes) -> str | None:
    value = call.headers.get(name)
    return None if value is None else value.decode("latin-1").strip()[:_HEADER]


def _taken(ctx: Context, read: Read, body: bytes, experiment_id: str, run_id: str | None) -> None:
    spans: list[Span] = []
    resources: dict[str, dict[str, Any]] = {}
    is_empty = True
    for resource, parts in read(body):
        is_empty = False
        if len(spans) + len(parts) > MAX_SPANS:
            raise Invalid(f"a request has at most {MAX_SPANS} spans", hint="export smaller batches")
        for each in parts:
            span = made(each)
            spans.append(span)
            if resource:
                resources.setdefault(span.trace_id, resource)
    if is_empty:
        raise Invalid("Invalid OpenTelemetry format - no spans found", hint="send spans")
    log_spans(ctx, Sent(experiment_id=experiment_id, spans=tuple(spans), resources=resources, run_id=run_id))
