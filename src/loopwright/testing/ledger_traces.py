"""The conformance suite of traces: what every store of them must keep, find, order and take away."""

from __future__ import annotations

import random
from typing import Any

import pytest
from msgspec.structs import replace

from loopwright.core.errors import Conflict, Invalid, NotFound
from loopwright.core.queries import (
    All,
    AnyOf,
    Comparison,
    Condition,
    Field,
    FieldKind,
    Not,
    Operator,
    SortKey,
)
from loopwright.core.traces import (
    NAME_TAG,
    RUN_METADATA,
    SESSION_METADATA,
    Assessment,
    Span,
    SpanEvent,
    SpanLink,
    Trace,
    TraceLink,
    TraceQuery,
    TraceState,
)
from loopwright.ports.ledger import Ledger, PageRequest, Transaction
from loopwright.testing.trace_querying import Told, is_of_session, ordered_traces

__all__ = ["TraceSuite"]

SPACE = "default"
_TEXTS: tuple[Operator, ...] = ("=", "!=", "LIKE", "ILIKE", "RLIKE")
_LISTS: tuple[Operator, ...] = ("IN", "NOT IN")
_NULLS: tuple[Operator, ...] = ("IS NULL", "IS NOT NULL")
_NUMBERS: tuple[Operator, ...] = ("=", "!=", "<", "<=", ">", ">=")
_WORDS = ("alpha", "beta", "Alpha", "al%", "it's", "náïve")
_PATTERNS = ("alp%", "%a", "_eta", "%", "it's")
_EXPRESSIONS = ("^al", "a$", "[bB]e", "ph")


def _trace(number: int, **more: Any) -> Trace:
    known = {
        "id": f"tr-{number:032x}",
        "space": SPACE,
        "experiment_id": "1",
        "started_ms": 1_000 + number,
        "state": TraceState.OK,
    }
    return Trace(**{**known, **more})


def _span(number: int, trace: Trace, **more: Any) -> Span:
    known = {
        "trace_id": trace.id,
        "id": f"{number:016x}",
        "name": "ask",
        "start_ns": 1_000_000_000 + number,
    }
    return Span(**{**known, **more})


def _said(number: int, trace: Trace, **more: Any) -> Assessment:
    known = {
        "id": f"a-{number}",
        "trace_id": trace.id,
        "space": trace.space,
        "name": "score",
        "kind": "feedback",
        "created_ms": number,
        "updated_ms": number,
    }
    return Assessment(**{**known, **more})


