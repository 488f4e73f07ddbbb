"""Online features: a fake that keeps every row and adds up anew, and the suite that every store passes."""

from __future__ import annotations

import math
import struct
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopwright.core.errors import Conflict, Invalid, NotFound
from loopwright.core.expressions import Expr, Scalar, Window, WindowOp, col, columns_of, evaluate, when
from loopwright.core.instants import duration
from loopwright.core.windows import aggregate
from loopwright.ports.online import GRACE, Online, OnlineRow, OnlineView

__all__ = ["MemoryOnline", "OnlineSuite", "bits", "online_rows"]

_MICROSECOND = timedelta(microseconds=1)
_HOUR_US = 3_600_000_000
_DAY_US = 24 * _HOUR_US
_START_US = 1_370_000_000_000_000
_EVERY_OP: tuple[WindowOp, ...] = ("sum", "mean", "count", "min", "max", "last", "distinct", "std")


class MemoryOnline:
    """Online features by the plainest means: every row is kept, every answer is made from all of them."""

    at_hand = False

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._views: dict[str, OnlineView] = {}
        self._rows: dict[str, dict[str, OnlineRow]] = {}
        self._watermarks: dict[str, int] = {}

    def _view(self, name: str) -> OnlineView:
        if name not in self._views:
            raise NotFound(f"there is no online view {name!r}", hint="define it first")
        return self._views[name]

    def define(self, view: OnlineView) -> None:
        """Make a view known."""
        with self._lock:
            if self._views.setdefault(view.name, view) != view:
                raise Conflict(f"the online view {view.name!r} is defined otherwise", hint="use another name")
            self._rows.setdefault(view.name, {})

    def push(self, view: str, rows: Sequence[OnlineRow]) -> int:
        """Take rows in; how many were new."""
        with self._lock:
            self._view(view)
            held = self._rows[view]
            new = [row for row in rows if None not in row.key and row.row_id not in held]
            held.update({row.row_id: row for row in new})
            return len(new)

    def read(
        self, view: str, keys: Sequence[tuple[Scalar, ...]], at_us: int
    ) -> Sequence[Mapping[str, Scalar]]:
        """For each key the value of every feature of the view, as known at the instant."""
        with self._lock:
            found = self._view(view)
            if at_us < self._watermarks.get(view, at_us) - GRACE // _MICROSECOND:
                raise Invalid(f"{view} begins later", hint="ask for a later instant")
            return [self._answer(found, key, at_us) for key in keys]

    def read_many(
        self, asked: Sequence[tuple[str, Sequence[tuple[Scalar, ...]]]], at_us: int
    ) -> Sequence[Sequence[Mapping[str, Scalar]]]:
        """The same, view by view."""
        return [self.read(view, keys, at_us) for view, keys in asked]

    def _answer(self, view: OnlineView, key: tuple[Scalar, ...], at_us: int) -> dict[str, Scalar]:
        known = [
            (_newness(row, place), row)
            for place, row in enumerate(self._rows[view.name].values())
            if row.key == key and row.known_us <= at_us
        ]
        rows = [row for _, row in sorted(known, key=lambda pair: pair[0])]
        newest = next((row for row in reversed(rows) if row.event_us <= at_us), None)
        if newest is not None and view.ttl and newest.event_us < at_us - view.ttl // _MICROSECOND:
            newest = None
        answer = {name: None if newest is None else newest.values.get(name) for name in view.latest}
        return {**answer, **{name: _aggregate(rows, window, at_us) for name, window in view.windows.items()}}

    def watermark(self, view: str) -> int | None:
        """Until when all known is in."""
        with self._lock:
            self._view(view)
            return self._watermarks.get(view)

    def flush(self, watermark_us: int, views: Sequence[str] | None = None) -> None:
        """Raise the watermark of these views (None: of every view)."""
        with self._lock:
            for view in self._views if views is None else views:
                self._view(view)
                self._watermarks[view] = max(watermark_us, self._watermarks.get(view, watermark_us))

    def keys(self, view: str) -> Sequence[tuple[Scalar, ...]]:
        """The entities of the rows."""
        with self._lock:
            self._view(view)
            return list({row.key: None for row in self._rows[view].values()})

    def forget(self, view: str, key: tuple[Scalar, ...]) -> int:
        """Erase an entity; how many rows went."""
        with self._lock:
            self._view(view)
            gone = [row_id for row_id, row in self._rows[view].items() if row.key == key]
            for row_id in gone:
                del self._rows[view][row_id]
            return len(gone)

    def close(self) -> None:
        """Nothing is open."""


