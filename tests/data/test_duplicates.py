"""De-duplication: exact as a dictionary finds it, fuzzy as comparing all with all finds it."""

from __future__ import annotations

import hashlib
import itertools
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz import fuzz

from loopwright.core.errors import Conflict, Invalid, TooLarge
from loopwright.data.appending import append
from loopwright.data.deduplicating import deduplicate, duplicates, duplicates_of_file
from loopwright.data.duplicates import Group, exact_groups
from loopwright.data.likeness import PlainTexts, alike, plain_texts
from loopwright.data.reading import read
from loopwright.data.repeats import Room, fuzzy
from loopwright.data.verbs import show
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.testing.builders import memory_context

_GIVEN = ["Anna", "Bernd", "Chloé", "Dimitri", "Elif", "Farouk", "Greta", "Hiroshi", "Ines", "Jürgen"]
_NAMES = ["Schmidt", "Okafor", "Papadopoulos", "Nguyen", "Kowalski", "Rossi", "Haddad", "Yamamoto"]
_STREETS = ["Lindenallee", "Rue de la Paix", "Market Street", "Via Garibaldi", "Long Acre", "Hauptstrasse"]


def fuzzy_groups(table: pa.Table, columns: list[str], least: float) -> tuple[list[Group], int]:
    with tempfile.TemporaryDirectory() as folder, PlainTexts(Path(folder)) as texts:
        texts.add(table, columns)
        return alike(texts, least)


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


def test_near_repetitions_over_portions_are_those_of_the_whole(tmp_path: Path) -> None:
    table = pa.table({"who": _people(120, seed=4)[0]})
    groups, compared = fuzzy_groups(table, ["who"], 0.9)
    parts = (table.slice(at, 7) for at in range(0, table.num_rows, 7))
    report, again = fuzzy(parts, ["who"], 0.9, Room())
    assert (report.groups, report.compared, report.rows) == (len(groups), compared, table.num_rows)
    assert sorted(group.rows for group in report.first) == [group.rows for group in groups]
    assert np.flatnonzero(again).tolist() == sorted(row for group in groups for row in group.rows[1:])
    names = table["who"].to_pylist()
    for group in report.first:
        assert [value["who"] for value in group.values] == [names[row] for row in group.rows[:5]]
    with pytest.raises(TooLarge, match="bytes of memory"):
        fuzzy(iter([table]), ["who"], 0.9, Room(memory_bytes=1000))
    nothing = fuzzy(iter([table.slice(0, 0)]), ["who"], 0.9, Room())
    assert (nothing.report.rows, nothing.report.groups) == (0, 0)


@pytest.mark.parametrize("how", ["exact", "fuzzy"])
def test_parts_without_repeated_rows_stay_as_they_are(ctx: Context, how: Literal["exact", "fuzzy"]) -> None:
    """Of a part that is there twice the second goes whole; the order of rows is that of before."""
    first = pa.table({"t": [f"{word} {word * 2}" for word in ("alpha", "beta", "gamma")]})
    append(ctx, "d", first)
    append(ctx, "d", pa.table({"t": ["delta delta", "beta betabeta", "epsilon"]}))
    append(ctx, "d", first)
    append(ctx, "d", pa.table({"t": ["zeta", "eta theta iota"]}))
    before = manifest_of(ctx, resolve(ctx, "dataset:d")).entries
    done = deduplicate(ctx, "d", how=how)
    after = manifest_of(ctx, resolve(ctx, "dataset:d")).entries
    assert (done.version, done.report.repeated) == (5, 4)
    words = ["alpha alphaalpha", "beta betabeta", "gamma gammagamma", "delta delta", "epsilon", "zeta"]
    assert read(ctx, "dataset:d")["t"].to_pylist() == [*words, "eta theta iota"]
    assert [after[0].digest, after[2].digest] == [before[0].digest, before[3].digest]
    assert len(after) == 3


@pytest.mark.slow
@pytest.mark.parametrize("how", ["exact", "fuzzy"])
def test_many_rows_are_deduplicated_within_the_memory_that_was_said(tmp_path: Path, how: str) -> None:
    """By whole processes whose anonymous memory is sampled; what goes is what was put in."""
    rows, again = (3_000_000, 60_000) if how == "exact" else (60_000, 2_000)
    drawn = np.random.default_rng(5)
    ids = np.concatenate([np.arange(rows), drawn.choice(rows, again, replace=False)])
    words = pa.array([hashlib.blake2b(str(each).encode()).hexdigest()[:60] for each in ids.tolist()])
    pq.write_table(
        pa.table({"id": ids % 1000, "word": words}), tmp_path / "t.parquet", row_group_size=100_000
    )
    memory = 400_000_000
    program = DEDUPE.format(how=how, folder=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    repeated, left, most = map(int, done.stdout.split())
    assert (repeated, left) == (again, rows)
    assert most <= memory
    assert not list(tmp_path.glob("tmp/.loopwright-scratch-*"))


DEDUPE = """
import os, threading, time, tempfile
place = "{folder}/tmp"
os.makedirs(place); tempfile.tempdir = place
most = 0
def watch():
    global most
    while True:
        for line in open("/proc/self/status"):
            if line.startswith("RssAnon"):
                most = max(most, int(line.split()[1]) * 1024)
        time.sleep(0.02)
threading.Thread(target=watch, daemon=True).start()
import pyarrow.parquet as pq
from loopwright.workspace import Workspace
from loopwright.data.appending import append
from loopwright.data.deduplicating import deduplicate
with Workspace.open("{folder}/.loopwright") as workspace:
    ctx = workspace.context()
    file = pq.ParquetFile("{folder}/t.parquet")
    for group in range(0, file.num_row_groups):
        append(ctx, "d", file.read_row_group(group))
    most = 0
    done = deduplicate(ctx, "d", columns=("word",), how="{how}", least=0.97, memory="400MB")
    print(done.report.repeated, workspace.call("data.show", name="d").rows, most)
"""


def test_a_file_is_looked_at_without_a_workspace(ctx: Context, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("name,city\nAnna Schmidt,Ulm\nAna Schmidt,Ulm\nBob Lee,York\n")
    assert duplicates_of_file(ctx, str(tmp_path / "x.csv")).repeated == 0
    assert duplicates_of_file(ctx, str(tmp_path / "x.csv"), how="fuzzy").repeated == 1


@pytest.mark.parametrize("options", [{"columns": ("c",)}, {"least": 0.1}, {"least": 2.0}])
def test_wrong_options_are_told(ctx: Context, options: dict[str, object]) -> None:
    append(ctx, "d", pa.table({"a": [1]}))
    with pytest.raises(Invalid):
        duplicates(ctx, "d", **options)  # type: ignore[arg-type] # a table of wrong ones
