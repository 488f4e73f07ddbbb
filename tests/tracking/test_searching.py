"""Runs found as clients ask for them; the search itself is held to its twin in the ledger's suite."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from loopwright.core.errors import Invalid, NotFound
from loopwright.core.nouns import MetricPoint
from loopwright.engine.context import Context
from loopwright.ports.ledger import PageRequest
from loopwright.testing.builders import memory_context
from loopwright.tracking import experiments, searching
from loopwright.tracking.intake import Batch, log_batch
from loopwright.tracking.lifecycle import NewRun, create_run, delete_run
from loopwright.tracking.verbs import start

_THEN = datetime(2023, 11, 14, tzinfo=UTC)
_PAGE = PageRequest(limit=100)


def _filled(ctx: Context) -> str:
    """An experiment with three runs: a, b, c by time and by accuracy."""
    made = experiments.make(ctx, "e").id
    for number, name in enumerate("abc"):
        new = NewRun(experiment_id=made, name=name, started_at=_THEN + timedelta(seconds=number))
        points = [MetricPoint(key="acc", value=number / 10, step=0, at_us=1)]
        log_batch(ctx, create_run(ctx, new).id, Batch(points=points, params=[("odd", str(number % 2))]))
    return made


def test_runs_are_found_in_experiments_by_id() -> None:
    ctx = memory_context()
    made = _filled(ctx)
    start(ctx, "training", "elsewhere", experiment="f")
    found = searching.search(ctx, [made, "73"], "metrics.acc > 0", ["metrics.acc"], page=_PAGE)
    assert [each.run.name for each in found.page.items] == ["b", "c"]
    assert found.experiment_ids == {"e": made}
    assert [p.value for p in found.page.items[0].metrics] == [0.1]
    assert not searching.search(ctx, [], page=_PAGE).page.items
    with pytest.raises(Invalid, match="Invalid experiment ID"):
        searching.search(ctx, ["abc"], page=_PAGE)
    with pytest.raises(Invalid):
        searching.search(ctx, [made], "colour = 'x'", page=_PAGE)


def test_the_newest_come_first_page_by_page() -> None:
    ctx = memory_context()
    made = _filled(ctx)
    names, token = [], ""
    while True:
        page = searching.search(ctx, [made], page=PageRequest(limit=1, token=token)).page
        names += [each.run.name for each in page.items]
        token = page.next_token
        if not token:
            break
    assert names == ["c", "b", "a"]


def test_the_trash_is_looked_into_when_asked() -> None:
    ctx = memory_context()
    made = _filled(ctx)
    delete_run(ctx, searching.search(ctx, [made], "run_name = 'b'", page=_PAGE).page.items[0].run.id)
    names = {
        lifecycle: [
            each.run.name
            for each in searching.search(ctx, [made], lifecycle=lifecycle, page=_PAGE).page.items
        ]
        for lifecycle in ("active", "deleted", "all")
    }
    assert names == {"active": ["c", "a"], "deleted": ["b"], "all": ["c", "b", "a"]}


def test_a_run_is_found_with_the_id_of_its_experiment() -> None:
    ctx = memory_context()
    run = start(ctx, "training", "native", experiment="f")
    found, experiment_id = searching.found(ctx, run.id)
    assert (found.run, experiment_id) == (run, experiments.by_name(ctx, "f").id)
    assert searching.experiment_id_of(ctx, run) == experiment_id
    assert searching.found(ctx, start(ctx, "training", "loose").id)[1] == "0"
    with pytest.raises(NotFound, match="Run with id=none not found"):
        searching.found(ctx, "none")


def test_by_hand_runs_of_all_experiments_are_found_with_or_and_not() -> None:
    ctx = memory_context()
    _filled(ctx)
    text = "(params.odd = '1' OR metrics.acc >= 0.2) AND NOT run_name = 'b'"
    assert [each.run.name for each in searching.search_runs(ctx, filter=text).items] == ["c"]
    assert len(searching.search_runs(ctx, experiment=("e",)).items) == 3
    with pytest.raises(NotFound):
        searching.search_runs(ctx, experiment=("none",))
    with pytest.raises(Invalid):
        searching.search_runs(ctx, limit=0)