class TraceSuite:
    """What a store of traces must do. Subclass it (or `LedgerSuite`) with a fixture `ledger`."""

    def test_a_trace_is_kept_and_replaced(self, ledger: Ledger) -> None:
        """All but its space and id, with the rows it is found by; others are let be."""
        first = _trace(1, tags={NAME_TAG: "n", "team": "blue"}, metadata={"a": "b"}, request_preview="hi")
        other = _trace(1, space="other", tags={"team": "blue"})
        ledger.write(lambda tx: tx.traces.save([first, _trace(2), other]))
        then = replace(
            first,
            state=TraceState.ERROR,
            duration_ms=0,
            tags={"team": "red"},
            metadata={SESSION_METADATA: "s"},
            experiment_id="2",
        )
        ledger.write(lambda tx: tx.traces.save([then, _trace(3)]))
        with ledger.read() as tx:
            assert list(tx.traces.those(SPACE, ["none", then.id, _trace(2).id, then.id])) == [then, _trace(2)]
            assert list(tx.traces.those("other", [then.id])) == [other]
            blue = TraceQuery(experiments=("1", "2"), where=Comparison(Field("tag", "team"), "=", "blue"))
            assert tx.traces.count(SPACE, blue) == 0
            assert tx.traces.count("other", blue) == 1

    def test_spans_are_kept_and_replaced(self, ledger: Ledger) -> None:
        """Everything of them; roots come first, then by start; a foreign trace is refused."""
        trace, other = _trace(1), _trace(2)
        root = _span(
            9,
            trace,
            type="CHAIN",
            status="ERROR",
            message="no",
            end_ns=2_000_000_000,
            attributes={"a": [1, {"b": None}], "c": "d\u2028", "e": 0.5, "f": True},
            events=(SpanEvent(name="x", at_ns=3, attributes={"k": "v"}),),
            links=(SpanLink(trace_id="tr-x", span_id="y"),),
        )
        child = _span(1, trace, parent_id=root.id, start_ns=1)
        ledger.write(lambda tx: tx.traces.save([trace, other]))
        ledger.write(lambda tx: tx.spans.put(SPACE, [child, root, _span(1, other)]))
        ledger.write(lambda tx: tx.spans.put(SPACE, [replace(child, name="again")]))
        with ledger.read() as tx:
            found = tx.spans.of(SPACE, [trace.id, "none"])
            assert {key: list(spans) for key, spans in found.items()} == {
                trace.id: [root, replace(child, name="again")]
            }
        with pytest.raises(NotFound):
            ledger.write(lambda tx: tx.spans.put(SPACE, [_span(1, _trace(7))]))

    def test_assessments_are_kept_replaced_and_removed(self, ledger: Ledger) -> None:
        """By the trace they are of, in the order they were made."""
        trace, other = _trace(1), _trace(2)
        one = _said(2, trace, value={"a": [1]}, error={"error_code": "E"}, metadata={"k": "v"}, rationale="r")
        two = _said(1, trace, kind="expectation", value="x", source_type="HUMAN", source_id="ann")
        ledger.write(lambda tx: tx.traces.save([trace, other]))
        for each in (one, two):
            write_said(ledger, each)
        changed = replace(one, value=7, valid=False, updated_ms=9)
        ledger.write(lambda tx: tx.assessments.put(changed))
        with ledger.read() as tx:
            found = tx.assessments.of(SPACE, [trace.id, other.id])
            assert {key: list(said) for key, said in found.items()} == {trace.id: [two, changed]}
        with pytest.raises(Conflict):
            ledger.write(lambda tx: tx.assessments.put(replace(one, trace_id=other.id)))
        with pytest.raises(NotFound):
            ledger.write(lambda tx: tx.assessments.put(replace(one, trace_id="none")))
        ledger.write(lambda tx: tx.assessments.remove(SPACE, other.id, one.id))
        ledger.write(lambda tx: tx.assessments.remove(SPACE, trace.id, two.id))
        with ledger.read() as tx:
            assert list(tx.assessments.of(SPACE, [trace.id])[trace.id]) == [changed]

    def test_removing_takes_all_that_belongs_to_a_trace(self, ledger: Ledger) -> None:
        """And nothing of others; the oldest are told first."""
        traces = [_trace(number, started_ms=10 - number // 2, tags={"a": "b"}) for number in range(4)]

        def work(tx: Transaction) -> None:
            tx.traces.save(traces)
            for number, trace in enumerate(traces):
                tx.spans.put(SPACE, [_span(1, trace)])
                tx.assessments.put(_said(number, trace))
            tx.traces.link(SPACE, [TraceLink(trace_id=each.id, kind="run", target="r") for each in traces])

        before = ledger.check().rows
        ledger.write(work)
        ids = [trace.id for trace in traces]
        with ledger.read() as tx:
            assert list(tx.traces.oldest(SPACE, "1")) == [ids[2], ids[3], ids[0], ids[1]]
            assert list(tx.traces.oldest(SPACE, "1", until_ms=9)) == ids[2:]
            assert list(tx.traces.oldest(SPACE, "1", limit=1)) == [ids[2]]
            assert list(tx.traces.oldest(SPACE, "2")) == []
        assert ledger.write(lambda tx: tx.traces.remove(SPACE, [*ids[:3], "none", ids[0]])) == 3
        with ledger.read() as tx:
            assert list(tx.spans.of(SPACE, ids)) == ids[3:]
            assert list(tx.assessments.of(SPACE, ids)) == ids[3:]
            assert list(tx.traces.links(SPACE, ids[0], "run")) == []
            assert list(tx.traces.links(SPACE, ids[3], "run")) == ["r"]
        assert ledger.write(lambda tx: tx.traces.remove(SPACE, ids)) == 1
        after = ledger.check().rows
        for table in ("traces", "spans", "assessments", "trace_links"):
            assert after[table] == before[table]

    def test_links_are_kept_once(self, ledger: Ledger) -> None:
        """Of traces that are there alone."""
        trace = _trace(1)
        links = [TraceLink(trace_id=trace.id, kind="prompt", target=f"p/{number}") for number in (2, 1, 2)]
        links.append(TraceLink(trace_id="none", kind="run", target="r"))
        ledger.write(lambda tx: tx.traces.save([trace]))
        ledger.write(lambda tx: tx.traces.link(SPACE, links))
        with ledger.read() as tx:
            assert list(tx.traces.links(SPACE, trace.id, "prompt")) == ["p/1", "p/2"]
            assert list(tx.traces.links(SPACE, trace.id, "run")) == []

    @pytest.mark.parametrize("seed", range(6))
    def test_searches_find_what_the_plain_reading_finds(self, ledger: Ledger, seed: int) -> None:
        """Every condition, order and page, of traces that differ in everything they are asked by."""
        rng = random.Random(seed)
        world = _world(rng)
        ledger.write(lambda tx: _fill(tx, world))
        with ledger.read() as tx:
            for _ in range(40):
                query = _query(rng)
                wanted = [told.trace for told in ordered_traces(query, world)]
                assert _walked(tx, query, rng.choice([1, 3, 100])) == wanted, query
                assert tx.traces.count(SPACE, query) == len(wanted)

    def test_a_token_of_another_list_is_refused(self, ledger: Ledger) -> None:
        """As is one that is none."""
        ledger.write(lambda tx: tx.traces.save([_trace(1), _trace(2)]))
        with ledger.read() as tx, pytest.raises(Invalid):
            tx.traces.search(SPACE, TraceQuery(experiments=("1",)), PageRequest(limit=1, token="zzz"))


def write_said(ledger: Ledger, said: Assessment) -> None:
    """Keep one assessment."""
    ledger.write(lambda tx: tx.assessments.put(said))


def _walked(tx: Transaction, query: TraceQuery, limit: int) -> list[Trace]:
    found: list[Trace] = []
    token = ""
    while True:
        page = tx.traces.search(SPACE, query, PageRequest(limit=limit, token=token))
        found += page.items
        token = page.next_token
        if not token:
            return found


def _fill(tx: Transaction, world: list[Told]) -> None:
    tx.traces.save([told.trace for told in world])
    tx.spans.put(SPACE, [span for told in world for span in told.spans])
    for told in world:
        for said in told.assessments:
            tx.assessments.put(said)
        links = [TraceLink(trace_id=told.trace.id, kind="run", target=each) for each in told.runs]
        links += [TraceLink(trace_id=told.trace.id, kind="prompt", target=each) for each in told.prompts]
        tx.traces.link(SPACE, links)


def _world(rng: random.Random) -> list[Told]:
    told = [_random_told(rng, number) for number in range(18)]
    traces = {each.trace.id: each.trace for each in told}
    said = [each for other in told for each in other.assessments]
    return [
        replace(
            each,
            of_session=tuple(one for one in said if is_of_session(one, traces[one.trace_id], each.trace)),
        )
        for each in told
    ]


def _some(rng: random.Random, **values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if rng.random() < 0.6}


def _random_told(rng: random.Random, number: int) -> Told:
    trace = _trace(
        number,
        experiment_id=rng.choice(["1", "2"]),
        started_ms=rng.randrange(5),
        duration_ms=rng.choice([None, 0, 5, 9]),
        state=rng.choice(list(TraceState)),
        client_request_id=rng.choice([None, *_WORDS]),
        tags=_some(rng, **{NAME_TAG: rng.choice(_WORDS), "team": rng.choice(_WORDS)}),
        metadata=_some(
            rng, **{RUN_METADATA: rng.choice(["r1", "r2"]), SESSION_METADATA: "s", "k": rng.choice(_WORDS)}
        ),
    )
    spans = tuple(
        _span(
            each,
            trace,
            name=rng.choice(_WORDS),
            type=rng.choice([None, "CHAIN", "LLM"]),
            status=rng.choice(["OK", "ERROR", "UNSET"]),
            attributes=_some(rng, model=rng.choice(_WORDS), deep={"a": [rng.choice(_WORDS)]}, n=7, yes=True),
        )
        for each in range(rng.randrange(3))
    )
    assessments = tuple(
        _said(
            100 * number + each,
            trace,
            kind=rng.choice(["feedback", "expectation", "issue"]),
            name=rng.choice(["score", "tone"]),
            value=rng.choice([0.5, 1, True, None, *_WORDS, ["beta"]]),
            valid=rng.random() < 0.8,
            metadata=_some(rng, **{SESSION_METADATA: "s"}),
        )
        for each in range(rng.randrange(3))
    )
    return Told(
        trace=trace,
        spans=spans,
        assessments=assessments,
        runs=frozenset(rng.sample(["r1", "r2"], rng.randrange(2))),
        prompts=frozenset(rng.sample(["p/1", "p/2"], rng.randrange(2))),
    )


_FIELDS: tuple[tuple[FieldKind, str, str], ...] = (
    ("attribute", "request_id", "text"),
    ("attribute", "status", "text"),
    ("attribute", "client_request_id", "text"),
    ("attribute", "name", "text"),
    ("attribute", "run_id", "null"),
    ("attribute", "prompt", "text"),
    ("attribute", "timestamp_ms", "number"),
    ("attribute", "execution_time_ms", "number"),
    ("attribute", "end_time_ms", "number"),
    ("tag", "team", "null"),
    ("tag", "nobody's", "null"),
    ("metadata", "k", "null"),
    ("span", "name", "text"),
    ("span", "type", "text"),
    ("span", "status", "text"),
    ("span", "content", "text"),
    ("span", "attributes.model", "text"),
    ("span", "attributes.deep", "text"),
    ("span", "attributes.n", "text"),
    ("span", "attributes.yes", "text"),
    ("feedback", "score", "said"),
    ("feedback", "tone", "said"),
    ("expectation", "score", "said"),
    ("issue", "id", "text"),
)
_VALUES = (*_WORDS, "OK", "CHAIN", "7", "true", "p/1", "r1", "score", '["beta"]', "null", "s")


def _comparison(rng: random.Random) -> Comparison:
    kind, key, what = rng.choice(_FIELDS)
    field = Field(kind, key)
    if what == "number":
        return Comparison(field, rng.choice(_NUMBERS), rng.randrange(8))
    choices = [*_TEXTS, *(_LISTS if what != "said" else ()), *(_NULLS if what in {"null", "said"} else ())]
    op = rng.choice([*choices, *(("<", ">=") if what == "said" else ())])
    if op in {"<", ">="}:
        return Comparison(field, op, 0.75)
    if op in _NULLS:
        return Comparison(field, op)
    if op in _LISTS:
        return Comparison(field, op, tuple(rng.sample(_VALUES, 2)))
    if op in {"LIKE", "ILIKE"}:
        return Comparison(field, op, rng.choice(_PATTERNS))
    return Comparison(field, op, rng.choice(_EXPRESSIONS if op == "RLIKE" else _VALUES))


def _condition(rng: random.Random, depth: int) -> Condition:
    if depth == 0 or rng.random() < 0.4:
        return _comparison(rng)
    parts = tuple(_condition(rng, depth - 1) for _ in range(rng.randrange(1, 4)))
    found: tuple[Condition, ...] = (All(parts), AnyOf(parts), Not(parts[0]))
    return rng.choice(found)


_ORDERS = (
    Field("attribute", "timestamp_ms"),
    Field("attribute", "execution_time_ms"),
    Field("attribute", "end_time_ms"),
    Field("attribute", "status"),
    Field("attribute", "name"),
    Field("attribute", "run_id"),
    Field("attribute", "request_id"),
    Field("attribute", "experiment_id"),
    Field("tag", "team"),
    Field("metadata", "k"),
)


def _query(rng: random.Random) -> TraceQuery:
    order = tuple(SortKey(field, rng.random() < 0.5) for field in rng.sample(_ORDERS, rng.randrange(3)))
    return TraceQuery(
        experiments=("1", "2"),
        where=None if rng.random() < 0.1 else _condition(rng, 3),
        order=order,
    )
