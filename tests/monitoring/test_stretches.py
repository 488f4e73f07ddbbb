"""Feeds judged by the stretches of time beside their parts: as by their rows, though these are gone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from loopwright.core.expressions import col
from loopwright.core.instants import to_micros
from loopwright.data import stretches
from loopwright.data.appending import append
from loopwright.data.rewriting import delete
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of, prepare, publish, resolve
from loopwright.monitoring.feed_rows import FeedRows, NotTold, read_whole, stretched
from loopwright.monitoring.nouns import Alarm, AlarmState, FeedLimits, FeedReport, FeedWatch, Period
from loopwright.monitoring.verbs import check_feed, show
from loopwright.monitoring.watching import judge, last_strange
from loopwright.testing.builders import memory_context
from tests.monitoring.watched import DAY, MONITOR, START, Watched

HOUR = timedelta(hours=1)
BEGIN = datetime(2013, 3, 1, tzinfo=UTC)
WATCH = FeedWatch(
    dataset="feed",
    columns=("level", "whole", "word", "flag"),
    window="4h",
    trailing="2d",
    limits=FeedLimits(min_rows=2, min_windows=3),
)


def batch(minutes: list[int], seed: int) -> pa.Table:
    """Rows at these minutes: levels, numbers, words and truths, some of them missing."""
    rng, rows = np.random.default_rng(seed), len(minutes)
    level = rng.choice([0.5, 1.25, 3.0, 80.0, np.nan], rows, p=[0.4, 0.3, 0.2, 0.05, 0.05])
    lacks = rng.random(rows) < 0.1
    at = [BEGIN + timedelta(minutes=minute) for minute in minutes]
    return pa.table(
        {
            "at": pa.array(at, pa.timestamp("us", "UTC")),
            "level": level,
            "whole": pa.array(rng.integers(-2, 4, rows), pa.int64(), mask=lacks),
            "word": pa.array(rng.choice(["a", "b", "né"], rows).tolist(), pa.string(), mask=lacks),
            "flag": rng.random(rows) < 0.5,
        }
    )


def plain(found: Any) -> list[Any]:
    return [
        (
            each.column,
            each.kind,
            each.share,
            each.limit,
            each.n,
            each.p_value,
            each.holds,
            each.since,
            each.until,
        )
        for each in found
    ]


def answers(rows: FeedRows, alarm: Alarm, end: datetime) -> Any:
    start = end - 4 * HOUR
    counts = rows.count(start, end), rows.count(start - 2 * DAY, start)
    return plain(judge(rows, WATCH, alarm, end)), last_strange(rows, WATCH, alarm, end), counts


minutes = st.lists(st.one_of(st.integers(0, 75).map(lambda n: 60 * n), st.integers(0, 4500)), max_size=60)
alarms = st.sampled_from(
    [
        Alarm(subject="feed", cause="feed"),
        Alarm(
            subject="feed",
            cause="feed",
            state=AlarmState.FIRING,
            since=BEGIN + 60 * HOUR,
            columns=("level", "word"),
            past=(Period(start=BEGIN + 20 * HOUR, end=BEGIN + 26 * HOUR),),
        ),
    ]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batches=st.lists(minutes, min_size=1, max_size=4),
    few=st.sampled_from([4, 1024]),
    end=st.one_of(st.integers(50, 76).map(lambda n: 60 * n), st.integers(3000, 4600)),
    gone=st.one_of(st.none(), st.integers(0, 4500)),
    alarm=alarms,
)
def test_stretches_tell_what_rows_tell_or_say_that_they_do_not(
    monkeypatch: pytest.MonkeyPatch,
    batches: list[list[int]],
    few: int,
    end: int,
    gone: int | None,
    alarm: Alarm,
) -> None:
    monkeypatch.setattr(stretches, "_FEW_STRETCHES", few)
    monkeypatch.setattr(stretches, "_PRESSED", few)
    ctx = memory_context()
    for seed, times in enumerate(batches):
        append(ctx, "feed", batch(times, seed), event_time="at")
    if gone is not None:
        delete(ctx, "feed", where=col("at") > to_micros(BEGIN + timedelta(minutes=gone)))
    until = BEGIN + timedelta(minutes=end)
    try:
        told, because = stretched(ctx, WATCH, until)
        found = answers(told, alarm, until)
    except NotTold:
        assert few == 4  # single instants tell all there is
        return
    assert found == answers(read_whole(ctx, WATCH, until), alarm, until)
    assert not because or few == 4


def test_counted_stretches_are_enough_where_windows_end_at_their_edges(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Hours with several instants: all but the newest window is told, at edges alone."""
    monkeypatch.setattr(stretches, "_FEW_STRETCHES", 10)
    monkeypatch.setattr(stretches, "_WIDTHS", stretches._WIDTHS[:1] + stretches._WIDTHS[2:])
    ctx = memory_context()
    times = sorted({int(n) for n in np.random.default_rng(5).integers(0, 4320, 300)})
    append(ctx, "feed", batch(times, 1), event_time="at")
    alarm, end = Alarm(subject="feed", cause="feed"), BEGIN + 72 * HOUR
    told, because = stretched(ctx, WATCH, end)
    assert because == "stretches of time do not tell which row since 2013-03-03 20:00 came first"
    whole = read_whole(ctx, WATCH, end)
    assert len(told.times_us) == len(whole.times_us)
    assert len(np.unique(told.times_us)) < len(np.unique(whole.times_us))
    assert answers(told, alarm, end) == answers(whole, alarm, end)
    with pytest.raises(NotTold, match="within a stretch of time that was counted"):
        answers(stretched(ctx, WATCH, end - 7 * timedelta(minutes=1))[0], alarm, end)


