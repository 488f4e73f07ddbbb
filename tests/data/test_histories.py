"""Any history of writes, branches and merges against plain dictionaries: every version holds its rows."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from loopwright.core.errors import Conflict
from loopwright.core.expressions import col
from loopwright.data.appending import append
from loopwright.data.branches import branch, delete_branch, merge
from loopwright.data.comparing import diff
from loopwright.data.reading import read
from loopwright.data.rewriting import delete, overwrite, upsert
from loopwright.engine.publishing import resolve
from loopwright.testing.builders import memory_context

KEYS = st.integers(0, 12)
VALUES = st.one_of(st.none(), st.integers(-3, 3))
BATCH = st.dictionaries(KEYS, VALUES, max_size=6)
LINES = st.sampled_from([None, "trial"])
Rows = dict[int, int | None]


def table(rows: Rows) -> pa.Table:
    schema = pa.schema({"key": pa.int64(), "value": pa.int64()})
    return pa.Table.from_pylist([{"key": key, "value": value} for key, value in rows.items()], schema)


class Histories(RuleBasedStateMachine):
    """A dataset and one branch of it, each with what it should hold."""

    @initialize(rows=BATCH)
    def begin(self, rows: Rows) -> None:
        self.ctx = memory_context()
        overwrite(self.ctx, "d", table(rows), keys=("key",))
        self.held: dict[str | None, Rows] = {None: dict(rows)}
        self.versions: dict[str, Rows] = {}
        self.base: int | None = None
        self.remember(None)

    def remember(self, line: str | None) -> None:
        version = resolve(self.ctx, "dataset:d" if line is None else f"dataset:d@{line}")
        self.versions[str(version.ref)] = dict(self.held[line])

    def line(self, wanted: str | None) -> str | None:
        return wanted if wanted in self.held else None

    @rule(rows=BATCH, wanted=LINES)
    def appends(self, rows: Rows, wanted: str | None) -> None:
        line = self.line(wanted)
        fresh = {key: value for key, value in rows.items() if key not in self.held[line]}
        append(self.ctx, "d", table(fresh), branch=line)
        self.held[line] |= fresh
        self.remember(line)

    @rule(rows=BATCH, wanted=LINES)
    def upserts(self, rows: Rows, wanted: str | None) -> None:
        line = self.line(wanted)
        told = upsert(self.ctx, "d", table(rows), branch=line)
        before = self.held[line]
        assert told.unchanged == sum(key in before and before[key] == value for key, value in rows.items())
        assert told.removed == sum(key in before and before[key] != value for key, value in rows.items())
        self.held[line] = before | rows
        self.remember(line)

    @rule(rows=BATCH, wanted=LINES)
    def overwrites(self, rows: Rows, wanted: str | None) -> None:
        line = self.line(wanted)
        overwrite(self.ctx, "d", table(rows), branch=line)
        self.held[line] = dict(rows)
        self.remember(line)

    @rule(low=KEYS, high=KEYS, rows=BATCH, wanted=LINES)
    def overwrites_a_range(self, low: int, high: int, rows: Rows, wanted: str | None) -> None:
        line = self.line(wanted)
        stays = {key: value for key, value in self.held[line].items() if not low <= key <= high}
        fresh = {key: value for key, value in rows.items() if key not in stays}
        overwrite(self.ctx, "d", table(fresh), where=col("key").between(low, high), branch=line)
        self.held[line] = stays | fresh
        self.remember(line)

    @rule(limit=st.integers(-3, 3), wanted=LINES)
    def deletes_by_condition(self, limit: int, wanted: str | None) -> None:
        line = self.line(wanted)
        stays = {k: v for k, v in self.held[line].items() if v is None or v <= limit}
        told = delete(self.ctx, "d", where=col("value") > limit, branch=line)
        assert told.removed == len(self.held[line]) - len(stays)
        self.held[line] = stays
        self.remember(line)

    @rule(keys=st.sets(KEYS, min_size=1, max_size=4), wanted=LINES)
    def deletes_by_keys(self, keys: set[int], wanted: str | None) -> None:
        line = self.line(wanted)
        delete(self.ctx, "d", keys=pa.table({"key": pa.array(sorted(keys), pa.int64())}), branch=line)
        self.held[line] = {key: value for key, value in self.held[line].items() if key not in keys}
        self.remember(line)

    @precondition(lambda self: "trial" not in self.held)
    @rule()
    def branches(self) -> None:
        self.base = branch(self.ctx, "d", "trial").base
        self.held["trial"] = dict(self.held[None])
        self.remember("trial")

    @precondition(lambda self: "trial" in self.held)
    @rule()
    def merges(self) -> None:
        if resolve(self.ctx, "dataset:d").number != self.base:
            with pytest.raises(Conflict):
                merge(self.ctx, "d", "trial")
            return
        self.base = merge(self.ctx, "d", "trial").number
        self.held[None] = dict(self.held["trial"])
        self.remember(None)

    @precondition(lambda self: "trial" in self.held)
    @rule()
    def drops_the_branch(self) -> None:
        delete_branch(self.ctx, "d", "trial", force=True)
        del self.held["trial"]
        self.versions = {ref: rows for ref, rows in self.versions.items() if ref.startswith("dataset:")}

    @invariant()
    def every_version_holds_its_rows(self) -> None:
        for ref, rows in self.versions.items():
            found = read(self.ctx, ref)
            assert dict(zip(found["key"].to_pylist(), found["value"].to_pylist(), strict=True)) == rows
            assert found.num_rows == len(rows)

    @rule(data=st.data())
    def compares_two_versions(self, data: st.DataObject) -> None:
        refs = sorted(self.versions)
        old, new = (data.draw(st.sampled_from(refs)) for _ in range(2))
        told = diff(self.ctx, old, new)
        before, after = self.versions[old], self.versions[new]
        assert told.keys == ("key",)
        assert (told.added, told.removed) == (
            len(after.keys() - before.keys()),
            len(before.keys() - after.keys()),
        )
        assert told.changed == sum(before[key] != after[key] for key in before.keys() & after.keys())


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=5, stateful_step_count=14, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@pytest.mark.slow
def test_many_histories() -> None:
    asked = settings(max_examples=150, stateful_step_count=40, deadline=None)
    run_state_machine_as_test(Histories, settings=asked)
