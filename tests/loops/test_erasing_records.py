"""Erasure beyond tables: evaluation records, places of sources, and what only mentions a value."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import sqlite3
import threading
import zipfile
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loopwright.core.errors import Conflict
from loopwright.core.expressions import col
from loopwright.data.appending import append
from loopwright.data.folders import add_folder
from loopwright.data.reading import read
from loopwright.data.retention import prune, set_retention
from loopwright.data.rewriting import delete, overwrite
from loopwright.data.sources import ingest
from loopwright.engine.collection import collect_objects
from loopwright.engine.context import Context
from loopwright.engine.holders import MARKS_FILE, parse_subject
from loopwright.engine.presence import ERASING, alone
from loopwright.llm import datasets
from loopwright.loops import erasing, unpacking
from loopwright.loops.mentions import Mention
from loopwright.tracking import verbs
from loopwright.tracking.artifacts import store
from loopwright.tracking.homes import in_run
from loopwright.tracking.paths import file_path
from loopwright.workspace import Workspace
from tests.loops.test_erasing import WHO, holding


def of(proof: erasing.Erasure, holder: str) -> tuple[int, int]:
    """How many rows it had of the subject, and in how many places."""
    (line,) = (line for line in proof.holders if line.holder == holder)
    return line.rows, line.places


# records of evaluation datasets


def test_records_with_the_field_go_however_deep_it_is(ctx: Context) -> None:
    one, two = (datasets.create(ctx, name) for name in ("one", "two"))
    texts: list[dict[str, Any]] = [
        {"inputs": {"passenger": WHO, "question": "when?"}},
        {"inputs": {"question": "who?"}, "expectations": {"answer": {"people": [{"passenger": WHO}]}}},
        {"inputs": {"question": "what?"}, "outputs": [{"passenger": "p2"}]},
        {"inputs": {"question": "how?", "note": f"not by {WHO}x"}},
    ]
    datasets.merge(ctx, one.id, texts)
    datasets.merge(ctx, two.id, [{"inputs": {"seat": seat}} for seat in (4711, "4711", 47110)])
    fresh = datasets.create(ctx, "one")
    datasets.merge(ctx, fresh.id, texts[2:])
    proof = erasing.erase(ctx, (f"passenger={WHO}",))
    assert of(proof, "evaluation") == (2, 1)
    left = datasets.records(ctx, one.id).items
    assert [each.inputs["question"] for each in left] == ["what?", "how?"]
    now = datasets.show(ctx, one.id)
    assert (now.records, now.digest) == (2, datasets.show(ctx, fresh.id).digest)
    assert of(erasing.erase(ctx, ("seat=4711",)), "evaluation") == (2, 1)
    assert [each.inputs for each in datasets.records(ctx, two.id).items] == [{"seat": 47110}]


def test_nothing_of_a_record_is_in_any_file(workspace: Workspace, ctx: Context) -> None:
    made = datasets.create(ctx, "d")
    long = {"inputs": {"passenger": WHO, "text": f"{WHO} " * 3_000}}
    datasets.merge(ctx, made.id, [long, *({"inputs": {"passenger": f"p{n}"}} for n in range(50))])
    assert holding(ctx.ports.folder)
    proof = erasing.erase(ctx, (f"passenger={WHO}",))
    assert (of(proof, "evaluation"), proof.left, proof.mentions) == ((1, 1), 0, ())
    folder = ctx.ports.folder
    assert holding(folder) == []  # while it is open: the log beside the ledger too
    workspace.close()
    assert holding(folder) == []


def test_a_record_that_comes_back_is_recognised_and_goes_again(ctx: Context) -> None:
    made = datasets.create(ctx, "d")
    record = {"inputs": {"passenger": WHO}, "expectations": {"x": 1}}
    datasets.merge(ctx, made.id, [record])
    erasing.erase(ctx, (f"passenger={WHO}",))
    datasets.merge(ctx, made.id, [record])
    assert len(erasing.erase_again(ctx).again) == 1
    assert datasets.records(ctx, made.id).items == ()


# places of sources


@pytest.mark.parametrize("kind", ["integer", "text"])
def test_the_place_of_a_source_forgets_and_reading_goes_on(ctx: Context, tmp_path: Path, kind: str) -> None:
    """The value stands in the source's place alone once its row is erased; what is read later is new."""
    names = [1001, 1002, 1003, 1004] if kind == "integer" else [f"{WHO}{n}" for n in "abcd"]
    place = tmp_path / "shop.db"
    with closing(sqlite3.connect(place)) as shop:
        shop.execute(f"create table sales (id {kind}, amount real)")
        shop.executemany("insert into sales values (?, 1.5)", [(name,) for name in names[:3]])
        shop.commit()
        assert ingest(ctx, f"sqlite:///{place}", query="sales", cursor="id").rows == 3
        proof = erasing.erase(ctx, (f"id={names[2]}",))
        assert (of(proof, "sources"), of(proof, "versions"), proof.left) == ((1, 1), (1, 1), 0)
        with ctx.read() as tx:
            kept = json.dumps(dict(tx.documents.all(ctx.space, "source_readings")))
        assert str(names[2]) not in kept
        assert ingest(ctx, f"sqlite:///{place}", query="sales", cursor="id").rows == 0
        shop.execute("insert into sales values (?, 2.5)", (names[3],))
        shop.commit()
    ingest(ctx, f"sqlite:///{place}", query="sales", cursor="id")
    there = read(ctx, "sales").column("id").to_pylist()
    assert there == [*names[:2], names[3]]


