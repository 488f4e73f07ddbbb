"""Further worlds to be killed in: checkouts, quarantine let out, a merge, a training set, erased files."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pyarrow as pa

from loopwright.core.schema import ColumnType
from loopwright.data.branches import branch, merge
from loopwright.data.checkouts import checkout
from loopwright.data.folders import add_folder
from loopwright.data.nouns import ColumnRule, Contract, Volume
from loopwright.data.releasing import release
from loopwright.data.verbs import append, define_contract
from loopwright.engine.context import Context
from loopwright.features.nouns import FeatureView
from loopwright.features.training import make_training_set
from loopwright.features.verbs import define_view, materialize
from loopwright.loops import erasing
from tests.faults.killed_worlds import START, WHO, at_work, opened, table

HERE = __name__
FILES = {f"deep/{n}.csv": f"passenger,n\n{WHO},{n}\np1,{n}\n" for n in range(12)} | {
    "large.csv": "passenger,n\n" + f"p1,1\n{WHO},2\n" * 4000,
    "note.txt": "of nobody",
}
OLD = {"note.txt": "as it was", "mine.txt": "not of the version", "deep/3.csv": "as it was"}


def written(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


# -------------------------------------------------------------------------------------------- checking out


def filed(folder: Path) -> None:
    """A version of a folder."""
    source = folder.parent / "in"
    written(source, FILES)
    with opened(folder) as ctx:
        add_folder(ctx, "files", source)


def checked_out(ctx: Context, folder: Path) -> None:
    checkout(ctx, "files", folder.parent / "new")


def replaced(ctx: Context, folder: Path) -> None:
    checkout(ctx, "files", folder.parent / "old", replace=True)


def work_checkout(folder: Path) -> Iterator[None]:
    ctx = at_work(folder)
    yield
    checked_out(ctx, folder)


def work_replace(folder: Path) -> Iterator[None]:
    ctx = at_work(folder)
    written(folder.parent / "old", OLD)
    yield
    replaced(ctx, folder)


# ------------------------------------------------------------------------------------------ letting rows out


def quarantined(folder: Path) -> None:
    """Two batches of which rows were kept out."""
    rule = ColumnRule(name="value", type=ColumnType.INT, max=5)
    with opened(folder) as ctx:
        define_contract(ctx, "d", Contract(name="d", columns=(rule,), volume=Volume(max_quarantined=1.0)))
        for begin in (0, 20):
            good, bad = table(range(begin, begin + 10), 1), table(range(begin + 10, begin + 14), 9)
            append(ctx, "d", pa.concat_tables([good, bad]), batch=f"from {begin}")


def released(ctx: Context) -> None:
    release(ctx, "d", why="they are right")


def work_release(folder: Path) -> Iterator[None]:
    ctx = at_work(folder)
    yield
    released(ctx)


# -------------------------------------------------------------------------------------------------- merging


def branched(folder: Path) -> None:
    """A branch that is ahead of its dataset."""
    with opened(folder) as ctx:
        append(ctx, "d", table(range(10), 0))
        branch(ctx, "d", "trial")
        append(ctx, "d", table(range(10, 15), 1), branch="trial")


def merged(ctx: Context) -> None:
    merge(ctx, "d", "trial")


def work_merge(folder: Path) -> Iterator[None]:
    ctx = at_work(folder)
    yield
    merged(ctx)


# -------------------------------------------------------------------------------------------- training sets


def asked(folder: Path) -> None:
    """Two views of one dataset, and rows to be asked about."""
    at = pa.array([START + timedelta(hours=n) for n in range(12)], pa.timestamp("us", "UTC"))
    rows = pa.table(
        {
            "passenger": [WHO if n % 3 == 0 else f"p{n % 3}" for n in range(12)],
            "flight": [f"f{n % 4}" for n in range(12)],
            "at": at,
            "fare": [float(n) for n in range(12)],
        }
    )
    views = {"fares": ("passenger", ("fare",)), "seats": ("flight", ("passenger", "fare"))}
    with opened(folder) as ctx:
        append(ctx, "trips", rows, event_time="at", keys=("passenger", "at"))
        append(ctx, "spine", rows.select(["passenger", "at"]), event_time="at")
        for name, (entity, latest) in views.items():
            view = FeatureView(name=name, entity=(entity,), source="trips", event_time="at", latest=latest)
            define_view(ctx, view)


def trained(ctx: Context) -> None:
    make_training_set(ctx, "training", spine="spine", features=("fares:fare",))


def work_train(folder: Path) -> Iterator[None]:
    ctx = at_work(folder)
    yield
    trained(ctx)


# -------------------------------------------------------------------------------------------------- erasing


def held_everywhere(folder: Path) -> None:
    """Files of folders, and views by another entity that answer with the subject."""
    asked(folder)
    filed(folder)
    with opened(folder) as ctx:
        for name in ("fares", "seats"):
            materialize(ctx, name, until=START + timedelta(days=1))


def erased(ctx: Context) -> None:
    erasing.erase(ctx, (f"passenger={WHO}",))


def work_erase(folder: Path) -> Iterator[None]:
    erasing._SETTLED = timedelta(0)
    ctx = at_work(folder)
    yield
    erased(ctx)
