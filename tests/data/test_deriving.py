"""Datasets made of others by SQL: their rows by another engine, and what each column was made of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

import loopwright as lw
from loopwright.core.errors import Denied, Invalid, NotFound, TooLarge
from loopwright.core.schema import ColumnType
from loopwright.data.allowing import PurposeRule, Purposes
from loopwright.data.appending import append
from loopwright.data.contracts import define_contract
from loopwright.data.deriving import derive
from loopwright.data.nouns import ColumnRule, Contract
from loopwright.data.purposes import column_tags, set_purposes
from loopwright.data.reading import read
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.workspace import Workspace

PEOPLE = pa.table(
    {
        "id": [1, 2, 3],
        "email": ["a@example.org", "b@example.org", "c@example.org"],
        "phone": ["+1 555 0100", "+1 555 0101", None],
        "age": [30, 40, 50],
    }
)
ORDERS = pa.table({"id": [1, 1, 3], "item": ["hat", "bag", "hat"], "paid": [3.0, 4.0, 5.0]})


@pytest.fixture(scope="module")
def ctx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    with Workspace.open(tmp_path_factory.mktemp("derive") / ".loopwright") as workspace:
        made = workspace.context()
        append(made, "people", PEOPLE)
        append(made, "orders", ORDERS)
        tags = {"email": "pii.email", "phone": "pii.phone"}
        columns = tuple(
            ColumnRule(name=name, type=ColumnType.STRING, nullable=True, tags=(tag,))
            for name, tag in tags.items()
        )
        define_contract(made, "people", Contract(name="people", columns=columns))
        rules = tuple(PurposeRule(column=name, allowed=("support",)) for name in tags)
        set_purposes(made, "people", Purposes(rules=rules, ask="privacy@example.org"))
        yield made


EMAIL, PHONE, BOTH = ("pii.email",), ("pii.phone",), ("pii.email", "pii.phone")
QUERIES: list[tuple[str, dict[str, tuple[str, ...]]]] = [
    ("SELECT email AS contact, age FROM people ORDER BY id", {"contact": EMAIL}),
    ("SELECT *, email AS copy FROM people ORDER BY id", {"email": EMAIL, "phone": PHONE, "copy": EMAIL}),
    ("WITH w AS (SELECT email AS m FROM people) SELECT m AS x FROM w ORDER BY m", {"x": EMAIL}),
    ("SELECT email AS age, age AS email FROM people ORDER BY id", {"age": EMAIL, "email": EMAIL}),
    ("SELECT upper(p.email) || p.id AS k, 'x' AS y, p.age + 1 AS a FROM people p ORDER BY id", {"k": EMAIL}),
    ("SELECT coalesce(phone, email) AS r, count(*) OVER () AS n FROM people ORDER BY id", {"r": BOTH}),
    ("SELECT * EXCLUDE (email) FROM people ORDER BY id", {"phone": PHONE}),
    (
        "SELECT * RENAME (email AS e) FROM people ORDER BY id",
        dict.fromkeys(["age", "e", "id", "phone"], BOTH),
    ),
    ("SELECT * REPLACE (phone AS age) FROM people ORDER BY id", dict.fromkeys(PEOPLE.column_names, BOTH)),
    ("SELECT email AS a, lower(a) AS b, age AS c FROM people ORDER BY id", {"a": EMAIL, "b": EMAIL}),
    ("SELECT EMAIL AS Mail FROM people ORDER BY ID", {"Mail": EMAIL}),
    (
        "SELECT item, max(p.email) AS w FROM orders JOIN people p USING (id) GROUP BY 1 ORDER BY 1",
        {"w": EMAIL},
    ),
    (
        "WITH w AS (SELECT email AS m, id FROM people) SELECT m AS x, id AS y FROM w ORDER BY id",
        {"x": EMAIL, "y": EMAIL},
    ),
    ("SELECT x FROM (SELECT phone AS x FROM people) ORDER BY x", {"x": PHONE}),
    ("SELECT email AS x FROM people UNION SELECT item FROM orders ORDER BY 1", {"x": EMAIL}),
    ("SELECT age, (SELECT max(email) FROM people) AS top FROM people ORDER BY id", {"top": EMAIL}),
    (
        "SELECT * EXCLUDE (age, phone, email), (SELECT max(email) FROM people) AS age FROM people ORDER BY 1",
        {"age": BOTH, "id": BOTH},
    ),
    ("SELECT p.a AS x FROM people AS p(q, a) ORDER BY 1", {"x": BOTH}),
    ("SELECT people AS whole FROM people ORDER BY id", {"whole": BOTH}),
    ("SELECT item AS people, paid FROM orders ORDER BY ALL", {}),
]
_QUICK = 2
"""how many of them are in the quick suite: each starts a process"""


@pytest.mark.parametrize(
    ("sql", "tags"),
    [
        pytest.param(sql, tags, marks=() if place < _QUICK else pytest.mark.slow, id=sql[:60])
        for place, (sql, tags) in enumerate(QUERIES)
    ],
)
def test_rules_and_tags_go_along_with_what_columns_are_made_of(
    ctx: Context, sql: str, tags: dict[str, tuple[str, ...]]
) -> None:
    name = f"made-{QUERIES.index((sql, tags))}"
    derive(ctx, name, sql, purpose="support")
    with duckdb.connect() as twin:
        twin.register("people", PEOPLE)
        twin.register("orders", ORDERS)
        rows = twin.sql(sql).fetchall()
    told = read(ctx, name, purpose="support")
    shown = [tuple(row.values()) for row in told.to_pylist()]
    assert shown == [tuple(str(v) if isinstance(v, dict) else v for v in row) for row in rows]
    assert column_tags(ctx, name) == tags
    for column in told.column_names:
        if column in tags:
            with pytest.raises(Denied, match="restricted") as caught:
                read(ctx, name, columns=[column], purpose="advertising")
            assert "ask privacy@example.org" in caught.value.hint
        else:
            assert read(ctx, name, columns=[column], purpose="advertising").num_rows == len(rows)


def test_what_may_not_be_read_is_not_derived_from(ctx: Context) -> None:
    with pytest.raises(Denied, match="'email' of dataset:people"):
        derive(ctx, "refused", "SELECT email AS x FROM people")
    with pytest.raises(Invalid, match="names no table"):
        derive(ctx, "refused", "SELECT 1 AS x", reads=("people",))


@pytest.mark.slow
def test_what_is_no_query_over_datasets_is_refused(ctx: Context) -> None:
    with pytest.raises(NotFound):
        derive(ctx, "refused", "SELECT a FROM nothing")
    for sql in (
        "DELETE FROM people",
        "SELECT 1; SELECT 2",
        "FROM read_csv('/etc/passwd')",
        "SELECT x FROM orders",
    ):
        with pytest.raises(Invalid):
            derive(ctx, "refused", sql, purpose="support")
    with pytest.raises(TooLarge, match="rows"):
        derive(ctx, "refused", "SELECT range AS n FROM range(30000000)")
    with pytest.raises(NotFound):
        resolve(ctx, "dataset:refused")


def test_versions_are_named_and_lineage_is_kept_by_later_writes(ctx: Context) -> None:
    append(ctx, "staff", PEOPLE)
    append(ctx, "staff", PEOPLE)
    made = derive(ctx, "grown", "SELECT email AS contact FROM s", reads=("s=staff@1",))
    assert made.rows == 3
    assert manifest_of(ctx, made.version).body["facts"]["made_of"] == {"contact": {"staff": ["email"]}}
    derive(ctx, "grown", "SELECT item AS contact FROM orders", how="append")
    append(ctx, "grown", pa.table({"contact": ["d@example.org"]}))
    columns = (ColumnRule(name="email", type=ColumnType.STRING, tags=("pii.email",)),)
    define_contract(ctx, "staff", Contract(name="staff", columns=columns))
    assert column_tags(ctx, "grown") == {"contact": ("pii.email",)}
    derive(ctx, "grown", "SELECT item AS contact FROM orders")
    assert column_tags(ctx, "grown") == {}


def test_a_program_derives_on_a_workspace(tmp_path: Path) -> None:
    with Workspace.open(tmp_path / ".loopwright") as workspace:
        lw.dataset("orders", to=workspace).append(ORDERS)
        sums = lw.dataset("sums", to=workspace)
        query = "SELECT item AS thing, sum(paid) AS paid FROM o GROUP BY item ORDER BY item"
        made: Any = sums.derive(query, reads={"o": "orders@1"}, keys=["thing"])
        assert made.version.number == 1
        assert sums.read().to_pydict() == {"thing": ["bag", "hat"], "paid": [4.0, 8.0]}
