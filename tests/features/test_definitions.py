"""Definitions of views and services: what is kept, what is refused and with which words."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from msgspec.structs import replace

from loopwright.core.errors import Conflict, Invalid, LoopwrightError, NotFound
from loopwright.core.expressions import Lit, Window, col
from loopwright.core.schema import Column, ColumnType, Schema
from loopwright.data.verbs import append
from loopwright.engine.context import Context
from loopwright.features.nouns import FeatureService, FeatureView, Lookup, Output
from loopwright.features.rules import online_view, store_name
from loopwright.features.verbs import (
    categorical_of,
    define_service,
    define_view,
    features,
    service_of,
    service_outputs,
    show_service,
    show_view,
    view_of,
)
from tests.features import worlds
from tests.features.worlds import START, UTC_TIME

VIEW = FeatureView(
    name="v",
    entity=("carrier",),
    source="departures",
    event_time="scheduled_at",
    known_at="known_at",
    windows={"n": col("delay").count("1h")},
)
REQUEST = Schema(columns=(Column(name="carrier", type=ColumnType.STRING),))
SERVICE = FeatureService(
    name="s", request=REQUEST, lookups=(Lookup(view="v"),), outputs=(Output(name="n", expr=col("v.n")),)
)


@pytest.fixture
def ctx() -> Context:
    made = worlds.context()
    append(
        made,
        "departures",
        worlds.departures(10),
        event_time="scheduled_at",
        known_at="known_at",
        keys=("flight_id",),
    )
    return made


def view(**changed: Any) -> FeatureView:
    return replace(VIEW, **changed)


def service(**changed: Any) -> FeatureService:
    return replace(SERVICE, **changed)


def test_a_view_is_a_version_that_names_rows_by_the_datasets_keys(ctx: Context) -> None:
    first = define_view(ctx, VIEW)
    assert (first.kind, first.name, first.number) == ("feature_view", "v", 1)
    assert define_view(ctx, VIEW).id == first.id
    kept, version = view_of(ctx, "v")
    assert version.id == first.id
    assert kept == view(identity=("flight_id",))
    second = define_view(ctx, view(ttl="1h"))
    assert second.number == 2
    assert view_of(ctx, "v@1")[0].ttl == "0"


def test_a_services_lookups_are_settled_when_it_is_published(ctx: Context) -> None:
    define_view(ctx, VIEW)
    define_service(ctx, SERVICE)
    define_view(ctx, view(ttl="1h"))
    kept = service_of(ctx, "s")
    assert [(lookup.view, lookup.store, lookup.columns) for lookup in kept.lookups] == [
        ("v@1", "v@1", ("carrier",))
    ]
    assert service_outputs(ctx, "s") == ("n",)
    assert categorical_of(ctx, "s") == {}
    assert define_service(ctx, SERVICE).number == 2
    assert service_of(ctx, "s").lookups[0].view == "v@2"
    pinned = service(name="old", lookups=(Lookup(view="v@1"),))
    define_service(ctx, pinned)
    assert service_of(ctx, "old").lookups[0].view == "v@1"


def test_one_view_may_be_looked_up_twice_under_two_names(ctx: Context) -> None:
    define_view(ctx, VIEW)
    two = Schema(columns=tuple(Column(name=name, type=ColumnType.STRING) for name in ("mine", "other")))
    made = service(
        request=two,
        lookups=(
            Lookup(view="v", keys={"carrier": "mine"}),
            Lookup(view="v", keys={"carrier": "other"}, alias="o"),
        ),
        outputs=(Output(name="more", expr=col("v.n") - col("o.n")),),
    )
    define_service(ctx, made)
    assert [lookup.columns for lookup in service_of(ctx, "s").lookups] == [("mine",), ("other",)]


def test_the_online_store_keeps_spaces_apart() -> None:
    assert store_name("default", "v", 3) == "v@3"
    assert store_name("team", "v", 3) == "team/v@3"


def window(**changed: Any) -> Window:
    return replace(col("delay").count("1h"), **changed)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"source": "nowhere"}, "nowhere"),
        ({"entity": ()}, "no entity"),
        ({"entity": ("nope",)}, "'nope'"),
        ({"event_time": "delay"}, "'delay'"),
        ({"known_at": "carrier"}, "'carrier'"),
        ({"order": "nope"}, "'nope'"),
        ({"windows": {}}, "no features"),
        ({"windows": {"n": window(expr=col("nope"))}}, "'nope'"),
        ({"windows": {"n": window(over="0")}}, "'n'"),
        ({"windows": {"n": window(over="soon")}}, "'soon'"),
        ({"windows": {"n": window(op="sum", expr=col("carrier"))}}, "numbers"),
        ({"windows": {"n": window(expr=col("delay") + col("carrier"))}}, r"\+"),
        ({"latest": ("carrier",)}, "'carrier'"),
        ({"latest": ("known_at",)}, "'known_at'"),
        ({"latest": ("delay", "delay")}, "twice"),
        ({"latest": ("delay",), "windows": {"delay": window()}}, "twice"),
        ({"ttl": "-1h"}, "'-1h'"),
        ({"name": "a.b"}, "a dot"),
        ({"name": "a@b"}, "a dot"),
        ({"identity": ("nope",)}, "'nope'"),
    ],
)
def test_a_view_that_does_not_fit_is_refused(ctx: Context, changed: dict[str, Any], said: str) -> None:
    with pytest.raises((Invalid, NotFound), match=said) as caught:
        define_view(ctx, view(**changed))
    assert isinstance(caught.value, LoopwrightError)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"lookups": (Lookup(view="nope"),)}, "nope"),
        ({"lookups": (Lookup(view="v@7"),)}, "v@7"),
        ({"lookups": (Lookup(view="v"), Lookup(view="v"))}, "'v' twice"),
        ({"lookups": (Lookup(view="v", keys={"carrier": "nope"}),)}, "'nope'"),
        ({"lookups": (Lookup(view="v", keys={"nope": "carrier"}),)}, "'nope'"),
        ({"lookups": ()}, "'v.n'"),
        ({"outputs": ()}, "no outputs"),
        ({"outputs": (Output(name="n", expr=col("v.nope")),)}, "'v.nope'"),
        ({"outputs": (Output(name="n", expr=col("nope")),)}, "'nope'"),
        ({"outputs": (SERVICE.outputs[0], SERVICE.outputs[0])}, "'n' twice"),
        ({"outputs": (Output(name="n", expr=col("carrier")),)}, "a text"),
        ({"outputs": (Output(name="n", expr=col("v.n") + col("carrier")),)}, r"\+"),
        ({"outputs": (Output(name="n", expr=Lit("x")),)}, "a text"),
        ({"categorical": {"n": ("a",)}}, "not a text"),
        ({"categorical": {"nope": ("a",)}}, "'nope'"),
        ({"request": Schema(columns=(*REQUEST.columns, *REQUEST.columns))}, "'carrier' twice"),
    ],
)
def test_a_service_that_means_nothing_is_refused(ctx: Context, changed: dict[str, Any], said: str) -> None:
    define_view(ctx, VIEW)
    with pytest.raises((Invalid, NotFound), match=said) as caught:
        define_service(ctx, service(**changed))
    assert isinstance(caught.value, LoopwrightError)
    assert caught.value.hint


def test_lists_and_pages_show_what_is_there(ctx: Context) -> None:
    define_view(ctx, view(description="how many left"))
    define_view(ctx, view(name="w", latest=("delay",)))
    define_service(ctx, SERVICE)
    listed = features(ctx).items
    assert [(item.name, item.features, item.description) for item in listed] == [
        ("v", 1, "how many left"),
        ("w", 2, ""),
    ]
    assert [item.name for item in features(ctx, kind="feature_service").items] == ["s"]
    shown = show_view(ctx, "v")
    assert shown.types == {"n": "int"}
    assert shown.watermark is None
    assert shown.services == ("feature_service:s@1",)
    assert show_view(ctx, "v", version="1").version.number == 1
    assert show_service(ctx, "s").service == service_of(ctx, "s")
    with pytest.raises(NotFound):
        show_view(ctx, "nope")


def test_a_source_whose_columns_changed_type_makes_a_new_view_fail(ctx: Context) -> None:
    other = pa.table({"carrier": ["AA"], "at": pa.array([START], UTC_TIME), "delay": ["late"]})
    append(ctx, "texts", other, event_time="at")
    define_view(ctx, view(name="t", source="texts", event_time="at", known_at=None))
    with pytest.raises(Invalid, match="numbers"):
        define_view(
            ctx,
            view(
                name="t",
                source="texts",
                event_time="at",
                known_at=None,
                windows={"m": col("delay").mean("1h")},
            ),
        )


def test_the_online_store_was_told(ctx: Context) -> None:
    define_view(ctx, VIEW)
    assert ctx.ports.online.watermark("v@1") is None
    with pytest.raises(Conflict):
        ctx.ports.online.define(online_view(worlds.views()[3], "v@1"))