# what only mentions a value


def test_texts_and_files_that_mention_a_value_are_told_by_count(ctx: Context) -> None:
    append(ctx, "trips", pa.table({"passenger": [WHO, "p1"]}))
    run = verbs.start(ctx, "run", "r", params={"who": WHO, "other": f"{WHO}x"})
    for name, data in (
        ("a.txt", f"of {WHO}."),
        ("b.txt", "of nobody"),
        ("c.bin", " " * ((1 << 20) - 5) + WHO),
    ):
        store(ctx, partial(in_run, space=ctx.space, run_id=run.id, path=file_path(name)), data.encode())
    dry = erasing.erase(ctx, (f"passenger={WHO}",), dry_run=True)
    proof = erasing.erase(ctx, (f"passenger={WHO}",))
    assert proof.mentions == dry.mentions
    found = {mention.place: mention.count for mention in proof.mentions}
    assert found["files of runs and traces"] == 2
    assert found["runs"] >= 1
    assert proof.left == 0
    assert WHO not in repr(proof)
    assert ctx.ports.signer.verify(ctx.ports.signer.public_key, erasing.signed_bytes(proof), proof.signature)
    (kept,) = erasing.erasures(ctx)
    assert kept == proof
    assert Mention(place="files of runs and traces", count=2) in kept.mentions


def _archive(name: str, data: bytes) -> bytes:
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("empty/", b"")
            archive.writestr(name, data)
        return file.getvalue()


def _table(values: list[str]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"n": list(range(len(values))), "who": values}), file, compression="zstd")
    return file.getvalue()


PACKED: dict[str, Callable[[str], bytes]] = {
    "small.txt": lambda who: f"about {who}".encode(),
    "large.txt": lambda who: b"." * 70_000 + who.encode(),
    "log.gz": lambda who: gzip.compress(f"x {who}\n".encode()),
    "log.bz2": lambda who: bz2.compress(f"x {who}\n".encode()),
    "log.xz": lambda who: lzma.compress(f"x {who}\n".encode()),
    "rows.zip": lambda who: _archive("rows.csv", f"a,{who},b".encode()),
    "name.zip": lambda who: _archive(f"{who}.csv", b"a,b"),
    "deep.zip": lambda who: _archive("in.zip", _archive("rows.gz", gzip.compress(who.encode()))),
    "rows.parquet": lambda who: _table(["p0", who]),
    "named.anything": lambda who: _table([who] * 3000),
    "cut.zip": lambda who: _archive("a", who.encode() * 50)[:-30],
}


def test_packed_files_and_those_of_folders_are_looked_into(ctx: Context, tmp_path: Path) -> None:
    """Of small ones, which share an object, each by itself; what is damaged is passed over."""
    append(ctx, "trips", pa.table({"passenger": [WHO, "p1"]}))
    place = tmp_path / "photos"
    place.mkdir()
    for name, made in PACKED.items():
        (place / name).write_bytes(made(WHO))
        (place / f"other-{name}").write_bytes(made("p0000999"))
    (place / "same.txt").write_bytes((place / "small.txt").read_bytes())
    add_folder(ctx, "photos", place)
    (place / "later.txt").write_bytes(b"nobody")
    add_folder(ctx, "photos", place)
    proof = erasing.erase(ctx, (f"passenger={WHO}",))
    assert proof.mentions == (Mention(place="files of folders", count=len(PACKED) - 1),)
    assert proof.left == 0


