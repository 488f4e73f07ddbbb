"""MLflow 3's calls about traces: told of, read, found, tagged, linked, counted, deleted; and their files."""

from __future__ import annotations

import math
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

from loopwright.core.errors import Invalid, NotFound
from loopwright.core.traces import Assessment
from loopwright.engine.context import Context
from loopwright.llm import finding, measuring, traces
from loopwright.llm.assessments import made
from loopwright.llm.intake import start
from loopwright.llm.measuring import Aggregation, Question
from loopwright.llm.nouns import SPANS_LOCATION, Whole
from loopwright.llm.previews import dumped
from loopwright.llm.rules import Telling, check_trace_id
from loopwright.ports.ledger import PageRequest, Transaction
from loopwright.surfaces.mlflow.failures import missing
from loopwright.surfaces.mlflow.routing import Call, RawRoute, Route
from loopwright.surfaces.mlflow.trace_wire import (
    Location,
    TraceInfoIn,
    experiment_of,
    said_of,
    span_file,
    span_out,
    state_of,
    telling_times,
    trace_info,
)
from loopwright.surfaces.mlflow.transfers import Transfers
from loopwright.surfaces.mlflow.wire import Int64, Message, Needed
from loopwright.tracking.homes import Spot, in_trace
from loopwright.tracking.limits import check_size
from loopwright.tracking.paths import file_path

__all__ = ["OfTrace", "routes"]

_PAGE = 100
_MOST = 500
_BATCH = 1_000
_BODY = 8 << 20
_FILE = "traces.json"
_V3 = ("3.0",)
_UNDECIDED = (None, "")


class _Told(Message, frozen=True, kw_only=True):
    trace_info: TraceInfoIn | None = None


class Start(Message, frozen=True, kw_only=True):
    """A trace as its client tells of it."""

    trace: _Told


class OfTrace(Message, frozen=True, kw_only=True):
    """A trace by its id."""

    trace_id: Needed


class GetWhole(OfTrace, frozen=True, kw_only=True):
    """A trace with its spans, or with those that came so far."""

    allow_partial: bool = False


class Batch(Message, frozen=True, kw_only=True):
    """Several traces, perhaps of some experiments alone."""

    trace_ids: list[str]
    experiment_ids: list[str] | None = None


class Search(Message, frozen=True, kw_only=True):
    """Which traces."""

    locations: list[Location]
    filter: str = ""
    max_results: Int64 = _PAGE
    order_by: list[str] = []
    page_token: str = ""


class SetTag(OfTrace, frozen=True, kw_only=True):
    """One tag."""

    key: Needed
    value: str = ""


class UnsetTag(OfTrace, frozen=True, kw_only=True):
    """The tag to take away."""

    key: Needed


class Delete(Message, frozen=True, kw_only=True):
    """Which traces of an experiment."""

    experiment_id: Needed
    max_timestamp_millis: Int64 | None = None
    max_traces: Int64 | None = None
    request_ids: list[str] = []


class LinkRun(Message, frozen=True, kw_only=True):
    """Traces, and the run they belong to."""

    trace_ids: list[str]
    run_id: Needed


class _Prompt(Message, frozen=True, kw_only=True):
    name: Needed
    version: Needed


class LinkPrompts(OfTrace, frozen=True, kw_only=True):
    """A trace, and the prompts it was made with."""

    prompt_versions: list[_Prompt]


class Correlate(Message, frozen=True, kw_only=True):
    """Two filters, perhaps on top of a third."""

    experiment_ids: list[str]
    filter_string1: Needed
    filter_string2: Needed
    base_filter: str | None = None


class _Aggregation(Message, frozen=True, kw_only=True):
    aggregation_type: str | int = 0
    percentile_value: float | None = None


class Measure(Message, frozen=True, kw_only=True):
    """What to count or measure."""

    experiment_ids: list[str]
    view_type: str | int
    metric_name: Needed
    aggregations: list[_Aggregation]
    dimensions: list[str] = []
    filters: list[str] = []
    time_interval_seconds: Int64 | None = None
    start_time_ms: Int64 | None = None
    end_time_ms: Int64 | None = None
    max_results: Int64 = 1_000
    page_token: str = ""


