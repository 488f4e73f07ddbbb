"""Deploying, splitting, rolling back."""

from __future__ import annotations

import msgspec
import pytest

from loopwright.core.errors import Conflict, Invalid, NotFound
from loopwright.core.schema import ColumnType
from loopwright.engine.context import Context
from loopwright.engine.operation import operations_in
from loopwright.features.nouns import FreeFunction, Output
from loopwright.features.verbs import define_service
from loopwright.serving import verbs
from loopwright.serving.nouns import EndpointConfig, Route
from loopwright.serving.verbs import deploy, endpoints, rollback, shadow, show, split
from tests.serving.worlds import ENDPOINT, SERVICE, config, deployed, world


def routed(ctx: Context) -> list[dict[str, object]]:
    with ctx.read() as tx:
        return [event.payload for event in tx.journal.read(0, 1000) if event.kind == "endpoint.routed"]


def test_a_deployment_is_a_version_an_alias_and_an_event() -> None:
    ctx = world()
    version = deploy(ctx, ENDPOINT, config((1, 100.0)), reason="first")

    view = show(ctx, ENDPOINT)
    assert (version.number, view.version) == (1, 1)
    assert view.config.routes == (Route(version=1, percent=100.0),)
    assert view.config.service == "feature_service:flights@1"
    assert view.routed_by == "tester"
    assert routed(ctx) == [
        {
            "version": 1,
            "from": None,
            "model": "arrival-delay",
            "routes": {"1": 100.0},
            "shadow": [],
            "reason": "first",
        }
    ]


def test_deploying_what_is_live_changes_nothing() -> None:
    ctx = deployed((1, 100.0))
    deploy(ctx, ENDPOINT, config((1, 100.0)))

    assert len(routed(ctx)) == 1
    assert show(ctx, ENDPOINT).version == 1


def test_an_endpoint_whose_inputs_nobody_here_computes_is_refused() -> None:
    ctx = world()
    free = FreeFunction(name="my.late", digest="d", reads=("month",), gives=ColumnType.FLOAT)
    outputs = (*SERVICE.outputs[:2], Output(name="late_month", expr=free))
    define_service(ctx, msgspec.structs.replace(SERVICE, outputs=outputs))
    asked = msgspec.structs.replace(config((1, 100.0)), service="flights@2")
    with pytest.raises(Invalid, match=r"my\.late is not portable"):
        deploy(ctx, ENDPOINT, asked)
    ctx.ports.functions.add("my.late", "d", lambda month: month * 2.0)
    assert deploy(ctx, ENDPOINT, asked).number == 1


def test_split_shadow_and_rollback() -> None:
    ctx = deployed((1, 100.0))
    assert shadow(ctx, ENDPOINT, 2).config.shadow == (2,)
    moved = split(ctx, ENDPOINT, 2, 25.0)
    assert {r.version: r.percent for r in moved.config.routes} == {1: 75.0, 2: 25.0}
    assert moved.config.shadow == ()

    back = rollback(ctx, ENDPOINT, reason="worse")
    assert back.config.shadow == (2,)
    assert back.config.routes == (Route(version=1, percent=100.0),)
    assert rollback(ctx, ENDPOINT, reason="worse still").version == 1
    with pytest.raises(Conflict, match="no configuration before"):
        rollback(ctx, ENDPOINT, reason="further")
    assert [event["version"] for event in routed(ctx)] == [1, 2, 3, 2, 1]


def test_a_deployment_after_a_rollback_rolls_back_to_what_answered_before_it() -> None:
    ctx = deployed((1, 100.0))
    split(ctx, ENDPOINT, 2, 5.0)
    rollback(ctx, ENDPOINT, reason="worse")
    split(ctx, ENDPOINT, 2, 50.0)

    assert rollback(ctx, ENDPOINT, reason="worse").config.routes == (Route(version=1, percent=100.0),)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (config((9, 100.0)), "no version model:arrival-delay@9"),
        (config((1, 100.0), shadow=(9,)), "no version model:arrival-delay@9"),
    ],
)
def test_versions_that_do_not_exist_are_not_routed(wrong: EndpointConfig, said: str) -> None:
    ctx = world()
    with pytest.raises(NotFound, match=said):
        deploy(ctx, ENDPOINT, wrong)
    with pytest.raises(NotFound):
        show(ctx, ENDPOINT)


def test_a_sticky_column_has_to_be_an_input() -> None:
    with pytest.raises(Invalid, match="no column 'colour'"):
        deploy(world(), ENDPOINT, config((1, 100.0), sticky="colour"))


def test_a_rollback_needs_a_reason_and_an_endpoint() -> None:
    with pytest.raises(Invalid, match="reason"):
        rollback(deployed((1, 100.0)), ENDPOINT, reason=" ")
    with pytest.raises(NotFound, match="no endpoint named"):
        rollback(world(), ENDPOINT, reason="worse")


def test_endpoints_are_listed() -> None:
    ctx = deployed((1, 100.0))
    deploy(ctx, "other", config((2, 100.0)))

    assert [view.name for view in endpoints(ctx).items] == ["delays", "other"]
    assert endpoints(world()).items == ()


def test_the_operations_of_the_slice() -> None:
    found = operations_in([verbs])

    assert sorted(found) == [
        "serving.deploy",
        "serving.list",
        "serving.rollback",
        "serving.shadow",
        "serving.show",
        "serving.split",
    ]
    for operation in found.values():
        assert operation.request_type
