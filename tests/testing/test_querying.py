"""The slow evaluator: its LIKE against regular expressions, its orders and missing values by hand."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import Invalid
from loopwright.core.nouns import FoundRun, Json, MetricPoint, Run, RunState
from loopwright.core.queries import (
    All,
    AnyOf,
    Comparison,
    Field,
    FieldKind,
    Lifecycle,
    Not,
    Operator,
    RunQuery,
    SortKey,
)
from loopwright.testing.querying import like, matches, ordered

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
BEGIN_MS = 1_704_067_200_000


def made(
    name: str,
    *,
    metrics: dict[str, float] | None = None,
    params: dict[str, str] | None = None,
    tags: dict[str, str] | None = None,
    facts: Json | None = None,
    started: float | None = 0.0,
    ended: float | None = None,
    deleted: bool = False,
) -> FoundRun:
    """A run whose id is its name; times are milliseconds after `BEGIN`."""

    def instant(ms: float | None) -> datetime | None:
        return None if ms is None else BEGIN + timedelta(milliseconds=ms)

    run = Run(
        id=name,
        space="default",
        kind="training",
        name=name,
        state=RunState.FINISHED,
        created_at=BEGIN,
        created_by="me",
        experiment="e",
        started_at=instant(started),
        ended_at=instant(ended),
        params=params or {},
        tags=tags or {},
        facts=facts or {},
        deleted_at=BEGIN if deleted else None,
    )
    return FoundRun(
        run=run, metrics=tuple(MetricPoint(key=key, value=value) for key, value in (metrics or {}).items())
    )


def names(runs: list[FoundRun]) -> str:
    return "".join(found.run.name for found in runs)


def by(kind: FieldKind, key: str, *, descending: bool = False) -> RunQuery:
    return RunQuery(experiments=("e",), order=(SortKey(Field(kind, key), descending),))


LETTERS = st.text(alphabet="ab%_.*\\\n", max_size=8)


@given(text=LETTERS, pattern=LETTERS)
def test_like_is_what_a_regular_expression_says(text: str, pattern: str) -> None:
    marks = {"%": ".*", "_": "."}
    wanted = re.fullmatch("".join(marks.get(mark, re.escape(mark)) for mark in pattern), text, re.DOTALL)
    assert like(text, pattern) == (wanted is not None)


def test_like_of_many_wildcards_ends() -> None:
    assert not like("a" * 500, "%a" * 100 + "%b")


@pytest.mark.parametrize(
    ("op", "value", "holds"),
    [
        ("=", "Ab", True),
        ("=", "ab", False),
        ("!=", "ab", True),
        ("LIKE", "A%", True),
        ("LIKE", "a%", False),
        ("LIKE", "b", False),
        ("ILIKE", "aB", True),
        ("IN", ("x", "Ab"), True),
        ("NOT IN", ("x", "Ab"), False),
        ("NOT IN", ("x",), True),
        ("IS NULL", None, False),
        ("IS NOT NULL", None, True),
    ],
)
def test_texts(op: Operator, value: str | tuple[str, ...] | None, holds: bool) -> None:
    run = made("a", params={"p": "Ab"}, tags={"p": "Ab"})
    assert matches(Comparison(Field("param", "p"), op, value), run) == holds
    assert matches(Comparison(Field("tag", "p"), op, value), run) == holds


@pytest.mark.parametrize("kind", ["metric", "param", "tag", "dataset"])
@pytest.mark.parametrize("op", ["=", "!=", "<", "LIKE", "ILIKE", "IN", "NOT IN", "IS NULL", "IS NOT NULL"])
def test_what_is_missing_compares_as_false(kind: FieldKind, op: Operator) -> None:
    """But for IS NULL; and so its negation is true."""
    value = {"IN": ("x",), "NOT IN": ("x",)}.get(op, "x")
    asked = Comparison(Field(kind, "name"), op, value)
    assert matches(asked, made("a")) == (op == "IS NULL")
    assert matches(Not(asked), made("a")) == (op != "IS NULL")


@pytest.mark.parametrize(("op", "holds"), [("=", 0), ("!=", 1), ("<", 0), ("<=", 0), (">", 0), (">=", 0)])
def test_nan_is_only_different(op: Operator, holds: int) -> None:
    run = made("a", metrics={"m": math.nan})
    for value in (0.0, math.inf, -math.inf):
        assert matches(Comparison(Field("metric", "m"), op, value), run) == bool(holds)


def test_some_dataset_has_to_compare() -> None:
    read = [{"name": "d", "digest": "1", "context": "train"}, {"name": "e", "digest": "2"}]
    run = made("a", facts={"datasets": read})

    def compared(key: str, op: Operator, value: str) -> bool:
        return matches(Comparison(Field("dataset", key), op, value), run)

    assert compared("name", "=", "d")
    assert compared("name", "!=", "d")
    assert compared("context", "=", "train")
    assert not compared("context", "!=", "train")


@pytest.mark.parametrize(
    ("key", "op", "value"),
    [
        ("run_id", "=", "a"),
        ("run_name", "LIKE", "a"),
        ("status", "=", "FINISHED"),
        ("user_id", "=", "ann"),
        ("artifact_uri", "LIKE", "%/artifacts"),
        ("start_time", "=", BEGIN_MS + 1.0),
        ("end_time", ">", BEGIN_MS + 1.5),
        ("created", "<=", float(BEGIN_MS)),
    ],
)
def test_attributes(key: str, op: Operator, value: str | float) -> None:
    facts = {"artifact_uri": "mlflow-artifacts:/1/a/artifacts"}
    run = made("a", tags={"mlflow.user": "ann"}, facts=facts, started=1.9, ended=2)
    asked = Comparison(Field("attribute", key), op, value)
    assert matches(asked, run)
    is_known = key in {"run_id", "run_name", "status", "created"}
    assert matches(Comparison(Field("attribute", key), "IS NULL"), made("b", started=None)) == (not is_known)


def test_an_attribute_that_is_none_is_refused() -> None:
    with pytest.raises(Invalid, match="run_id"):
        matches(Comparison(Field("attribute", "size"), "=", "x"), made("a"))
    with pytest.raises(Invalid, match="order"):
        ordered(by("dataset", "name"), [made("a")])


def test_conditions_join() -> None:
    yes, no = Comparison(Field("attribute", "run_id"), "=", "a"), Comparison(Field("metric", "m"), "=", 1.0)
    run = made("a")
    assert matches(None, run)
    assert matches(All(()), run)
    assert not matches(AnyOf(()), run)
    assert [matches(All((one, two)), run) for one, two in ((yes, yes), (yes, no))] == [True, False]
    assert [matches(AnyOf((one, two)), run) for one, two in ((no, yes), (no, no))] == [True, False]


def test_the_order_of_who_asks_for_none() -> None:
    """Newest start first, equal starts by id, without a start last."""
    runs = [made("z", started=None), made("b", started=1), made("a", started=1), made("c", started=2)]
    for some in permutations([*runs, made("y", started=None)]):
        assert names(ordered(RunQuery(experiments=("e",)), list(some))) == "cabyz"


def test_numbers_then_nan_then_nothing_in_both_directions() -> None:
    values = {"a": -math.inf, "b": 0.0, "c": math.inf, "d": math.nan}
    runs = [made(name, metrics={"m": value}) for name, value in values.items()] + [made("e"), made("f")]
    for some in permutations(runs):
        assert names(ordered(by("metric", "m"), list(some))) == "abcdef"
        assert names(ordered(by("metric", "m", descending=True), list(some))) == "cbadef"


def test_texts_are_ordered_by_code_point_and_ties_stay() -> None:
    texts = {"a": "b", "b": "B", "c": "é", "d": "b", "e": "10", "f": "9"}
    runs = [made(name, params={"p": text}) for name, text in texts.items()] + [made("g")]
    for some in (runs, runs[::-1]):
        assert names(ordered(by("param", "p"), some)) == "efbadcg"
        assert names(ordered(by("param", "p", descending=True), some)) == "cadbfeg"


def test_earlier_keys_count_more() -> None:
    runs = [
        made("a", params={"p": "x"}, metrics={"m": 1.0}),
        made("b", params={"p": "x"}, metrics={"m": 2.0}),
        made("c", params={"p": "w"}, metrics={"m": 0.0}),
    ]
    keys = (SortKey(Field("param", "p")), SortKey(Field("metric", "m"), descending=True))
    assert names(ordered(RunQuery(experiments=("e",), order=keys), runs)) == "cba"


@pytest.mark.parametrize(("lifecycle", "wanted"), [("active", "a"), ("deleted", "b"), ("all", "ab")])
def test_what_a_question_is_about(lifecycle: Lifecycle, wanted: str) -> None:
    runs = [made("a"), made("b", deleted=True)]
    assert names(ordered(RunQuery(experiments=("d", "e"), lifecycle=lifecycle), runs)) == wanted
    assert ordered(RunQuery(experiments=("d",), lifecycle=lifecycle), runs) == []
    none = RunQuery(experiments=("e",), lifecycle=lifecycle, where=Comparison(Field("tag", "t"), "=", "x"))
    assert ordered(none, runs) == []
