"""Online lookups by hand: the replies of the generic route, for those who may ask, as fresh as it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec
import pyarrow as pa
import pytest

from loopwright.core.expressions import col
from loopwright.core.nouns import Event
from loopwright.core.schema import Column, ColumnType, Schema
from loopwright.data.allowing import PurposeRule, Purposes
from loopwright.data.purposes import answer_access, request_access, set_purposes
from loopwright.data.verbs import append
from loopwright.engine.context import Principal
from loopwright.engine.live import Note
from loopwright.engine.operation import invoke
from loopwright.features.nouns import FeatureService, FeatureView, Lookup, Output
from loopwright.features.plans import Asker, LookupPlans
from loopwright.features.verbs import define_service, define_view
from loopwright.surfaces.http import Application, build_app
from loopwright.workspace import Workspace
from tests.surfaces.asking import Answer, ask

START = datetime(2024, 5, 1, tzinfo=UTC)
PATH = "/api/v1/features/services/shop/lookup"
REQUEST = Schema(
    columns=(Column(name="shop", type=ColumnType.STRING), Column(name="basket", type=ColumnType.FLOAT))
)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace.open(tmp_path_factory.mktemp("lookups")) as opened:
        ctx = opened.context()
        rows = [
            {
                "shop": "ab é"[i % 4],
                "at": START + timedelta(minutes=7 * i),
                "sold": float(i % 9) + 0.1,
                "mood": None if i % 5 == 0 else "fine",
            }
            for i in range(60)
        ]
        append(ctx, "sales", pa.Table.from_pylist(rows), event_time="at")
        # the longer window is named first and comes last by length: names must not change places
        windows = {"a_long": col("sold").sum("6h"), "z_short": col("sold").mean("1h")}
        define_view(
            ctx,
            FeatureView(
                name="sales",
                entity=("shop",),
                source="sales",
                event_time="at",
                latest=("sold", "mood"),
                windows=windows,
            ),
        )
        publish(opened, "shop")
        opened.call("features.materialize", name="sales", until=START + timedelta(hours=5))
        yield opened


def publish(workspace: Workspace, name: str, factor: float = 2.0) -> None:
    outputs = (
        Output(name="basket", expr=col("basket")),
        Output(name="sold", expr=col("sales.sold")),
        Output(name="long", expr=col("sales.a_long")),
        Output(name="twice", expr=col("sales.sold") * factor),
        Output(name="short", expr=col("sales.z_short")),
        Output(name="mood", expr=col("sales.mood")),
    )
    service = FeatureService(
        name=name,
        request=REQUEST,
        lookups=(Lookup(view="sales"),),
        outputs=outputs,
        categorical={"mood": ("fine",)},
    )
    define_service(workspace.context(), service)


@pytest.fixture
def app(workspace: Workspace) -> Iterator[Application]:
    made = build_app(workspace)
    yield made
    made.close()


def body(count: int = 5, hours: float = 4.5) -> dict[str, Any]:
    rows = [{"shop": ["é", "nobody", "a", " ", "b"][i % 5], "basket": i / 3 or None} for i in range(count)]
    return {"rows": rows, "at": (START + timedelta(hours=hours)).isoformat()}


def generic(workspace: Workspace, asked: dict[str, Any]) -> Any:
    """What the operation itself says, by the way of every other operation."""
    operation = workspace.operations["features.lookup"]
    return json.loads(msgspec.json.encode(invoke(operation, workspace.context(), {"name": "shop", **asked})))


@pytest.mark.parametrize("count", [0, 1, 5, 400])
def test_the_reply_is_that_of_the_operation(workspace: Workspace, app: Application, count: int) -> None:
    asked = body(count)
    answers = [ask(app, "POST", PATH, value=asked) for _ in range(2)]  # the second by a plan that is held
    for answer in answers:
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.json == generic(workspace, asked)
        assert answer.json["looked_up"] == []
    in_full = asked | {"looked_up": True}
    assert ask(app, "POST", PATH, value=in_full).json == generic(workspace, in_full)


def test_values_stand_under_their_own_names(app: Application) -> None:
    told = ask(app, "POST", PATH, value=body(5) | {"looked_up": True}).json["looked_up"]
    known = [row for row in told if row["sales.sold"] is not None]
    assert len(known) == 4
    assert all(row["sales.a_long"] > row["sales.z_short"] for row in known)
    assert told[1] == {"sales.sold": None, "sales.mood": None, "sales.a_long": 0, "sales.z_short": None}


@pytest.mark.parametrize(
    ("sent", "where"),
    [
        (b"{", "body"),
        (b'{"rows": [{"shop": ["a"]}]}', "body $.rows[0][...]"),
        (b'{"rows": [], "more": 1}', "body"),
        (b'{"rows": [], "at": "2024-05-01T10:00"}', "body $.at"),
        (b'{"rows": [{"shop": "a\\u0000"}]}', "body"),
        (b'{"rows": [{"basket": 1}]}', ""),
        (b'{"rows": [{"shop": "a", "basket": 1}], "at": "1999-01-01T00:00:00Z"}', ""),
        (b'{"rows": [{"shop": "a", "basket": "much"}]}', ""),
        (b"[" * 300, ""),
    ],
)
def test_what_is_wrong_is_told_with_its_place(app: Application, sent: bytes, where: str) -> None:
    answer = ask(app, "POST", PATH, body=sent, headers={"content-type": "application/json"})
    assert answer.status == 400
    assert answer.json["code"] == "invalid"
    assert answer.json.get("where", "") == where
    assert answer.json["hint"]


def test_unknown_services_and_foreign_queries_are_refused(app: Application) -> None:
    assert ask(app, "POST", PATH.replace("shop", "nope"), value=body()).status == 404
    assert ask(app, "POST", PATH.replace("shop", "a" * 600), value=body()).status == 400
    assert ask(app, "POST", f"{PATH}?at=now", value=body()).json["where"] == "query"
    assert ask(app, "POST", PATH, value=body(), headers={"loopwright-run": "none"}).status == 404
    assert ask(app, "POST", PATH, value=body(), headers={"loopwright-space": "other"}).status == 404
    assert ask(app, "POST", PATH, body=b"{}", headers={"content-type": "text/csv"}).status == 415


def test_only_who_may_read_features_may_ask(workspace: Workspace) -> None:
    def as_one_with(*scopes: str) -> Answer:
        principal = Principal(name="eve", scopes=frozenset(scopes))
        app = build_app(workspace, principal=principal)
        try:
            return ask(app, "POST", PATH, value=body())
        finally:
            app.close()

    assert as_one_with("feature:read").status == 200
    refused = as_one_with("data:read")
    assert (refused.status, refused.json["code"]) == (403, "denied")


def tell(workspace: Workspace) -> None:
    """Wait until what was committed is told: events are handed on in order, by a thread of its own."""
    ctx, mine = workspace.context(), workspace.live.subscribe()
    try:
        ctx.write(lambda tx: ctx.record(tx, "test.waited", "asset:test", {}))
        end = time.monotonic() + 30
        while not any(isinstance(item, Event) and item.kind == "test.waited" for item in mine.drain(1)):
            assert time.monotonic() < end, "nothing is told"
    finally:
        workspace.live.unsubscribe(mine)


def test_a_lookup_is_for_a_purpose_that_is_asked_about_at_once(
    workspace: Workspace, app: Application
) -> None:
    asked = body(1) | {"purpose": "advice"}
    assert ask(app, "POST", PATH, value=asked).status == 200  # nothing is ruled yet, and a plan is held
    ctx = workspace.context()
    try:
        set_purposes(ctx, "sales", ruled("support"))
        tell(workspace)
        for again in range(2):
            refused = ask(app, "POST", PATH, value=asked)
            assert (refused.status, refused.json["code"]) == (403, "denied"), again
            assert "'sold' of dataset:sales is restricted for 'advice'" in refused.json["message"]
            assert "ask ann@example.org" in refused.json["hint"]
        assert ask(app, "POST", PATH, value=body(1) | {"purpose": "support"}).status == 200
        assert ask(app, "POST", PATH, value=body(1)).status == 403
        assert ask(app, "POST", PATH, value=body(1) | {"purpose": "x" * 101}).status == 400
        request = request_access(ctx, "sales", ("sold",), "advice", "to advise")
        answer_access(ctx, request.id, grant=True)
        tell(workspace)
        assert ask(app, "POST", PATH, value=asked).status == 200
    finally:
        set_purposes(ctx, "sales", ruled("support", "advice", otherwise="allowed"))


def ruled(*allowed: str, otherwise: Literal["allowed", "restricted"] = "restricted") -> Purposes:
    rule = PurposeRule(column="sold", allowed=allowed, otherwise=otherwise)
    return Purposes(rules=(rule,), ask="ann@example.org")


def test_a_new_version_answers_at_once(workspace: Workspace, app: Application) -> None:
    path = PATH.replace("shop", "fresh")
    for factor in (2.0, 3.0, 5.0):
        publish(workspace, "fresh", factor)
        tell(workspace)
        row = ask(app, "POST", path, value=body(1)).json["rows"][0]
        assert row[3] == row[1] * factor


def test_many_changes_at_once_are_not_missed(workspace: Workspace) -> None:
    app = build_app(workspace)
    try:
        publish(workspace, "busy", 2.0)
        path = PATH.replace("shop", "busy")
        assert ask(app, "POST", path, value=body(1)).status == 200
        workspace.live.publish([Note(topic="rate", body={}) for _ in range(200)])
        publish(workspace, "busy", 7.0)
        row = ask(app, "POST", path, value=body(1)).json["rows"][0]
        assert row[3] == row[1] * 7.0
    finally:
        app.close()


def test_a_plan_is_looked_at_again_after_a_second(workspace: Workspace) -> None:
    moments = [0.0]
    plans = LookupPlans(clock=lambda: moments[0])
    ctx = workspace.context()
    publish(workspace, "shared", 2.0)
    asker = Asker("default", "shared", "ann", "", False)
    first = plans.load(ctx, asker)
    publish(workspace, "shared", 3.0)  # as another process would: nobody told these plans
    moments[0] = 0.9
    assert plans.at_hand(asker) is first
    moments[0] = 1.1
    assert plans.at_hand(asker) is None
    again = plans.load(ctx, asker)
    assert again.version.number == first.version.number + 1
    assert plans.load(ctx, asker) is again
    plans.drop()
    assert plans.at_hand(asker) is None


def test_its_feed_ends_with_the_server(workspace: Workspace) -> None:
    before = set(workspace.live._subscriptions)
    app = build_app(workspace)
    added = set(workspace.live._subscriptions) - before
    assert added
    app.close()
    assert not added & set(workspace.live._subscriptions)
