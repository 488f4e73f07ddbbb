"""JSON looked over before it is decoded, against what decoding finds; and what looking costs."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import Invalid, TooLarge
from loopwright.core.nesting import MAX_DEPTH, MAX_PARTS, check_json, is_moderate

TEXTS = st.text(alphabet='[]{}"\\/aé\n\u2028💣,:', max_size=12)
TREES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=30,
)


def measured(value: Any) -> tuple[int, int]:
    """Depth and number of lists and objects, by walking."""
    if not isinstance(value, list | dict):
        return 0, 0
    below = [measured(each) for each in (value.values() if isinstance(value, dict) else value)]
    return 1 + max((depth for depth, _ in below), default=0), 1 + sum(count for _, count in below)


def verdict(text: bytes, parts: int, depth: int) -> type[Invalid] | None:
    try:
        check_json(text, parts=parts, depth=depth)
    except Invalid as error:
        return type(error)
    return None


@given(TREES, st.booleans(), st.integers(1, 6), st.integers(1, 12))
def test_it_says_what_a_walk_over_the_value_says(value: Any, is_ascii: bool, depth: int, parts: int) -> None:
    text = json.dumps(value, ensure_ascii=is_ascii).encode()
    deep, many = measured(value)
    found = verdict(text, parts, depth)
    assert (found is None) == (deep <= depth and many <= parts)
    assert found is not TooLarge or many > parts
    assert found is not Invalid or deep > depth


@given(st.binary(max_size=80) | TEXTS.map(str.encode), st.integers(0, 5))
def test_of_any_bytes_what_is_let_through_decodes_within_the_bounds_or_not_at_all(
    text: bytes, depth: int
) -> None:
    if verdict(text, 5, depth) is None:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return
        assert measured(value)[0] <= depth
        assert measured(value)[1] <= 5


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 4_000_000,
        b'{"a":' * 1_000_000,
        b"[" * 2_000_000 + b"]" * 2_000_000,
        b"[" + b"[]," * 1_300_000 + b"[]]",
        b"[" + b"{}," * 1_300_000 + b"{}]",
        b"[" + b"[[]]," * 800_000 + b"[]]",
        (b"[" * 250 + b"]" * 250 + b",") * 8_000,
        b'["\\"",' * 600_000,
        b"[" * 300 + b"]" * 4_000_000,
        b'{"a":"]]]","b":' * 300 + b"1" + b"}" * 300,
    ],
)
def test_what_is_refused_is_refused_for_a_few_copies_of_its_text(text: bytes) -> None:
    """Decoded, most of these would be a million objects."""
    tracemalloc.start()
    try:
        with pytest.raises(Invalid):
            check_json(text)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 30 * len(text)


def test_the_bounds_are_exact() -> None:
    check_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    check_json(b"[" + b"{}," * (MAX_PARTS - 2) + b"{}]")
    check_json(b'["' + b"[{" * 1_000_000 + b'"]')
    for text in (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), b"[" + b"{}," * MAX_PARTS + b"{}]"):
        with pytest.raises(Invalid):
            check_json(text)


def test_a_text_within_another_is_decoded_or_left() -> None:
    assert is_moderate('{"a": [1]}')
    assert is_moderate("\ud800")
    assert not is_moderate("[" * 1000)
