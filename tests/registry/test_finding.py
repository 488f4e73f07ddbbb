"""Logged models are found as a slow reading of all of them finds them, whatever is asked, on two stores."""

from __future__ import annotations

import contextlib
import math
import random
import sqlite3
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy

from loopwright.adapters.sql import open_ledger, upgrade_ledger
from loopwright.adapters.sql.repositories import measures
from loopwright.adapters.sql.schema import APPLICATION_ID
from loopwright.adapters.sql.upgrading import migrate
from loopwright.core.instants import to_micros
from loopwright.core.queries import Field, OnDataset, SortKey
from loopwright.engine.context import Context
from loopwright.ports.ledger import Ledger, PageRequest
from loopwright.registry import finding, logged
from loopwright.registry.nouns import LoggedModel, LoggedModelState, ModelPoint
from loopwright.testing.builders import SetClock, memory_context, memory_ports
from loopwright.testing.ledger import MemoryLedger
from loopwright.testing.querying import holds
from loopwright.tracking.dialects import LOGGED_MODELS
from loopwright.tracking.grammar import ModelOrder, parse_filter, parse_model_order
from tests.registry.worlds import NOON, made_experiment

_MODELS = 30
_DATASETS = (("", ""), ("train", ""), ("train", "t1"), ("test", "t1"))
_VALUES = (0.0, 0.25, 0.25, 0.5, 1.0, math.nan, math.inf, -math.inf)
_FILTERS = (
    "",
    "metrics.acc > 0.25",
    "metrics.acc >= 0.5 AND metrics.loss < 0.5",
    "metrics.acc = 0.25 AND params.depth = '1'",
    "metrics.acc != 0.25",
    "metrics.acc <= 0 OR metrics.loss > 0.5",
    "NOT metrics.acc > 0.25",
    "params.depth = '1' AND tags.t = 'b'",
    "params.depth IN ('0', '2')",
    "name = 'even'",
    "name LIKE '%d' AND metrics.acc > 0",
    "name ILIKE 'EV%'",
    "name != 'even'",
    "source_run_id = 'r1'",
    "source_run_id = ''",
    "status = 'READY'",
    "model_type = 'tree' AND name NOT IN ('odd', 'x')",
    f"creation_timestamp > {to_micros(NOON) // 1000 + 1}",
    f"creation_timestamp <= {to_micros(NOON) // 1000}",
)
_ORDERS = (
    ModelOrder(field_name="metrics.acc"),
    ModelOrder(field_name="metrics.acc", ascending=False),
    ModelOrder(field_name="metrics.acc", dataset_name="train"),
    ModelOrder(field_name="metrics.loss", ascending=False, dataset_name="train", dataset_digest="t1"),
    ModelOrder(field_name="name", ascending=False),
    ModelOrder(field_name="status"),
    ModelOrder(field_name="model_type", ascending=False),
    ModelOrder(field_name="creation_timestamp"),
    ModelOrder(field_name="last_updated_timestamp", ascending=False),
)


@pytest.fixture(params=["memory", "sqlite", "sqlite, walked"])
def ledger(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Ledger]:
    if request.param == "memory":
        yield MemoryLedger()
        return
    if request.param == "sqlite, walked":
        monkeypatch.setattr(measures, "_FEW", -1)
    opened = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    yield opened
    opened.close()


def _made(ctx: Context, rng: random.Random, homes: Sequence[str], *, times: int = 3) -> None:
    clock = ctx.ports.clock
    assert isinstance(clock, SetClock)
    for number in range(_MODELS):
        model = logged.create(
            ctx,
            rng.choice([homes[0], *homes]),
            rng.choice(["even", "odd", "Ev_n", "☂"]),
            model_type=rng.choice(["", "tree"]),
            source_run_id=rng.choice(["", "r1"]),
            params={"depth": str(number % 3)} if number % 4 else {},
            tags={"t": rng.choice("ab")},
        )
        points = [_point(rng, model, times) for _ in range(rng.randrange(5))]
        ctx.write(lambda tx, those=tuple(points): logged.measure(ctx, tx, those))  # type: ignore[misc]  # bound at once
        if rng.random() < 0.3:
            clock.set(NOON.replace(microsecond=rng.randrange(4000)))
        if rng.random() < 0.3:
            logged.finalize(ctx, model.id, LoggedModelState.READY)
        if rng.random() < 0.2:
            logged.add_params(ctx, model.id, {"depth": str(number % 3), "more": "1"})
        if rng.random() < 0.1:
            logged.delete(ctx, model.id)


def _point(rng: random.Random, model: LoggedModel, times: int) -> ModelPoint:
    name, digest = rng.choice(_DATASETS)
    return ModelPoint(
        model_id=model.id,
        run_id=rng.choice(["r1", "r2"]),
        key=rng.choice(["acc", "loss"]),
        value=rng.choice(_VALUES),
        step=rng.randrange(2),
        at_us=rng.randrange(times),
        dataset_name=name,
        dataset_digest=digest,
    )


def _all(ctx: Context) -> list[finding.Measured]:
    found = list[finding.Measured]()
    with ctx.read() as tx:
        for asset in tx.assets.page("default", "logged_model", PageRequest(limit=1_000)).items:
            if asset.deleted_at is None:
                points = tuple(logged.points_of(tx, "default", asset.name))
                found.append(finding.Measured(logged.read_logged(asset), points))
    return found


def _is_on(point: ModelPoint, datasets: Sequence[OnDataset]) -> bool:
    told = (point.dataset_name, point.dataset_digest)
    return not datasets or any(
        told == (on.name, told[1] if on.digest is None else on.digest) for on in datasets
    )


