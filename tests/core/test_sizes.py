"""Sizes as people write them."""

from __future__ import annotations

import pytest

from loopwright.core.errors import Invalid
from loopwright.core.sizes import parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("600MB", 600_000_000),
        ("4GB", 4_000_000_000),
        ("4 gb", 4_000_000_000),
        ("1.5GiB", 3 << 29),
        ("64KiB", 65_536),
        ("1TB", 10**12),
        ("12345", 12_345),
        ("7b", 7),
    ],
)
def test_units_are_powers_of_ten_or_of_two(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "0", "-1GB", "4 G B", "1e9", "nan", "0.0001B", "٤GB", "4GB\n5"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="not a size"):
        parse_size(text)
