"""An entity is erased from everything that keeps rows: against plain rows, and by a search of all bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loopwright.core.digests import canonical
from loopwright.core.errors import Invalid
from loopwright.core.expressions import Window, col
from loopwright.core.instants import to_micros
from loopwright.core.manifests import Manifest
from loopwright.core.nouns import Version
from loopwright.data.appending import append
from loopwright.data.reading import read
from loopwright.data.streams import read_stream, write_segment
from loopwright.data.stretches import keep_stretches
from loopwright.data.verbs import profile
from loopwright.engine.context import Context
from loopwright.engine.erased import MARK_TAG
from loopwright.engine.holders import MARKS_FILE, parse_subject
from loopwright.engine.publishing import manifest_of, prepare, publish, resolve
from loopwright.features.nouns import FeatureView
from loopwright.loops import erasing
from loopwright.monitoring.labels import label_table, record
from loopwright.workspace import Workspace

WHO = "passenger-4711-Zoe"
START = datetime(2024, 1, 1, tzinfo=UTC)


def rows(day: int, *names: str) -> pa.Table:
    at = [START + timedelta(days=day, minutes=n) for n in range(len(names))]
    return pa.table(
        {
            "passenger": list(names),
            "at": pa.array(at, pa.timestamp("us", "UTC")),
            "fare": [float(100 * day + n) for n in range(len(names))],
        }
    )


def names(day: int) -> list[str]:
    return [WHO if n == 3 else f"p{day}-{n}" for n in range(6)]


def ten_versions(ctx: Context) -> dict[int, list[dict[str, Any]]]:
    """Versions by number, as plain rows."""
    for day in range(9):
        append(ctx, "trips", rows(day, *names(day)), event_time="at", keys=("passenger",))
    append(ctx, "trips", rows(50, "q0", "q1"))
    return {number: read(ctx, f"trips@{number}").to_pylist() for number in range(1, 11)}


def stored(folder: Path) -> Iterator[tuple[Path, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield path, path.read_bytes()


def texts_of(data: bytes) -> bytes:
    """What a file says, unpacked where it is Parquet."""
    if data[:4] != b"PAR1":
        return data
    return repr(pq.read_table(pa.BufferReader(data)).to_pydict()).encode()


def holding(folder: Path, text: str = WHO) -> list[str]:
    return [
        path.name for path, data in stored(folder) if text.encode() in data or text.encode() in texts_of(data)
    ]


def test_every_version_is_as_if_the_entity_had_never_been_there(ctx: Context) -> None:
    before = ten_versions(ctx)
    former = {number: resolve(ctx, f"dataset:trips@{number}") for number in before}
    assert holding(ctx.ports.folder)
    proof = erasing.erase(ctx, (f"passenger={WHO}",))
    for number, told in before.items():
        kept = [row for row in told if row["passenger"] != WHO]
        assert read(ctx, f"trips@{number}").to_pylist() == kept
        now = resolve(ctx, f"dataset:trips@{number}")
        assert (now.number, now.id, now.facts["rows"]) == (number, former[number].id, len(kept))
        assert manifest_of(ctx, now).rows == len(kept)
        assert resolve(ctx, f"dataset:trips#{former[number].digest}") == now
        assert resolve(ctx, f"dataset:trips#{former[number].digest[:20]}") == now
    lines = {line.holder: line for line in proof.holders}
    assert lines["versions"].rows == sum(row["passenger"] == WHO for told in before.values() for row in told)
    assert lines["versions"].places == 10
    assert proof.left == 0
    assert holding(ctx.ports.folder) == []


def test_profiles_are_those_of_the_rows_that_stay(ctx: Context) -> None:
    ten_versions(ctx)
    erasing.erase(ctx, (f"passenger={WHO}",))
    manifest = manifest_of(ctx, resolve(ctx, "dataset:trips"))
    assert manifest.profile is not None
    told = ctx.ports.objects.get(manifest.profile)
    assert WHO.encode() not in told
    fresh = ctx.ports.tables.profile(read(ctx, "trips"))["columns"]["fare"]
    kept = json.loads(told)["columns"]["fare"]
    for name in ("count", "min", "max"):
        assert kept[name] == fresh[name]
    assert kept["mean"] == pytest.approx(fresh["mean"])


WRITTEN: dict[str, tuple[pa.DataType, list[Any]]] = {
    "2.50": (pa.float64(), [2.5, 10.0, 20.0, 30.0]),
    "007": (pa.int64(), [7, 10, 20, 30]),
    "1970-01-01T02:00:02+02:00": (pa.timestamp("us", "UTC"), [2_000_000, 7_000_000, 8_000_000, 9_000_000]),
}


@pytest.mark.parametrize("value", WRITTEN)
def test_edges_of_bins_that_are_the_value_go_however_it_is_written(ctx: Context, value: str) -> None:
    kind, values = WRITTEN[value]
    append(ctx, "d", pa.table({"key": pa.array(values, kind)}))
    erasing.erase(ctx, (f"key={value}",))
    (column,) = profile(ctx, "d")["columns"].values()
    assert column["count"] == 3
    assert column["histogram"]["edges"][0] == values[1]


@pytest.mark.parametrize("who", [WHO, 'O"Neil\\4711', "tab\t4711", "Zoë" + "x" * 100 + WHO])
def test_what_a_crash_left_of_a_write_goes(ctx: Context, who: str) -> None:
    """A part, its profile and its stretches of time that nobody names, whatever JSON makes of the value."""
    left = pa.table({"passenger": [who, "p1"], "at": pa.array([1, 2], pa.timestamp("us", "UTC"))})
    append(ctx, "trips", left.slice(1))
    objects, tables = ctx.ports.objects, ctx.ports.tables
    found = [objects.put(tables.write(left)), objects.put(canonical(tables.profile(left)))]
    found.append(keep_stretches(ctx, left, "at")["stretches"][1])
    erasing.erase(ctx, (f"passenger={who}",))
    assert [objects.stat(digest) for digest in found] == [None] * 3


def test_a_number_is_found_as_a_number_and_a_text_as_a_text(ctx: Context) -> None:
    append(ctx, "numbers", pa.table({"id": [1, 2, 12, 2], "v": [1.0, 2.0, 3.0, 4.0]}))
    append(ctx, "texts", pa.table({"id": ["1", "2", "x2"], "v": [1.0, 2.0, 3.0]}))
    append(ctx, "others", pa.table({"name": ["2"]}))
    erasing.erase(ctx, ("id=2",))
    assert read(ctx, "numbers").column("id").to_pylist() == [1, 12]
    assert read(ctx, "texts").column("id").to_pylist() == ["1", "x2"]
    assert read(ctx, "others").num_rows == 1
    erasing.erase(ctx, ("id=nobody",))
    assert read(ctx, "numbers").num_rows == 2


def test_several_columns_name_the_rows_in_which_all_hold(ctx: Context) -> None:
    append(ctx, "d", pa.table({"a": [1, 1, 2], "b": ["x", "y", "x"]}))
    erasing.erase(ctx, ("a=1", "b=x"))
    assert read(ctx, "d").to_pylist() == [{"a": 1, "b": "y"}, {"a": 2, "b": "x"}]


def test_predictions_with_their_labels_and_quarantined_rows_go(ctx: Context) -> None:
    at = pa.array([START] * 3, pa.timestamp("us", "UTC"))
    ids = ["r1:0", "r1:1", "r2:0"]
    told = pa.table(
        {"prediction_id": ids, "at": at, "in_passenger": ["a", WHO, "b"], "score": [0.1, 0.2, 0.3]}
    )
    write_segment(ctx, "predictions/risk", told, START, START)
    record(ctx, "risk", label_table(ids, [0.0, 1.0, 0.0], [START] * 3))
    write_segment(ctx, "quarantine/trips", pa.table({"passenger": [WHO], "why": ["x"]}), START, START)
    proof = erasing.erase(ctx, (f"passenger={WHO}",))
    assert read_stream(ctx, "predictions/risk").column("prediction_id").to_pylist() == ["r1:0", "r2:0"]
    assert sorted(read_stream(ctx, "labels/risk").column("prediction_id").to_pylist()) == ["r1:0", "r2:0"]
    assert read_stream(ctx, "quarantine/trips").num_rows == 0
    assert {line.holder: line.rows for line in proof.holders}["streams"] == 3
    assert holding(ctx.ports.folder) == []


def test_the_online_store_forgets(workspace: Workspace, ctx: Context) -> None:
    ten_versions(ctx)
    view = FeatureView(
        name="trip_history",
        entity=("passenger",),
        source="trips",
        event_time="at",
        latest=("fare",),
        windows={"trips_30d": Window(op="count", expr=col("fare"), over="30d")},
    )
    workspace.call("features.publish_view", view=view)
    workspace.call("features.materialize", name="trip_history")
    key, at = (WHO,), to_micros(ctx.now())
    assert ctx.ports.online.read("trip_history@1", [key], at)[0]["fare"] is not None
    erasing.erase(ctx, (f"passenger={WHO}",))
    assert ctx.ports.online.read("trip_history@1", [key], at)[0]["fare"] is None
    assert holding(ctx.ports.folder) == []


def test_models_trained_on_it_are_marked_however_far_down(ctx: Context, workspace: Workspace) -> None:
    ten_versions(ctx)
    append(ctx, "other", pa.table({"x": [1]}))

    def made(kind: str, name: str, source: str) -> Version:
        """A version made by a run that read another."""
        inside = ctx.under(workspace.call("runs.start", name=name).id)
        read(inside, source)
        draft = prepare(inside, name, Manifest(kind=kind, body={"of": name}))
        return inside.write(lambda tx: publish(inside, tx, draft))

    inside = ctx.under(workspace.call("runs.start", name="between").id)
    append(inside, "means", pa.table({"mean": [read(inside, "trips@2").column("fare").to_pylist()[0]]}))
    made("model", "direct", "trips@1"), made("model", "later", "means"), made("model", "free", "other")
    proof = erasing.erase(ctx, (f"passenger={WHO}",))
    assert set(proof.models) == {"model:direct@1", "model:later@1"}
    for name, marked in (("direct", True), ("later", True), ("free", False)):
        tags = resolve(ctx, f"model:{name}").tags
        assert (tags.get(MARK_TAG) == proof.id) is marked


def test_dry_run_tells_and_changes_nothing(ctx: Context) -> None:
    before = ten_versions(ctx)
    files = {path: zlib.crc32(data) for path, data in stored(ctx.ports.folder / "objects")}
    told = erasing.erase(ctx, (f"passenger={WHO}",), dry_run=True)
    assert told.dry_run
    assert {line.holder: line.places for line in told.holders} == {
        "answers": 0,
        "evaluation": 0,
        "explorations": 0,
        "online": 0,
        "sources": 0,
        "streams": 0,
        "versions": 10,
    }
    assert {path: zlib.crc32(data) for path, data in stored(ctx.ports.folder / "objects")} == files
    assert read(ctx, "trips@10").to_pylist() == before[10]
    assert erasing.erasures(ctx) == ()


def test_the_proof_holds_no_value_and_is_signed(ctx: Context) -> None:
    ten_versions(ctx)
    proof = erasing.erase(ctx, (f"passenger={WHO}",))
    assert erasing.erasures(ctx) == (proof,)
    assert WHO not in repr(proof)
    assert proof.mark == parse_subject((f"passenger={WHO}",)).mark(ctx.ports.keys)
    signed = erasing.signed_bytes(proof)
    assert ctx.ports.signer.verify(ctx.ports.signer.public_key, signed, proof.signature)
    with ctx.read() as tx:
        events = list(tx.journal.read(0, 10_000))
    assert WHO not in repr(events)
    assert events[-1].kind == "data.erased"


def test_erasing_twice_is_erasing_once(ctx: Context) -> None:
    ten_versions(ctx)
    erasing.erase(ctx, (f"passenger={WHO}",))
    there = {number: resolve(ctx, f"dataset:trips@{number}").digest for number in range(1, 11)}
    again = erasing.erase(ctx, (f"passenger={WHO}",))
    assert sum(line.rows for line in again.holders) == 0
    assert {number: resolve(ctx, f"dataset:trips@{number}").digest for number in range(1, 11)} == there


def test_what_comes_back_with_a_backup_is_erased_again(workspace: Workspace, tmp_path: Path) -> None:
    ctx = workspace.context()
    ten_versions(ctx)
    file = tmp_path / "backup.tar"
    workspace.call("platform.backup", file=str(file))
    append(ctx, "trips", rows(60, "r0"))
    erasing.erase(ctx, (f"passenger={WHO}",))
    erasing.erase(ctx, ("passenger=p1-1",))
    assert WHO.encode() not in (ctx.ports.folder / MARKS_FILE).read_bytes()
    workspace.close()
    command = [sys.executable, "-m", "loopwright", "restore", str(file), "--force", "--json", "-"]
    env = {**os.environ, "LOOPWRIGHT_WORKSPACE": str(ctx.ports.folder)}
    told_by = subprocess.run(command, check=True, env=env, capture_output=True, timeout=60)
    assert json.loads(told_by.stdout)["erased"] == 2
    assert holding(ctx.ports.folder) == holding(ctx.ports.folder, "p1-1") == []  # before it is opened
    with Workspace.open(ctx.ports.folder) as again:
        restored = again.context()
        told = read(restored, "trips").column("passenger").to_pylist()
        assert {"q0", "p1-0"} <= set(told)
        assert not {WHO, "p1-1", "r0"} & set(told)
        assert holding(ctx.ports.folder) == []
        assert len(erasing.erasures(restored)) == 2


def test_an_erasure_that_was_broken_off_is_ended_at_the_next_start(
    ctx: Context, workspace: Workspace
) -> None:
    ten_versions(ctx)
    subject = parse_subject((f"passenger={WHO}",))
    line = {"space": ctx.space, "columns": subject.columns, "mark": subject.mark(ctx.ports.keys)}
    (ctx.ports.folder / MARKS_FILE).write_text(json.dumps(line) + "\n")
    folder = ctx.ports.folder
    workspace.close()
    with Workspace.open(folder) as again:
        assert WHO not in read(again.context(), "trips").column("passenger").to_pylist()
        assert len(erasing.erasures(again.context())) == 1
    assert holding(folder) == []


@pytest.mark.parametrize("value", [*WRITTEN, "1e22"])
def test_what_was_broken_off_or_comes_back_is_known_however_the_value_was_written(
    ctx: Context, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    kind, values = WRITTEN.get(value, (pa.float64(), [1e22, 1.0, 2.0, 3.0]))
    append(ctx, "d", pa.table({"key": pa.array(values, kind)}))
    with monkeypatch.context() as patched:
        patched.setattr(erasing, "_swept", interrupted)
        with pytest.raises(KeyboardInterrupt):
            erasing.erase(ctx, (f"key={value}",))
    folder = ctx.ports.folder
    workspace.close()
    with Workspace.open(folder) as again:
        assert read(again.context(), "d").num_rows == 3
        append(again.context(), "d", pa.table({"key": pa.array(values, kind)}))
        erasing.erase_again(again.context())
        assert read(again.context(), "d").num_rows == 6


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("entity", [(), ("passenger",), ("=3",), ("passenger=",), ("a=1", "a=2")])
def test_an_entity_that_is_none_is_refused(ctx: Context, entity: tuple[str, ...]) -> None:
    with pytest.raises(Invalid, match=r"entity|column"):
        erasing.erase(ctx, entity)
