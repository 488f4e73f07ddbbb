"""Tokens of a trace are counted once, however its spans are nested; and how two filters meet."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.traces import Span
from loopwright.llm.finding import npmi
from loopwright.llm.usage import costs_of, normal_metadata, tokens_of

USAGE = "mlflow.chat.tokenUsage"


def span(number: int, parent: int | None, usage: Any = None) -> Span:
    return Span(
        trace_id="tr-1",
        id=f"{number:016x}",
        parent_id=None if parent is None else f"{parent:016x}",
        name="s",
        start_ns=number,
        attributes={} if usage is None else {USAGE: usage},
    )


def plain(spans: list[Span]) -> int:
    """By asking of each span whether anyone above it tells tokens."""
    by_id = {each.id: each for each in spans}

    def is_told_above(each: Span) -> bool:
        parent = by_id.get(each.parent_id or "")
        return parent is not None and (USAGE in parent.attributes or is_told_above(parent))

    told = [each for each in spans if USAGE in each.attributes and not is_told_above(each)]
    return sum(each.attributes[USAGE]["total_tokens"] for each in told)


@given(st.integers(0, 10_000), st.integers(1, 25))
def test_no_token_is_counted_twice(seed: int, size: int) -> None:
    rng = random.Random(seed)
    spans = [
        span(
            number,
            rng.choice([None, *range(1, number)]),
            {"total_tokens": number} if rng.random() < 0.5 else None,
        )
        for number in range(1, size + 1)
    ]
    rng.shuffle(spans)
    assert tokens_of(spans).get("total_tokens", 0) == plain(spans)


def test_a_long_chain_is_counted_quickly() -> None:
    chain = [span(1, None), *(span(number, number - 1) for number in range(2, 10_001))]
    assert tokens_of([*chain, span(10_001, 10_000, {"input_tokens": 2, "output_tokens": 3})]) == {
        "input_tokens": 2,
        "output_tokens": 3,
        "total_tokens": 0,
    }


@pytest.mark.parametrize(
    "told", [{"total_tokens": "many"}, {"total_tokens": 1.5}, {"total_tokens": True}, {"total_tokens": 1e300}]
)
def test_what_is_no_count_does_not_count(told: dict[str, Any]) -> None:
    assert tokens_of([span(1, None, told)])["total_tokens"] == 0
    assert costs_of([span(1, None, told)]) == {}


def test_metadata_are_told_in_one_form() -> None:
    given = {"mlflow.trace.tokenUsage": '{"output_tokens": "4", "x": 1, "input_tokens": 3}', "a": "b"}
    assert normal_metadata(given) == {
        "a": "b",
        "mlflow.trace.tokenUsage": '{"input_tokens": 3, "output_tokens": 4}',
    }
    assert normal_metadata({"mlflow.trace.tokenUsage": "[" * 10_000}) == {}


def test_two_filters_meet_as_the_definition_says() -> None:
    """By probabilities, where the code goes by counts."""
    for joint, first, second, total in [(1, 2, 3, 6), (10, 20, 15, 100), (3, 3, 40, 50)]:
        both, one, other = joint / total, first / total, second / total
        wanted = math.log(both / (one * other)) / -math.log(both)
        assert npmi(joint, first, second, total) == pytest.approx(wanted)
    assert npmi(0, 3, 4, 10) == -1
    assert npmi(7, 7, 7, 7) == 1
    assert math.isnan(npmi(0, 0, 4, 10))
    assert math.isnan(npmi(5, 4, 4, 10))