def remove_rows(ctx: Context, dataset: str) -> None:
    for entry in manifest_of(ctx, resolve(ctx, f"dataset:{dataset}")).entries:
        ctx.ports.objects.remove(entry.digest)


def checked(watched: Watched, hours: int) -> FeedReport:
    watched.clock.set(START + hours * HOUR)
    return check_feed(watched.ctx, MONITOR, "weather")


def test_a_feed_is_watched_though_the_objects_of_its_rows_are_gone() -> None:
    reports = []
    for without_rows in (False, True):
        watched = Watched()
        watched.wind.append_days(0, 1)
        watched.wind.append_days(1, 2, in_knots=True)
        if without_rows:
            remove_rows(watched.ctx, "weather")
        found = checked(watched, 48)
        reports.append((plain(found.signs), found.rows, found.reference_rows, found.alarm, found.change))
        assert found.read_rows == ""
        assert show(watched.ctx, MONITOR).read_rows == ()
    assert reports[0] == reports[1]
    assert reports[0][-1] == "raised"


def test_parts_of_earlier_releases_are_read_and_that_is_said() -> None:
    watched = Watched()
    ctx = watched.ctx
    manifest = manifest_of(ctx, resolve(ctx, "dataset:weather"))
    entries = tuple(
        replace(each, facts={key: fact for key, fact in each.facts.items() if key != stretches.STRETCHES})
        for each in manifest.entries
    )
    draft = prepare(ctx, "weather", replace(manifest, entries=entries), facts={})
    ctx.write(lambda tx: publish(ctx, tx, draft))
    found = checked(watched, 0)
    assert found.read_rows == "part-00001.parquet has no counts by stretch of time"
    assert found.reference_rows == 60 * 24
    (read,) = show(ctx, MONITOR).read_rows
    assert read.what == "the last 60d of weather, at each check"
    assert read.because == found.read_rows


def test_a_column_of_ever_other_values_is_not_kept_and_why() -> None:
    rows = 5000
    at = pa.array(np.arange(rows) * 1_000_000, pa.timestamp("us", "UTC"))
    table = pa.table(
        {
            "at": at,
            "key": np.arange(rows),
            "few": np.arange(rows) % 3,
            "beyond": [2**60] * rows,
            "endless": [np.inf] * rows,
            "then": at,
            "half": np.arange(rows) // 9,
        }
    )
    found = stretches.stretches_of(table, "at")
    assert found is not None
    assert set(found["columns"]) == {"few", "half"}
    assert found["left_out"] == {
        "key": "nearly every row has another value of it",
        "beyond": "it holds whole numbers beyond 2^53",
        "endless": "it holds infinite numbers",
        "then": "it is no number, text or truth",
    }


def test_a_watch_of_a_column_that_is_not_kept_reads_rows() -> None:
    ctx = memory_context()
    rows = 5000
    at = pa.array(to_micros(BEGIN) + np.arange(rows) * 1_000_000, pa.timestamp("us", "UTC"))
    append(ctx, "feed", pa.table({"at": at, "key": np.arange(rows)}), event_time="at")
    with pytest.raises(NotTold, match="key is not counted by stretches of time: nearly every row"):
        stretched(ctx, replace(WATCH, columns=("key",)), BEGIN + 2 * HOUR)


def test_many_rows_of_long_stretches_are_counted_as_they_are() -> None:
    """Three hours of seconds: each minute has the counts of its rows."""
    rows = 10_800
    rng = np.random.default_rng(3)
    at = pa.array(to_micros(BEGIN) + np.arange(1, rows + 1) * 1_000_000, pa.timestamp("us", "UTC"))
    few = pa.array(rng.integers(0, 3, rows), mask=rng.random(rows) < 0.2)
    ctx = memory_context()
    append(ctx, "feed", pa.table({"at": at, "few": few}), event_time="at")
    (entry,) = manifest_of(ctx, resolve(ctx, "dataset:feed")).entries
    found = stretches.stretches_in(ctx, entry, ["few"])
    assert found is not None
    values, codes = found.columns["few"]
    assert found.rows.tolist() == [60] * 180
    for minute in range(180):
        told = sorted((values[code] if code >= 0 else -1) for code in codes[60 * minute : 60 * minute + 60])
        plain = few.slice(60 * minute, 60).fill_null(-1).to_pylist()
        assert told == sorted(plain)
