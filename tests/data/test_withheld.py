"""What contracts tell of columns that are ruled by purpose: no value of them, in nothing that is stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from loopwright.core.errors import Denied, PolicyBlocked
from loopwright.core.expressions import col
from loopwright.data.allowing import PurposeRule, Purposes
from loopwright.data.appending import append
from loopwright.data.branches import branch
from loopwright.data.catalogue import search
from loopwright.data.checking import check, checks
from loopwright.data.contracts import define_contract
from loopwright.data.nouns import Comparison, Contract, Distribution, Freshness, Reference
from loopwright.data.purposes import set_purposes
from loopwright.data.verbs import delete_rows, set_contract
from loopwright.engine.context import Context
from loopwright.engine.platform import journal, signals
from loopwright.testing.builders import SetClock, memory_context, memory_ports

NOW = datetime(2013, 6, 1, 12, tzinfo=UTC)
RULES = Purposes(
    rules=(PurposeRule(column="pay", allowed=("payroll",)), PurposeRule(column="at", allowed=("payroll",))),
    ask="privacy@example.org",
)


@pytest.fixture
def ctx() -> Context:
    return memory_context(memory_ports(clock=SetClock(NOW)))


def pays(*values: float, at: datetime = NOW - timedelta(minutes=37)) -> pa.Table:
    times = pa.array([at] * len(values), pa.timestamp("us", "UTC"))
    return pa.table({"who": [f"p{n}" for n in range(len(values))], "pay": values, "at": times})


def near(of: Any, at_most: float = 1.0, *, relative: bool = True, severity: Any = "warn") -> Comparison:
    return Comparison(of=of, column="pay", at_most=at_most, relative=relative, severity=severity)


COMPARED = tuple(near(of) for of in ("mean", "std", "min", "max"))


def everything_kept(ctx: Context) -> str:
    """Signals, decisions and events, as text."""
    found: list[Any] = [each for number in (1, 2) for each in signals(ctx, f"dataset:staff@{number}")]
    told = [msgspec.json.encode(each).decode() for each in (*found, *journal(ctx).items)]
    return " ".join(told)


def test_what_is_stored_of_a_comparison_is_the_change_and_no_value(ctx: Context) -> None:
    define_contract(ctx, "staff", Contract(name="staff", comparisons=COMPARED))
    append(ctx, "staff", pays(4000.0, 5137.0))
    append(ctx, "staff", pays(4400.0, 6164.4))
    found = {each.rule.split(" ")[0]: each for each in checks(ctx, "staff")}
    # by hand: 4,568.5 to 5,282.2; 4,000 to 4,400; 5,137 to 6,164.4
    assert found["mean"].value == pytest.approx(713.7 / 4568.5)
    assert found["mean"].found == "15.62% more"
    assert found["min"].found == "10.00% more"
    assert found["max"].value == pytest.approx(0.2)
    kept = everything_kept(ctx)
    assert "15.62% more" in kept
    for figure in ("4000", "4400", "5137", "6164", "4568", "5282"):
        assert figure not in kept


def test_a_report_tells_the_figures_to_who_may_read_them(ctx: Context) -> None:
    contract = Contract(name="staff", comparisons=COMPARED)
    append(ctx, "staff", pays(4000.0, 5137.0))
    append(ctx, "staff", pays(1.0, 2.0), expect=1)
    set_purposes(ctx, "staff", RULES)
    with pytest.raises(Denied, match=r"'(pay|at)' of dataset:staff"):
        check(ctx, "staff", contract=contract, version="2")
    report = check(ctx, "staff", contract=contract, version="2", purpose="payroll")
    assert report.rules[0].figures.endswith(", was 4568.5")
    assert report.rules[0].found.endswith("% less")


def test_a_batch_that_is_refused_tells_how_far_it_is_off_and_no_figure_of_the_last(ctx: Context) -> None:
    contract = Contract(name="staff", comparisons=(near("max", 0.1, severity="block"),))
    define_contract(ctx, "staff", contract)
    append(ctx, "staff", pays(4000.0, 5137.0))
    with pytest.raises(PolicyBlocked, match=r"100\.00% more") as caught:
        append(ctx, "staff", pays(10274.0))
    assert "5137" not in str(caught.value)
    with ctx.read() as tx:
        decision = tx.decisions.get(caught.value.decision_id)
    assert "5137" not in msgspec.json.encode(decision).decode()


@pytest.mark.parametrize(
    ("was", "now", "relative", "found", "value", "held"),
    [
        (0.0, 3.0, True, "more, by no share of what it was", None, False),
        (0.0, 0.0, True, "as before", 0.0, True),
        (-2.0, -3.0, True, "50.00% less", 0.5, True),
        (10.0, 8.5, False, "1.5 less", 1.5, False),
    ],
)
def test_a_change_is_told_in_words(
    ctx: Context, was: float, now: float, relative: bool, found: str, value: float | None, held: bool
) -> None:
    define_contract(ctx, "staff", Contract(name="staff", comparisons=(near("max", relative=relative),)))
    append(ctx, "staff", pays(was))
    append(ctx, "staff", pays(now))
    (result,) = checks(ctx, "staff")
    assert (result.found, result.value, result.held) == (found, value, held)


def test_counts_are_told_as_they_are(ctx: Context) -> None:
    rules = (Comparison(of="rows", at_most=1.0), near("distinct"))
    define_contract(ctx, "staff", Contract(name="staff", comparisons=rules))
    append(ctx, "staff", pays(1.0, 2.0))
    append(ctx, "staff", pays(1.0, 2.0, 3.0))
    assert [each.found for each in checks(ctx, "staff")] == ["3, was 2", "3, was 2"]


def test_the_age_of_a_ruled_column_is_not_kept(ctx: Context) -> None:
    define_contract(ctx, "staff", Contract(name="staff", freshness=(Freshness(column="at", within="1h"),)))
    append(ctx, "staff", pays(1.0))
    assert checks(ctx, "staff")[0].value == 37 * 60
    assert search(ctx).items[0].newest_at == NOW - timedelta(minutes=37)
    set_purposes(ctx, "staff", RULES)
    append(ctx, "staff", pays(1.0))
    append(ctx, "staff", pays(1.0, at=NOW - timedelta(minutes=61)))
    for version, held, said in (("2", True, "within the limit"), ("3", False, "beyond the limit")):
        (result,) = checks(ctx, "staff", version=version)
        assert (result.held, result.value) == (held, None)
        assert result.found.startswith(f"{said}, its age is withheld: the column 'at' of dataset:staff")
        told = signals(ctx, f"dataset:staff@{version}")
        assert "37" not in msgspec.json.encode(told[0].facts["found"]).decode()
        assert told[0].value == float(not held)
    (entry,) = search(ctx).items
    assert (entry.newest_at, entry.within, entry.fresh) == (None, "1h", True)


def test_a_contract_does_not_ask_others_what_its_maker_may_not_read(ctx: Context) -> None:
    append(ctx, "staff", pays(4000.0, 5137.0))
    append(ctx, "guesses", pa.table({"pay": [4000.0, 4001.0]}))
    set_purposes(ctx, "staff", RULES)
    refers = Contract(name="guesses", references=(Reference(column="pay", dataset="staff", to="pay"),))
    spread = Distribution(column="pay", baseline="dataset:staff@1", at_most=0.1, min_rows=1)
    for contract in (refers, Contract(name="guesses", distributions=(spread,))):
        with pytest.raises(Denied, match="'pay' of dataset:staff") as caught:
            check(ctx, "guesses", contract=contract)
        assert "privacy@example.org" in caught.value.hint
        with pytest.raises(Denied, match="'pay' of dataset:staff"):
            set_contract(ctx, "guesses", contract)
        set_contract(ctx, "guesses", contract, purpose="payroll")
    assert check(ctx, "guesses", contract=refers, purpose="payroll").rules[0].failed == 1


def test_deleting_by_a_condition_asks_for_the_purpose(ctx: Context) -> None:
    append(ctx, "staff", pays(4000.0, 5137.0))
    set_purposes(ctx, "staff", RULES)
    branch(ctx, "staff", "trial")
    for asked in (
        {"match": {"pay": 4000.0}},
        {"where": col("pay") > 4500},
        {"match": {"who": "p1", "pay": 4000.0}, "branch": "trial"},
    ):
        with pytest.raises(Denied, match="'pay' of dataset:staff"):
            delete_rows(ctx, "staff", **asked)
    assert delete_rows(ctx, "staff", match={"who": "p1"}).removed == 1
    assert delete_rows(ctx, "staff", where=col("pay") > 1, purpose="payroll").removed == 1