def routes(upload_bytes: int) -> tuple[Route | RawRoute, ...]:
    """All calls about traces of clients of MLflow 3."""
    read, write = "trace:read", "trace:write"
    file = partial(_file, Transfers(upload_bytes))

    def route(method: str, path: str, scope: str, takes: type[Message], answer: Any, **more: Any) -> Route:
        return Route(method=method, path=path, scope=scope, takes=takes, answer=answer, **more)

    v3: dict[str, Any] = {"versions": _V3}
    tags = "traces/{trace_id}/tags"
    return (
        route("POST", "traces", write, Start, _start, body_limit=_BODY, writes=True, **v3),
        route("GET", "traces/{trace_id}", read, OfTrace, _get, **v3),
        route("GET", "traces/get", read, GetWhole, _get_whole, **v3),
        route("GET", "traces/batchGet", read, Batch, _batch, **v3),
        route("POST", "traces/batchGetInfos", read, Batch, _infos, **v3),
        route("POST", "traces/search", read, Search, _search, **v3),
        route("PATCH", tags, write, SetTag, _set_tag, writes=True, **v3),
        route("DELETE", tags, write, UnsetTag, _unset_tag, writes=True, **v3),
        route("POST", "traces/delete-traces", "trace:delete", Delete, _delete),
        route("POST", "traces/link-to-run", write, LinkRun, _link_run, writes=True),
        route("POST", "traces/link-prompts", write, LinkPrompts, _link_prompts, writes=True),
        route("POST", "traces/calculate-filter-correlation", read, Correlate, _correlate, **v3),
        route("POST", "traces/metrics", read, Measure, _measure, **v3),
        RawRoute(method="GET", path="get-trace-artifact", scope=read, answer=file),
    )


def _start(ctx: Context, asked: Start) -> Any:
    told = asked.trace.trace_info
    if told is None or not told.trace_id:
        raise missing("trace.trace_info.trace_id")
    experiment_id = experiment_of(told.trace_location)
    if not experiment_id:
        raise missing("trace.trace_info.trace_location.mlflow_experiment.experiment_id")
    trace_id = check_trace_id(told.trace_id)
    started, duration = telling_times(told)
    said: list[Assessment] = [made(ctx, trace_id, said_of(each)) for each in told.assessments]
    trace = start(
        ctx,
        Telling(
            id=trace_id,
            experiment_id=experiment_id,
            started_ms=started,
            duration_ms=duration,
            state=state_of(told.state),
            client_request_id=told.client_request_id,
            request_preview=told.request_preview,
            response_preview=told.response_preview,
            tags=told.tags,
            metadata=told.trace_metadata,
        ),
        said,
    )
    return {"trace": {"trace_info": trace_info(Whole(trace=trace, assessments=tuple(said)))}}


def _get(ctx: Context, asked: OfTrace) -> Any:
    return {"trace": {"trace_info": trace_info(traces.get(ctx, asked.trace_id))}}


def _get_whole(ctx: Context, asked: GetWhole) -> Any:
    found = traces.wholes(ctx, [asked.trace_id], has_spans=True)
    if not found:
        raise traces.no_trace(asked.trace_id)
    if not asked.allow_partial and not _is_whole(found[0]):
        raise NotFound(
            f"Trace with ID {asked.trace_id[:100]} is not fully exported yet, please try again later."
        )
    return {"trace": _whole_out(found[0])}


def _is_whole(found: Whole) -> bool:
    return bool(found.spans) and len(found.spans) >= measuring.spans_told(found.trace)


def _whole_out(found: Whole) -> dict[str, Any]:
    spans = [span_out(span) for span in found.spans]
    return {"trace_info": trace_info(found), **({"spans": spans} if spans else {})}


def _bounded(ids: list[str]) -> list[str]:
    if len(ids) > _BATCH:
        raise Invalid(f"at most {_BATCH} traces are read at once, not {len(ids)}", hint="ask for fewer")
    return ids


def _batch(ctx: Context, asked: Batch) -> Any:
    found = traces.wholes(ctx, _bounded(asked.trace_ids), asked.experiment_ids, has_spans=True)
    told = [_whole_out(each) for each in found if _is_whole(each)]
    return {"traces": told} if told else {}


def _infos(ctx: Context, asked: Batch) -> Any:
    found = traces.wholes(ctx, _bounded(asked.trace_ids), asked.experiment_ids, has_spans=False)
    return {"trace_infos": [trace_info(each) for each in found]} if found else {}


def _search(ctx: Context, asked: Search) -> Any:
    page = finding.search(
        ctx,
        [each for each in map(experiment_of, asked.locations) if each],
        asked.filter,
        asked.order_by,
        page=PageRequest(limit=check_size(asked.max_results, _MOST), token=asked.page_token),
    )
    found: dict[str, Any] = {"traces": [trace_info(each) for each in page.items]}
    if page.next_token:
        found["next_page_token"] = page.next_token
    return {key: value for key, value in found.items() if value}


def _set_tag(ctx: Context, asked: SetTag) -> None:
    traces.set_tag(ctx, asked.trace_id, asked.key, asked.value)


