"""De-duplication: exact as a dictionary finds it, fuzzy as comparing all with all finds it."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz import fuzz

from loopwright.core.errors import Conflict, Invalid
from loopwright.data.appending import append
from loopwright.data.deduplicating import deduplicate, duplicates, duplicates_of_file
from loopwright.data.duplicates import exact_groups, fuzzy_groups, plain_texts
from loopwright.data.reading import read
from loopwright.data.verbs import show
from loopwright.engine.context import Context
from loopwright.testing.builders import memory_context

_GIVEN = ["Anna", "Bernd", "Chloé", "Dimitri", "Elif", "Farouk", "Greta", "Hiroshi", "Ines", "Jürgen"]
_NAMES = ["Schmidt", "Okafor", "Papadopoulos", "Nguyen", "Kowalski", "Rossi", "Haddad", "Yamamoto"]
_STREETS = ["Lindenallee", "Rue de la Paix", "Market Street", "Via Garibaldi", "Long Acre", "Hauptstrasse"]


@pytest.fixture
def ctx() -> Context:
    return memory_context()


@given(st.lists(st.tuples(st.sampled_from([None, 1, 2]), st.sampled_from([None, "", "a"])), max_size=30))
def test_exact_groups_are_those_of_a_dictionary(rows: list[tuple[int | None, str | None]]) -> None:
    a, b = ([row[at] for row in rows] for at in (0, 1))
    table = pa.table({"a": pa.array(a, pa.int64()), "b": pa.array(b, pa.string())})
    seen: dict[object, list[int]] = {}
    for place, row in enumerate(rows):
        seen.setdefault(row, []).append(place)
    expected = sorted(tuple(places) for places in seen.values() if len(places) > 1)
    assert [group.rows for group in exact_groups(table, ["a", "b"])] == expected


def _people(count: int, seed: int) -> tuple[list[str], set[frozenset[int]]]:
    """People, a third of them a second time with one or two slips of the pen; and which belong together."""
    drawn = random.Random(seed)
    texts = [
        f"{drawn.choice(_GIVEN)} {drawn.choice(_NAMES)}, {drawn.choice(_STREETS)} {drawn.randrange(1, 400)}, "
        f"{drawn.randrange(10_000, 99_999)}"
        for _ in range(count)
    ]
    pairs = set()
    for place in drawn.sample(range(count), count // 3):
        text = texts[place]
        for _ in range(drawn.randrange(1, 3)):
            at = drawn.randrange(len(text))
            text = text[:at] + drawn.choice("abcdefgh") + text[at + drawn.randrange(2) :]
        pairs.add(frozenset({place, len(texts)}))
        texts.append(text)
    return texts, pairs


def _brute(texts: list[str], least: float) -> set[tuple[int, int]]:
    return {
        (a, b)
        for a, b in itertools.combinations(range(len(texts)), 2)
        if texts[a] and texts[b] and fuzz.ratio(texts[a], texts[b]) >= 100 * least
    }


def _closed(pairs: set[tuple[int, int]]) -> set[frozenset[int]]:
    groups: list[set[int]] = []
    for pair in pairs:
        touched = [group for group in groups if group & set(pair)]
        groups = [group for group in groups if group not in touched] + [set(pair).union(*touched)]
    return {frozenset(group) for group in groups}


def test_fuzzy_groups_are_those_of_comparing_all_with_all() -> None:
    texts, meant = _people(240, seed=3)
    table = pa.table({"who": texts})
    groups, compared = fuzzy_groups(table, ["who"], 0.9)
    found = {frozenset(group.rows) for group in groups}
    expected = _closed(_brute(plain_texts(table, ["who"]), 0.9))
    assert found <= expected, "nothing that comparing all would not find"
    assert len(found & expected) >= 0.98 * len(expected)
    assert compared < len(texts) * (len(texts) - 1) / 2 * 0.2
    together = sum(any(pair <= group for group in found) for pair in meant)
    assert together >= 0.9 * len(meant)


def test_fuzzy_ignores_case_marks_and_forms_of_letters_but_not_what_is_empty() -> None:
    said = ["Jürgen  O'Neil", "jürgen o neil", "JU\u0308RGEN O-NEIL", "", None, "  ", "Somebody Else"]
    groups, _ = fuzzy_groups(pa.table({"t": said, "n": [1] * 7}), ["t"], 0.95)
    assert [(group.rows, group.score) for group in groups] == [((0, 1, 2), 1.0)]


def test_every_run_finds_the_same() -> None:
    table = pa.table({"who": _people(60, seed=5)[0]})
    assert str(fuzzy_groups(table, ["who"], 0.8)) == str(fuzzy_groups(table, ["who"], 0.8))


def test_a_dataset_is_deduplicated_as_a_version_that_is_told_of(ctx: Context) -> None:
    append(ctx, "d", pa.table({"a": [1, 2, 1, 3, 2], "b": ["x", "y", "x", "z", "q"]}))
    report = duplicates(ctx, "d")
    assert (report.rows, report.repeated, report.groups) == (5, 1, 1)
    assert (report.first[0].rows, report.first[0].values[0]) == ((0, 2), {"a": 1, "b": "x"})
    assert deduplicate(ctx, "d", dry_run=True).version == 1
    with pytest.raises(Conflict):
        deduplicate(ctx, "d", expect=7)
    done = deduplicate(ctx, "d", columns=("a",), expect=1)
    assert (done.version, done.report.repeated) == (2, 2)
    assert read(ctx, "dataset:d").to_pylist() == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}, {"a": 3, "b": "z"}]
    assert read(ctx, "dataset:d@1").num_rows == 5
    assert show(ctx, "d").body["facts"]["deduplicated"] == {"of": 1, "how": "exact", "columns": ["a"]}
    assert deduplicate(ctx, "d").version == 2, "nothing repeats: no version"


def test_a_file_is_looked_at_without_a_workspace(ctx: Context, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("name,city\nAnna Schmidt,Ulm\nAna Schmidt,Ulm\nBob Lee,York\n")
    assert duplicates_of_file(ctx, str(tmp_path / "x.csv")).repeated == 0
    assert duplicates_of_file(ctx, str(tmp_path / "x.csv"), how="fuzzy").repeated == 1


@pytest.mark.parametrize("options", [{"columns": ("c",)}, {"least": 0.1}, {"least": 2.0}])
def test_wrong_options_are_told(ctx: Context, options: dict[str, object]) -> None:
    append(ctx, "d", pa.table({"a": [1]}))
    with pytest.raises(Invalid):
        duplicates(ctx, "d", **options)  # type: ignore[arg-type] # a table of wrong ones
