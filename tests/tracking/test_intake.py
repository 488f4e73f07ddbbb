"""What runs log: all of a batch or nothing, params once, tags over and over, points as a set."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import Invalid, LoopwrightError, NotFound
from loopwright.core.nouns import MetricPoint, Run
from loopwright.engine.context import Context
from loopwright.ports.ledger import Transaction
from loopwright.testing.builders import memory_context
from loopwright.tracking.intake import Batch, log_batch, log_param, set_tag, storable, unset_tag
from loopwright.tracking.lifecycle import NewRun, create_run, delete_run

_THEN = datetime(2023, 11, 14, tzinfo=UTC)


def _made(ctx: Context) -> str:
    return create_run(ctx, NewRun(experiment_id="0", name="r", started_at=_THEN)).id


def _run(ctx: Context, run_id: str) -> Run:
    with ctx.read() as tx:
        return tx.runs.get(run_id)


def _latest(ctx: Context, run_id: str) -> dict[str, float]:
    with ctx.read() as tx:
        return {key: point.value for key, point in tx.metrics.latest(run_id).items()}


def _point(key: str, value: float = 1.0, step: int = 0) -> MetricPoint:
    return MetricPoint(key=key, value=value, step=step, at_us=1)


def test_all_of_a_batch_is_kept() -> None:
    ctx = memory_context()
    run_id = _made(ctx)
    batch = Batch(points=[_point("m"), _point("m", 2.0, 1)], params=[("p", "1")], tags=[("t", "1")])
    log_batch(ctx, run_id, batch)
    log_batch(ctx, run_id, batch)
    run = _run(ctx, run_id)
    assert (run.params, run.tags) == ({"p": "1"}, {"mlflow.runName": "r", "t": "1"})
    assert _latest(ctx, run_id) == {"m": 2.0}


def test_nothing_of_a_batch_is_kept_when_a_param_changes() -> None:
    ctx = memory_context()
    run_id = _made(ctx)
    log_param(ctx, run_id, "p", "1")
    before = _run(ctx, run_id)
    clashing = Batch(points=[_point("m")], params=[("new", "1"), ("p", "2")], tags=[("t", "1")])
    with pytest.raises(Invalid, match="'old_value': '1', 'new_value': '2'"):
        log_batch(ctx, run_id, clashing)
    assert _run(ctx, run_id) == before
    assert _latest(ctx, run_id) == {}


def test_nothing_is_kept_when_what_goes_with_a_batch_fails() -> None:
    ctx = memory_context()
    run_id = _made(ctx)

    def refuse(tx: Transaction, run: Run) -> None:
        assert tx.metrics.latest(run.id)
        raise NotFound("no such model")

    with pytest.raises(NotFound):
        log_batch(ctx, run_id, Batch(points=[_point("m")]), also=refuse)
    assert _latest(ctx, run_id) == {}


def test_a_param_is_written_once() -> None:
    ctx = memory_context()
    run_id = _made(ctx)
    log_param(ctx, run_id, "lr", "0.1")
    log_param(ctx, run_id, "lr", "0.1")
    with pytest.raises(Invalid, match="Changing param values is not allowed"):
        log_param(ctx, run_id, "lr", "0.2")
    log_param(ctx, run_id, "long", "v" * 6001)
    log_param(ctx, run_id, "long", "v" * 6001)
    assert len(_run(ctx, run_id).params["long"]) == 6000


def test_tags_are_written_over_and_name_the_run() -> None:
    ctx = memory_context()
    run_id = _made(ctx)
    set_tag(ctx, run_id, "a", "1")
    set_tag(ctx, run_id, "a", "v" * 8001)
    assert len(_run(ctx, run_id).tags["a"]) == 8000
    unset_tag(ctx, run_id, "a")
    with pytest.raises(NotFound, match="No tag with name: a"):
        unset_tag(ctx, run_id, "a")
    set_tag(ctx, run_id, "mlflow.runName", "new")
    set_tag(ctx, run_id, "mlflow.parentRunId", "p")
    assert (_run(ctx, run_id).name, _run(ctx, run_id).parent_id) == ("new", "p")


@pytest.mark.parametrize(
    "batch",
    [
        Batch(points=[_point("m", step=n) for n in range(1001)]),
        Batch(params=[(f"p{n}", "") for n in range(101)]),
        Batch(tags=[(f"t{n}", "") for n in range(101)]),
        Batch(points=[_point("m", step=n) for n in range(950)], params=[(f"p{n}", "") for n in range(51)]),
        Batch(params=[("p", "1"), ("p", "1")]),
    ],
)
def test_too_much_is_refused(batch: Batch) -> None:
    ctx = memory_context()
    with pytest.raises(Invalid):
        log_batch(ctx, _made(ctx), batch)


@pytest.mark.parametrize("key", ["a$b", "../a", "/a", "a//b", ".", "..", "a/../b", "a/", "k" * 251, "a\n"])
def test_keys_that_mean_another_file_are_refused(key: str) -> None:
    ctx = memory_context()
    run_id = _made(ctx)
    for batch in (Batch(points=[_point(key)]), Batch(params=[(key, "")]), Batch(tags=[(key, "")])):
        with pytest.raises(Invalid):
            log_batch(ctx, run_id, batch)


def test_a_bad_key_is_told_by_its_place() -> None:
    ctx = memory_context()
    with pytest.raises(Invalid, match=r"parameter 'metrics\[2\].name'"):
        log_batch(ctx, _made(ctx), Batch(points=[_point("a"), _point("a"), _point("$")]))


def test_a_deleted_run_takes_nothing() -> None:
    ctx = memory_context()
    run_id = _made(ctx)
    delete_run(ctx, run_id)
    for batch in (Batch(), Batch(points=[_point("m")]), Batch(params=[("p", "1")])):
        with pytest.raises(Invalid, match="Current state is deleted"):
            log_batch(ctx, run_id, batch)


def test_infinities_are_the_largest_numbers() -> None:
    assert storable(math.inf) == -storable(-math.inf) == 1.7976931348623157e308
    assert math.isnan(storable(math.nan))


_PARAMS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("12")), max_size=4)


@given(batches=st.lists(_PARAMS, max_size=6))
def test_params_are_those_of_the_batches_that_held(batches: list[list[tuple[str, str]]]) -> None:
    ctx = memory_context()
    run_id = _made(ctx)
    expected: dict[str, str] = {}
    for params in batches:
        keys = [key for key, _ in params]
        holds = len(set(keys)) == len(keys) and all(expected.get(k, v) == v for k, v in params)
        try:
            log_batch(ctx, run_id, Batch(params=params))
        except LoopwrightError:
            assert not holds
        else:
            assert holds
            expected.update(params)
    assert _run(ctx, run_id).params == expected
