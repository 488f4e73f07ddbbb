"""Regular expressions of strangers cost what their text costs."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import Invalid
from loopwright.core.patterns import MAX_PATTERN, finder

PIECES = st.lists(st.sampled_from(["a", "b", ".", "a*", "(a|b)", "[ab]", "b+", "^", "$", "c?"]), max_size=6)


@given(PIECES.map("".join), st.text(alphabet="abc", max_size=12))
def test_what_is_found_is_what_python_finds(pattern: str, text: str) -> None:
    assert finder(pattern)(text) == (re.search(pattern, text) is not None)


def test_a_pattern_that_explodes_elsewhere_does_not_here() -> None:
    assert not finder("(a+)+$")("a" * 50_000 + "b")
    assert not finder("(a|aa)+$")("a" * 50_000 + "b")


@pytest.mark.parametrize("pattern", [r"(a)\1", "(?=a)b", "(", "a{1,100000}", "x" * (MAX_PATTERN + 1)])
def test_what_is_no_such_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(Invalid):
        finder(pattern)
