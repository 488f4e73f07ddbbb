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
from loopwright.surfaces.ui.shaping import (
    FILTERS,
    event_link,
    event_subject,
    event_text,
    event_tone,
    interval,
    span,
)

DASH = "\N{EN DASH}"
AT = datetime(2013, 7, 1, 5, tzinfo=UTC)


def event(kind: str, subject: str, **payload: Any) -> Event:
    return Event(
        id="e", space="default", principal="p", kind=kind, subject=subject, at=AT, wall_at=AT, payload=payload
    )


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("figure", 336776.0, "336,776"),
        ("figure", 336776.25, "336,776.2"),
        ("figure", 0.0007806123, "7.806e-4"),
        ("figure", 2.5e10, "2.5e+10"),
        ("figure", 0.7893, "0.7893"),
        ("figure", 24.859123, "24.859"),
        ("figure", -0.0, "0"),
        ("figure", "NaN", "NaN"),
        ("moment", "2013-07-01T05:00:20Z", "2013-07-01 05:00:20"),
        ("moment", "2013-07-01T05:00:20.5+02:00", "2013-07-01 03:00:20.5"),
        ("moment", "no instant", "no instant"),
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
        ("day", AT, "1 Jul 2013"),
        ("day", None, DASH),
        ("day_of", 1_372_636_800_000, "1 Jul 2013"),
        ("words", "trained_until", "trained until"),
        ("signs", "low end >= -0.01", "low end \u2265 \u22120.01"),
        ("signs", "2013-07-01 p99-1", "2013-07-01 p99-1"),
        ("linked", 26114, "26,114"),
        ("linked", True, "yes"),
        ("linked", None, DASH),
        ("linked", "2013-12-15 00:00:00+00:00", "2013-12-15 00:00"),
        ("linked", ["a", 1.5], "a, 1.5"),
        ("linked", "<b>&", "&lt;b&gt;&amp;"),
        ("linked", "model:m@2", '<a href="/versions/model%3Am%402">model:m@2</a>'),
        (
            "linked",
            f"drifted (incident:{'0' * 26}); <asked>",
            f'drifted (<a href="/incidents/{"0" * 26}">its incident</a>); &lt;asked&gt;',
        ),
    ],
)
def test_values_are_written_for_people(name: str, value: Any, text: str) -> None:
    assert FILTERS[name](value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "at once"),
        (59, "59 s"),
        (61, "1 min 1 s"),
        (82_800, "23 h"),
        (687_600, "7 d 23 h"),
        (86_460, "1 d"),
    ],
)
def test_a_span_is_told_in_its_largest_units(seconds: int, text: str) -> None:
    assert span(AT, AT + timedelta(seconds=seconds)) == text
    assert span(AT.isoformat(), (AT + timedelta(seconds=seconds)).isoformat()) == text
    assert span(AT, None) == span(None, AT) == DASH


def test_an_event_is_about_its_address_or_the_name_of_what_has_none() -> None:
    opened = event("incident.opened", "incident:i", cause="feed")
    assert event_subject(opened) == "incident feed"
    assert (
        event_subject(event("incident.resolved", "incident:i"), {"incident:i": "drift"}) == "incident drift"
    )
    assert event_subject(event("run.failed", "run:r", name="training m")) == "run training m"
    assert event_subject(event("alias.moved", "model:m")) == "model:m"


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
            "opened: temp, dewp",
            "bad",
        ),
        (event("run.failed", "run:r", name="training m"), "failed", "bad"),
        (event("run.finished", "run:r", name="training m"), "finished", ""),
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
