"""Workspaces that are about to be worked in, the pieces of work, and what each must come to.

A piece of work opens the workspace, yields, does it, and leaves without closing anything: as a process
does that comes to its end.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl  # noqa: F401 - so that the warm process has it
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq  # noqa: F401 - as above

from loopwright.core.errors import Conflict
from loopwright.core.expressions import Window, col
from loopwright.core.instants import to_micros
from loopwright.core.manifests import Manifest
from loopwright.data.drafting import Change
from loopwright.data.retention import collect as collect_dataset
from loopwright.data.retention import prune, set_retention
from loopwright.data.streams import write_segment
from loopwright.data.verbs import append, define_contract, delete, overwrite, upsert, write_together
from loopwright.engine.collection import collect as collect_all
from loopwright.engine.context import Context
from loopwright.engine.publishing import prepare, publish
from loopwright.features.nouns import FeatureView
from loopwright.loops import erasing
from loopwright.monitoring.labels import label_table, record
from loopwright.workspace import Workspace
from tests.data.weather import contract, weather

START = datetime(2024, 1, 1, tzinfo=UTC)
WHO = "passenger-4711-Zoe"
UNTIL = (START + timedelta(days=10), START + timedelta(days=20))
HERE = __name__
Rows = list[tuple[int, int]]


def table(keys: range, value: int) -> pa.Table:
    return pa.table({"key": list(keys), "value": [value] * len(keys)})


@contextmanager
def opened(folder: Path) -> Iterator[Context]:
    with Workspace.open(folder) as workspace:
        yield workspace.context()


def at_work(folder: Path) -> Context:
    """The workspace as a process that never closes it has it."""
    workspace = Workspace.open(folder)
    _OPEN.append(workspace)
    return workspace.context()


_OPEN: list[Workspace] = []


# ---------------------------------------------------------------------------------------------- publishing

BEFORE: Rows = [(key, 0) for key in range(20, 60)] + [(key, 1) for key in range(20)]
WEATHER_ROWS = 24


def published(folder: Path) -> None:
    """A table of two versions, two tables of one, and one with a contract."""
    with opened(folder) as ctx:
        overwrite(ctx, "d", table(range(60), 0), keys=("key",))
        upsert(ctx, "d", table(range(20), 1))
        for name in "ab":
            append(ctx, name, table(range(5), 0))
        define_contract(ctx, "weather", contract())
        append(ctx, "weather", weather(8), event_time="observed_at", batch="begin")


def _appended(ctx: Context) -> None:
    append(ctx, "d", table(range(60, 70), 7), batch="x")


def _overwritten(ctx: Context) -> None:
    overwrite(ctx, "d", table(range(30), 8), keys=("key",), batch="x")


def _upserted(ctx: Context) -> None:
    upsert(ctx, "d", table(range(50, 65), 9), batch="x")


def _deleted(ctx: Context) -> None:
    delete(ctx, "d", where=col("key") < 10, batch="x")


def _together(ctx: Context) -> None:
    changes = [Change(how="append", name=name, table=table(range(5), 3), batch="x") for name in "ab"]
    write_together(ctx, changes)


def _checked(ctx: Context) -> None:
    append(ctx, "weather", weather(8, start=8, wind={3: 1048.0}), event_time="observed_at", batch="x")


WRITES = {
    "append": _appended,
    "overwrite": _overwritten,
    "upsert": _upserted,
    "delete": _deleted,
    "together": _together,
    "checked": _checked,
}
AFTER: dict[str, Rows] = {
    "append": BEFORE + [(key, 7) for key in range(60, 70)],
    "overwrite": [(key, 8) for key in range(30)],
    "upsert": [row for row in BEFORE if row[0] < 50] + [(key, 9) for key in range(50, 65)],
    "delete": [row for row in BEFORE if row[0] >= 10],
}


def _write(folder: Path, how: str) -> Iterator[None]:
    ctx = at_work(folder)
    yield
    WRITES[how](ctx)


def work_append(folder: Path) -> Iterator[None]:
    return _write(folder, "append")


def work_overwrite(folder: Path) -> Iterator[None]:
    return _write(folder, "overwrite")


def work_upsert(folder: Path) -> Iterator[None]:
    return _write(folder, "upsert")


def work_delete(folder: Path) -> Iterator[None]:
    return _write(folder, "delete")


def work_together(folder: Path) -> Iterator[None]:
    return _write(folder, "together")


def work_checked(folder: Path) -> Iterator[None]:
    return _write(folder, "checked")


# ---------------------------------------------------------------------------------------------- two writers


def one_of_two(ctx: Context, which: int) -> None:
    """Either writer's batch: rows that tell whose they are."""
    append(ctx, "d", table(range(100 * which, 100 * which + 10), which), batch=f"of {which}")