def _newness(row: OnlineRow, place: int) -> tuple[Any, ...]:
    order = row.order
    return (row.event_us, row.known_us, order is not None, 0 if order is None else order, place)


def _aggregate(rows: Sequence[OnlineRow], window: Window, at_us: int) -> Scalar:
    over_us = duration(window.over) // _MICROSECOND
    inside = [row for row in rows if at_us - over_us < row.known_us <= at_us]
    return aggregate(window.op, [_value(window.expr, row) for row in inside])


def _value(expr: Expr, row: OnlineRow) -> Scalar:
    return evaluate(expr, {name: row.values.get(name) for name in columns_of(expr)})


def bits(value: Scalar) -> Scalar | bytes:
    """Numbers by the bits of the float they are, so that the last digit, NaN and the sign of zero count."""
    return struct.pack("<d", value) if isinstance(value, (int, float)) else value


def _windows(column: str, over: str, ops: Sequence[WindowOp] = _EVERY_OP) -> dict[str, Window]:
    return {f"{op}_{column}_{over}": getattr(col(column), op)(over) for op in ops}


_MIXED = OnlineView(
    name="mixed@1",
    ttl=timedelta(hours=3),
    latest=("n", "s"),
    windows={
        **_windows("n", "2h"),
        **_windows("n", "1us"),
        **_windows("x", "5h"),
        **_windows("s", "90m", ("count", "min", "max", "last", "distinct")),
        "late": when(col("n") >= 2, 1, 0).sum("4h"),
    },
)

_floats = st.one_of(
    st.none(), st.integers(-20, 20).map(float), st.sampled_from([0.1, 0.7, -0.0, math.nan, math.inf, 1e308])
)
_values = st.fixed_dictionaries(
    {"n": st.one_of(st.none(), st.integers(-9, 9)), "x": _floats, "s": st.sampled_from([None, "u", "v", "w"])}
)


def _moment(day: int, half_hour: int) -> int:
    return _START_US + day * _DAY_US + half_hour * _HOUR_US // 2


@st.composite
def online_rows(draw: st.DrawFn, most: int = 40) -> list[OnlineRow]:
    """Rows of a few entities over some days: ties, late corrections, rows known before they happen."""
    steps = st.builds(_moment, st.sampled_from([0, 0, 0, 0, 1, 3]), st.integers(0, 24))
    return [
        OnlineRow(
            key=(draw(st.sampled_from(["EWR", "JFK"])), draw(st.sampled_from([1, 2]))),
            event_us=draw(steps),
            known_us=draw(steps),
            values=draw(_values),
            row_id=f"row-{i}",
            order=draw(st.sampled_from([None, 1, 2])),
        )
        for i in range(draw(st.integers(0, most)))
    ]


_KEYS = [("EWR", 1), ("EWR", 2), ("JFK", 1), ("JFK", 2), ("LGA", 1)]


def _asked(store: Online, view: str, at_us: int) -> list[dict[str, Scalar | bytes]]:
    return [{name: bits(value) for name, value in row.items()} for row in store.read(view, _KEYS, at_us)]


