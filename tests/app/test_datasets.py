"""`lw.dataset` on a workspace and on a server alike, against plain lists of rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import loopwright as lw
from loopwright.app.main import command_tree
from loopwright.app.server import Server
from loopwright.core.errors import Conflict, Denied, Invalid, NotFound, PolicyBlocked
from loopwright.surfaces.cli import carry_out
from loopwright.surfaces.http import build_app

START = datetime(2013, 1, 1, tzinfo=UTC)


class Landings(lw.Contract):
    flight: str = lw.field(key=True)
    delay: float | None = lw.field(min=-120)
    at: datetime
    passenger: str | None = lw.field(pattern="[A-Z].*", severity="block")


def rows_of(*flights: str, delay: float | None = 1.0, passenger: str | None = None) -> list[dict[str, Any]]:
    return [
        {"flight": flight, "delay": delay, "at": START + timedelta(hours=n), "passenger": passenger}
        for n, flight in enumerate(flights)
    ]


@pytest.fixture(params=["here", "server"])
def face(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[lw.Workspace | lw.Client]:
    with ExitStack() as stack:
        workspace = stack.enter_context(lw.Workspace.open(tmp_path / ".loopwright"))
        if request.param == "here":
            yield workspace
            return
        server = stack.enter_context(Server(build_app(workspace)))
        yield stack.enter_context(lw.Client(server.url))


def test_rows_come_back_as_of_every_version(face: Any) -> None:
    data = lw.dataset("landings", contract=Landings, event_time="at", keys="flight", to=face)
    first, more = rows_of("a", "b", "c"), rows_of("b", "d", delay=7.0)
    assert data.append(pl.DataFrame(first, schema_overrides={"passenger": pl.String})).version.number == 1
    assert data.upsert(more).removed == 1
    assert data.read(1).to_pylist() == first
    assert data.read().to_pylist() == [first[0], first[2], *more]
    assert [version.number for version in data.versions()] == [2, 1]
    assert data.read("landings@1") == data.read("dataset:landings@1") == data.read(1)
    assert data.read("@1").equals(data.read(datetime.now(UTC) - timedelta(0))) is False
    found = data.diff(1, 2)
    assert (found.added, found.removed, found.changed, found.columns) == (1, 0, 1, {"at": 1, "delay": 1})
    moved = {each.column: each for each in data.drift(1, 2).columns}
    assert (moved["delay"].values_before, moved["delay"].values_after) == (3, 4)
    assert moved["delay"].kolmogorov_smirnov is not None
    assert data.show().body["keys"] == ["flight"]
    assert data.profile()["columns"]["flight"]["count"] == 4


def test_columns_and_conditions_choose_what_is_read(face: Any) -> None:
    data = lw.dataset("landings", to=face)
    data.append(pd.DataFrame({"flight": ["a", "b", "c"], "delay": [1.0, 2.0, 3.0]}))
    assert data.read(columns=["delay"], where=lw.col("flight") > "a").to_pydict() == {"delay": [2.0, 3.0]}
    assert data.read(where=lw.col("delay").eq(2.0)).to_pylist() == [{"flight": "b", "delay": 2.0}]
    assert data.delete({"flight": "b"}).removed == data.delete(lw.col("delay") > 2.5).removed == 1
    assert data.read().to_pydict() == {"flight": ["a"], "delay": [1.0]}


def test_what_breaks_the_contract_is_set_aside_or_refused(face: Any) -> None:
    data = lw.dataset("landings", contract=Landings, to=face)
    kept = data.append([*rows_of("a", "b"), *rows_of("c", delay=-500.0)])
    assert (kept.rows, kept.quarantined) == (2, 1)
    assert [row.values["flight"] for row in data.quarantine()] == ["c"]
    with pytest.raises(PolicyBlocked):
        data.append(rows_of("d", passenger="ada"))
    assert data.read(columns=["flight"]).to_pydict() == {"flight": ["a", "b"]}


def test_an_equal_contract_is_the_same_version(face: Any) -> None:
    for _ in range(2):
        lw.dataset("landings", contract=Landings, to=face)
    found = face.call("assets.versions", kind="policy", name="contract/landings").items
    assert [version.number for version in found] == [1]


def test_a_batch_is_written_once_and_an_expectation_holds(face: Any) -> None:
    data = lw.dataset("landings", to=face)
    assert not data.append(rows_of("a"), batch="monday", expect=0).repeated
    assert data.append(rows_of("a"), batch="monday").repeated
    with pytest.raises(Conflict):
        data.append(rows_of("b"), expect=0)
    assert data.read().num_rows == 1


def test_branches_and_tags(face: Any) -> None:
    data = lw.dataset("landings", keys="flight", to=face)
    data.append(rows_of("a"))
    trial = data.branch("trial", at="")
    trial.append(rows_of("b"))
    assert (trial.read().num_rows, data.read().num_rows) == (2, 1)
    assert [version.number for version in trial.versions()] == [2, 1]
    data.tag("before")
    assert data.merge("trial").number == 2
    assert (data.read().num_rows, data.read("before").num_rows) == (2, 1)
    assert data.diff("before").added == 1
    assert data.address("before") == "dataset:landings@before"


def test_what_a_run_reads_and_writes_is_linked_to_it(face: Any) -> None:
    data = lw.dataset("landings", to=face)
    data.append(rows_of("a"))
    with lw.run("copy", to=face) as tracked:
        lw.dataset("copies").append(data.read())
        held = lw.dataset("landings").read(1)
    assert held.num_rows == 1
    links = face.call("runs.show", run_id=tracked.id).links
    assert {(str(link.version), str(link.role)) for link in links} >= {
        ("dataset:landings@1", "input"),
        ("dataset:copies@1", "output"),
    }


def test_a_purpose_rules_what_is_read(face: Any) -> None:
    data = lw.dataset("landings", to=face)
    data.append(rows_of("a", passenger="Ada"))
    rule = lw.PurposeRule(column="passenger", forbidden=("training",), otherwise="allowed")
    face.call("data.set_purposes", name="landings", purposes=lw.Purposes(rules=(rule,), ask="the data desk"))
    training = lw.dataset("landings", purpose="training", to=face)
    with pytest.raises(Denied, match="passenger"):
        training.read()
    assert training.read(columns=["flight"]).to_pydict() == {"flight": ["a"]}
    assert data.read(columns=["passenger"], purpose="support").to_pydict() == {"passenger": ["Ada"]}


def test_an_overwrite_that_breaks_readers_must_be_meant(face: Any) -> None:
    data = lw.dataset("landings", to=face)
    data.append(pa.table({"flight": ["a"], "delay": [1.0]}))
    with pytest.raises(Invalid, match="delay"):
        data.overwrite(pa.table({"flight": ["b"]}))
    data.overwrite(pa.table({"flight": ["b"]}), replace_schema=True)
    assert data.read().to_pydict() == {"flight": ["b"]}


FRAME = pl.DataFrame({"flight": ["a", "b"], "delay": [1.0, None]})


@pytest.mark.parametrize(
    "rows",
    [
        FRAME.lazy,
        lambda: FRAME.to_dict(as_series=False),
        lambda: FRAME.rows(named=True),
        lambda: FRAME.to_arrow().to_reader(),
        lambda: iter(FRAME.to_arrow().to_batches(max_chunksize=1)),
        lambda: (FRAME[n : n + 1] for n in range(2)),
    ],
    ids=["lazy", "columns", "objects", "reader", "batches", "frames"],
)
def test_rows_come_in_every_form(rows: Any, tmp_path: Path) -> None:
    with lw.Workspace.open(tmp_path / ".loopwright") as workspace:
        data = lw.dataset("landings", to=workspace)
        data.append(rows())
        assert data.read().to_pylist() == FRAME.rows(named=True)


def test_a_lazy_frame_is_held_against_the_contract(tmp_path: Path) -> None:
    with lw.Workspace.open(tmp_path / ".loopwright") as workspace:
        data = lw.dataset("landings", contract=Landings, to=workspace)
        lazy = pl.LazyFrame(rows_of("a", "b"), schema_overrides={"passenger": pl.String})
        kept = data.append(lazy.with_columns(pl.when(pl.col("flight") == "b").then(-500.0).alias("delay")))
        assert (kept.rows, kept.quarantined) == (1, 1)


def test_a_version_is_said_by_its_digest(face: Any) -> None:
    data = lw.dataset("landings", to=face)
    digests = [data.append(rows_of(name)).version.digest for name in "ab"]
    for at in (
        f"#{digests[0]}",
        f"#{digests[0][:12]}",
        f"landings#{digests[0]}",
        f"dataset:landings#{digests[0]}",
    ):
        assert data.read(at).column("flight").to_pylist() == ["a"]
        assert data.show(at).rows == data.profile(at)["columns"]["flight"]["count"] == 1
        assert face.call("data.rows", name="landings", version=at).items[0]["flight"] == "a"
    data.tag("first", f"#{digests[0]}")
    assert data.read("first").num_rows == 1
    with pytest.raises(Invalid, match="no version of"):
        data.show(f"planes#{digests[0]}")


def test_commands_know_a_version_in_the_place_of_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with lw.Workspace.open(tmp_path / ".loopwright") as workspace:
        data = lw.dataset("landings", to=workspace)
        digest = data.append(rows_of("a")).version.digest
        data.append(rows_of("b"))
        lw.dataset("odd@1", to=workspace).append(rows_of("c"))
    asked = ["landings@1", f"landings#{digest[:12]}", "odd@1"]
    told = []
    for name in asked:
        assert carry_out(command_tree(), ["data", "rows", name, "--json"]) == 0
        told.append(json.loads(capsys.readouterr().out)["items"][0]["flight"])
    assert told == ["a", "a", "c"]
    for name, *more in (["landings@3"], ["landings@1", "--version", "2"], ["nothing@1"], ["landings#"]):
        assert carry_out(command_tree(), ["data", "show", name, *more]) == 3
        assert "error: there is no " in capsys.readouterr().err


def test_what_is_no_table_is_told(face: Any) -> None:
    for rows in (
        3,
        {},
        {"a": 1},
        {"a": [1], "b": [1, 2]},
        iter([]),
        iter([3]),
        "no-such.parquet",
        [1, 2],
        b"x",
        [],
        object(),
        [{"a": 1}, {"a": "x"}],
    ):
        with pytest.raises(Invalid):
            lw.dataset("landings", to=face).append(rows)
    with pytest.raises(NotFound):
        lw.dataset("landings", to=face).read()


def test_a_version_that_is_not_there_is_told(face: Any) -> None:
    data = lw.dataset("landings", to=face)
    data.append(rows_of("a"))
    for at in ("@7", "nothing", 0, "#zz", "@2013-06-01T00:00Z"):
        with pytest.raises((Invalid, NotFound)):
            data.read(at)