def test_a_file_that_unpacks_to_very_much_is_looked_into_up_to_a_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unpacking, "_MOST", 5 << 20)
    zeros = gzip.compress(b"0" * (4 << 20) + WHO.encode())
    bomb = gzip.compress(b"0" * (20 << 20) + WHO.encode())
    held = [
        unpacking.is_within(io.BytesIO(data), lambda piece: WHO.encode() in piece, len(WHO))
        for data in (zeros, bomb)
    ]
    assert held == [True, False]


def test_a_short_value_is_not_looked_for_in_texts(ctx: Context) -> None:
    append(ctx, "d", pa.table({"id": [2]}))
    verbs.start(ctx, "run", "r", params={"n": "2"})
    assert erasing.erase(ctx, ("id=2",)).mentions == ()


# what a crash and others leave


def test_a_mark_that_was_cut_off_is_in_nobodys_way(ctx: Context) -> None:
    """It was being written: nothing of that erasure had begun."""
    append(ctx, "trips", pa.table({"passenger": [WHO, "p1", "p2"]}))
    marks = ctx.ports.folder / MARKS_FILE
    marks.write_bytes(b'{"space":"default","colu')
    erasing.erase(ctx, (f"passenger={WHO}",))
    erasing.erase(ctx, ("passenger=p1",))
    assert [json.loads(line)["columns"] for line in marks.read_bytes().splitlines()] == [["passenger"]] * 2
    assert erasing.erase_again(ctx).marks == 2


def test_an_erasure_under_way_is_neither_broken_off_nor_begun_twice(ctx: Context) -> None:
    """Who opens the workspace meanwhile leaves it to the process that erases; who erases too is told."""
    append(ctx, "trips", pa.table({"passenger": [WHO, "p1"]}))
    subject = parse_subject((f"passenger={WHO}",))
    line = {"space": ctx.space, "columns": subject.columns, "mark": subject.mark(ctx.ports.keys)}
    (ctx.ports.folder / MARKS_FILE).write_text(json.dumps(line) + "\n")
    with alone(ctx.ports.folder, ERASING):
        with Workspace.open(ctx.ports.folder) as other:
            assert read(other.context(), "trips").num_rows == 2
        with pytest.raises(Conflict, match="erased from"):
            erasing.erase(ctx, (f"passenger={WHO}",))
    with Workspace.open(ctx.ports.folder) as other:
        assert read(other.context(), "trips").num_rows == 1


class _Slow:
    """An object store in which somebody writes between a look at an object and its removal."""

    def __init__(self, objects: object, meanwhile: object) -> None:
        self._objects, self._meanwhile = objects, meanwhile

    def __getattr__(self, name: str) -> object:
        return getattr(self._objects, name)

    def remove(self, digest: str) -> None:
        assert callable(self._meanwhile)
        self._meanwhile()
        self._objects.remove(digest)  # type: ignore[attr-defined]  # the real one


def test_what_is_written_again_while_it_is_collected_stays(workspace: Workspace, ctx: Context) -> None:
    """A version that names what is just being removed is published after that, of its own copy."""
    rows = pa.table({"key": list(range(50)), "value": [7] * 50})
    append(ctx, "d", rows)
    overwrite(ctx, "d", pa.table({"key": [1], "value": [1]}))
    set_retention(ctx, "d", keep_last=1)
    prune(ctx, "d", dry_run=False)
    threads: list[threading.Thread] = []

    def write_again() -> None:
        if not threads:
            threads.append(threading.Thread(target=append, args=(ctx, "again", rows)))
            threads[0].start()
            threads[0].join(0.3)

    real = ctx.ports.objects
    later = Workspace.open(ctx.ports.folder)
    other = later.context()
    later.ports.__dict__["objects"] = _Slow(other.ports.objects, write_again)
    collect_objects(other, dry_run=False, grace=timedelta(0))
    threads[0].join()
    later.close()
    assert read(ctx, "again").num_rows == 50
    assert all(real.get(stat.digest) for stat in real.list())
    delete(ctx, "again", where=col("key") < 10)
    assert read(ctx, "again").num_rows == 40
