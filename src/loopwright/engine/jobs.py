"""The durable queue: enqueue, claim under a lease, heartbeat, fence, finish; and the worker that does it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta

from msgspec.structs import replace

from loopwright.core.errors import Conflict, LoopwrightError
from loopwright.core.nouns import Job, JobState, Json, move_job
from loopwright.engine.context import Context
from loopwright.engine.operation import JobHandler
from loopwright.ports.ledger import Transaction

__all__ = ["Worker", "claim", "enqueue", "enqueue_in", "finish", "heartbeat"]

log = logging.getLogger(__name__)


def enqueue(
    ctx: Context,
    operation: str,
    arguments: Json,
    *,
    key: str | None = None,
    not_before: datetime | None = None,
    at_most_once: bool = False,
    max_attempts: int = 3,
    lease_s: float = 30.0,
) -> Job:
    """Ask durably that an operation be carried out; the same key gives the job that is there."""
    return ctx.write(
        lambda tx: enqueue_in(
            ctx,
            tx,
            operation,
            arguments,
            key=key,
            not_before=not_before,
            at_most_once=at_most_once,
            max_attempts=max_attempts,
            lease_s=lease_s,
        )
    )


def enqueue_in(
    ctx: Context,
    tx: Transaction,
    operation: str,
    arguments: Json,
    *,
    key: str | None = None,
    not_before: datetime | None = None,
    at_most_once: bool = False,
    max_attempts: int = 3,
    lease_s: float = 30.0,
) -> Job:
    """As `enqueue`, inside a unit of work."""
    wanted = Job(
        id=ctx.new_id(),
        space=ctx.space,
        operation=operation,
        arguments=arguments,
        state=JobState.QUEUED,
        created_at=ctx.now(),
        created_by=ctx.principal.name,
        not_before=not_before or ctx.now(),
        key=key,
        at_most_once=at_most_once,
        max_attempts=max_attempts,
        lease_s=lease_s,
    )
    job = tx.jobs.add(wanted)
    if job.id == wanted.id:
        ctx.record(tx, "job.queued", f"job:{job.id}", {"operation": operation})
    return job


def _claimed(job: Job, worker: str, wall: datetime) -> Job:
    return replace(
        job,
        state=JobState.RUNNING,
        attempt=job.attempt + 1,
        fence=job.fence + 1,
        worker=worker,
        leased_until=wall + timedelta(seconds=job.lease_s),
    )


def _lost(job: Job, now: datetime) -> Job | None:
    """What becomes of a running job whose lease ended: failed when it must not run again, else None."""
    if job.at_most_once:
        return replace(
            job, state=JobState.FAILED, ended_at=now, error="its worker was lost; it runs at most once"
        )
    if job.attempt >= job.max_attempts:
        return replace(job, state=JobState.FAILED, ended_at=now, error=f"lost its worker {job.attempt} times")
    return None


def claim(ctx: Context, worker: str, operations: tuple[str, ...]) -> Job | None:
    """Take the oldest due job under a lease, or None; one whose lease ended is taken over, newly fenced."""

    def work(tx: Transaction) -> Job | None:
        wall = ctx.ports.clock.wall()
        for job in tx.jobs.due(operations, ctx.now(), wall, 20):
            lost = _lost(job, ctx.now()) if job.state is JobState.RUNNING else None
            if lost is not None:
                if tx.jobs.update(replace(lost, fence=job.fence + 1), fence=job.fence):
                    ctx.record(tx, "job.failed", f"job:{job.id}", {"error": lost.error})
                continue
            taken = _claimed(job, worker, wall)
            if tx.jobs.update(taken, fence=job.fence):
                ctx.record(tx, "job.started", f"job:{job.id}", {"worker": worker, "attempt": taken.attempt})
                return taken
        return None

    return ctx.write(work)


def heartbeat(ctx: Context, job: Job) -> Job:
    """Lengthen the lease; `Conflict` when another worker has taken the job over."""
    held = replace(job, leased_until=ctx.ports.clock.wall() + timedelta(seconds=job.lease_s))
    if not ctx.write(lambda tx: tx.jobs.update(held, fence=job.fence)):
        raise Conflict(f"job:{job.id} was taken over", hint="its lease ended: stop this attempt")
    return held


def finish(ctx: Context, job: Job, *, result: Json | None = None, error: str = "") -> Job:
    """Report the end of an attempt; refused with `Conflict` when the fence is old."""
    retry = bool(error) and not job.at_most_once and job.attempt < job.max_attempts
    to = JobState.QUEUED if retry else JobState.FAILED if error else JobState.DONE
    move_job(job, to)
    ended = replace(
        job,
        state=to,
        result=result or {},
        error=error,
        worker=None,
        leased_until=None,
        ended_at=None if retry else ctx.now(),
        not_before=ctx.now() + timedelta(seconds=2.0**job.attempt) if retry else job.not_before,
    )

    def work(tx: Transaction) -> None:
        if not tx.jobs.update(ended, fence=job.fence):
            raise Conflict(f"job:{job.id} was taken over", hint="another worker's result stands")
        kind = {JobState.QUEUED: "job.retried", JobState.FAILED: "job.failed", JobState.DONE: "job.done"}[to]
        ctx.record(tx, kind, f"job:{job.id}", {"attempt": job.attempt, "error": error} if error else {})

    ctx.write(work)
    return ended


class Worker:
    """Claims and carries out jobs, one after the other, with a heartbeat beside each."""

    def __init__(
        self,
        ctx: Context,
        handlers: Mapping[str, JobHandler],
        *,
        name: str,
        context_for: Callable[[Job], Context],
    ) -> None:
        self._ctx = ctx
        self._handlers = dict(handlers)
        self._name = name
        self._context_for = context_for

    def step(self) -> bool:
        """Carry out one due job, if there is one; whether there was."""
        job = claim(self._ctx, self._name, tuple(self._handlers))
        if job is None:
            return False
        ctx = self._context_for(job)
        with self._beating(ctx, job):
            result, error = self._carry_out(ctx, job)
        try:
            finish(ctx, job, result=result, error=error)
        except Conflict as conflict:
            log.warning("result refused", extra={"job": job.id, "error": str(conflict)})
        return True

    def _carry_out(self, ctx: Context, job: Job) -> tuple[Json, str]:
        try:
            return self._handlers[job.operation].function(ctx, job), ""
        except LoopwrightError as error:
            return {}, str(error)
        except Exception as error:  # the last handler of a worker: recorded on the job, and logged
            log.exception("job failed", extra={"job": job.id, "operation": job.operation})
            return {}, f"{type(error).__name__}: {error}"

    @contextmanager
    def _beating(self, ctx: Context, job: Job) -> Iterator[None]:
        done = threading.Event()

        def beat() -> None:
            while not done.wait(job.lease_s / 3):
                try:
                    heartbeat(ctx, job)
                except LoopwrightError as error:
                    log.warning("heartbeat refused", extra={"job": job.id, "error": str(error)})
                    return

        thread = threading.Thread(target=beat, name=f"heartbeat-{job.id}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
