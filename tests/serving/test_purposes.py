"""What an endpoint is there for: its features are looked up for that, and for nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta

import msgspec
import pyarrow as pa
import pytest

from loopwright.core.errors import Denied
from loopwright.core.expressions import col
from loopwright.core.nouns import Event
from loopwright.core.schema import Column, ColumnType, Schema
from loopwright.data.allowing import PurposeRule, Purposes
from loopwright.data.appending import append
from loopwright.data.purposes import answer_access, request_access, set_purposes
from loopwright.engine.context import Context, Principal
from loopwright.features.nouns import FeatureService, FeatureView, Lookup, Output
from loopwright.features.verbs import define_service, define_view, materialize
from loopwright.registry.nouns import ModelBody
from loopwright.registry.verbs import register
from loopwright.serving import runtime as runtimes
from loopwright.serving.nouns import EndpointConfig, Route
from loopwright.serving.runtime import Runtime
from loopwright.serving.verbs import deploy, show
from loopwright.testing.builders import MemoryPorts, SetClock
from tests.features import worlds
from tests.serving.worlds import Linear, fitted

ASKED = [{"person": 1}]


@pytest.fixture
def ctx() -> Context:
    """A model over one feature, made of what people are paid."""
    made = worlds.context()
    assert isinstance(made.ports, MemoryPorts)
    made.ports.frameworks = {"linear": Linear()}
    at = pa.array([worlds.START], worlds.UTC_TIME)
    append(made, "people", pa.table({"person": [1], "at": at, "pay": [2.0]}), event_time="at")
    view = FeatureView(
        name="means",
        entity=("person",),
        source="people",
        event_time="at",
        latest=(),
        derived={"high": col("pay") * 2.0},
    )
    define_view(made, view)
    define_service(
        made,
        FeatureService(
            name="rich",
            request=Schema(columns=(Column(name="person", type=ColumnType.INT),)),
            lookups=(Lookup(view="means"),),
            outputs=(Output(name="high", expr=col("means.high")),),
        ),
    )
    materialize(made, "means", until=worlds.START + timedelta(hours=1))
    body = ModelBody(
        flavor="linear",
        service="feature_service:rich@1",
        features=("high",),
        categorical={},
        objective="binary",
        params={},
        rounds=1,
        seed=0,
        training_set="dataset:people@1",
        trained_until=worlds.START,
        code="none",
        importance={},
    )
    register(made, "loan", fitted([1.0]), body)
    return made


@pytest.fixture
def runtime(ctx: Context) -> Iterator[Runtime]:
    made = Runtime(ctx)
    yield made
    made.close()


def config(purpose: str = "") -> EndpointConfig:
    made = EndpointConfig(model="loan", routes=(Route(version=1, percent=100.0),))
    return msgspec.structs.replace(made, purpose=purpose) if purpose else made


def ruled(ctx: Context, **said: tuple[str, ...]) -> None:
    rule = msgspec.convert({"column": "pay", **said}, PurposeRule)
    set_purposes(ctx, "people", Purposes(rules=(rule,), ask="privacy@example.org"))


def told(ctx: Context, runtime: Runtime) -> None:
    """Hand the runtime what was committed, as the workspace does."""
    with ctx.read() as tx:
        events: list[Event] = list(tx.journal.read(0, 10_000))
    runtime.on_events(events[-1:])


def test_an_endpoint_is_there_for_serving_unless_it_says_otherwise(ctx: Context, runtime: Runtime) -> None:
    ruled(ctx, allowed=("credit",))
    with pytest.raises(Denied, match="'pay' of dataset:people is restricted for 'serving'") as caught:
        deploy(ctx, "loans", config())
    assert "privacy@example.org" in caught.value.hint
    with pytest.raises(Denied, match="for 'marketing'"):
        deploy(ctx, "loans", config("marketing"))
    deploy(ctx, "loans", config("credit"))
    assert show(ctx, "loans").config.purpose == "credit"
    assert runtime.predict("loans", ASKED).versions == [1]
    ruled(ctx, allowed=("serving",))
    deploy(ctx, "others", config())
    assert runtime.predict("others", ASKED).versions == [1]


def test_it_answers_nobody_once_a_rule_forbids_it_and_again_when_it_is_allowed(
    ctx: Context, runtime: Runtime
) -> None:
    deploy(ctx, "loans", config())
    assert runtime.predict("loans", ASKED).versions == [1]
    ruled(ctx, forbidden=("serving",))
    told(ctx, runtime)
    with pytest.raises(Denied, match="forbidden for 'serving'"):
        runtime.settle()
    with pytest.raises(Denied, match="forbidden for 'serving'"):
        runtime.predict("loans", ASKED)
    ruled(ctx, allowed=("serving",))
    assert runtime.predict("loans", ASKED).versions == [1]


def test_a_grant_is_that_of_who_deployed_it(ctx: Context, runtime: Runtime) -> None:
    ruled(ctx, restricted=("serving",))
    zoe = ctx.acting_as(Principal(name="zoe", scopes=frozenset({"dataset:read", "endpoint:deploy"})))
    asked = request_access(zoe, "people", ("pay",), "serving", "the loans endpoint")
    with pytest.raises(Denied, match="restricted for 'serving'"):
        deploy(zoe, "loans", config())
    answer_access(ctx, asked.id, grant=True)
    with pytest.raises(Denied, match="restricted for 'serving'"):
        deploy(ctx, "loans", config())
    deploy(zoe, "loans", config())
    assert runtime.predict("loans", ASKED).versions == [1]


def test_a_grant_that_ends_is_found_out_though_no_event_tells_of_it(
    ctx: Context, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    ruled(ctx, restricted=("serving",))
    zoe = ctx.acting_as(Principal(name="zoe", scopes=frozenset({"dataset:read", "endpoint:deploy"})))
    asked = request_access(zoe, "people", ("pay",), "serving", "the loans endpoint")
    answer_access(ctx, asked.id, grant=True, lasting="30d")
    deploy(zoe, "loans", config())
    monkeypatch.setattr(runtimes, "POLL_S", 0.01)
    monkeypatch.setattr(runtimes, "RECHECK_S", 0.0)
    runtime.start()
    assert runtime.predict("loans", ASKED).versions == [1]
    assert isinstance(ctx.ports.clock, SetClock)
    ctx.ports.clock.advance(timedelta(days=29))
    time.sleep(0.1)
    assert runtime.predict("loans", ASKED).versions == [1]
    ctx.ports.clock.advance(timedelta(days=2))
    ends = time.monotonic() + 10
    while runtime.table("loans") is not None and time.monotonic() < ends:
        time.sleep(0.01)
    with pytest.raises(Denied, match="restricted for 'serving'"):
        runtime.predict("loans", ASKED)
