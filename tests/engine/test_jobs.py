"""The durable queue: leases, fences, take-over, retries; nothing is done twice that says it must not be."""

from datetime import timedelta

import pytest

from loopwright.core.errors import Conflict, Invalid
from loopwright.core.nouns import Job, JobState, Json
from loopwright.engine.context import Context
from loopwright.engine.jobs import Worker, claim, enqueue, finish, heartbeat
from loopwright.engine.operation import JobHandler
from loopwright.testing.builders import SetClock, memory_context


@pytest.fixture
def ctx() -> Context:
    return memory_context()


def _clock(ctx: Context) -> SetClock:
    clock = ctx.ports.clock
    assert isinstance(clock, SetClock)
    return clock


def _job(ctx: Context, job_id: str) -> Job:
    with ctx.read() as tx:
        return tx.jobs.get(job_id)


def test_a_key_is_one_job(ctx: Context) -> None:
    first = enqueue(ctx, "x.y", {"a": 1}, key="k")
    second = enqueue(ctx, "x.y", {"a": 2}, key="k")
    assert first.id == second.id
    assert claim(ctx, "w", ("x.y",)) is not None
    assert claim(ctx, "w", ("x.y",)) is None


def test_a_lost_worker_is_taken_over_and_its_result_refused(ctx: Context) -> None:
    enqueue(ctx, "x.y", {}, lease_s=10)
    first = claim(ctx, "one", ("x.y",))
    assert first is not None
    assert claim(ctx, "two", ("x.y",)) is None
    _clock(ctx).advance(timedelta(seconds=11))
    second = claim(ctx, "two", ("x.y",))
    assert second is not None
    assert (second.id, second.attempt, second.fence) == (first.id, 2, first.fence + 1)
    with pytest.raises(Conflict):
        heartbeat(ctx, first)
    with pytest.raises(Conflict):
        finish(ctx, first, result={"by": "one"})
    finish(ctx, second, result={"by": "two"})
    assert _job(ctx, first.id).result == {"by": "two"}


def test_a_heartbeat_keeps_the_lease(ctx: Context) -> None:
    enqueue(ctx, "x.y", {}, lease_s=10)
    job = claim(ctx, "one", ("x.y",))
    assert job is not None
    for _ in range(5):
        _clock(ctx).advance(timedelta(seconds=8))
        job = heartbeat(ctx, job)
    assert claim(ctx, "two", ("x.y",)) is None


def test_what_runs_at_most_once_is_never_run_again(ctx: Context) -> None:
    queued = enqueue(ctx, "x.y", {}, lease_s=10, at_most_once=True)
    assert claim(ctx, "one", ("x.y",)) is not None
    _clock(ctx).advance(timedelta(seconds=11))
    assert claim(ctx, "two", ("x.y",)) is None
    ended = _job(ctx, queued.id)
    assert ended.state is JobState.FAILED
    assert "at most once" in ended.error


def test_attempts_end(ctx: Context) -> None:
    queued = enqueue(ctx, "x.y", {}, lease_s=1, max_attempts=2)
    for _ in range(2):
        assert claim(ctx, "one", ("x.y",)) is not None
        _clock(ctx).advance(timedelta(seconds=2))
    assert claim(ctx, "one", ("x.y",)) is None
    assert _job(ctx, queued.id).state is JobState.FAILED


def test_a_worker_retries_what_failed_and_keeps_the_error(ctx: Context) -> None:
    seen: list[int] = []

    def handle(_: Context, job: Job) -> Json:
        seen.append(job.attempt)
        if job.attempt < 2:
            raise Invalid("not yet")
        return {"done": True}

    handlers = {"x.y": JobHandler(operation="x.y", function=handle)}
    worker = Worker(ctx, handlers, name="w", context_for=lambda job: ctx)
    queued = enqueue(ctx, "x.y", {})
    assert worker.step()
    assert _job(ctx, queued.id).error == "not yet"
    assert not worker.step()
    _clock(ctx).advance(timedelta(seconds=3))
    assert worker.step()
    assert seen == [1, 2]
    assert _job(ctx, queued.id).state is JobState.DONE


def test_every_move_is_journaled(ctx: Context) -> None:
    queued = enqueue(ctx, "x.y", {})
    job = claim(ctx, "w", ("x.y",))
    assert job is not None
    finish(ctx, job)
    with ctx.read() as tx:
        kinds = [event.kind for event in tx.journal.read(0, 100, subject=f"job:{queued.id}")]
    assert kinds == ["job.queued", "job.started", "job.done"]
