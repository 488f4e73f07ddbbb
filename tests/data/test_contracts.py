"""Contracts through appends, dry runs, quarantine and purposes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest

from loopwright.core.errors import CheckFailed, Conflict, Denied, Invalid, NotFound, PolicyBlocked
from loopwright.core.expressions import col
from loopwright.core.nouns import Job, JobState, Run, RunState
from loopwright.core.schema import ColumnType
from loopwright.data.allowing import PurposeRule, Purposes
from loopwright.data.appending import append
from loopwright.data.checking import check, check_file, checks, infer_contract, infer_file
from loopwright.data.contracts import define_contract
from loopwright.data.declaring import contract as contract_from
from loopwright.data.nouns import (
    ColumnRule,
    Comparison,
    Contract,
    Distribution,
    Freshness,
    GroupRule,
    Reference,
    Release,
    RowRule,
    UniqueKey,
    Volume,
)
from loopwright.data.purposes import (
    access_requests,
    answer_access,
    column_tags,
    personal,
    request_access,
    set_purposes,
)
from loopwright.data.quarantine import quarantined_rows, quarantined_total
from loopwright.data.reading import read
from loopwright.data.releasing import drop_quarantined, release, run_settle, settle_quarantine
from loopwright.engine.context import Context, Principal
from loopwright.testing.builders import SetClock, memory_context, memory_ports
from tests.data.weather import START, contract, weather

INT, STRING = ColumnType.INT, ColumnType.STRING


@pytest.fixture
def ctx() -> Context:
    return memory_context()


def numbers(*values: int | None) -> pa.Table:
    return pa.table({"n": pa.array(values, pa.int64())})


def of(ctx: Context, **rules: object) -> None:
    made = Contract(name="d", columns=(ColumnRule(name="n", type=INT),), volume=Volume(max_quarantined=1.0))
    define_contract(ctx, "d", msgspec.structs.replace(made, **rules))


# -- rules ----------------------------------------------------------------------------------------------


def test_mostly_lets_the_few_in_and_keeps_them_out_when_they_are_many(ctx: Context) -> None:
    of(ctx, columns=(ColumnRule(name="n", type=INT, min=0, mostly=0.75),))
    assert append(ctx, "d", numbers(1, 2, 3, -1)).quarantined == 0
    done = append(ctx, "d", numbers(1, 2, -3, -1))
    assert (done.rows, done.quarantined) == (2, 2)


def test_groups_block_or_warn(ctx: Context) -> None:
    few = GroupRule(name="enough of each", by=("n",), of="rows", min=2, severity="warn")
    of(ctx, groups=(few,))
    assert append(ctx, "d", numbers(1, 1, 2)).warnings == ("enough of each: 1 of 2 groups break it",)
    of(ctx, groups=(msgspec.structs.replace(few, severity="block"),))
    with pytest.raises(PolicyBlocked, match="1 of 2 groups"):
        append(ctx, "d", numbers(3, 3, 4))
    assert read(ctx, "dataset:d").num_rows == 3


def test_freshness_is_by_the_clock_of_the_platform() -> None:
    clock = SetClock(START + timedelta(hours=6))
    ctx = memory_context(memory_ports(clock=clock))
    define_contract(
        ctx, "weather", contract(freshness=(Freshness(column="known_at", within="3h", severity="block"),))
    )
    append(ctx, "weather", weather(4))  # known last at 04:00; it is 06:00
    clock.advance(timedelta(hours=4))
    with pytest.raises(PolicyBlocked, match="known_at is fresh: found 5h old"):
        append(ctx, "weather", weather(1, start=4))


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        (Comparison(of="rows", at_most=0.5, severity="block"), (1, 2, 3), (1, 2, 3, 4, 5, 6, 7)),
        (Comparison(of="mean", column="n", at_most=0.2, severity="block"), (1, 2, 3, 2), (5, 5, 5, 5)),
        (
            Comparison(of="null_share", column="n", at_most=0.1, relative=False, severity="block"),
            (2, 2, 2, 2),
            (2, None, 2, None),
        ),
        (Comparison(of="max", column="n", at_most=1, relative=False, severity="block"), (4,), (5,)),
    ],
)
def test_a_batch_is_compared_with_the_last_version(
    ctx: Context, rule: Comparison, good: tuple[int, ...], bad: tuple[int | None, ...]
) -> None:
    of(ctx, comparisons=(rule,))
    append(ctx, "d", numbers(1, 2, 3, 2))
    with pytest.raises(PolicyBlocked, match="near the last"):
        append(ctx, "d", numbers(*bad))
    append(ctx, "d", numbers(*good))


def test_a_distribution_is_held_against_the_baseline_named(ctx: Context) -> None:
    base = [i % 10 for i in range(1000)]
    append(ctx, "base", numbers(*base))
    rule = Distribution(column="n", at_most=0.1, baseline="dataset:base@1", severity="block")
    of(ctx, distributions=(rule,))
    append(ctx, "d", numbers(*base[:500]))
    with pytest.raises(PolicyBlocked, match="spread as in dataset:base@1"):
        append(ctx, "d", numbers(*[i % 3 for i in range(500)]))
    append(ctx, "d", numbers(*[1] * 50))  # too few to be judged
    words = pa.table({"n": base, "w": ["ab"[i % 2] for i in range(1000)]})
    append(ctx, "words", words)
    spread = Distribution(column="w", at_most=0.2, baseline="dataset:words@1", measure="total_variation")
    columns = (ColumnRule(name="n", type=INT), ColumnRule(name="w", type=STRING))
    of(ctx, columns=columns, distributions=(spread,))
    changed = words.set_column(1, "w", pa.array(["abcd"[i % 4] for i in range(1000)]))
    report = check(ctx, "words", contract=Contract(name="x", columns=columns, distributions=(spread,)))
    assert report.holds
    append(ctx, "words", changed, expect=1)
    report = check(ctx, "words", contract=Contract(name="x", columns=columns, distributions=(spread,)))
    # half the rows are 1/2, 1/2, the others 1/4 of each: 3/8, 3/8, 1/4 against 1/2, 1/2
    assert report.rules[-1].value == pytest.approx(0.25)
    assert not report.holds


def test_a_primary_key_is_there_and_names_what_fails(ctx: Context) -> None:
    columns = (ColumnRule(name="k", type=STRING), ColumnRule(name="n", type=INT, max=9))
    of(ctx, columns=columns, unique=(UniqueKey(columns=("k",), primary=True),))
    done = append(ctx, "d", pa.table({"k": ["a", None, "b", "a"], "n": [1, 2, 10, 4]}))
    assert done.reasons == {"n is in range": 1, "k is there": 1, "k is unique": 1}
    found = {each.rule: each for each in checks(ctx, "d")}
    assert found["n is in range"].failed == 1
    assert found["n is in range"].first == ()  # signals hold no values of data
    assert not found["k is unique"].held


def test_forbidden_values_and_references_are_kept_out(ctx: Context) -> None:
    append(ctx, "known", numbers(1, 2, 3))
    reference = Reference(column="n", dataset="known", to="n", severity="quarantine", mostly=0.5)
    of(ctx, columns=(ColumnRule(name="n", type=INT, forbidden=(2,)),), references=(reference,))
    assert append(ctx, "d", numbers(1, 2, None, 7)).reasons == {"n is no forbidden value": 1}
    assert append(ctx, "d", numbers(7, 8, 3)).reasons == {"n occurs in known.n": 2}


def test_results_are_signals_on_the_version(ctx: Context) -> None:
    define_contract(ctx, "weather", contract())
    version = append(ctx, "weather", weather(10, wind={4: 1048.0})).version
    with ctx.read() as tx:
        signals = tx.signals.window(ctx.space, "dataset:weather@1")
    assert str(version.ref) == "dataset:weather@1"
    named = {signal.name: signal for signal in signals}
    assert named["check.wind_speed is in range"].value == pytest.approx(1 / 30)
    assert named["check.origin + observed_at is unique"].value == 0
    assert [each.rule for each in checks(ctx, "weather") if not each.held] == ["wind_speed is in range"]


@pytest.mark.parametrize(
    "rules",
    [
        {"columns": (ColumnRule(name="n", type=INT, mostly=0.0),)},
        {"groups": (GroupRule(name="g", by=(), of="rows", min=1),)},
        {"groups": (GroupRule(name="g", by=("n",), of="rows"),)},
        {"groups": (GroupRule(name="g", by=("n",), of="sum", min=1),)},
        {"groups": (GroupRule(name="g", by=("m",), of="rows", min=1),)},
        {"freshness": (Freshness(column="n", within="soon"),)},
        {"comparisons": (Comparison(of="rows", column="n", at_most=1),)},
        {"comparisons": (Comparison(of="mean", at_most=1),)},
        {"distributions": (Distribution(column="m", at_most=1),)},
        {"release": Release(drop_after="never")},
    ],
)
def test_a_contract_that_makes_no_sense_is_refused(ctx: Context, rules: dict[str, object]) -> None:
    with pytest.raises(Invalid) as caught:
        of(ctx, **rules)
    assert caught.value.hint


# -- dry runs and inference -----------------------------------------------------------------------------


def test_a_dry_run_changes_nothing_and_names_the_first_rows(ctx: Context) -> None:
    append(ctx, "weather", weather(10, wind={4: 1048.0, 7: None}))
    before = ctx.ports.ledger.write(lambda tx: tx.journal.head())
    report = check(ctx, "weather", contract=contract())
    torn = [each for each in report.rules if not each.held]
    assert [(each.rule, each.failed) for each in torn] == [("wind_speed is in range", 1)]
    assert torn[0].first == ({"row": 4, "origin": "JFK", "observed_at": "2013-01-01T01:00:00Z"},)
    assert (report.rows, report.verdict.value) == (30, "allow")
    assert ctx.ports.ledger.write(lambda tx: tx.journal.head()) == before
    with pytest.raises(NotFound):
        check(ctx, "weather")
    missing = Contract(name="x", columns=(ColumnRule(name="gust", type=INT),))
    assert [each.found for each in check(ctx, "weather", contract=missing).rules] == ["missing"]


def test_what_is_inferred_is_held_by_the_data_and_shown_as_a_difference(ctx: Context) -> None:
    append(ctx, "weather", weather(200), keys=("origin", "observed_at"))
    found = infer_contract(ctx, "weather")
    rules = {rule.name: rule for rule in found.contract.columns}
    assert rules["origin"].allowed == ("EWR", "JFK", "LGA")
    assert (rules["humid"].min, rules["humid"].max) == (35, 94)
    assert found.contract.unique[0] == UniqueKey(columns=("origin", "observed_at"), primary=True)
    assert check(ctx, "weather", contract=found.contract).holds
    assert {change.kind for change in found.changes} == {"added"}
    define_contract(ctx, "weather", contract())
    changes = {change.rule: change for change in infer_contract(ctx, "weather").changes}
    assert (changes["columns.wind_speed.max"].before, changes["columns.wind_speed.max"].after) == (200, 31.9)
    assert changes["rows.known after it happened"].kind == "removed"
    define_contract(ctx, "weather", found.contract)
    assert infer_contract(ctx, "weather").changes == ()


def test_a_file_is_held_against_a_contract_file(ctx: Context, tmp_path: Path) -> None:
    rows, rules = tmp_path / "flights.csv", tmp_path / "contract.json"
    rows.write_text("id,name\n" + "\n".join(f"{i},n{i}" for i in range(60)))
    made = infer_file(ctx, str(rows))
    assert made.name == "flights"
    assert [key.columns for key in made.unique] == [("id",), ("name",)]
    rules.write_bytes(msgspec.json.encode(made))
    assert check_file(ctx, str(rows), contract=str(rules)).holds
    rows.write_text("id,name\n1,a\n1,b\n")
    with pytest.raises(CheckFailed, match="id is unique: 1 of 2"):
        check_file(ctx, str(rows), contract=str(rules))
    rules.write_text("{}")
    with pytest.raises(Invalid, match="cannot be read"):
        check_file(ctx, str(rows), contract=str(rules))


# -- quarantine -----------------------------------------------------------------------------------------


def test_a_person_releases_rows_of_one_rule_and_says_why(ctx: Context) -> None:
    of(ctx, columns=(ColumnRule(name="n", type=INT, max=9, forbidden=(11, 2)),))
    append(ctx, "d", numbers(1, 2, 10, 11))
    with pytest.raises(Invalid, match="why"):
        release(ctx, "d", why=" ")
    done = release(ctx, "d", why="checked by hand", rule="n is in range")
    assert (done.released, done.left, done.version) == (1, 2, 2)
    assert read(ctx, "dataset:d")["n"].to_pylist() == [1, 10]
    assert [row.values["n"] for row in quarantined_rows(ctx, "d", 10, "").items] == [2, 11]
    dropped = drop_quarantined(ctx, "d", why="of a test", rule="n is no forbidden value")
    assert (dropped.dropped, dropped.left, quarantined_total(ctx, "d")) == (2, 0, 0)
    with ctx.read() as tx:
        told = [(e.kind, e.payload["why"]) for e in tx.journal.read(0, 100) if "why" in e.payload]
    assert told == [("quarantine.released", "checked by hand"), ("quarantine.dropped", "of a test")]
    with pytest.raises(NotFound):
        drop_quarantined(ctx, "d", why="gone", segment="nothing")


def test_rows_that_hold_the_contract_of_today_are_let_in_by_rule() -> None:
    clock = SetClock()
    ctx = memory_context(memory_ports(clock=clock))
    rule = Release(when_they_pass=True, drop_after="7d")
    columns = (ColumnRule(name="n", type=INT, max=9),)
    unique = (UniqueKey(columns=("n",)),)
    of(ctx, columns=columns, unique=unique, release=rule)
    append(ctx, "d", numbers(1, 10, 20, 1))
    assert settle_quarantine(ctx, "d").left == 3
    of(ctx, columns=(ColumnRule(name="n", type=INT, max=15),), unique=unique, release=rule)
    done = settle_quarantine(ctx, "d")
    assert (done.released, done.dropped, done.left) == (1, 0, 2)
    assert read(ctx, "dataset:d")["n"].to_pylist() == [1, 10]
    clock.advance(timedelta(days=8))
    job = Job(
        id="j",
        space=ctx.space,
        operation="data.settle_quarantine",
        state=JobState.RUNNING,
        arguments={"name": "d"},
        not_before=ctx.now(),
        created_at=ctx.now(),
        created_by="me",
    )
    assert run_settle(ctx, job)["dropped"] == 2
    assert quarantined_total(ctx, "d") == 0


# -- purposes -------------------------------------------------------------------------------------------


def under(ctx: Context, run: str, **tags: str) -> Context:
    made = Run(
        id=run,
        space=ctx.space,
        kind="training",
        name=run,
        state=RunState.RUNNING,
        created_at=ctx.now(),
        created_by="me",
        tags=tags,
    )
    ctx.write(lambda tx: tx.runs.add(made))
    return ctx.under(run)


PEOPLE = pa.table({"id": [1, 2], "email": ["a@example.org", "b@example.org"], "age": [30, 40]})
RULES = Purposes(
    rules=(
        PurposeRule(column="email", allowed=("support",), forbidden=("marketing",)),
        PurposeRule(column="age", allowed=("training", "support"), otherwise="allowed"),
    ),
    ask="privacy@example.org",
)


def test_columns_are_read_for_allowed_purposes_alone(ctx: Context) -> None:
    append(ctx, "people", PEOPLE)
    set_purposes(ctx, "people", RULES)
    assert read(ctx, "dataset:people", columns=["id", "age"]).num_rows == 2
    assert read(ctx, "dataset:people", purpose="support").num_rows == 2
    for asked in (
        {},
        {"purpose": "marketing"},
        {"columns": ["id"], "where": col("email").eq("a@example.org")},
    ):
        with pytest.raises(Denied, match="'email' of dataset:people") as caught:
            read(ctx, "dataset:people", **asked)
        assert "privacy@example.org" in caught.value.hint
    assert read(under(ctx, "r1", purpose="support"), "dataset:people").num_rows == 2


def test_access_is_asked_for_granted_and_ends() -> None:
    clock = SetClock()
    owner = memory_context(memory_ports(clock=clock))
    append(owner, "people", PEOPLE)
    set_purposes(owner, "people", RULES)
    reader = owner.acting_as(Principal(name="ada", scopes=frozenset({"dataset:read"})))
    with pytest.raises(Denied, match="forbidden"):
        request_access(reader, "people", ("email",), "marketing", "a letter to all")
    asked = request_access(reader, "people", ("email",), "research", "to find doubles")
    clock.advance(timedelta(hours=2))
    answer_access(owner, asked.id, grant=True, lasting="1d", answer="for this week")
    with pytest.raises(Conflict):
        answer_access(owner, asked.id, grant=False)
    found = access_requests(owner, "people")[0]
    assert found.answered_at is not None
    assert (found.state, found.answered_at - found.asked_at) == ("granted", timedelta(hours=2))
    assert read(reader, "dataset:people", purpose="research").num_rows == 2
    with pytest.raises(Denied):
        read(owner, "dataset:people", purpose="research")
    clock.advance(timedelta(days=2))
    with pytest.raises(Denied):
        read(reader, "dataset:people", purpose="research")


def test_tags_and_rules_travel_with_columns_along_lineage(ctx: Context) -> None:
    columns = (ColumnRule(name="email", type=STRING, tags=("pii.email",)),)
    define_contract(ctx, "people", Contract(name="people", columns=columns))
    append(ctx, "people", PEOPLE)
    set_purposes(ctx, "people", RULES)
    first = under(ctx, "r1", purpose="support")
    append(first, "joined", read(first, "dataset:people").append_column("score", pa.array([0.5, 0.6])))
    second = under(ctx, "r2", purpose="support")
    append(second, "final", read(second, "dataset:joined").select(["email", "score"]))
    tags = {"email": ("pii.email",), "score": ("pii.email",)}  # what a score is made of is not known
    assert column_tags(ctx, "final") == tags
    with pytest.raises(Denied, match="of dataset:people is forbidden"):
        read(ctx, "dataset:final", purpose="marketing")
    with pytest.raises(Denied, match="'email' of dataset:people is forbidden"):
        read(ctx, "dataset:final", columns=["score"], purpose="marketing")


def test_columns_of_persons_are_found(ctx: Context) -> None:
    cards = ["4111 1111 1111 1111", "5500-0000-0000-0004"]
    append(
        ctx,
        "people",
        PEOPLE.append_column("paid_with", pa.array(cards)).append_column("n", pa.array(["1", "2"])),
    )
    assert [(each.column, each.tag, each.by) for each in personal(ctx, "people")] == [
        ("email", "pii.email", "values"),
        ("paid_with", "pii.card", "values"),
    ]


def test_the_json_form_is_the_contract(ctx: Context) -> None:
    whole = contract(
        groups=(GroupRule(name="g", by=("origin",), of="mean", expr=col("humid") * 2, max=9),),
        rows=(RowRule(name="r", expr=~col("humid").is_null(), mostly=0.5),),
        distributions=(Distribution(column="humid", at_most=0.2),),
    )
    assert contract_from(msgspec.json.encode(whole)) == whole
    assert contract_from(msgspec.to_builtins(whole)) == whole
