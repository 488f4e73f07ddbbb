"""The lookup of a request: its inputs by name, as known at an instant."""

from __future__ import annotations

import math
from datetime import timedelta

import msgspec
import pytest

from loopwright.core.errors import Invalid, NotFound
from loopwright.core.expressions import Scalar
from loopwright.core.instants import to_micros
from loopwright.engine.operation import invoke, operations_in
from loopwright.features import verbs
from loopwright.features.assembly import Assembler
from loopwright.features.verbs import lookup, materialize, service_of
from loopwright.testing.builders import SetClock, memory_context, memory_ports
from tests.features import worlds
from tests.features.worlds import HOUR, START

OPERATIONS = operations_in([verbs])


def test_a_lookup_is_the_vector_of_the_instant() -> None:
    ctx = worlds.context()
    worlds.published(ctx)
    at = START + 40 * HOUR
    for view in worlds.views():
        materialize(ctx, view.name, until=at)
    rows = worlds.questions(5).select(["origin", "carrier", "tailnum", "distance"]).to_pylist()
    assert not lookup(ctx, "delays", rows, at=at).looked_up
    reply = lookup(ctx, "delays", rows, at=at, looked_up=True)
    service = service_of(ctx, "delays")
    vectors = Assembler(ctx.ports.online, service).vectors(rows, to_micros(at)).tolist()
    assert reply.outputs == service.names
    assert reply.rows == tuple(tuple(None if math.isnan(x) else x for x in row) for row in vectors)
    assert reply.service == "feature_service:delays@1"
    assert set(reply.looked_up[0]) >= {"origin_weather.sky", "plane.worst"}
    assert msgspec.json.decode(msgspec.json.encode(reply))["at"] == "2013-06-02T16:00:00Z"


def test_now_is_the_platforms_clock() -> None:
    online = worlds.context().ports.online
    clock = SetClock(START + 30 * HOUR)
    ctx = memory_context(memory_ports(online=online, clock=clock))
    worlds.published(ctx)
    for view in worlds.views():
        assert materialize(ctx, view.name).watermark == clock.now()
    clock.advance(timedelta(hours=1))
    row: dict[str, Scalar] = {"origin": "EWR", "carrier": "AA", "tailnum": "N1", "distance": 200}
    assert lookup(ctx, "delays", [row]).at == START + 31 * HOUR
    asked = {"name": "delays", "rows": [row], "at": "2013-06-02T07:30:00Z"}
    assert invoke(OPERATIONS["features.lookup"], ctx, asked).at == START + 31.5 * HOUR


def test_what_is_asked_wrongly_is_named() -> None:
    ctx = worlds.context()
    worlds.published(ctx, flights=5)
    with pytest.raises(Invalid, match="row 0 has no"):
        lookup(ctx, "delays", [{"origin": "EWR"}])
    with pytest.raises(NotFound, match="nope"):
        lookup(ctx, "nope", [])


def test_views_and_services_are_published_by_operations() -> None:
    ctx = worlds.context()
    worlds.published(ctx, flights=5)
    view = msgspec.to_builtins(worlds.views()[0])
    again = invoke(OPERATIONS["features.publish_view"], ctx, {"view": {**view, "name": "again"}})
    assert str(again.ref) == "feature_view:again@1"
    service = msgspec.to_builtins(worlds.service())
    made = invoke(OPERATIONS["features.publish_service"], ctx, {"service": {**service, "name": "again"}})
    assert str(made.ref) == "feature_service:again@1"
