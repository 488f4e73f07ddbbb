"""Bodies of strangers that are rows, or are not: kept or refused with a reason, never a fault of ours."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.attacks.worlds import World, answered, furnished
from tests.data.test_hostile import FILES, KEPT_FILES, REFUSED, TABLES

TYPES = {
    ".csv": "text/csv",
    ".jsonl": "application/x-ndjson",
    ".parquet": "application/vnd.apache.parquet",
    ".arrow": "application/vnd.apache.arrow.file",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with furnished(tmp_path_factory.mktemp("uploads"), is_serving=False) as found:
        yield found


def sent(world: World, name: str, body: bytes, media_type: str) -> int:
    """The status; what was kept is shown, read, profiled and has a page."""
    headers = {"content-type": media_type}
    reply = world.ask("POST", f"/api/v1/datasets/{name}/rows", body=body, headers=headers)
    answered(reply, name)
    for path in ("", "/rows", "/profile"):
        answered(world.ask("GET", f"/api/v1/datasets/{name}{path}"), f"{name}{path}")
    answered(world.ask("GET", f"/datasets/{name}"), name)
    return reply.status


@pytest.mark.parametrize("file", FILES)
def test_a_body_that_is_broken_or_another_one_is_refused(world: World, file: str) -> None:
    kind = TYPES.get(Path(file).suffix, "application/octet-stream")
    status = sent(world, f"file-{file.replace('.', '-')}", FILES[file](), kind)
    assert (status < 300) is (file in KEPT_FILES)


def _as_arrow(table: pa.Table) -> bytes:
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as stream:
        stream.write_table(table)
    return out.getvalue()


def _as_parquet(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["arrow", "parquet"])
@pytest.mark.parametrize("name", TABLES)
def test_a_body_of_any_type_is_kept_or_refused(world: World, name: str, way: str) -> None:
    """The same types of a program's tables; a format may turn one into another that can be kept."""
    try:
        body = (_as_arrow if way == "arrow" else _as_parquet)(TABLES[name]())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return
    status = sent(world, f"{way}-{sorted(TABLES).index(name)}", body, TYPES[f".{way}"])
    if way == "arrow":
        assert (status < 300) is (name not in REFUSED)