class OnlineSuite:
    """What every online store does. A subclass gives `fresh` and `reopen`."""

    def fresh(self) -> Online:
        """An empty store."""
        raise NotImplementedError

    def reopen(self, online: Online) -> Online:
        """The same store after it was closed."""
        raise NotImplementedError

    @pytest.fixture
    def online(self) -> Online:
        """An empty store with the view `counts@1`: `n` of the newest row, and its sum over an hour."""
        store = self.fresh()
        store.define(_COUNTS)
        return store

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(rows=online_rows(), data=st.data())
    def test_answers_as_if_every_row_were_kept(self, rows: list[OnlineRow], data: st.DataObject) -> None:
        """Rows in any order, late and twice, questions between, watermarks raised, the store reopened."""
        store, fake = self.fresh(), MemoryOnline()
        for each in (store, fake):
            each.define(_MIXED)
        least_us = _START_US
        for start in range(0, len(rows) + 1, 7):
            again = rows[max(start - 2, 0) : start]
            for each in (store, fake):
                each.push(_MIXED.name, [*rows[start : start + 7], *again])
            asked = (
                st.integers(least_us, _START_US + _DAY_US) if least_us < _START_US + _DAY_US else st.nothing()
            )
            later = st.integers(least_us, _START_US + 6 * _DAY_US)
            at_us = data.draw(asked | later)
            assert _asked(store, _MIXED.name, at_us) == _asked(fake, _MIXED.name, at_us)
            if data.draw(st.booleans()):
                least_us = max(least_us, at_us)
                store.flush(least_us)
                store = self.reopen(store) if data.draw(st.booleans()) else store
                assert store.watermark(_MIXED.name) == least_us
            assert _asked(store, _MIXED.name, least_us) == _asked(fake, _MIXED.name, least_us)
        store.close()

    def test_an_empty_entity_counts_nothing(self, online: Online) -> None:
        assert list(online.read("counts@1", [("z",)], _START_US)) == [{"n": None, "total": 0, "mean": None}]

    def test_the_same_row_twice_counts_once(self, online: Online) -> None:
        rows = [_row(0, 5), _row(1, 6)]
        assert online.push("counts@1", rows) == 2
        assert online.push("counts@1", rows) == 0
        assert online.read("counts@1", [("a",)], _START_US + 10)[0]["total"] == 11

    def test_the_same_row_counts_once_after_a_restart(self, online: Online) -> None:
        online.push("counts@1", [_row(0, 5), _row(1, 6)])
        online.flush(_START_US)
        again = self.reopen(online)
        assert again.push("counts@1", [_row(0, 5), _row(1, 6), _row(2, 7)]) == 1
        assert again.read("counts@1", [("a",)], _START_US + 10)[0]["total"] == 18

    def test_what_is_known_later_is_not_seen(self, online: Online) -> None:
        online.push("counts@1", [_row(0, 5), _row(7, 6)])
        assert [online.read("counts@1", [("a",)], _START_US + at)[0]["n"] for at in (-1, 0, 6, 7)] == [
            None,
            5,
            5,
            6,
        ]

    def test_a_newer_event_wins_and_never_the_newer_write(self, online: Online) -> None:
        online.push("counts@1", [_row(5, 50), _row(3, 30)])
        assert online.read("counts@1", [("a",)], _START_US + 9)[0]["n"] == 50
        assert online.read("counts@1", [("a",)], _START_US + 4)[0]["n"] == 30

    def test_a_null_key_matches_nothing(self, online: Online) -> None:
        row = OnlineRow(key=(None,), event_us=_START_US, known_us=_START_US, values={"n": 1}, row_id="x")
        assert online.push("counts@1", [row]) == 0
        assert online.read("counts@1", [(None,)], _START_US + 9)[0]["total"] == 0

    def test_reads_many_keys_in_their_order(self, online: Online) -> None:
        online.push("counts@1", [_row(0, i, key=f"k{i}") for i in range(50)])
        keys = [(f"k{i}",) for i in (7, 3, 99, 7)]
        assert [found["n"] for found in online.read("counts@1", keys, _START_US)] == [7, 3, None, 7]

    def test_reads_several_views_at_once(self, online: Online) -> None:
        online.define(OnlineView(name="other@1", latest=("n",), ttl=timedelta(microseconds=5)))
        online.push("counts@1", [_row(0, 5), _row(1, 6, key="b")])
        online.push("other@1", [_row(0, 7), _row(4, 8, key="b")])
        asked = [("counts@1", [("b",), ("z",)]), ("other@1", [("a",), ("b",)]), ("counts@1", [("a",)])]
        found = online.read_many(asked, _START_US + 6)
        assert [[row["n"] for row in rows] for rows in found] == [[6, None], [None, 8], [5]]
        assert found == [online.read(view, keys, _START_US + 6) for view, keys in asked]
        with pytest.raises(NotFound):
            online.read_many([("nope@1", [("a",)])], _START_US)

    def test_the_ttl_is_enforced_at_read_after_a_restart_too(self, online: Online) -> None:
        online.define(OnlineView(name="short@1", latest=("n",), ttl=timedelta(microseconds=5)))
        online.push("short@1", [_row(0, 7)])
        online.flush(_START_US, ["short@1"])
        again = self.reopen(online)
        asked = [again.read("short@1", [("a",)], _START_US + at)[0]["n"] for at in (-1, 0, 5, 6)]
        assert asked == [None, 7, 7, None]

    def test_definitions_are_kept_and_never_changed(self, online: Online) -> None:
        online.define(_COUNTS)
        changed = OnlineView(name="counts@1", latest=("other",))
        with pytest.raises(Conflict):
            online.define(changed)
        again = self.reopen(online)
        again.define(_COUNTS)
        with pytest.raises(Conflict):
            again.define(changed)

    def test_an_unknown_view_is_not_found(self, online: Online) -> None:
        for ask in (
            lambda: online.push("nope@1", []),
            lambda: online.read("nope@1", [], 0),
            lambda: online.watermark("nope@1"),
            lambda: online.flush(0, ["nope@1"]),
            lambda: online.forget("nope@1", ("a",)),
        ):
            with pytest.raises(NotFound) as caught:
                ask()
            assert "nope@1" in caught.value.message

    def test_watermarks_are_of_the_views_named_and_never_go_back(self, online: Online) -> None:
        online.define(OnlineView(name="other@1", latest=("n",)))
        assert online.watermark("counts@1") is None
        online.flush(_START_US, ["counts@1"])
        online.flush(_START_US - 5, ["counts@1"])
        assert (online.watermark("counts@1"), online.watermark("other@1")) == (_START_US, None)
        online.flush(_START_US + 5)
        again = self.reopen(online)
        assert (again.watermark("counts@1"), again.watermark("other@1")) == (_START_US + 5, _START_US + 5)

    def test_an_instant_far_before_the_watermark_is_refused(self, online: Online) -> None:
        online.push("counts@1", [_row(0, 5)])
        online.flush(_START_US + 30 * _DAY_US)
        with pytest.raises(Invalid) as caught:
            online.read("counts@1", [("a",)], _START_US)
        assert caught.value.hint
        assert online.read("counts@1", [("a",)], _START_US + 30 * _DAY_US)[0]["n"] == 5

    def test_a_row_no_window_reaches_any_more_changes_nothing(self, online: Online) -> None:
        online.push("counts@1", [_row(0, 5)])
        online.flush(_START_US + 30 * _DAY_US)
        online.push("counts@1", [_row(-5, 7)])
        online.push("counts@1", [_row(0, 5)])
        found = online.read("counts@1", [("a",)], _START_US + 30 * _DAY_US)[0]
        assert (found["n"], found["total"]) == (5, 0)

    def test_entities_are_listed_pushed_or_kept(self, online: Online) -> None:
        assert list(online.keys("counts@1")) == []
        online.push("counts@1", [_row(0, 5), _row(1, 6, key="b:*"), _row(2, 6, key="b:*")])
        online.flush(_START_US)
        online.push("counts@1", [_row(3, 7, key="c")])
        assert sorted(online.keys("counts@1")) == [("a",), ("b:*",), ("c",)]
        online.forget("counts@1", ("a",))
        online.flush(_START_US)
        again = self.reopen(online)
        assert sorted(again.keys("counts@1")) == [("b:*",), ("c",)]
        with pytest.raises(NotFound):
            again.keys("nothing@1")

    def test_forgetting_leaves_nothing(self, online: Online) -> None:
        online.push("counts@1", [_row(0, 5), _row(0, 6, key="b")])
        online.flush(_START_US)
        assert online.forget("counts@1", ("a",)) > 0
        assert online.forget("counts@1", ("a",)) == 0
        again = self.reopen(online)
        found = again.read("counts@1", [("a",), ("b",)], _START_US + 1)
        assert [row["total"] for row in found] == [0, 6]

    def test_many_threads_push_and_read(self, online: Online) -> None:
        def work(thread: int) -> None:
            for i in range(60):
                online.push("counts@1", [_row(i, 1, row_id=f"{thread}-{i}")])
                found = online.read("counts@1", [("a",)], _START_US + 60)[0]["total"]
                assert isinstance(found, int)
                assert found >= i
                if i % 20 == 0:
                    online.flush(_START_US)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
        assert online.read("counts@1", [("a",)], _START_US + 60)[0]["total"] == 240


_COUNTS = OnlineView(
    name="counts@1", latest=("n",), windows={"total": col("n").sum("1h"), "mean": col("n").mean("1h")}
)


def _row(offset: int, n: int, *, key: str = "a", row_id: str = "") -> OnlineRow:
    at = _START_US + offset
    return OnlineRow(key=(key,), event_us=at, known_us=at, values={"n": n}, row_id=row_id or f"{key}{offset}")
