"""Erasure from files of folders: records go, whatever the file, and all else stays as it was."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.nouns import Version
from loopwright.data.checkouts import checkout
from loopwright.data.folders import add_folder
from loopwright.data.record_files import left_of
from loopwright.engine.context import Context
from loopwright.engine.holders import parse_subject
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.loops import erasing
from tests.loops.test_erasing import WHO, holding

OTHERS = ["p1", WHO[:-1], WHO + "0", 'a "b", c\nd']


def rows(*names: str) -> list[dict[str, Any]]:
    return [{"flight": at, "passenger": name, "note": "x" * 20} for at, name in enumerate(names)]


def as_csv(found: list[dict[str, Any]], delimiter: str = ",", begin: str = "") -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, ["flight", "passenger", "note"], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(found)
    return (begin + text.getvalue()).encode()


def as_lines(found: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in found).encode()


def as_parquet(found: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(found), sink, compression="zstd")
    return sink.getvalue()


FILES: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    "trips.csv": as_csv,
    "semicolons.CSV": lambda found: as_csv(found, ";", "\ufeff"),
    "trips.tsv": lambda found: as_csv(found, "\t"),
    "deep/trips.ndjson": as_lines,
    "trips.jsonl": lambda found: as_lines([{"of": [row]} for row in found]),
    "packed.csv.gz": lambda found: gzip.compress(as_csv(found)),
    "list.json": lambda found: json.dumps(found).encode(),
    "trips.parquet": as_parquet,
}
AS_TEXT = {"trips.csv", "semicolons.CSV", "trips.tsv", "deep/trips.ndjson", "trips.jsonl"}
REST = {"photo.jpg": b"\xff\xd8 a photo", "other.csv": b"a,b\n1,2\n", "broken.csv": b'passenger\n"no end'}


def told(name: str, data: bytes) -> list[Any]:
    if name.endswith(".parquet"):
        return list(pq.read_table(io.BytesIO(data)).to_pylist())
    if name.endswith(".gz"):
        data = gzip.decompress(data)
    if name.endswith(".json"):
        return list(json.loads(data))
    return [data]


@pytest.mark.parametrize("count", [5, 1500])
def test_records_go_from_every_version_and_the_rest_is_as_it_was(
    ctx: Context, tmp_path: Path, count: int
) -> None:
    """Small files, which share an object, and large ones."""
    folder, names = tmp_path / "in", [*OTHERS, WHO] * (count // 5)
    stays = [row for row in rows(*names) if row["passenger"] != WHO]
    for name, write in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(write(rows(*names)))
    for name, data in REST.items():
        (folder / name).write_bytes(data)
    before = add_folder(ctx, "files", folder).version
    (folder / "photo.jpg").write_bytes(b"another")
    second = add_folder(ctx, "files", folder).version
    proof = erasing.erase(ctx, (f"passenger={WHO}",))
    line = next(line for line in proof.holders if line.holder == "versions")
    assert (line.rows, line.places, proof.left) == (2 * len(FILES) * count // 5, 2, 0)
    assert holding(ctx.ports.folder, f'{WHO}"') == holding(ctx.ports.folder, f"{WHO},") == []
    for number, photo in ((1, REST["photo.jpg"]), (2, b"another")):
        out = tmp_path / f"out{number}"
        checkout(ctx, f"files@{number}", out)
        assert {at.relative_to(out).as_posix() for at in out.rglob("*.*")} == {*FILES, *REST}
        for name, write in FILES.items():
            found, expected = (out / name).read_bytes(), write(stays)
            if name in AS_TEXT and count == 5:  # the flights' numbers apart, which stay too
                assert found == expected
            assert told(name, found) == told(name, expected)
        assert (out / "photo.jpg").read_bytes() == photo
        assert (out / "broken.csv").read_bytes() == REST["broken.csv"]
    for former in (before, second):
        assert resolve(ctx, f"dataset:files#{former.digest}").number == former.number
    _shares_what_is_alike(ctx, before)


def _shares_what_is_alike(ctx: Context, version: Version) -> None:
    """Objects that nothing needs are gone."""
    from loopwright.engine.collection import reachable

    assert manifest_of(ctx, resolve(ctx, f"dataset:{version.name}@1")).is_folder
    assert {stat.digest for stat in ctx.ports.objects.list()} <= reachable(ctx)


def test_folders_without_the_entity_are_not_written_anew(ctx: Context, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "trips.csv").write_bytes(as_csv(rows(*OTHERS)))
    version = add_folder(ctx, "files", tmp_path / "in").version
    erasing.erase(ctx, (f"passenger={WHO}",))
    assert resolve(ctx, "dataset:files").digest == version.digest


def test_records_that_come_back_are_recognised(ctx: Context, tmp_path: Path) -> None:
    erasing.erase(ctx, ("flight=1", f"passenger={WHO}"))
    (tmp_path / "in").mkdir()
    for name, write in FILES.items():
        (tmp_path / "in" / Path(name).name).write_bytes(write(rows("p0", WHO, WHO)))
    add_folder(ctx, "files", tmp_path / "in")
    (again,) = erasing.erase_again(ctx).again
    assert next(line.rows for line in again.holders if line.holder == "versions") == len(FILES)


def test_what_a_crash_left_of_a_folder_goes(ctx: Context, tmp_path: Path) -> None:
    """A page that nobody names, with its pack and its larger file."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "small.csv").write_bytes(as_csv(rows(*OTHERS, WHO)))
    (tmp_path / "in" / "large.csv").write_bytes(as_csv(rows(*OTHERS, WHO) * 1000))
    version = add_folder(ctx, "files", tmp_path / "in").version
    (page,) = manifest_of(ctx, version).pages
    kept = [ctx.ports.objects.get(stat.digest) for stat in ctx.ports.objects.list()]
    erasing.erase(ctx, (f"passenger={WHO}",))
    for data in kept:
        ctx.ports.objects.put(data)
    assert ctx.ports.objects.stat(page) is not None
    erasing.erase(ctx, (f"passenger={WHO}",))
    assert holding(ctx.ports.folder, f"{WHO},") == []


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), max_size=6) | st.just(WHO)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS), max_size=8), st.sampled_from(",;\t|"))
def test_rows_of_text_stay_byte_for_byte(cells: list[tuple[str, str]], delimiter: str) -> None:
    """Whatever is quoted in them, ends of lines too: against the same rows written without it."""

    def written(some: list[tuple[str, str]]) -> bytes:
        text = io.StringIO()
        csv.writer(text, delimiter=delimiter).writerows([("passenger", "x"), *some])
        return text.getvalue().encode()

    left = left_of("a.csv", lambda: io.BytesIO(written(cells)), parse_subject((f"passenger={WHO}",)))
    stays = [row for row in cells if row[0] != WHO]
    if left is None:
        assert stays == cells
    else:
        assert (b"".join(left.pieces), left.removed) == (written(stays), len(cells) - len(stays))


def test_a_line_that_is_nested_too_deeply_hides_no_record() -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    subject, of_subject = parse_subject((f"passenger={WHO}",)), b'{"passenger": "%s"}\n' % WHO.encode()
    left = left_of("a.ndjson", lambda: io.BytesIO(deep + b"\n" + of_subject), subject)
    assert left is not None
    assert (b"".join(left.pieces), left.removed) == (deep + b"\n", 1)
    assert left_of("a.json", lambda: io.BytesIO(b"[" + deep + b"]"), subject) is None
