"""A trace is the same in whatever order and batches its spans and its client's word come."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.errors import Invalid, NotFound
from loopwright.core.traces import Span, Trace, TraceState
from loopwright.engine.context import Context
from loopwright.llm import traces
from loopwright.llm.intake import Sent, log_spans, start
from loopwright.llm.previews import preview
from loopwright.llm.rules import Telling
from loopwright.testing.builders import memory_context
from loopwright.tracking import experiments

TRACE = "tr-" + "1" * 32
MS = 1_000_000


def span(number: int, parent: int | None, **more: Any) -> Span:
    known = {
        "trace_id": TRACE,
        "id": f"{number:016x}",
        "parent_id": None if parent is None else f"{parent:016x}",
        "name": f"s{number}",
        "start_ns": number * 10 * MS,
        "end_ns": number * 10 * MS + 500 * MS,
        "status": "OK",
    }
    return Span(**{**known, **more})


def tree(rng: random.Random, size: int) -> list[Span]:
    def told(number: int) -> dict[str, Any]:
        usage = {
            "mlflow.chat.tokenUsage": {"input_tokens": number, "output_tokens": 1, "total_tokens": number + 1}
        }
        asked = {"mlflow.spanInputs": {"q": "why"}, "mlflow.spanOutputs": "so", "session.id": "s1"}
        return {**(usage if rng.random() < 0.5 else {}), **(asked if number == 1 else {})}

    return [
        span(number, None if number == 1 else rng.randrange(1, number), attributes=told(number))
        for number in range(1, size + 1)
    ]


def sent(spans: list[Span]) -> Sent:
    return Sent(experiment_id="0", spans=tuple(spans))


def kept(ctx: Context) -> tuple[Trace, list[Span]]:
    found = traces.whole(ctx, TRACE)
    return found.trace, list(found.spans)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 8))
def test_batches_and_their_order_do_not_matter(seed: int, size: int) -> None:
    rng = random.Random(seed)
    spans = tree(rng, size)
    whole, parts = memory_context(), memory_context()
    log_spans(whole, sent(spans))
    shuffled = [*spans, rng.choice(spans)]
    rng.shuffle(shuffled)
    while shuffled:
        count = rng.randrange(1, len(shuffled) + 1)
        log_spans(parts, sent(shuffled[:count]))
        shuffled = shuffled[count:]
    assert kept(parts) == kept(whole)


def test_a_root_ends_a_trace() -> None:
    ctx = memory_context()
    log_spans(ctx, sent([span(2, 1)]))
    assert kept(ctx)[0].state is TraceState.IN_PROGRESS
    log_spans(ctx, sent([span(1, None, status="ERROR")]))
    trace, spans = kept(ctx)
    assert (trace.state, trace.started_ms, trace.duration_ms) == (TraceState.ERROR, 10, 510)
    assert [each.id[-1] for each in spans] == ["1", "2"]


def test_what_the_client_told_stands_before_and_after_its_spans() -> None:
    told = Telling(id=TRACE, experiment_id="0", started_ms=7, duration_ms=9, state=TraceState.OK)
    first, last = memory_context(), memory_context()
    start(first, told)
    log_spans(first, sent([span(1, None, status="ERROR")]))
    log_spans(last, sent([span(1, None, status="ERROR")]))
    start(last, told)
    for ctx in (first, last):
        trace = kept(ctx)[0]
        assert (trace.state, trace.started_ms, trace.duration_ms) == (TraceState.OK, 7, 9)


def test_nothing_is_kept_of_a_request_that_is_refused() -> None:
    ctx = memory_context()
    with pytest.raises(NotFound):
        log_spans(ctx, Sent(experiment_id="99", spans=(span(1, None),)))
    home = experiments.create(ctx, "away")
    experiments.delete(ctx, home.name)
    with pytest.raises(Invalid, match="active"):
        log_spans(ctx, Sent(experiment_id=home.id, spans=(span(1, None),)))
    with pytest.raises(Invalid, match="at most"):
        log_spans(ctx, sent([span(1, None)] * 10_001))
    with pytest.raises(NotFound):
        traces.get(ctx, TRACE)


def test_deleting_takes_traces_of_that_experiment_alone() -> None:
    ctx = memory_context()
    other = experiments.create(ctx, "other").id
    log_spans(ctx, sent([span(1, None)]))
    assert traces.delete(ctx, other, trace_ids=[TRACE]) == 0
    assert traces.delete(ctx, "0", trace_ids=[TRACE, "none"]) == 1
    with ctx.read() as tx:
        assert [event.kind for event in tx.journal.read(0, 100)][-1] == "traces.deleted"


def test_a_message_is_what_a_list_shows() -> None:
    chat = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]}
    assert preview(chat, "user") == "hi"
    assert preview({"request": chat}, "assistant") == "yes"
    assert preview({"messages": []}, "user") == '{"messages": []}'
    assert preview("é" * 2000, "user") == '"' + "é" * 996 + "..."
    deep: Any = "x"
    for _ in range(50):
        deep = {"request": deep}
    assert len(preview(deep, "user") or "") <= 1000
    assert preview(None, "user") is None
