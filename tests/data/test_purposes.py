"""Purposes of columns at every door by which rows or values of rows come out, and along lineage."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest

from loopwright.core.errors import Conflict, Denied
from loopwright.core.schema import ColumnType
from loopwright.data.allowing import PurposeRule, Purposes
from loopwright.data.appending import append
from loopwright.data.branches import branch
from loopwright.data.checking import check, infer_contract
from loopwright.data.comparing import diff, row_changes
from loopwright.data.contracts import define_contract
from loopwright.data.deduplicating import deduplicate, duplicates
from loopwright.data.exchanging import export_table
from loopwright.data.nouns import ColumnRule, Contract
from loopwright.data.purposes import column_tags, set_purposes
from loopwright.data.reading import read
from loopwright.data.verbs import download, profile, quarantine, rows
from loopwright.engine.context import Context
from loopwright.engine.platform import rename
from loopwright.features.nouns import FeatureView
from loopwright.features.verbs import define_view, materialize
from loopwright.testing.builders import memory_context
from tests.data.test_contracts import PEOPLE, RULES, under
from tests.features import worlds


@pytest.fixture
def ctx() -> Context:
    return memory_context()


def downloaded(ctx: Context, why: str) -> bytes:
    with download(ctx, "people", purpose=why).file as file:
        return file.read()


DOORS: dict[str, Callable[[Context, str], object]] = {
    "rows": lambda ctx, why: rows(ctx, "people", purpose=why),
    "download": downloaded,
    "quarantine": lambda ctx, why: quarantine(ctx, "people", purpose=why),
    "diff": lambda ctx, why: diff(ctx, "people@1", "people@2", purpose=why),
    "changes": lambda ctx, why: list(row_changes(ctx, "people@1", "people@2", purpose=why)),
    "check": lambda ctx, why: check(ctx, "people", purpose=why),
    "duplicates": lambda ctx, why: duplicates(ctx, "people", purpose=why),
    "deduplicate": lambda ctx, why: deduplicate(ctx, "people", dry_run=True, purpose=why),
}


@pytest.mark.parametrize("door", DOORS)
def test_purposes_hold_at_every_door(ctx: Context, door: str) -> None:
    append(ctx, "people", PEOPLE)
    rules = (ColumnRule(name="age", type=ColumnType.INT, max=35),)
    define_contract(ctx, "people", Contract(name="people", columns=rules))
    append(ctx, "people", PEOPLE)  # one of them is kept out
    set_purposes(ctx, "people", RULES)
    for why in ("", "marketing"):
        with pytest.raises(Denied, match="'email' of dataset:people") as caught:
            DOORS[door](ctx, why)
        assert "ask privacy@example.org" in caught.value.hint
    assert DOORS[door](ctx, "support")


def test_a_profile_withholds_what_may_not_be_read(ctx: Context) -> None:
    append(ctx, "people", pa.concat_tables([PEOPLE] * 60))
    set_purposes(ctx, "people", RULES)
    told = profile(ctx, "people")["columns"]
    assert told["email"]["count"] == 120
    assert "ask privacy@example.org" in told["email"]["withheld"]
    assert "example.org" not in str(told["email"] | {"withheld": ""})
    assert told["age"]["max"] == 40
    assert "a@example.org" in str(profile(ctx, "people", purpose="support"))


def test_a_contract_is_inferred_without_values_that_may_not_be_read(ctx: Context) -> None:
    append(ctx, "stays", pa.table({"ward": ["north", "south"] * 60}))
    rule_of_wards = PurposeRule(column="ward", allowed=("support",))
    set_purposes(ctx, "stays", Purposes(rules=(rule_of_wards,), ask="privacy@example.org"))
    for why, allowed in {"": (), "support": ("north", "south")}.items():
        (rule,) = infer_contract(ctx, "stays", purpose=why).contract.columns
        assert rule.allowed == allowed


def test_rules_hold_for_branches_and_for_what_earlier_versions_were_made_of(ctx: Context) -> None:
    append(ctx, "people", PEOPLE)
    set_purposes(ctx, "people", RULES)
    branch(ctx, "people", "trial")
    with pytest.raises(Denied, match="'email' of dataset:people"):
        read(ctx, "people@trial", purpose="marketing")
    made = under(ctx, "r1", purpose="support")
    append(made, "letters", read(made, "people", columns=["id", "email"]))
    append(ctx, "letters", pa.table({"id": [3], "email": ["c@example.org"]}))  # by nobody's run
    branch(ctx, "letters", "more")
    inside = under(ctx, "r2", purpose="support")
    append(inside, "others", read(inside, "letters@more"))
    for name in ("letters@1", "letters@2", "letters@more", "others"):
        with pytest.raises(Denied, match="'email' of dataset:people"):
            read(ctx, name, purpose="marketing")
    assert read(ctx, "others", purpose="support").num_rows == 3


def test_no_new_name_leads_around_the_rules(ctx: Context) -> None:
    append(ctx, "people", PEOPLE)
    set_purposes(ctx, "people", RULES)
    for kind, name in (("dataset", "people"), ("policy", "purposes/people")):
        with pytest.raises(Conflict, match="keeps its name"):
            rename(ctx, kind, name, "others")
    made = under(ctx, "r1", purpose="support")
    table = read(made, "people", columns=["id", "email"])
    append(made, "middle", table.rename_columns(["id", "contact"]))
    made = under(ctx, "r2", purpose="support")
    append(made, "end", read(made, "middle").rename_columns(["id", "reached_at"]))
    rename(ctx, "dataset", "middle", "elsewhere")
    append(ctx, "middle", pa.table({"id": [1], "contact": ["somebody"]}))  # the name is used anew
    for name in ("elsewhere", "end"):
        with pytest.raises(Denied, match="'email' of dataset:people"):
            read(ctx, name, purpose="marketing")
        assert read(ctx, name, purpose="support").num_rows == 2
    assert read(ctx, "middle").num_rows == 1


def test_rules_hold_however_often_something_was_made_of_something(ctx: Context) -> None:
    append(ctx, "people", PEOPLE)
    set_purposes(ctx, "people", RULES)
    names = ["people", *(f"d{number}" for number in range(25))]
    for source, target in pairwise(names):
        made = under(ctx, f"of {source}", purpose="support")
        append(made, target, read(made, source))
    with pytest.raises(Denied, match="'email' of dataset:people"):
        read(ctx, names[-1], purpose="marketing")


def test_an_export_is_for_a_purpose(ctx: Context, tmp_path: Path) -> None:
    append(ctx, "people", PEOPLE)
    set_purposes(ctx, "people", RULES)
    with pytest.raises(Denied, match="'email' of dataset:people"):
        export_table(ctx, "people", str(tmp_path / "a"), purpose="marketing")
    assert not (tmp_path / "a").exists()
    assert export_table(ctx, "people", str(tmp_path / "a"), purpose="support").rows == 2


def test_a_view_of_a_restricted_column_is_materialized_for_a_purpose() -> None:
    ctx = worlds.context()
    at = pa.array([0, 1], pa.timestamp("us", "UTC"))
    append(ctx, "people", PEOPLE.append_column("at", at))
    ask = Purposes(rules=(PurposeRule(column="email", allowed=("support",)),), ask="privacy@example.org")
    set_purposes(ctx, "people", ask)
    view = FeatureView(name="mail", entity=("id",), source="people", event_time="at", latest=("email",))
    define_view(ctx, view)
    with pytest.raises(Denied, match="'email' of dataset:people is restricted"):
        materialize(ctx, "mail")
    assert materialize(ctx, "mail", purpose="support").rows == 2


def test_a_column_under_a_new_name_keeps_the_rules_and_tags_of_what_its_run_read(ctx: Context) -> None:
    append(ctx, "people", PEOPLE)
    email = ColumnRule(name="email", type=ColumnType.STRING, tags=("pii.email",))
    define_contract(ctx, "people", Contract(name="people", columns=(email,)))
    set_purposes(ctx, "people", RULES)
    careful = under(ctx, "r1", purpose="support")
    append(careful, "ages", read(careful, "people", columns=["id", "age"]).rename_columns(["who", "years"]))
    whole = under(ctx, "r2", purpose="support")
    append(whole, "letters", read(whole, "people", columns=["email"]).rename_columns(["contact"]))
    again = under(ctx, "r3", purpose="support")
    append(again, "domains", read(again, "letters").rename_columns(["domain"]))
    assert read(ctx, "ages", purpose="marketing").column_names == ["who", "years"]
    assert column_tags(ctx, "ages") == {}
    for name, column in (("letters", "contact"), ("domains", "domain")):
        with pytest.raises(Denied, match=f"'{column}'|'email'") as caught:
            read(ctx, name, purpose="marketing")
        assert "ask privacy@example.org" in caught.value.hint
        assert column_tags(ctx, name) == {column: ("pii.email",)}
    free = Purposes(rules=(PurposeRule(column="domain", otherwise="allowed"),), ask="the desk")
    set_purposes(ctx, "domains", free)  # who looked at it says that it tells nobody's address
    assert read(ctx, "domains", purpose="marketing").num_rows == 2


def test_what_a_run_adds_up_from_several_reads_is_made_of_all_their_columns(ctx: Context) -> None:
    append(ctx, "people", PEOPLE)
    set_purposes(ctx, "people", RULES)
    made = under(ctx, "r1", purpose="support")
    read(made, "people", columns=["age"])
    append(made, "first", pa.table({"score": [1.0]}))
    assert read(ctx, "first", purpose="marketing").num_rows == 1
    read(made, "people")
    read(made, "people", columns=["age"])  # does not unsay the reading of all
    append(made, "second", pa.table({"score": [1.0]}))
    for name in ("first", "second"):
        with pytest.raises(Denied, match="email"):
            read(ctx, name, purpose="marketing")