def _unset_tag(ctx: Context, asked: UnsetTag) -> None:
    traces.unset_tag(ctx, asked.trace_id, asked.key)


def _delete(ctx: Context, asked: Delete) -> Any:
    _check_meant(asked)
    gone = traces.delete(
        ctx,
        asked.experiment_id,
        trace_ids=asked.request_ids,
        until_ms=asked.max_timestamp_millis,
        limit=asked.max_traces,
    )
    return {"traces_deleted": gone}


def _check_meant(asked: Delete) -> None:
    """Raise `Invalid` unless it is said which traces: by ids, or by the last instant, and not by both."""
    if asked.max_timestamp_millis is None and not asked.request_ids:
        raise Invalid("Either `max_timestamp_millis` or `trace_ids` must be specified.")
    if asked.max_timestamp_millis is not None and asked.request_ids:
        raise Invalid("Only one of `max_timestamp_millis` and `trace_ids` can be specified.")
    if asked.request_ids and asked.max_traces is not None:
        raise Invalid("`max_traces` can't be specified if `trace_ids` is specified.")


def _link_run(ctx: Context, asked: LinkRun) -> None:
    traces.link_run(ctx, asked.trace_ids, asked.run_id)


def _link_prompts(ctx: Context, asked: LinkPrompts) -> None:
    names = [f"{each.name}/{each.version}" for each in asked.prompt_versions]
    traces.link_prompts(ctx, asked.trace_id, names)


def _correlate(ctx: Context, asked: Correlate) -> Any:
    found = finding.correlate(
        ctx, asked.experiment_ids, asked.filter_string1, asked.filter_string2, asked.base_filter
    )
    told = {"npmi": found.npmi, "npmi_smoothed": found.npmi_smoothed}
    return {
        **{key: value for key, value in told.items() if not math.isnan(value)},
        "filter1_count": found.filter1_count,
        "filter2_count": found.filter2_count,
        "joint_count": found.joint_count,
        "total_count": found.total_count,
    }


def _measure(ctx: Context, asked: Measure) -> Any:
    found = measuring.measure(
        ctx,
        Question(
            experiment_ids=tuple(asked.experiment_ids),
            view=measuring.view_of(asked.view_type),
            metric=asked.metric_name,
            aggregations=tuple(
                Aggregation(kind=measuring.kind_of(each.aggregation_type), percentile=each.percentile_value)
                for each in asked.aggregations
            ),
            dimensions=tuple(asked.dimensions),
            filters=tuple(asked.filters),
            interval_s=asked.time_interval_seconds,
            start_ms=asked.start_time_ms,
            end_ms=asked.end_time_ms,
            limit=asked.max_results,
        ),
    )
    points = [
        {
            "metric_name": asked.metric_name,
            **({"dimensions": each.dimensions} if each.dimensions else {}),
            "values": each.values,
        }
        for each in found
    ]
    return {"data_points": points} if points else {}


# -- the file of a trace -----------------------------------------------------------------------------------


async def _file(transfers: Transfers, call: Call) -> None:
    """The spans as a file, from the ledger or as an older client put it there; or one of its attachments."""
    query = dict(parse_qsl(call.scope["query_string"].decode("latin-1")))
    trace_id = query.get("request_id")
    if not trace_id:
        raise Invalid('Request must include the "request_id" query parameter.', hint="name a trace")
    path = query.get("path")
    if path is not None:
        await transfers.get(call, _attached(call.ctx, trace_id, f"attachments/{path}"))
        return
    body = await call.in_thread(partial(_spans_file, call.ctx, trace_id))
    if body is None:
        await transfers.get(call, _attached(call.ctx, trace_id, _FILE))
        return
    headers = [
        (b"content-type", b"text/plain"),
        (b"content-length", b"%d" % len(body)),
        (b"content-disposition", b"attachment; filename=" + _FILE.encode()),
        (b"accept-ranges", b"bytes"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await call.send({"type": "http.response.start", "status": 200, "headers": headers})
    await call.send({"type": "http.response.body", "body": body})


def _spans_file(ctx: Context, trace_id: str) -> bytes | None:
    """The file of the spans in the ledger; None where they are not there."""
    found = traces.wholes(ctx, [trace_id], has_spans=True)
    if not found:
        raise traces.no_trace(trace_id)
    if found[0].trace.tags.get(SPANS_LOCATION) in _UNDECIDED:
        return None
    spans = ",".join(dumped(span_file(span)) for span in found[0].spans)
    return f'{{"spans":[{spans}]}}'.encode()


def _attached(ctx: Context, trace_id: str, path: str) -> Any:
    place = file_path(path)

    def find(tx: Transaction) -> Spot:
        return in_trace(tx, ctx.space, trace_id, place)

    return find
