"""Appending: contracts, quarantine, refusal, versions, concurrency, repetition."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

import pyarrow as pa
import pytest

from loopwright.core.errors import Conflict, Corrupt, Invalid, NotFound, PolicyBlocked
from loopwright.core.expressions import col
from loopwright.core.instants import to_micros
from loopwright.core.nouns import LinkRole, Run, RunState, Verdict
from loopwright.core.schema import ColumnType
from loopwright.data.nouns import ColumnRule, Contract, Reference, RowRule, UniqueKey, Volume
from loopwright.data.verbs import append, define_contract, quarantine, read, read_stream, show
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of, move_alias, resolve
from loopwright.ports.ledger import PageRequest
from loopwright.testing.builders import MemoryPorts, SetClock, memory_context, memory_ports
from loopwright.testing.objects import MemoryObjects
from tests.data.weather import START, contract, weather


@pytest.fixture
def ports() -> MemoryPorts:
    return memory_ports()


@pytest.fixture
def ctx(ports: MemoryPorts) -> Context:
    return memory_context(ports)


def kinds(ctx: Context) -> list[str]:
    with ctx.read() as tx:
        return [event.kind for event in tx.journal.read(0, 1000)]


def test_the_broken_wind_reading_is_quarantined_with_its_reason_and_the_rest_published(ctx: Context) -> None:
    define_contract(ctx, "weather", contract())
    batch = weather(24, wind={5: 1048.35768, 9: None})
    done = append(ctx, "weather", batch, event_time="observed_at", known_at="known_at")
    assert (done.version.number, done.rows, done.quarantined) == (1, 71, 1)
    assert done.reasons == {"wind_speed is in range": 1}
    kept = read(ctx, "dataset:weather")
    assert kept.equals(pa.concat_tables([batch.slice(0, 5), batch.slice(6)]).combine_chunks())
    aside = read_stream(ctx, "quarantine/weather")
    assert aside.drop_columns(["reason", "quarantined_at"]).to_pylist() == batch.slice(5, 1).to_pylist()
    assert aside["reason"].to_pylist() == ["wind_speed is in range"]
    assert aside["quarantined_at"].to_pylist() == [ctx.now()]
    with ctx.read() as tx:
        event = tx.journal.page(ctx.space, PageRequest(), kind="quarantine.added").items[0]
    assert event.payload == {"dataset": "weather", "rows": 1, "reasons": {"wind_speed is in range": 1}}
    assert "1048" not in str(event)
    page = quarantine(ctx, "weather")
    assert [(row.reason, row.values["wind_speed"]) for row in page.items] == [
        ("wind_speed is in range", 1048.35768)
    ]


def test_a_row_with_several_faults_has_all_its_reasons(ctx: Context) -> None:
    define_contract(ctx, "weather", contract())
    batch = weather(4, wind={2: -1.0, 7: math.nan})
    early = batch["observed_at"].combine_chunks().to_pylist()
    early[2] = early[2] + timedelta(days=1)
    batch = batch.set_column(1, "observed_at", pa.array(early, pa.timestamp("us", "UTC")))
    assert append(ctx, "weather", batch).quarantined == 2
    reasons = read_stream(ctx, "quarantine/weather")["reason"].to_pylist()
    assert reasons == ["wind_speed is in range; known after it happened", "wind_speed is in range"]


def test_a_warning_is_told_and_the_rows_published(ctx: Context) -> None:
    asked = contract(rows=(RowRule(name="dry", expr=col("humid") < 45, severity="warn"),))
    define_contract(ctx, "weather", asked)
    done = append(ctx, "weather", weather(4))
    assert (done.rows, done.quarantined) == (12, 0)
    assert done.warnings == ("dry: 7 of 12 rows break it",)


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        (weather(2).drop_columns(["humid"]), "humid is a column: found missing"),
        (weather(2).set_column(4, "humid", pa.array(["x"] * 6)), "humid is of type int: found string"),
        (weather(2).set_column(0, "origin", pa.array(["EWR"] * 5 + ["BOS"])), "origin is an allowed value"),
        (weather(2).set_column(0, "origin", pa.array(["EWR"] * 5 + [None])), "origin is there"),
        (weather(0), "rows of a batch: found 0"),
        (weather(2, wind=dict.fromkeys(range(4), -1.0)), "share of rows in quarantine: found 66.7%"),
    ],
)
def test_a_blocking_rule_publishes_nothing_and_records_the_verdict(
    ctx: Context, batch: pa.Table, said: str
) -> None:
    version = define_contract(ctx, "weather", contract())
    with pytest.raises(PolicyBlocked) as caught:
        append(ctx, "weather", batch)
    assert said in caught.value.message
    assert caught.value.hint
    with ctx.read() as tx:
        decision = tx.decisions.get(caught.value.decision_id)
        assert tx.assets.find(ctx.space, "dataset", "weather") is None
    assert decision.verdict is Verdict.DENY
    assert (decision.policy, decision.subject, decision.action) == (
        str(version.ref),
        "dataset:weather",
        "append",
    )
    assert any(not line.held for line in decision.evidence)
    assert kinds(ctx)[-1] == "decision.made"
    assert read_stream(ctx, "quarantine/weather").num_rows == 0


def test_other_columns_are_kept_or_refused(ctx: Context) -> None:
    batch = weather(1).append_column("extra", pa.array([1, 2, 3]))
    define_contract(ctx, "kept", contract(name="kept"))
    assert append(ctx, "kept", batch).version.facts["rows"] == 3
    define_contract(ctx, "refused", contract(name="refused", other_columns="refuse"))
    with pytest.raises(PolicyBlocked, match="no other columns: found extra"):
        append(ctx, "refused", batch)


def test_repeated_keys_within_the_batch_and_the_dataset(ctx: Context) -> None:
    define_contract(ctx, "weather", contract(volume=Volume(max_quarantined=0.6)))
    append(ctx, "weather", weather(10))
    done = append(ctx, "weather", pa.concat_tables([weather(4, start=8), weather(1, start=11)]))
    assert done.reasons == {"origin + observed_at is unique": 9}
    assert done.rows == 6
    hours = [at - START for at in read(ctx, "dataset:weather")["observed_at"].to_pylist()]
    assert hours == [timedelta(hours=hour) for hour in range(12) for _ in range(3)]


def test_keys_within_the_batch_alone_and_keys_with_a_null(ctx: Context) -> None:
    table = pa.table({"a": ["x", "x", None, None, "y"], "b": [1, 1, 1, 1, None]})
    rules = tuple(ColumnRule(name=n, type=t) for n, t in (("a", ColumnType.STRING), ("b", ColumnType.INT)))
    define_contract(
        ctx, "d", Contract(name="d", columns=rules, unique=(UniqueKey(columns=("a", "b"), within="batch"),))
    )
    assert append(ctx, "d", table).quarantined == 1
    assert append(ctx, "d", table).quarantined == 1


def test_a_value_that_the_referred_dataset_lacks(ctx: Context) -> None:
    append(ctx, "airports", pa.table({"faa": ["EWR", "JFK", None]}))
    rule = Reference(column="origin", dataset="airports", to="faa", severity="quarantine")
    define_contract(ctx, "weather", contract(references=(rule,)))
    done = append(ctx, "weather", weather(2))
    assert done.reasons == {"origin occurs in airports.faa": 2}
    assert set(read(ctx, "dataset:weather")["origin"].to_pylist()) == {"EWR", "JFK"}


def test_versions_share_parts_and_are_read_by_number_alias_digest_and_instant(
    ctx: Context, ports: MemoryPorts
) -> None:
    clock = ports.clock
    assert isinstance(clock, SetClock)
    made = []
    for month in range(4):
        made.append(append(ctx, "weather", weather(10, start=10 * month), event_time="observed_at").version)
        clock.advance(timedelta(days=1))
    ctx.write(lambda tx: move_alias(ctx, tx, made[1], "stable"))
    manifests = [manifest_of(ctx, version) for version in made]
    for before, after in pairwise(manifests):
        assert after.entries[:-1] == before.entries
    assert [manifest.parent for manifest in manifests] == [None, *(version.digest for version in made[:-1])]
    whole = pa.concat_tables([weather(10, start=10 * month) for month in range(4)]).combine_chunks()
    asked = {
        "weather": 120,
        "dataset:weather@1": 30,
        "dataset:weather@stable": 60,
        f"dataset:weather#{made[2].digest[:12]}": 90,
        "dataset:weather@2013-07-02T12:00:00Z": 60,
    }
    for address, rows in asked.items():
        assert read(ctx, address if ":" in address else f"dataset:{address}").equals(whole.slice(0, rows))
    with pytest.raises(NotFound):
        read(ctx, "dataset:weather@9")
    with pytest.raises(NotFound):
        read(ctx, "dataset:weather@2012-01-01")
    with pytest.raises(Invalid):
        read(ctx, "model:weather")


def test_reading_columns_and_rows_touches_only_the_parts_it_needs(ctx: Context, ports: MemoryPorts) -> None:
    for day in range(6):
        append(ctx, "weather", weather(24, start=24 * day), event_time="observed_at", known_at="known_at")
    entries = manifest_of(ctx, resolve(ctx, "dataset:weather")).entries
    assert isinstance(ports.objects, MemoryObjects)
    for at in (0, 1, 4, 5):
        ports.objects.damage(entries[at].digest)
    start, end = START + timedelta(days=2, hours=3), START + timedelta(days=3, hours=5)
    where = (
        (col("known_at") > to_micros(start)) & (col("known_at") <= to_micros(end)) & (col("origin").eq("JFK"))
    )
    found = read(ctx, "dataset:weather", columns=["observed_at", "wind_speed"], where=where)
    whole = [row for day in range(6) for row in weather(24, start=24 * day).to_pylist()]
    wanted = [row for row in whole if start < row["known_at"] <= end and row["origin"] == "JFK"]
    assert found.to_pylist() == [
        {"observed_at": row["observed_at"], "wind_speed": row["wind_speed"]} for row in wanted
    ]
    with pytest.raises(Corrupt):
        read(ctx, "dataset:weather")
    nothing = read(ctx, "dataset:weather", where=col("known_at") < 0)
    assert (nothing.num_rows, nothing.column_names) == (0, weather(1).column_names)


def test_columns_may_come_but_not_change_their_type(ctx: Context) -> None:
    append(ctx, "d", pa.table({"a": [1, 2], "b": ["x", "y"]}))
    append(ctx, "d", pa.table({"b": ["z"], "a": [3], "c": [0.5]}))
    append(ctx, "d", pa.table({"a": [4]}))
    assert read(ctx, "dataset:d").to_pylist() == [
        {"a": 1, "b": "x", "c": None},
        {"a": 2, "b": "y", "c": None},
        {"a": 3, "b": "z", "c": 0.5},
        {"a": 4, "b": None, "c": None},
    ]
    assert read(ctx, "dataset:d@1").column_names == ["a", "b"]
    assert read(ctx, "dataset:d", columns=["c"], where=col("a") < 3).to_pylist() == [{"c": None}, {"c": None}]
    with pytest.raises(Invalid, match="'a' is of type int so far and string now"):
        append(ctx, "d", pa.table({"a": ["word"]}))
    assert [column.nullable for column in show(ctx, "d").columns.columns] == [False, True, True]


def test_the_same_batch_twice_is_once_and_different_names_are_different_batches(ctx: Context) -> None:
    first = append(ctx, "d", pa.table({"a": [1]}), batch="day-1")
    again = append(ctx, "d", pa.table({"a": [1]}), batch="day-1")
    assert (again.version, again.rows, again.repeated) == (first.version, 0, True)
    assert append(ctx, "d", pa.table({"a": [1]}), batch="day-2").version.number == 2
    assert read(ctx, "dataset:d")["a"].to_pylist() == [1, 1]


def test_equal_content_has_an_equal_digest_in_any_workspace() -> None:
    digests = set()
    for _ in range(2):
        ctx = memory_context()
        append(ctx, "weather", weather(10), event_time="observed_at")
        digests.add(append(ctx, "weather", weather(10, start=10)).version.digest)
    assert len(digests) == 1


def test_appenders_take_turns_and_an_expectation_is_kept(ctx: Context) -> None:
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda n: append(ctx, "d", pa.table({"a": [n]})), range(18)))
    assert sorted(item.version.number for item in done) == list(range(1, 19))
    assert sorted(read(ctx, "dataset:d")["a"].to_pylist()) == list(range(18))
    with pytest.raises(Conflict, match="18 versions now, not 3"):
        append(ctx, "d", pa.table({"a": [1]}), expect=3)
    with ThreadPoolExecutor(4) as pool:
        raced = list(pool.map(lambda n: _won(ctx, n), range(4)))
    assert raced.count(True) == 1
    assert resolve(ctx, "dataset:d").number == 19


def test_keys_are_unique_even_among_appenders_at_the_same_time(ctx: Context) -> None:
    define_contract(ctx, "weather", contract(volume=Volume(max_quarantined=1.0)))
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda _: append(ctx, "weather", weather(4)), range(6)))
    assert sum(item.rows for item in done) == 12
    assert sum(item.quarantined for item in done) == 60
    assert read(ctx, "dataset:weather").num_rows == 12


def _won(ctx: Context, value: int) -> bool:
    try:
        append(ctx, "d", pa.table({"a": [value]}), expect=18)
    except Conflict:
        return False
    return True


def test_a_batch_that_is_all_quarantine_makes_no_version_but_the_first(ctx: Context) -> None:
    define_contract(ctx, "weather", contract(volume=Volume(max_quarantined=1.0)))
    bad = weather(1, wind=dict.fromkeys(range(3), -1.0))
    assert append(ctx, "weather", bad).version.number == 1
    append(ctx, "weather", weather(1))
    done = append(ctx, "weather", weather(1, start=1, wind=dict.fromkeys(range(3), -2.0)))
    assert (done.version.number, done.rows, done.quarantined) == (2, 0, 3)
    assert show(ctx, "weather").quarantined == 6


def test_what_is_read_and_made_in_a_run_is_linked_to_it(ctx: Context) -> None:
    run = Run(
        id="r1",
        space=ctx.space,
        kind="training",
        name="t",
        state=RunState.RUNNING,
        created_at=ctx.now(),
        created_by="me",
    )
    ctx.write(lambda tx: tx.runs.add(run))
    inside = ctx.under("r1")
    first = append(ctx, "d", pa.table({"a": [1]})).version
    read(inside, "dataset:d")
    second = append(inside, "d", pa.table({"a": [2]})).version
    with ctx.read() as tx:
        links = [(link.role, link.version) for link in tx.runs.links("r1")]
    assert links == [(LinkRole.INPUT, first.ref), (LinkRole.OUTPUT, second.ref)]
    assert second.run_id == "r1"


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"t": pa.array([START], pa.timestamp("us"))}),
        pa.table({"l": pa.array([[1]])}),
        pa.table({"b": pa.array([b"x"])}),
        pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]),
        pa.table({"": pa.array([1])}),
        pa.table({"a\nb": pa.array([1])}),
        pa.table({"u": pa.array([2**64 - 1], pa.uint64())}),
    ],
)
def test_what_no_dataset_keeps_is_refused_by_column(ctx: Context, table: pa.Table) -> None:
    with pytest.raises(Invalid) as caught:
        append(ctx, "d", table)
    assert caught.value.hint


def test_other_types_become_the_platforms(ctx: Context) -> None:
    table = pa.table(
        {
            "small": pa.array([1, 2], pa.int8()),
            "single": pa.array([0.5, None], pa.float32()),
            "word": pa.array(["a", "b"]).dictionary_encode(),
            "day": pa.array([START.date(), None], pa.date32()),
            "zoned": pa.array([START, None], pa.timestamp("ns", "America/New_York")),
            "exact": pa.array([Decimal(1), Decimal(2)]),
            "nothing": pa.nulls(2),
        }
    )
    append(ctx, "d", table)
    types = {column.name: column.type for column in show(ctx, "d").columns.columns}
    assert types == {
        "small": "int",
        "single": "float",
        "word": "string",
        "day": "instant",
        "zoned": "instant",
        "exact": "float",
        "nothing": "string",
    }
    first = read(ctx, "dataset:d").to_pylist()[0]
    assert (first["word"], first["day"], first["zoned"], first["exact"]) == ("a", START, START, 1.0)


def test_times_and_keys_must_be_columns_of_their_type(ctx: Context) -> None:
    for name in ("a", "nothing"):
        with pytest.raises(Invalid, match=name):
            append(ctx, "d", pa.table({"a": [1]}), event_time=name)
    with pytest.raises(Invalid):
        append(ctx, "d", pa.table({"a": [1]}), keys=("b",))
    with pytest.raises(NotFound, match="contract"):
        append(ctx, "d", pa.table({"a": [1]}), contract="none")


@pytest.mark.parametrize(
    "rules",
    [
        {"columns": (ColumnRule(name="a", type=ColumnType.INT),) * 2},
        {"columns": (ColumnRule(name="a", type=ColumnType.INT, min=3, max=1),)},
        {"columns": (ColumnRule(name="a", type=ColumnType.STRING, min=3),)},
        {"columns": (ColumnRule(name="a", type=ColumnType.INSTANT, min="yesterday"),)},
        {"columns": (ColumnRule(name="a", type=ColumnType.INT, pattern="x"),)},
        {"columns": (ColumnRule(name="a", type=ColumnType.STRING, pattern="("),)},
        {"columns": (ColumnRule(name="a", type=ColumnType.INT),), "unique": (UniqueKey(columns=("b",)),)},
        {"rows": (RowRule(name="", expr=col("a") > 1),)},
        {"rows": (RowRule(name="n", expr=col("a") > 1),) * 2},
    ],
)
def test_a_contract_that_makes_no_sense_is_refused(ctx: Context, rules: dict[str, object]) -> None:
    with pytest.raises(Invalid) as caught:
        define_contract(ctx, "d", Contract(name="d", **rules))  # type: ignore[arg-type]  # each case its own rules
    assert caught.value.hint
