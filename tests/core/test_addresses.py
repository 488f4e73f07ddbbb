"""The grammar of addresses: what is written is read back, and nothing else is taken."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.addresses import (
    Address,
    ByAlias,
    ByDigest,
    ByInstant,
    ByNumber,
    parse_address,
    parse_selector,
    version_address,
)
from loopwright.core.errors import Invalid

_names = st.text(min_size=1, max_size=60).filter(lambda s: s.isprintable() and s == s.strip())
_selectors = st.one_of(
    st.none(),
    st.integers(1, 10**12).map(ByNumber),
    st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,20}", fullmatch=True).map(ByAlias),
    st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)).map(ByInstant),  # noqa: DTZ001 - naive on purpose
    st.from_regex(r"[0-9a-f]{8,64}", fullmatch=True).map(ByDigest),
)
_addresses = st.builds(
    Address,
    kind=st.sampled_from(["dataset", "model", "feature_view", "run"]),
    name=_names,
    selector=_selectors,
)


@given(_addresses)
def test_every_address_is_read_back_as_it_was(address: Address) -> None:
    assert parse_address(str(address)) == address


@given(_addresses)
def test_written_addresses_hold_no_space_and_one_kind(address: Address) -> None:
    assert " " not in str(address)
    assert str(address).split(":", 1)[0] == address.kind


@pytest.mark.parametrize(
    ("text", "name", "selector"),
    [
        ("dataset:flights", "flights", None),
        ("dataset:flights@12", "flights", ByNumber(12)),
        ("dataset:flights@prod", "flights", ByAlias("prod")),
        ("dataset:flights@2013-06-01", "flights", ByInstant(datetime(2013, 6, 1, tzinfo=UTC))),
        ("dataset:flights@2013-06-01T02:00:00+02:00", "flights", ByInstant(datetime(2013, 6, 1, tzinfo=UTC))),
        ("dataset:flights#9f2c0a11", "flights", ByDigest("9f2c0a11")),
        ("dataset:a%40b%23c%3Ad%25e%20f@1", "a@b#c:d%e f", ByNumber(1)),
        ("policy:gate/arrival-delay@1", "gate/arrival-delay", ByNumber(1)),
    ],
)
def test_documented_forms(text: str, name: str, selector: object) -> None:
    found = parse_address(text)
    assert (found.name, found.selector) == (name, selector)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "flights",
        ":x",
        "dataset:",
        "Dataset:x",
        "dataset:x@",
        "dataset:x@0",
        "dataset:x@-1",
        "dataset:x@2013-13-01",
        "dataset:x@2013-06-01T00:00",
        "dataset:x#xyz",
        "dataset:x#abc",
        "dataset:x%zz",
        "dataset:x%ff",
        "dataset:x%00y",
        "dataset: x",
        "dataset:" + "x" * 501,
        "dataset:x\n",
        "dataset:a@b@c",
    ],
)
def test_bad_addresses_are_refused_with_a_hint(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_address(text)
    assert caught.value.hint


def test_a_kind_is_assumed_where_none_is_written() -> None:
    assert parse_address("flights@3", kind="dataset") == Address(
        kind="dataset", name="flights", selector=ByNumber(3)
    )


def test_a_selector_never_means_two_things() -> None:
    assert parse_selector("20130601") == ByNumber(20130601)
    assert isinstance(parse_selector("2013-06-01"), ByInstant)
    assert parse_selector("v3") == ByAlias("v3")


def test_an_address_that_no_text_can_be_is_refused() -> None:
    """As a command line gives bytes that are not UTF-8."""
    with pytest.raises(Invalid, match="UTF-8"):
        parse_address("model:\udcff")


@pytest.mark.parametrize(
    ("version", "written"),
    [
        ("", "dataset:flights"),
        ("3", "dataset:flights@3"),
        ("@3", "dataset:flights@3"),
        ("prod", "dataset:flights@prod"),
        ("2013-06-01T00:00Z", "dataset:flights@2013-06-01T00:00:00.000000Z"),
        ("@2013-06-01T02:00+02:00", "dataset:flights@2013-06-01T00:00:00.000000Z"),
        ("#0123abcd", "dataset:flights#0123abcd"),
        ("flights#0123abcd", "dataset:flights#0123abcd"),
        ("dataset:flights#0123abcd", "dataset:flights#0123abcd"),
        ("flights@prod", "dataset:flights@prod"),
    ],
)
def test_a_version_of_a_named_asset_is_said_in_every_form(version: str, written: str) -> None:
    assert version_address("dataset", "flights", version) == parse_address(written)


@pytest.mark.parametrize("version", ["planes#0123abcd", "model:flights@3", "#xyz", "#", "fl ights", "-1"])
def test_what_is_no_version_of_the_asset_is_refused(version: str) -> None:
    with pytest.raises(Invalid) as caught:
        version_address("dataset", "flights", version)
    assert caught.value.hint
