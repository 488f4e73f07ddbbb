"""How numbers, times and events read on a page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from loopwright.core.addresses import Address, check_name
from loopwright.core.errors import Invalid
from loopwright.core.nouns import Event
from loopwright.surfaces.ui.shaping import FILTERS, event_link, event_text, event_tone, interval

DASH = "\N{EN DASH}"
AT = datetime(2013, 7, 1, 5, tzinfo=UTC)


def event(kind: str, subject: str, **payload: Any) -> Event:
    return Event(
        id="e", space="default", principal="p", kind=kind, subject=subject, at=AT, wall_at=AT, payload=payload
    )


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("count", 12345, "12,345"),
        ("count", 0, "0"),
        ("count", None, DASH),
        ("number", 0.78543, "0.7854"),
        ("number", None, DASH),
        ("percent", 0.9573, "95.7 %"),
        ("percent", 0.0, "0.0 %"),
        ("percent", None, DASH),
        ("size", 0, "0 B"),
        ("size", 999, "999 B"),
        ("size", 1000, "1.0 kB"),
        ("size", 4_058_041, "4.1 MB"),
        ("size", 5e12, "5000.0 GB"),
        ("when", None, DASH),
        ("when", AT, "2013-07-01 05:00"),
        ("when", datetime(2013, 7, 1, 1, tzinfo=timezone(timedelta(hours=-4))), "2013-07-01 05:00"),
        ("when", "2013-07-02T01:00:00Z", "2013-07-02 01:00"),
        ("path", "contract/weather", "contract%2Fweather"),
        ("shown", 0.123456, "0.1235"),
        ("shown", ["temp", "dewp"], "temp, dewp"),
        ("shown", {"a": 1, "b": 0.5}, "a (1), b (0.5)"),
        ("shown", None, "None"),
    ],
)
def test_values_are_written_for_people(name: str, value: Any, text: str) -> None:
    assert FILTERS[name](value) == text


def test_an_interval_is_written_when_there_is_one() -> None:
    assert interval(0.1, 0.25) == "[0.1000, 0.2500]"
    assert interval(None, 0.25) == interval(0.1, None) == ""


@pytest.mark.parametrize(
    ("told", "text", "tone"),
    [
        (event("alias.moved", "model:m", alias="champion", to=2), "champion now points to version 2", "good"),
        (
            event("alias.moved", "model:m", alias="champion", to=2, **{"from": 1}),
            "champion now points to version 2 (was 1)",
            "good",
        ),
        (
            event("decision.made", "model:m@2", verdict="deny", policy="policy:gate/m@1", decision="d"),
            "refused by gate/m@1",
            "bad",
        ),
        (
            event("decision.made", "model:m@2", verdict="allow", policy="policy:gate/m@1", decision="d"),
            "allowed by gate/m@1",
            "good",
        ),
        (
            event("endpoint.routed", "endpoint:e", routes={"1": 95.0, "2": 5}),
            "answers by version 1: 95 %, version 2: 5 %",
            "",
        ),
        (event("endpoint.routed", "endpoint:e"), "was routed", ""),
        (
            event("quarantine.added", "dataset:d", rows=1, reasons={"wind_speed is in range": 1}),
            "1 quarantined: wind_speed is in range (1)",
            "warn",
        ),
        (
            event("incident.opened", "incident:i", cause="feed", columns=["temp", "dewp"]),
            "incident: feed (temp, dewp)",
            "bad",
        ),
        (event("run.failed", "run:r", name="training m"), "training m failed", "bad"),
        (event("run.finished", "run:r", name="training m"), "training m finished", ""),
        (event("something.new", "dataset:d"), "something new", ""),
    ],
)
def test_an_event_is_told_in_words(told: Event, text: str, tone: str) -> None:
    assert (event_text(told), event_tone(told)) == (text, tone)


@pytest.mark.parametrize(
    ("told", "link"),
    [
        (event("decision.made", "model:m@2", decision="d1"), "/decisions/d1"),
        (event("run.failed", "run:r1"), "/runs/r1"),
        (event("incident.opened", "incident:i1"), "/incidents/i1"),
        (event("endpoint.routed", "endpoint:delays"), "/endpoints/delays"),
        (event("version.published", "endpoint:delays@2"), "/endpoints/delays"),
        (event("version.published", "dataset:flights@3"), "/versions/dataset%3Aflights%403"),
        (event("job.done", "job:j1"), "/journal?subject=job%3Aj1"),
    ],
)
def test_an_event_leads_to_its_page(told: Event, link: str) -> None:
    assert event_link(told) == link


@given(st.sampled_from(["dataset", "endpoint", "model"]), st.text(min_size=1, max_size=30))
def test_an_event_leads_to_the_page_of_any_name(kind: str, name: str) -> None:
    try:
        check_name(name)
    except Invalid:
        assume(False)
    link = event_link(event("asset.created", str(Address(kind=kind, name=name))))
    start = "/endpoints/" if kind == "endpoint" else f"/assets/{kind}/"
    assert link.startswith(start)
    assert not {"?", "#", "&", '"', "<"} & set(link)
    assert unquote(link.removeprefix(start)) == name