def _values(each: finding.Measured, datasets: Sequence[OnDataset], field: Field) -> Sequence[str | float]:
    model = each.model
    if field.kind == "metric":
        return [point.value for point in each.points if point.key == field.key and _is_on(point, datasets)]
    if field.kind != "attribute":
        told = model.tags if field.kind == "tag" else model.params
        return [told[field.key]] if field.key in told else []
    return [_attribute(model, field.key)]


def _attribute(model: LoggedModel, key: str) -> str | float:
    match key:
        case "creation_timestamp":
            return to_micros(model.created_at) // 1000
        case "last_updated_timestamp":
            return to_micros(model.updated_at) // 1000
        case "status":
            return model.state.upper()
    return str(getattr(model, {"model_id": "id"}.get(key, key)))


def _ordered(found: list[finding.Measured], keys: Sequence[SortKey]) -> list[finding.Measured]:
    for key in reversed(keys):
        on = (key.dataset,) if key.dataset else ()
        numbers = list[tuple[str | float, finding.Measured]]()
        nans, rest = list[tuple[float, finding.Measured]](), list[finding.Measured]()
        for each in found:
            points = [point for point in each.points if point.key == key.field.key and _is_on(point, on)]
            if key.field.kind != "metric":
                numbers.append((_attribute(each.model, key.field.key), each))
            elif not points:
                rest.append(each)
            else:
                value = max(points, key=lambda point: (point.at_us, point.step)).value
                if math.isnan(value):
                    nans.append((value, each))
                else:
                    numbers.append((value, each))
        numbers.sort(key=lambda pair: pair[0], reverse=key.descending)
        found = [each for _, each in numbers] + [each for _, each in nans] + rest
    return found


@pytest.mark.parametrize("seed", range(2))
def test_a_search_finds_what_a_slow_reading_of_all_finds(ledger: Ledger, seed: int) -> None:
    rng = random.Random(seed)
    ctx = memory_context(memory_ports(ledger=ledger, clock=SetClock(NOON)))
    homes = [made_experiment(ctx, "one"), made_experiment(ctx, "two")]
    _made(ctx, rng, homes)
    everything, seen_any = _all(ctx), 0
    for _ in range(40):
        where, order = rng.choice(_FILTERS), rng.sample(_ORDERS, rng.choice([0, 1, 1, 2]))
        order = [
            key for at, key in enumerate(order) if key.field_name not in {it.field_name for it in order[:at]}
        ]
        datasets = [OnDataset("train", rng.choice([None, "t1"])), OnDataset("test")][
            : rng.choice([0, 0, 1, 2])
        ]
        wanted = homes[: rng.choice([1, 2])]
        expected = _expected(everything, where, datasets, order, wanted)
        assert _walked(ctx, wanted, where, datasets, order) == expected, (where, order, datasets)
        seen_any += bool(expected)
    assert seen_any > 10


def _expected(
    everything: list[finding.Measured],
    where: str,
    datasets: Sequence[OnDataset],
    order: Sequence[ModelOrder],
    wanted: Sequence[str],
) -> list[str]:
    condition = parse_filter(where, LOGGED_MODELS)
    found = [
        each
        for each in everything
        if each.model.experiment_id in wanted
        and (condition is None or holds(condition, partial(_values, each, datasets)))
        and ("metrics." in where or not datasets or any(_is_on(point, datasets) for point in each.points))
    ]
    return [each.model.id for each in _ordered(found, parse_model_order(order))]


def _walked(
    ctx: Context,
    wanted: Sequence[str],
    where: str,
    datasets: Sequence[OnDataset],
    order: Sequence[ModelOrder],
) -> list[str]:
    seen, token = list[str](), ""
    while True:
        page = finding.search(ctx, wanted, where=where, datasets=datasets, order=order, limit=4, token=token)
        seen += [each.model.id for each in page.items]
        if not (token := page.next_token):
            return seen


def test_models_of_an_older_file_are_found_as_those_that_are_made_now(tmp_path: Path) -> None:
    """The lines that the upgrade writes are those that making and measuring wrote."""
    made, older = tmp_path / "made.db", tmp_path / "older.db"
    ledger = open_ledger(f"sqlite:///{made}")
    ctx = memory_context(memory_ports(ledger=ledger, clock=SetClock(NOON)))
    homes = [made_experiment(ctx, "one"), made_experiment(ctx, "two")]
    _made(ctx, random.Random(7), homes, times=10**9)
    long = logged.create(ctx, homes[0], params={"long": "x" * 400})
    key = "k" * 240 + "é" * 10
    at = ModelPoint(model_id=long.id, run_id="r", key=key, value=1.5, dataset_name="d" * 90)
    ctx.write(lambda tx: logged.measure(ctx, tx, [at]))
    ledger.close()
    engine = sqlalchemy.create_engine(f"sqlite:///{older}")
    with engine.begin() as connection:
        migrate(connection, to="0007")
    engine.dispose()
    with contextlib.closing(sqlite3.connect(older)) as file:
        file.executescript(f"PRAGMA application_id = {APPLICATION_ID}; ATTACH '{made}' AS made;")
        for table in ("assets", "documents"):
            file.execute(f"INSERT INTO {table} SELECT * FROM made.{table}")
        file.commit()
    upgrade_ledger(f"sqlite:///{older}")
    told = [_lines(path) for path in (made, older)]
    assert told[0] == told[1]
    assert len(told[0]) > 3 * _MODELS


def _lines(path: Path) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as file:
        return file.execute("SELECT * FROM asset_measures ORDER BY asset_id, name").fetchall()
