"""Calls about traces of clients of MLflow 2: begun, ended, read, found and tagged; their spans are files."""

from __future__ import annotations

from typing import Any

from loopwright.core.traces import Trace, TraceState
from loopwright.engine.context import Context
from loopwright.llm import finding, older, traces
from loopwright.llm.older import Ending
from loopwright.llm.rules import Telling
from loopwright.ports.ledger import PageRequest
from loopwright.surfaces.mlflow.routing import Route
from loopwright.surfaces.mlflow.trace_wire import state_of
from loopwright.surfaces.mlflow.wire import Int64, Message, Needed, Pair
from loopwright.tracking.limits import check_size

__all__ = ["routes"]

_V2 = ("2.0",)
_PAGE = 100
_MOST = 500
_TOLD = 250
_TAG = 4_096


class Start(Message, frozen=True, kw_only=True):
    """A trace that begins."""

    experiment_id: str = ""
    timestamp_ms: Int64 = 0
    request_metadata: list[Pair] = []
    tags: list[Pair] = []


class OfRequest(Message, frozen=True, kw_only=True):
    """A trace by its id."""

    request_id: Needed


class End(OfRequest, frozen=True, kw_only=True):
    """How a trace ended."""

    timestamp_ms: Int64 = 0
    status: str | int = 0
    request_metadata: list[Pair] = []
    tags: list[Pair] = []


class SetTag(OfRequest, frozen=True, kw_only=True):
    """One tag."""

    key: Needed
    value: str = ""


class UnsetTag(OfRequest, frozen=True, kw_only=True):
    """The tag to take away."""

    key: Needed


class Search(Message, frozen=True, kw_only=True):
    """Which traces."""

    experiment_ids: list[str]
    filter: str = ""
    max_results: Int64 = _PAGE
    order_by: list[str] = []
    page_token: str = ""


def routes() -> tuple[Route, ...]:
    """All calls about traces of older clients."""
    read, write, tags = "trace:read", "trace:write", "traces/{request_id}/tags"

    def route(method: str, path: str, takes: type[Message], answer: Any) -> Route:
        is_reading = method == "GET"
        return Route(
            method=method,
            path=path,
            scope=read if is_reading else write,
            takes=takes,
            answer=answer,
            versions=_V2,
            writes=not is_reading,
        )

    return (
        route("POST", "traces", Start, _start),
        route("GET", "traces", Search, _search),
        route("PATCH", "traces/{request_id}", End, _end),
        route("GET", "traces/{request_id}/info", OfRequest, _get),
        route("PATCH", tags, SetTag, _set_tag),
        route("DELETE", tags, UnsetTag, _unset_tag),
    )


def _start(ctx: Context, asked: Start) -> Any:
    telling = Telling(
        id=older.new_id(),
        experiment_id=asked.experiment_id or "0",
        started_ms=asked.timestamp_ms,
        state=TraceState.IN_PROGRESS,
        tags=_texts(asked.tags),
        metadata=_texts(asked.request_metadata),
    )
    return {"trace_info": _info(older.begin(ctx, telling))}


def _end(ctx: Context, asked: End) -> Any:
    ending = Ending(
        at_ms=asked.timestamp_ms,
        state=state_of(asked.status),
        tags=_texts(asked.tags),
        metadata=_texts(asked.request_metadata),
    )
    return {"trace_info": _info(older.end(ctx, asked.request_id, ending))}


def _get(ctx: Context, asked: OfRequest) -> Any:
    return {"trace_info": _info(traces.get(ctx, asked.request_id).trace)}


def _search(ctx: Context, asked: Search) -> Any:
    page = PageRequest(limit=check_size(asked.max_results, _MOST), token=asked.page_token)
    found = finding.search(ctx, asked.experiment_ids, asked.filter, asked.order_by, page=page)
    told: dict[str, Any] = {
        "traces": [_info(each.trace) for each in found.items],
        "next_page_token": found.next_token,
    }
    return {key: value for key, value in told.items() if value}


def _set_tag(ctx: Context, asked: SetTag) -> None:
    traces.set_tag(ctx, asked.request_id, asked.key, asked.value)


def _unset_tag(ctx: Context, asked: UnsetTag) -> None:
    traces.unset_tag(ctx, asked.request_id, asked.key)


def _texts(pairs: list[Pair]) -> dict[str, str]:
    return {pair.key: pair.value or "" for pair in pairs}


def _info(trace: Trace) -> dict[str, Any]:
    found: dict[str, Any] = {
        "request_id": trace.id,
        "experiment_id": trace.experiment_id,
        "timestamp_ms": trace.started_ms,
        "execution_time_ms": trace.duration_ms or 0,
        "status": trace.state.value,
        "request_metadata": [{"key": k, "value": v[:_TOLD]} for k, v in trace.metadata.items()],
        "tags": [{"key": k, "value": v[:_TAG]} for k, v in trace.tags.items()],
    }
    return {key: value for key, value in found.items() if value != []}