def alone_at(ctx: Context, which: int, number: int) -> bool:
    """A write that expects to be the next one; whether it was, or was told."""
    try:
        append(ctx, "d", table(range(100 * which, 100 * which + 10), which), expect=number)
    except Conflict:
        return False
    return True


def work_first(folder: Path) -> Iterator[None]:
    ctx = at_work(folder)
    yield
    one_of_two(ctx, 1)


def work_second(folder: Path) -> Iterator[None]:
    ctx = at_work(folder)
    yield
    one_of_two(ctx, 2)


def work_first_expects(folder: Path) -> Iterator[None]:
    ctx = at_work(folder)
    yield
    alone_at(ctx, 1, 2)


def work_second_expects(folder: Path) -> Iterator[None]:
    ctx = at_work(folder)
    yield
    alone_at(ctx, 2, 2)


# -------------------------------------------------------------------------------------------- materializing

PASSENGERS = [WHO, *(f"p{n}" for n in range(11))]
VIEW = FeatureView(
    name="trip_history",
    entity=("passenger",),
    source="trips",
    event_time="at",
    known_at="known",
    latest=("fare",),
    windows={"trips_9d": Window(op="count", expr=col("fare"), over="9d")},
)
STORE = "trip_history@1"


def trips(part: int) -> list[dict[str, Any]]:
    """Rows that are known by the part's end; those of the second part are newer or older than what was."""
    rows = []
    for at, name in enumerate(PASSENGERS):
        day = 5 + at % 3 if part == 0 else (2 if at % 2 else 15)
        event = START + timedelta(days=day, minutes=at)
        known = event if day != 2 else START + timedelta(days=16)
        rows.append({"passenger": name, "at": event, "known": known, "fare": float(1000 * part + at)})
    return rows


def rows_table(rows: list[dict[str, Any]]) -> pa.Table:
    instants = pa.timestamp("us", "UTC")
    kinds = pa.schema({"passenger": pa.string(), "at": instants, "known": instants, "fare": pa.float64()})
    return pa.Table.from_pylist(rows, schema=kinds)


def newest_fares(parts: int) -> dict[str, float]:
    """Of each passenger the fare of the newest event, in plain Python."""
    rows = [row for part in range(parts) for row in trips(part)]
    return {row["passenger"]: row["fare"] for row in sorted(rows, key=lambda row: row["at"])}


def fed(folder: Path) -> None:
    """A view that was materialized, and rows that came since: newer ones, and older ones known late."""
    with opened(folder) as ctx:
        append(ctx, "trips", rows_table(trips(0)), event_time="at", known_at="known", keys=("passenger",))
        with Workspace.open(folder) as workspace:
            workspace.call("features.publish_view", view=VIEW)
            workspace.call("features.materialize", name=VIEW.name, until=UNTIL[0])
        append(ctx, "trips", rows_table(trips(1)))


def materialized(ctx: Context) -> None:
    from loopwright.features.verbs import materialize

    materialize(ctx, VIEW.name, until=UNTIL[1])


