"""Small parts are put together: the rule against a twin that counts, and what a reader sees of it."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.manifests import ManifestEntry
from loopwright.data.appending import append
from loopwright.data.packing import BATCH, LEVEL, batches_of, tail_to_pack
from loopwright.data.reading import read
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.testing.builders import MemoryPorts, memory_context, memory_ports
from loopwright.testing.objects import MemoryObjects


@pytest.fixture
def ports() -> MemoryPorts:
    return memory_ports()


@pytest.fixture
def ctx(ports: MemoryPorts) -> Context:
    return memory_context(ports)


def entry(rows: int, level: int = 0) -> ManifestEntry:
    facts = {LEVEL: level} if level else {}
    return ManifestEntry(path="part", digest="0" * 64, size_bytes=rows, rows=rows, facts=facts)


def grown(appends: list[int]) -> list[ManifestEntry]:
    """The parts after appends of so many rows, by the rule."""
    parts: list[ManifestEntry] = []
    for rows in appends:
        tail = tail_to_pack(parts)
        kept = parts[: len(parts) - len(tail.entries)]
        parts = [*kept, entry(rows + sum(part.rows or 0 for part in tail.entries), tail.level)]
    return parts


@given(st.integers(0, 700))
def test_small_parts_are_the_digits_of_their_number_to_base_sixteen(appends: int) -> None:
    levels = [int(part.facts.get(LEVEL, 0)) for part in grown([3] * appends)]
    digits = [(appends // 16**level) % 16 for level in (2, 1, 0)]
    assert levels == [level for level, digit in zip((2, 1, 0), digits, strict=True) for _ in range(digit)]


@given(st.lists(st.sampled_from([1, 900, 19_000, 30_000, 200_000]), max_size=120))
def test_no_row_is_lost_and_no_large_part_is_written_again(appends: list[int]) -> None:
    parts = grown(appends)
    assert sum(part.rows or 0 for part in parts) == sum(appends)
    for at, part in enumerate(parts[:-1]):
        tail = tail_to_pack(parts[: at + 1])
        assert (part.rows or 0) <= 20_000 or part not in tail.entries


def days(first: int, count: int, **columns: object) -> pa.Table:
    whole = {"day": list(range(first, first + count)), **columns}
    return pa.table({name: pa.array(values) for name, values in whole.items()})


def test_rows_order_old_versions_and_late_columns_stay(ctx: Context) -> None:
    for day in range(20):
        more = {"wind": [day / 2]} if day > 11 else {}
        append(ctx, "weather", days(day, 1, **more), batch=f"day {day}")
    entries = manifest_of(ctx, resolve(ctx, "dataset:weather")).entries
    assert [part.rows for part in entries] == [16, 1, 1, 1, 1]
    assert batches_of(entries[0]) == tuple(f"day {day}" for day in range(16))
    assert entries[1].facts[BATCH] == "day 16"
    for number in (1, 12, 15, 16, 17, 20):
        table = read(ctx, f"dataset:weather@{number}")
        assert table["day"].to_pylist() == list(range(number))
        if number > 12:
            assert table["wind"].to_pylist() == [day / 2 if day > 11 else None for day in range(number)]
    assert append(ctx, "weather", days(3, 1), batch="day 3").repeated


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_damaged_part_is_not_copied_and_hinders_no_append(
    ctx: Context, ports: MemoryPorts, is_lost: bool, caplog: pytest.LogCaptureFixture
) -> None:
    for day in range(15):
        append(ctx, "weather", days(day, 1))
    objects = ports.objects
    assert isinstance(objects, MemoryObjects)
    broken = manifest_of(ctx, resolve(ctx, "dataset:weather")).entries[4].digest
    if is_lost:
        objects.remove(broken)
    else:
        objects.damage(broken)
    append(ctx, "weather", days(15, 1))
    entries = manifest_of(ctx, resolve(ctx, "dataset:weather")).entries
    assert [part.rows for part in entries] == [1] * 16
    assert entries[4].digest == broken
    assert "parts not put together" in caplog.text
