"""What changed between two texts: nothing of either is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loopwright.surfaces.ui.registry import changes

LINES = st.lists(st.text(alphabet="ab ?+-", max_size=6), max_size=12).map("\n".join)


@given(LINES, LINES)
def test_both_texts_can_be_read_from_what_changed(before: str, after: str) -> None:
    told = changes(before, after)
    assert [line.text for line in told if line.sign != "+"] == before.splitlines()
    assert [line.text for line in told if line.sign != "-"] == after.splitlines()


def test_a_line_that_stays_is_told_once() -> None:
    assert [tuple(line) for line in changes("one\ntwo", "one\nthree")] == [
        (" ", "one"),
        ("-", "two"),
        ("+", "three"),
    ]