def pushed(ctx: Context) -> None:
    """What is known of trips, pushed by a caller, older rows last."""
    from loopwright.features.verbs import push

    rows = sorted(trips(1), key=lambda row: row["at"], reverse=True)
    push(ctx, VIEW.name, rows_table(rows))
    ctx.ports.online.flush(to_micros(UNTIL[0]), [STORE])


def work_materialize(folder: Path) -> Iterator[None]:
    ctx = at_work(folder)
    yield
    materialized(ctx)


def work_push(folder: Path) -> Iterator[None]:
    ctx = at_work(folder)
    yield
    pushed(ctx)


# -------------------------------------------------------------------------------------------------- erasing


def with_passenger(folder: Path) -> None:
    """Versions that share parts, a stream of predictions with labels, online rows, a model made of them."""
    fed(folder)
    with opened(folder) as ctx, Workspace.open(folder) as workspace:
        for day in range(2):
            rows = [{**row, "fare": row["fare"] + 7 * day} for row in trips(0)]
            append(ctx, "trips", rows_table(rows))
        append(ctx, "others", pa.table({"x": [1]}))
        at = pa.array([START] * 2, pa.timestamp("us", "UTC"))
        ids = ["r1:0", "r1:1"]
        told = pa.table({"prediction_id": ids, "at": at, "in_passenger": ["p1", WHO], "score": [0.1, 0.2]})
        write_segment(ctx, "predictions/risk", told, START, START)
        record(ctx, "risk", label_table(ids, [0.0, 1.0], [START] * 2))
        inside = ctx.under(workspace.call("runs.start", name="training").id)
        _read(inside, "trips@1")
        draft = prepare(inside, "risk", Manifest(kind="model", body={"of": "trips"}))
        inside.write(lambda tx: publish(inside, tx, draft))


def _read(ctx: Context, address: str) -> pa.Table:
    from loopwright.data.reading import read

    return read(ctx, address)


def erased(ctx: Context) -> None:
    erasing.erase(ctx, (f"passenger={WHO}",))


def work_erase(folder: Path) -> Iterator[None]:
    erasing._SETTLED = timedelta(0)
    ctx = at_work(folder)
    yield
    erased(ctx)


def work_arrive(folder: Path) -> Iterator[None]:
    """Rows of somebody else, while it is erased."""
    ctx = at_work(folder)
    yield
    for at in range(3):
        row = {"passenger": "late", "at": START, "known": START, "fare": float(at)}
        append(ctx, "trips", rows_table([row]), batch=f"late {at}")


# ----------------------------------------------------------------------------------------------- collecting


def pruned(folder: Path) -> None:
    """Versions that retention let go, objects nobody names, all of them old."""
    with opened(folder) as ctx:
        overwrite(ctx, "d", table(range(60), 0), keys=("key",))
        for step in range(5):
            upsert(ctx, "d", table(range(10 * step, 10 * step + 10), step + 1))
        for name in "ab":
            append(ctx, name, table(range(5), 0))
        for n in range(4):
            ctx.ports.objects.put(f"nobody's {n}".encode())
        set_retention(ctx, "d", keep_last=2)
        prune(ctx, "d", dry_run=False)
        old = time.time() - 3 * 86_400
        for stat in ctx.ports.objects.list():
            os.utime(folder / "objects" / stat.digest[:2] / stat.digest, (old, old))


def collected(ctx: Context) -> None:
    collect_dataset(ctx, "d", dry_run=False)
    collect_all(ctx, dry_run=False)


def work_collect(folder: Path) -> Iterator[None]:
    ctx = at_work(folder)
    yield
    collected(ctx)


def put_again(ctx: Context) -> None:
    """What a version held that is about to be collected, once more."""
    append(ctx, "again", table(range(60), 0), batch="x")
    overwrite(ctx, "d", table(range(60), 0), keys=("key",), batch="x")


def work_put_again(folder: Path) -> Iterator[None]:
    ctx = at_work(folder)
    yield
    put_again(ctx)
