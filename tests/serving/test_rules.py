"""Splits, configurations and canary steps."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import Invalid
from loopwright.serving.nouns import EndpointConfig, Route
from loopwright.serving.rules import Splitter, check_config, next_step, primary, with_shadow, with_split


def config(*routes: tuple[int, float], shadow: tuple[int, ...] = ()) -> EndpointConfig:
    return EndpointConfig(
        model="delays",
        routes=tuple(Route(version=version, percent=percent) for version, percent in routes),
        service="flights",
        shadow=shadow,
    )


def shares(splitter: Splitter, keys: list[str]) -> dict[int, float]:
    chosen = [splitter.choose(key) for key in keys]
    return {version: 100.0 * chosen.count(version) / len(keys) for version in set(chosen)}


KEYS = [f"N{number}AA" for number in range(20_000)]


@pytest.mark.parametrize("percent", [1.0, 5.0, 25.0, 50.0, 90.0])
def test_split_is_within_one_percent_over_20_000_keys(percent: float) -> None:
    splitter = Splitter("delays", config((1, 100.0 - percent), (2, percent)).routes)

    assert shares(splitter, KEYS)[2] == pytest.approx(percent, abs=1.0)


def test_three_way_split_is_within_one_percent() -> None:
    found = shares(Splitter("delays", config((1, 60.0), (2, 30.0), (3, 10.0)).routes), KEYS)

    assert found == pytest.approx({1: 60.0, 2: 30.0, 3: 10.0}, abs=1.0)


def test_raising_a_version_only_adds_keys_to_it() -> None:
    before: set[str] = set()
    for percent in (1.0, 5.0, 25.0, 60.0, 99.0):
        splitter = Splitter("delays", with_split(config((1, 70.0), (3, 30.0)), 2, percent).routes)
        now = {key for key in KEYS if splitter.choose(key) == 2}
        assert before <= now
        before = now


def test_a_key_always_meets_one_version_in_every_process() -> None:
    first = Splitter("delays", config((1, 50.0), (2, 50.0)).routes)
    turned = Splitter("delays", config((2, 50.0), (1, 50.0)).routes)

    assert [first.choose(key) for key in KEYS[:500]] == [turned.choose(key) for key in KEYS[:500]]
    # written down once: a change of these would move every sticky key of every user
    assert [first.choose(key) for key in ("N14228", "N24211", "N619AA", "N804JB", "ß∂")] == [1, 1, 2, 2, 1]


def test_two_canaries_meet_different_keys() -> None:
    second = Splitter("delays", config((1, 90.0), (2, 10.0)).routes)
    third = Splitter("delays", config((1, 90.0), (3, 10.0)).routes)
    both = sum(second.choose(key) == 2 and third.choose(key) == 3 for key in KEYS)

    assert both / len(KEYS) < 0.10


def test_one_route_needs_no_hash() -> None:
    assert Splitter("delays", config((7, 100.0)).routes).only == 7


@given(
    st.lists(st.integers(1, 100), min_size=1, max_size=8),
    st.integers(0, 9),
    st.floats(0, 100, allow_nan=False),
)
def test_a_moved_split_is_always_whole(weights: list[int], version: int, percent: float) -> None:
    total = sum(weights)
    start = config(*((number + 1, 100.0 * weight / total) for number, weight in enumerate(weights)))
    try:
        moved = with_split(start, version + 1, percent)
    except Invalid:
        assert len(weights) == 1
        assert version == 0
        return
    assert math.isclose(sum(route.percent for route in moved.routes), 100.0)
    found = {route.version: route.percent for route in moved.routes}
    assert found.get(version + 1, 0.0) == pytest.approx(percent, abs=1e-6)
    others = {route.version: route.percent for route in start.routes if route.version != version + 1}
    for number, held in others.items():
        wanted = held / sum(others.values()) * (100.0 - percent)
        assert found.get(number, 0.0) == pytest.approx(wanted, abs=1e-5)


def test_a_version_that_begins_to_answer_leaves_the_shadow() -> None:
    moved = with_split(config((1, 100.0), shadow=(2, 3)), 2, 5.0)

    assert moved.shadow == (3,)
    assert primary(moved) == 1
    assert with_split(moved, 2, 100.0).routes == (Route(version=2, percent=100.0),)
    assert with_split(moved, 2, 0.0).routes == (Route(version=1, percent=100.0),)


def test_shadow_on_and_off() -> None:
    on = with_shadow(config((1, 100.0)), 2, shadowed=True)

    assert on.shadow == (2,)
    assert with_shadow(on, 2, shadowed=True) == on
    assert with_shadow(on, 2, shadowed=False).shadow == ()
    assert with_shadow(on, 1, shadowed=True).shadow == (2, 1)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (config(), "1 to 16 routes"),
        (config((1, 60.0), (2, 30.0)), "sum to 90 percent"),
        (config((1, 50.0), (1, 50.0)), "twice"),
        (config((1, 100.0), (2, 0.0)), "over 0"),
        (config((1, float("nan")), (2, 100.0)), "over 0"),
        (config((1, 100.0), shadow=tuple(range(2, 20))), "too many"),
        (config((1, 100.0), shadow=(2, 2)), "twice"),
    ],
)
def test_configurations_that_cannot_be_followed_are_refused(bad: EndpointConfig, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        check_config(bad)


def test_canary_steps() -> None:
    assert [next_step((5, 25, 100), current) for current in (0, 5, 7, 25, 100)] == [5, 25, 25, 100, None]
    with pytest.raises(Invalid, match="rising"):
        next_step((25, 5), 0)
