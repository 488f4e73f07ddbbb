"""Every condition can be written and read back; every text is read or refused."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from loopwright.core.errors import Invalid
from loopwright.core.queries import All, AnyOf, Comparison, Condition, Field, FieldKind, Not
from loopwright.tracking.clauses import DATASET_KEYS
from loopwright.tracking.dialects import Dialect, is_numeric, operators
from loopwright.tracking.grammar import (
    MAX_CLAUSES,
    MAX_DEPTH,
    MAX_LENGTH,
    MAX_ORDERS,
    MAX_VALUES,
    ModelOrder,
    parse_filter,
    parse_model_order,
    parse_order,
)
from tests.tracking.grammar_texts import DIALECTS, some_text, written

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@st.composite
def comparisons(draw: st.DrawFn, dialect: Dialect) -> Comparison:
    kind: FieldKind = draw(st.sampled_from(sorted(set(dialect.entities.values()))))
    keys: st.SearchStrategy[str] = TEXTS
    if kind == "attribute":
        keys = st.sampled_from(sorted(set(dialect.attributes.values())))
    elif kind == "dataset":
        keys = st.sampled_from(DATASET_KEYS)
    field = Field(kind, draw(keys))
    op = draw(st.sampled_from(operators(dialect, field)))
    if op in {"IS NULL", "IS NOT NULL"}:
        return Comparison(field, op)
    if op in {"IN", "NOT IN"}:
        return Comparison(field, op, tuple(draw(st.lists(TEXTS, min_size=1, max_size=3))))
    if not is_numeric(dialect, field):
        return Comparison(field, op, draw(TEXTS))
    if kind == "attribute" and dialect.has_whole_numbers:
        return Comparison(field, op, float(draw(st.integers(-(2**53), 2**53))))
    return Comparison(field, op, draw(st.floats(allow_nan=False)))


def conditions(dialect: Dialect) -> st.SearchStrategy[Condition]:
    several = st.tuples

    def wider(parts: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
        pairs = several(parts, parts) | several(parts, parts, parts)
        return pairs.map(All) | pairs.map(AnyOf) | parts.map(Not)

    return st.recursive(comparisons(dialect), wider, max_leaves=12)


def depth(condition: Condition) -> int:
    match condition:
        case All(parts) | AnyOf(parts):
            return 1 + max(depth(part) for part in parts)
        case Not(part):
            return 2 + depth(part)
    return 0


@pytest.mark.parametrize("name", DIALECTS)
@given(data=st.data(), seed=st.integers(0, 10**6))
def test_what_is_written_is_read_back(name: str, data: st.DataObject, seed: int) -> None:
    dialect = DIALECTS[name]
    condition = data.draw(conditions(dialect))
    assume(depth(condition) <= MAX_DEPTH)
    text = written(condition, dialect, random.Random(seed))
    assert parse_filter(text, dialect) == condition


def refusal(read: Callable[[], object]) -> str:
    """Why a text is refused, empty where it is read; anything else fails the test."""
    try:
        read()
    except Invalid as refused:
        return str(refused)
    return ""


def read(text: str, dialect: Dialect) -> None:
    refusal(lambda: parse_filter(text, dialect)).encode()


WORDS = ["metrics", "params.a", "name", "AND", "OR", "NOT", "IN", "IS", "NULL", "LIKE", "1e", "'x'"]
PIECES = st.sampled_from(WORDS) | st.sampled_from(".`'\"(),=!<-1;#é²\\ \n\0\ud800")


SOUP = st.lists(PIECES, max_size=30)


@given(text=st.text() | SOUP.map("".join) | SOUP.map(" ".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    for dialect in DIALECTS.values():
        read(text, dialect)


@pytest.mark.parametrize("name", DIALECTS)
def test_texts_that_nearly_are_filters_are_read_or_refused(name: str) -> None:
    rng = random.Random(7)
    for _ in range(500):
        text = some_text(name, rng)
        read(text, DIALECTS[name])
        read(text[: rng.randrange(len(text) + 1)], DIALECTS[name])


@given(text=st.text() | st.lists(PIECES, max_size=8).map(" ".join))
def test_any_order_is_read_or_refused(text: str) -> None:
    for dialect in DIALECTS.values():
        refusal(partial(parse_order, [text], dialect)).encode()
    refusal(lambda: parse_model_order([ModelOrder(field_name=text, dataset_name=text)])).encode()


@pytest.mark.parametrize(
    "text",
    [
        " AND ".join(["params.a = 'x'"] * 10_000),
        " OR ".join(["params.a = 'x'"] * (MAX_CLAUSES + 1)),
        "(" * 10_000 + "params.a = 'x'" + ")" * 10_000,
        "NOT " * 10_000 + "params.a = 'x'",
        "NOT (" * (MAX_DEPTH // 2 + 1) + "params.a = 'x'" + ")" * (MAX_DEPTH // 2 + 1),
        "run_id IN (" + ",".join(["'x'"] * (MAX_VALUES + 1)) + ")",
        "params.a = '" + "x" * MAX_LENGTH + "'",
        *(mark * (MAX_LENGTH - 1) for mark in "'`\"(.,=-#1é\0"),
        *(f"params.a = {mark}" + "a" * (MAX_LENGTH - 20) for mark in "'`\"."),
        "params." + "a." * (MAX_LENGTH // 2 - 10),
        "params" + ".``" * (MAX_LENGTH // 3 - 10),
        "metrics.a > " + "1" * (MAX_LENGTH - 20) + "x",
        "metrics.a > 1e" + "1" * (MAX_LENGTH - 20) + ".",
        '"' + '""' * (MAX_LENGTH // 2 - 10),
        "AND " * (MAX_LENGTH // 4),
        "params.a = 'x'" + " " * (MAX_LENGTH - 20) + "x",
    ],
    ids=lambda text: text[:20].replace("\0", "NUL"),
)
def test_what_is_huge_is_refused(text: str) -> None:
    """Within the time that reading it once takes: a reading that goes back would not end."""
    with pytest.raises(Invalid) as refused:
        parse_filter(text, DIALECTS["runs"])
    assert len(str(refused.value)) < 1000


def test_what_is_at_the_limits_is_read() -> None:
    runs = DIALECTS["runs"]
    assert parse_filter(" AND ".join(["params.a = 'x'"] * MAX_CLAUSES), runs)
    assert parse_filter("(" * MAX_DEPTH + "params.a = 'x'" + ")" * MAX_DEPTH, runs)
    assert parse_filter("run_id IN (" + ",".join(["'x'"] * MAX_VALUES) + ")", runs)
    assert parse_filter("metrics.a < " + "9" * 10_000, runs) == Comparison(
        Field("metric", "a"), "<", float("inf")
    )
    assert len(parse_order([f"metrics.m{number}" for number in range(MAX_ORDERS)], runs)) == MAX_ORDERS
    with pytest.raises(Invalid, match="more than"):
        parse_order([f"metrics.m{number}" for number in range(MAX_ORDERS + 1)], runs)
