"""Purposes of columns where features are read: training sets, lookups, backfills, and what is made so."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest
from msgspec.structs import replace

from loopwright.core.errors import Denied
from loopwright.core.expressions import Scalar, col
from loopwright.core.schema import Column, ColumnType, Schema
from loopwright.data.allowing import PurposeRule, Purposes
from loopwright.data.appending import append
from loopwright.data.branches import branch
from loopwright.data.contracts import define_contract
from loopwright.data.nouns import ColumnRule, Contract
from loopwright.data.purposes import answer_access, column_tags, request_access, set_purposes
from loopwright.data.reading import read
from loopwright.engine.context import Context, Principal
from loopwright.features.backfilling import backfill, backfill_view, run_backfill
from loopwright.features.nouns import Backfill, FeatureService, FeatureView, Lookup, Output
from loopwright.features.training import make_training_set
from loopwright.features.verbs import define_service, define_view, lookup, materialize, show_view
from tests.data.test_contracts import under
from tests.features import worlds

HOUR = timedelta(hours=1)
RULES = Purposes(rules=(PurposeRule(column="pay", allowed=("credit",)),), ask="privacy@example.org")
ASKED: list[dict[str, Scalar]] = [{"person": 1}, {"person": 2}]


def instants(*hours: float) -> pa.Array:
    return pa.array([worlds.START + HOUR * hour for hour in hours], worlds.UTC_TIME)


@pytest.fixture
def ctx() -> Context:
    """People with what they are paid, which is for credit alone, and two services over them."""
    made = worlds.context()
    people = {"person": [1, 2, 1], "at": instants(0, 0, 1), "pay": [10.0, 20.0, 30.0], "age": [30, 40, 31]}
    append(made, "people", pa.table(people), event_time="at")
    rule = ColumnRule(name="pay", type=ColumnType.FLOAT, tags=("pii.income",))
    define_contract(made, "people", Contract(name="people", columns=(rule,)))
    define_view(
        made,
        FeatureView(
            name="means",
            entity=("person",),
            source="people",
            event_time="at",
            latest=("age",),
            derived={"high": col("pay") * 2.0},
            windows={"paid": col("pay").sum("6h")},
        ),
    )
    for name, feature in (("rich", "high"), ("paid", "paid"), ("old", "age")):
        define_service(
            made,
            FeatureService(
                name=name,
                request=Schema(columns=(Column(name="person", type=ColumnType.INT),)),
                lookups=(Lookup(view="means"),),
                outputs=(Output(name=name, expr=col(f"means.{feature}")),),
            ),
        )
    spine = pa.table({"id": [7, 8], "person": [1, 2], "asked_at": instants(2, 2)})
    append(made, "asked", spine, event_time="asked_at")
    materialize(made, "means", until=worlds.START + 2 * HOUR)
    set_purposes(made, "people", RULES)
    return made


def at(hours: float) -> Any:
    return worlds.START + HOUR * hours


def told_period(ctx: Context, why: str) -> object:
    start, end = at(0), at(2)
    period = Backfill(
        view="feature_view:means@1",
        start=start,
        end=end,
        every="1h",
        into="hourly",
        purpose=why,
        begun_at=end,
        updated_at=end,
    )
    return backfill_view(ctx, period)


DOORS: dict[str, Callable[[Context, str], object]] = {
    "training set": lambda ctx, why: make_training_set(
        ctx, "t", "asked", features=("means:high",), purpose=why
    ),
    "of a window": lambda ctx, why: make_training_set(
        ctx, "t", "asked", features=("means:paid",), purpose=why
    ),
    "by a service": lambda ctx, why: make_training_set(ctx, "t", "asked", service="rich", purpose=why),
    "lookup": lambda ctx, why: lookup(ctx, "rich", ASKED, at=at(2), purpose=why),
    "lookup of a window": lambda ctx, why: lookup(ctx, "paid", ASKED, at=at(2), purpose=why),
    "what was looked up": lambda ctx, why: lookup(ctx, "old", ASKED, at=at(2), looked_up=True, purpose=why),
    "materialize": lambda ctx, why: materialize(ctx, "means", until=at(3), purpose=why),
    "backfill": told_period,
}


@pytest.mark.parametrize("door", DOORS)
def test_features_are_read_for_a_purpose(ctx: Context, door: str) -> None:
    for why in ("", "marketing"):
        with pytest.raises(Denied, match="'pay' of dataset:people") as caught:
            DOORS[door](ctx, why)
        assert "ask privacy@example.org" in caught.value.hint
    assert DOORS[door](ctx, "credit")


def test_other_features_of_the_view_are_free(ctx: Context) -> None:
    assert [row[0] for row in lookup(ctx, "old", ASKED, at=at(2)).rows] == [31, 40]
    version = make_training_set(ctx, "t", "asked", features=("means:age",))
    assert read(ctx, str(version.ref)).column("means.age").to_pylist() == [31, 40]
    assert make_training_set(ctx, "u", "asked", service="old").number == 1


@pytest.mark.parametrize(
    ("given", "column"),
    [({"features": ("means:high", "means:age")}, "means.high"), ({"service": "paid"}, "x_paid")],
)
def test_rules_and_tags_go_along_to_what_features_are_called(
    ctx: Context, given: dict[str, Any], column: str
) -> None:
    version = make_training_set(ctx, "t", "asked", purpose="credit", **given)
    with pytest.raises(Denied, match="'pay' of dataset:people"):
        read(ctx, str(version.ref))
    with pytest.raises(Denied, match="'pay' of dataset:people"):
        read(ctx, str(version.ref), columns=[column], purpose="marketing")
    assert read(ctx, str(version.ref), columns=["id", "person"]).num_rows == 2
    assert read(ctx, str(version.ref), purpose="credit").num_rows == 2
    assert column_tags(ctx, "t") == {column: ("pii.income",)}


def test_a_backfilled_dataset_has_them_too(ctx: Context) -> None:
    told_period(ctx, "credit")
    with pytest.raises(Denied, match="'pay' of dataset:people"):
        read(ctx, "hourly", columns=["paid"])
    assert read(ctx, "hourly", columns=["age"]).num_rows
    assert column_tags(ctx, "hourly") == {"high": ("pii.income",), "paid": ("pii.income",)}


def test_a_view_tells_the_tags_of_its_features(ctx: Context) -> None:
    assert show_view(ctx, "means").feature_tags == {"high": ("pii.income",), "paid": ("pii.income",)}


def test_who_was_granted_it_may_look_up_and_nobody_else(ctx: Context) -> None:
    scopes = frozenset({"feature:read", "dataset:read"})
    ann = ctx.acting_as(Principal(name="ann", scopes=scopes))
    asked = request_access(ann, "people", ("pay",), "research", "a study")
    answer_access(ctx, asked.id, grant=True)
    assert lookup(ann, "rich", ASKED, at=at(2), purpose="research").rows == ((60.0,), (40.0,))
    with pytest.raises(Denied):
        lookup(ctx.acting_as(Principal(name="bob", scopes=scopes)), "rich", ASKED, purpose="research")


def test_a_backfill_is_asked_and_carried_out_for_who_may_read(ctx: Context) -> None:
    """A worker carries it out, whose own grants are nobody else's."""
    scopes = frozenset({"feature:write", "dataset:*"})
    worker, ann, bob = (ctx.acting_as(Principal(name=name, scopes=scopes)) for name in ("w", "ann", "bob"))
    for each in (worker, ann):
        asked = request_access(each, "people", ("pay",), "research", "a study")
        answer_access(ctx, asked.id, grant=True)
    with pytest.raises(Denied, match="'pay' of dataset:people"):
        backfill(bob, "means", at(0), at(2), every="1h", into="hourly", purpose="research")
    job = backfill(ann, "means", at(0), at(2), every="1h", into="hourly", purpose="research")
    with pytest.raises(Denied, match="'pay' of dataset:people"):
        run_backfill(worker, replace(job, created_by="bob"))
    assert run_backfill(worker.acting_as(Principal(name="other")), job)["rows"] > 0
    assert read(ann, "hourly", purpose="research").num_rows > 0


