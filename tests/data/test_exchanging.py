"""Delta and Iceberg tables: what we write their libraries read, and back; plain files need nobody."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import deltalake
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.memory import InMemoryCatalog
from pyiceberg.table import StaticTable

from loopwright.adapters.objects import FolderObjects
from loopwright.core.errors import Conflict, Invalid, LoopwrightError, NotFound
from loopwright.core.expressions import col
from loopwright.data.appending import append
from loopwright.data.exchanging import export_table, import_table
from loopwright.data.reading import read
from loopwright.data.rewriting import delete
from loopwright.data.verbs import show
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.testing.builders import memory_context, memory_ports


@pytest.fixture
def ctx() -> Context:
    return memory_context()


def _rows(start: int, count: int) -> pa.Table:
    return pa.table(
        {
            "n": list(range(start, start + count)),
            "x": [None if n % 3 == 0 else n / 7 for n in range(start, start + count)],
            "text": [None if n % 5 == 0 else f"wörd {n}" for n in range(start, start + count)],
            "is_even": [n % 2 == 0 for n in range(start, start + count)],
            "at": pa.array(range(start, start + count), pa.timestamp("us", "UTC")),
        }
    )


def _read_delta(place: Path, version: int | None = None) -> list[dict[str, object]]:
    found: list[dict[str, object]] = (
        deltalake.DeltaTable(str(place), version=version).to_pyarrow_table().to_pylist()
    )
    return sorted(found, key=lambda row: str(row["n"]).zfill(9))


def _read_iceberg(place: Path) -> list[dict[str, object]]:
    newest = max((place / "metadata").glob("*.metadata.json"), key=lambda path: path.name)
    found: list[dict[str, object]] = (
        StaticTable.from_metadata(f"file://{newest}").scan().to_arrow().to_pylist()
    )
    return sorted(found, key=lambda row: str(row["n"]).zfill(9))


@pytest.mark.parametrize(("form", "theirs"), [("delta", _read_delta), ("iceberg", _read_iceberg)])
def test_what_is_exported_their_library_reads_and_we_read_again(
    ctx: Context, tmp_path: Path, form: str, theirs: object
) -> None:
    assert callable(theirs)
    append(ctx, "d", _rows(0, 40))
    append(ctx, "d", _rows(40, 10))
    place = tmp_path / "out put"
    done = export_table(ctx, "d", str(place), format=form)  # type: ignore[arg-type] # one of the two
    assert (done.version, done.rows) == (2, 50)
    assert theirs(place) == read(ctx, "dataset:d").to_pylist()
    with pytest.raises(Conflict):
        export_table(ctx, "d", str(place), format=form)  # type: ignore[arg-type] # as above
    delete(ctx, "d", where=col("n") < 45)
    again = export_table(ctx, "d", str(place), format=form, replace=True)  # type: ignore[arg-type] # as above
    assert theirs(place) == read(ctx, "dataset:d").to_pylist()
    back = import_table(ctx, str(place), format=form, into="back")  # type: ignore[arg-type] # as above
    assert (back.rows, back.lake_version, back.is_new) == (5, again.lake_version, True)
    assert not import_table(ctx, str(place), format=form, into="back").is_new  # type: ignore[arg-type] # as above
    old = import_table(ctx, str(place), format=form, into="back", version=done.lake_version)  # type: ignore[arg-type] # as above
    assert (old.version, old.rows) == (2, 50)
    found = sorted(read(ctx, "dataset:back").to_pylist(), key=lambda row: int(row["n"]))
    assert found == read(ctx, "dataset:d@2").to_pylist()


def test_a_delta_table_of_theirs_with_a_history_is_read_as_of_any_version(
    ctx: Context, tmp_path: Path
) -> None:
    place = str(tmp_path / "theirs")
    deltalake.write_deltalake(place, _rows(0, 10), partition_by=["is_even"])
    deltalake.write_deltalake(place, _rows(10, 5), mode="append")
    deltalake.DeltaTable(place).delete("n < 3")
    assert import_table(ctx, place, format="delta").rows == 12
    assert import_table(ctx, place, format="delta", version="0").rows == 10
    assert show(ctx, "theirs").body["facts"]["imported"]["version"] == "0"
    with pytest.raises(LoopwrightError):
        import_table(ctx, place, format="delta", version="99")


def test_an_iceberg_table_of_theirs_with_a_catalog_is_read_by_its_metadata(
    ctx: Context, tmp_path: Path
) -> None:
    catalog = InMemoryCatalog("theirs", warehouse=tmp_path.as_uri())
    catalog.create_namespace("ns")
    made = catalog.create_table("ns.t", schema=_rows(0, 2).schema)
    made.append(_rows(0, 10))
    first = made.current_snapshot()
    made.append(_rows(10, 5))
    made.delete("n < 3")
    assert import_table(ctx, made.metadata_location, format="iceberg", into="t").rows == 12
    assert first is not None
    assert (
        import_table(
            ctx, made.metadata_location, format="iceberg", into="t", version=str(first.snapshot_id)
        ).rows
        == 10
    )
    with pytest.raises(NotFound):
        import_table(ctx, made.metadata_location, format="iceberg", into="t", version="12345")


def test_times_without_a_zone_need_one(ctx: Context, tmp_path: Path) -> None:
    place = str(tmp_path / "t")
    deltalake.write_deltalake(place, pa.table({"t": pa.array([0], pa.timestamp("us"))}))
    with pytest.raises(Invalid, match="zone"):
        import_table(ctx, place, format="delta")
    import_table(ctx, place, format="delta", zone="America/New_York")
    assert read(ctx, "dataset:t").to_pydict() == {"t": [datetime(1970, 1, 1, 5, tzinfo=UTC)]}


@pytest.mark.parametrize("form", ["delta", "iceberg"])
def test_what_is_no_table_or_a_damaged_one_is_refused(ctx: Context, tmp_path: Path, form: str) -> None:
    with pytest.raises(NotFound):
        import_table(ctx, str(tmp_path / "none"), format=form)  # type: ignore[arg-type] # one of the two
    append(ctx, "d", _rows(0, 10))
    place = tmp_path / "t"
    export_table(ctx, "d", str(place), format=form)  # type: ignore[arg-type] # as above
    for path in place.rglob("*.parquet"):
        path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(LoopwrightError) as told:
        import_table(ctx, str(place), format=form, into="e")  # type: ignore[arg-type] # as above
    assert told.value.status < 500
    logs = [*place.glob("_delta_log/*.json"), *place.glob("metadata/*.json")]
    for path in logs:
        path.write_text(json.dumps({"nothing": 1}))
    with pytest.raises(LoopwrightError) as told:
        import_table(ctx, str(place), format=form, into="e")  # type: ignore[arg-type] # as above
    assert told.value.status < 500


def test_plain_parquet_is_read_without_us(tmp_path: Path) -> None:
    """The files of a version: DuckDB and pyarrow alone read them, in the store or handed out."""
    ctx = memory_context(memory_ports(objects=FolderObjects(tmp_path / "objects")))
    for start in range(0, 60, 20):
        append(ctx, "d", _rows(start, 20))
    manifest = manifest_of(ctx, resolve(ctx, "dataset:d@2"))
    paths = [str(ctx.ports.objects.local_path(entry.digest)) for entry in manifest.entries]
    assert all(path.startswith(str(tmp_path / "objects")) for path in paths)
    export_table(ctx, "d", str(tmp_path / "plain"))
    expected = (sum(range(40)), sum(range(60)))
    line = duckdb.connect()
    sums = (
        line.execute(f"select sum(n) from read_parquet({paths!r})").fetchall(),
        line.execute(f"select sum(n) from '{tmp_path}/plain/*.parquet'").fetchall(),
    )
    line.close()
    assert sums == ([(expected[0],)], [(expected[1],)])
    tables = pa.concat_tables([pq.read_table(path) for path in paths])
    assert tables.to_pylist() == _rows(0, 40).to_pylist()
    with pytest.raises(Conflict):
        export_table(ctx, "d", str(tmp_path / "plain"))
