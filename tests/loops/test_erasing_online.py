"""Erasure of what is kept for lookups: entities by their key, rows of the subject under other entities."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest

from loopwright.core.expressions import Scalar, Window, col
from loopwright.core.instants import to_micros
from loopwright.data.appending import append
from loopwright.data.rewriting import delete
from loopwright.engine.context import Context
from loopwright.features.nouns import FeatureView
from loopwright.features.verbs import define_view, materialize, push
from loopwright.loops import erasing
from loopwright.workspace import Workspace
from tests.loops.test_erasing import START, WHO, holding

KEYS: dict[str, tuple[Scalar, Scalar]] = {"text": (WHO, "p1"), "number": (918273645, 91827364)}


def trips(*told: tuple[Scalar, str, float]) -> pa.Table:
    return pa.table(
        {
            "passenger": [who for who, _, _ in told],
            "flight": [flight for _, flight, _ in told],
            "at": pa.array(
                [START + timedelta(minutes=n) for n in range(len(told))], pa.timestamp("us", "UTC")
            ),
            "fare": [fare for _, _, fare in told],
        }
    )


def view(name: str, *entity: str, latest: tuple[str, ...] = ("fare",)) -> FeatureView:
    windows = {"n": Window(op="count", expr=col("fare"), over="3650d")}
    return FeatureView(
        name=name, entity=entity, source="trips", event_time="at", latest=latest, windows=windows
    )


def answer(ctx: Context, store: str, *key: Scalar) -> dict[str, Any]:
    return dict(ctx.ports.online.read(store, [key], to_micros(ctx.now()))[0])


@pytest.mark.parametrize("kind", KEYS)
def test_entities_go_that_no_dataset_has_any_more_or_ever_had(ctx: Context, kind: str) -> None:
    who, other = KEYS[kind]
    rows = trips((who, "a", 1.0), (who, "b", 2.0), (other, "a", 3.0))
    append(ctx, "trips", rows, event_time="at", keys=("passenger", "flight"))
    define_view(ctx, view("both", "passenger", "flight"))
    materialize(ctx, "both", until=START + timedelta(days=1))
    delete(ctx, "trips", where=col("flight").eq("b"))
    push(ctx, "both", trips((who, "pushed", 4.0), (other, "pushed", 5.0)))
    ctx.ports.online.flush(to_micros(START + timedelta(days=1)))
    proof = erasing.erase(ctx, (f"passenger={who}",))
    assert {line.holder: line.rows for line in proof.holders}["online"] >= 3
    assert sorted(ctx.ports.online.keys("both@1")) == [(other, "a"), (other, "pushed")]
    assert answer(ctx, "both@1", other, "pushed")["fare"] == 5.0
    assert kind == "number" or holding(ctx.ports.folder) == []


def test_rows_of_the_subject_go_from_other_entities_whose_other_rows_stay(ctx: Context) -> None:
    """As if the subject had never been there: the row before it is the newest one again."""
    rows = trips(("p1", "a", 1.0), (WHO, "a", 2.0), ("p2", "b", 3.0), (WHO, "b", 4.0), ("p3", "b", 5.0))
    append(ctx, "trips", rows, event_time="at", keys=("passenger", "flight"))
    append(ctx, "trips", trips((WHO, "only", 6.0)))
    define_view(ctx, view("last", "flight", latest=("passenger", "fare")))
    define_view(ctx, view("counts", "flight"))  # tells it in the names of rows alone
    for name in ("last", "counts"):
        materialize(ctx, name, until=START + timedelta(days=1))
    assert answer(ctx, "last@1", "a")["passenger"] == WHO
    erasing.erase(ctx, (f"passenger={WHO}",))
    assert answer(ctx, "last@1", "a") == {"passenger": "p1", "fare": 1.0, "n": 1}
    assert answer(ctx, "last@1", "b") == {"passenger": "p3", "fare": 5.0, "n": 2}
    assert answer(ctx, "counts@1", "a")["n"] == 1
    assert answer(ctx, "counts@1", "only")["n"] == 0
    assert holding(ctx.ports.folder) == []


def test_what_was_pushed_alone_comes_back_with_a_backup_and_goes_again(
    ctx: Context, workspace: Workspace
) -> None:
    append(ctx, "trips", trips(("p1", "a", 1.0)), event_time="at", keys=("passenger", "flight"))
    define_view(ctx, view("hist", "passenger"))
    erasing.erase(ctx, (f"passenger={WHO}",))
    push(ctx, "hist", trips((WHO, "a", 2.0)))
    ctx.ports.online.flush(to_micros(START))
    assert len(erasing.erase_again(ctx).again) == 1
    assert list(ctx.ports.online.keys("hist@1")) == []
    assert holding(ctx.ports.folder) == []


def test_an_erasure_that_ends_later_takes_the_others_rows_in_again(ctx: Context) -> None:
    """Broken off after entities were forgotten: who ends it knows which views wait for their rows."""
    rows = trips(("p1", "a", 1.0), (WHO, "a", 2.0))
    append(ctx, "trips", rows, event_time="at", keys=("passenger", "flight"))
    define_view(ctx, view("last", "flight", latest=("passenger", "fare")))
    materialize(ctx, "last", until=START + timedelta(days=1))
    holders = erasing.HOLDERS
    try:
        erasing.HOLDERS = (holders[0], _Killed())  # type: ignore[assignment]  # as a crash would
        with pytest.raises(KeyboardInterrupt):
            erasing.erase(ctx, (f"passenger={WHO}",))
    finally:
        erasing.HOLDERS = holders
    assert answer(ctx, "last@1", "a")["n"] == 0
    erasing.resume(ctx)
    assert answer(ctx, "last@1", "a") == {"passenger": "p1", "fare": 1.0, "n": 1}
    assert holding(ctx.ports.folder) == []


class _Killed:
    name = "killed"

    def erase(self, *_: object) -> object:
        raise KeyboardInterrupt


def test_what_is_left_of_a_forgotten_key_is_no_plain_digest(ctx: Context) -> None:
    """Numbers are few: who has the file must not find out by trying which one was erased."""
    from loopwright.adapters.online.views import pack_key
    from loopwright.core.digests import digest_bytes

    append(ctx, "trips", trips((7, "a", 1.0)), event_time="at", keys=("passenger", "flight"))
    define_view(ctx, view("hist", "passenger"))
    materialize(ctx, "hist", until=START + timedelta(days=1))
    erasing.erase(ctx, ("passenger=7",))
    assert holding(ctx.ports.folder, digest_bytes(pack_key((7,)))) == []