def test_each_of_two_sources_of_a_column_is_asked(ctx: Context) -> None:
    """What one of them allows another may still restrict."""
    append(ctx, "wages", pa.table({"pay": [1.0]}))
    allowed = Purposes(rules=(PurposeRule(column="pay", allowed=("marketing", "credit")),), ask="payroll")
    set_purposes(ctx, "wages", allowed)
    inside = under(ctx, "r1", purpose="credit")
    both = pa.concat_tables(
        [read(inside, "wages"), read(inside, "people", columns=["pay"])], promote_options="default"
    )
    append(inside, "all", both)
    with pytest.raises(Denied, match="'pay' of dataset:people"):
        read(ctx, "all", purpose="marketing")


def test_a_model_input_of_a_branch_of_the_rows_keeps_their_rules(ctx: Context) -> None:
    """What a request says is a column of the spine, here of a branch of the dataset that has the rule."""
    define_service(
        ctx,
        FeatureService(
            name="asking",
            request=Schema(
                columns=(
                    Column(name="person", type=ColumnType.INT),
                    Column(name="wish", type=ColumnType.FLOAT),
                )
            ),
            lookups=(Lookup(view="means"),),
            outputs=(
                Output(name="wished", expr=col("wish") * 2.0),
                Output(name="old", expr=col("means.age")),
            ),
        ),
    )
    spine = pa.table({"person": [1], "wish": [5.0], "asked_at": instants(2)})
    append(ctx, "wishes", spine, event_time="asked_at")
    branch(ctx, "wishes", "trial")
    rule = PurposeRule(column="wish", allowed=("credit",))
    set_purposes(ctx, "wishes", Purposes(rules=(rule,), ask="privacy@example.org"))
    for name, rows in (("own", "wishes"), ("of_branch", "wishes@trial")):
        make_training_set(ctx, name, rows, service="asking", purpose="credit")
        with pytest.raises(Denied, match="'wish' of dataset:wishes"):
            read(ctx, name, columns=["x_wished"])
        assert read(ctx, name, columns=["x_old"]).num_rows == 1
