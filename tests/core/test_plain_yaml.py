"""YAML as plain values: what PyYAML itself reads of plain texts, and nothing of hostile ones."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import Invalid
from loopwright.core.plain_yaml import MAX_EVENTS, MAX_LEVELS, read_yaml

PLAIN: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
HOSTILE = {
    "an object": b"!!python/object/apply:os.system ['touch owned']",
    "a name": b"a: !!python/name:os.system",
    "a module": b"!!python/module:os",
    "a foreign tag": b"a: !mine {b: 1}",
    "an alias": b"a: &x [1]\nb: *x",
    "laughs": b"a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]",
    "itself": b"&a [*a]",
    "deep lists": b"[" * 1_000_000,
    "deep mappings": b"".join(b" " * at + b"a:\n" for at in range(MAX_LEVELS + 1)),
    "deep keys": b"? " * 1_000_000,
    "many": b"- a\n" * (MAX_EVENTS + 1),
    "a number to the base of sixty": b"a: " + b"1:" * 1_000_000 + b"1",
    "the same in quotes": b'a: !!int "' + b"1:" * 1_000_000 + b'1"',
    "the same as a float": b"a: !!float " + b"1:" * 1_000_000 + b"1.0",
    "a number": b"a: " + b"9" * 100_000,
    "a date that is none": b"a: 2001-99-99",
    "two documents": b"a: 1\n---\nb: 2",
    "a list as a key": b"? [a]\n: 1",
    "bytes": b"\xff\xfe\x00",
    "zero": b"a: \x00",
}


@given(PLAIN)
def test_what_is_plain_is_read_as_pyyaml_reads_it_and_as_it_was_written(value: Any) -> None:
    text = yaml.safe_dump(value, allow_unicode=True)
    assert read_yaml(text.encode()) == yaml.safe_load(text)
    if "\x85" not in text:  # PyYAML writes it as a line that it then folds into a space
        assert read_yaml(text.encode()) == value


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_is_hostile_is_refused(
    text: bytes, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("untouched")
    monkeypatch.chdir(folder)
    with pytest.raises(Invalid) as caught:
        read_yaml(text)
    assert caught.value.hint
    assert list(folder.iterdir()) == []


@given(st.binary(max_size=200) | st.text(alphabet="!&*[]{}?:-|> \n'\"#%@`a1<", max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    with suppress(Invalid):
        read_yaml(text)


def test_long_texts_are_no_numbers() -> None:
    text = "word " * 10_000
    assert read_yaml(f"a: '{'7' * 10_000}'\nb: {text}".encode()) == {"a": "7" * 10_000, "b": text.strip()}
