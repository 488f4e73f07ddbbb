"""A line that is null is found wherever it is cut, and refused before Arrow ends the process on it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import Invalid
from loopwright.data.json_lines import check_lines
from loopwright.data.uploads import read_table, table_of_file

PIECES = st.sampled_from(
    [b"null", b"nul", b"n", b"l", b" ", b"\n", b"\r", b"\t", b'{"a":null}', b'"null"', b"x", b"\xef\xbb\xbf"]
)
BARE = [
    *(
        b"null",
        b"\nnull",
        b" null\n",
        b'{"a":1}\nnull\n',
        b'{"a":1}\rnull',
        b"\xef\xbb\xbfnull",
        b"null null",
    ),
    *(b"[null, null]", b'[{"a":1}, null]', b"nullx"),
]


def is_bare(text: bytes) -> bool:
    """As said, line by line."""
    lines = text.replace(b"\r", b"\n").split(b"\n")
    return any(line.lstrip(b" \t\v\f\0\xef\xbb\xbf").startswith(b"null") for line in lines)


@given(st.lists(PIECES), st.data())
def test_a_null_is_found_wherever_the_text_is_cut(pieces: list[bytes], data: st.DataObject) -> None:
    text = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    edges = zip([0, *cuts], [*cuts, len(text)], strict=True)
    try:
        check_lines(text[start:end] for start, end in edges)
    except Invalid:
        assert is_bare(text)
    else:
        assert not is_bare(text)


@pytest.mark.parametrize("text", BARE)
def test_rows_that_are_null_are_refused(text: bytes, tmp_path: Path) -> None:
    with pytest.raises(Invalid):
        read_table(io.BytesIO(text), "ndjson", {}, path="rows")
    for ending in ("ndjson", "json"):
        path = tmp_path / f"rows.{ending}"
        path.write_bytes(text)
        with pytest.raises(Invalid):
            table_of_file(str(path))


def test_nulls_in_objects_are_kept() -> None:
    found = read_table(io.BytesIO(b'{"a":null,"b":"\\nnull"}\n{"a":1,"b":"x"}\n'), "ndjson", {}, path="rows")
    assert found.to_pydict() == {"a": [None, 1], "b": ["\nnull", "x"]}
