"""The catalogue: what is found by words, owners and tags, and how fresh it is told to be."""

from __future__ import annotations

from datetime import timedelta

import pytest

from loopwright.core.errors import Invalid, NotFound
from loopwright.data.appending import append
from loopwright.data.catalogue import describe, facets, search
from loopwright.data.contracts import define_contract
from loopwright.data.nouns import Freshness
from loopwright.engine.context import Context
from loopwright.testing.builders import SetClock, memory_context, memory_ports
from tests.data.weather import START, contract, weather


@pytest.fixture
def clock() -> SetClock:
    return SetClock(START)


@pytest.fixture
def ctx(clock: SetClock) -> Context:
    context = memory_context(memory_ports(clock=clock))
    for name in ("airports", "flights", "weather"):
        append(context, name, weather(2))
    describe(context, "weather", owner="met", description="Hourly, of three AIRPORTS", tags=("source=noaa",))
    describe(context, "flights", owner="ops", tags=("raw", "source=bts"))
    return context


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({}, ["airports", "flights", "weather"]),
        ({"text": "airports"}, ["airports", "weather"]),
        ({"text": "hourly noaa"}, ["weather"]),
        ({"text": "hourly bts"}, []),
        ({"owner": "ops"}, ["flights"]),
        ({"tag": "source"}, ["flights", "weather"]),
        ({"tag": "source=noaa"}, ["weather"]),
        ({"tag": "raw", "owner": "met"}, []),
    ],
)
def test_datasets_are_found(ctx: Context, asked: dict[str, str], names: list[str]) -> None:
    assert [each.name for each in search(ctx, **asked).items] == names  # type: ignore[arg-type]  # texts alone


def test_pages_follow_one_another(ctx: Context) -> None:
    first = search(ctx, limit=2)
    rest = search(ctx, limit=2, token=first.next_token)
    assert [each.name for page in (first, rest) for each in page.items] == ["airports", "flights", "weather"]
    assert rest.next_token == ""


def test_what_is_not_said_stays(ctx: Context) -> None:
    describe(ctx, "weather", tags=("checked",))
    (found,) = search(ctx, text="weather").items
    assert (found.owner, found.tags, found.description) == (
        "met",
        {"checked": ""},
        "Hourly, of three AIRPORTS",
    )
    describe(ctx, "weather", owner="")
    assert facets(ctx).owners == {"ops": 1}
    assert facets(ctx).tags == {"checked": 1, "raw": 1, "source": 1}
    with pytest.raises(Invalid, match="twice"):
        describe(ctx, "weather", tags=("a=1", "a=2"))
    with pytest.raises(NotFound, match="no dataset"):
        describe(ctx, "absent", owner="met")


def test_freshness_is_that_of_the_newest_instant(ctx: Context, clock: SetClock) -> None:
    define_contract(ctx, "weather", contract(freshness=(Freshness(column="known_at", within="3h"),)))
    append(ctx, "weather", weather(4, start=2), event_time="observed_at", known_at="known_at")
    newest = START + timedelta(hours=6)
    for later, is_fresh in ((timedelta(hours=3), True), (timedelta(hours=3, seconds=1), False)):
        clock.set(newest + later)
        (found,) = search(ctx, text="weather").items
        assert (found.newest_at, found.within, found.fresh) == (newest, "3h", is_fresh)
    assert search(ctx, text="flights").items[0].fresh is None
