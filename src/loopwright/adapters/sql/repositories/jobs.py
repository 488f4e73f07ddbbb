"""The durable queue."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Select, and_, bindparam, literal_column, or_, select, update

from loopwright.adapters.sql import schema
from loopwright.adapters.sql.listing import Order, fetch_page, limit_param
from loopwright.adapters.sql.rows import Shape
from loopwright.adapters.sql.schema import TEXT
from loopwright.adapters.sql.statements import Session, insert_new
from loopwright.core.errors import Conflict, NotFound
from loopwright.core.instants import to_micros
from loopwright.core.nouns import Job, JobState
from loopwright.ports.ledger import Page, PageRequest

__all__ = ["SqlJobs"]

_JOB = Shape(Job, schema.jobs)
_j = schema.jobs.c
_NEWEST = Order(columns=("created_at", "id"))

_ADD = insert_new(schema.jobs)
_GET = select(*_JOB.columns).where(_j.id == bindparam("id"))
_BY_KEY = select(*_JOB.columns).where(_j.space == bindparam("space"), _j.key == bindparam("key"))
_FIXED = {"id", "space"}
_UPDATE = (
    update(schema.jobs)
    .where(_j.id == bindparam("b_id"), _j.fence == bindparam("b_fence"))
    .values({c.name: bindparam(c.name) for c in _JOB.columns if c.name not in _FIXED})
)
# The states stand in the text, not in parameters, so that the partial index of open jobs is used.
_OPEN = _j.state.in_([literal_column("'queued'"), literal_column("'running'")])


@lru_cache(maxsize=64)
def _due(operations: int) -> Select[Any]:
    names = [bindparam(f"operation_{i}", type_=TEXT) for i in range(operations)]
    queued = and_(_j.state == literal_column("'queued'"), _j.not_before <= bindparam("now"))
    lost = and_(_j.state == literal_column("'running'"), _j.leased_until < bindparam("wall"))
    return (
        select(*_JOB.columns)
        .where(_OPEN, _j.operation.in_(names), or_(queued, lost))
        .order_by(_j.created_at, _j.id)
        .limit(limit_param())
    )


class SqlJobs:
    """Fulfils `ports.ledger.Jobs`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, job: Job) -> Job:
        """Enqueue; when the key is already there in this space, the job that has it is returned."""
        if self._session.change(_ADD, _JOB.write(job)):
            return job
        row = None if job.key is None else self._session.row(_BY_KEY, space=job.space, key=job.key)
        if row is None:
            raise Conflict(f"job:{job.id} is already there", hint="give a new job a new id")
        return _JOB.read(row)

    def get(self, job_id: str) -> Job:
        """The job, else `NotFound`."""
        row = self._session.row(_GET, id=job_id)
        if row is None:
            raise NotFound(f"there is no job:{job_id}", hint="loopwright jobs list")
        return _JOB.read(row)

    def update(self, job: Job, *, fence: int) -> bool:
        """Replace the job when its stored fence is still `fence`; else nothing changes: False."""
        return self._session.change(_UPDATE, {**_JOB.write(job), "b_id": job.id, "b_fence": fence}) == 1

    def due(self, operations: Sequence[str], now: datetime, wall: datetime, limit: int) -> Sequence[Job]:
        """Queued jobs that are due, and running ones whose lease ended before `wall`, oldest first."""
        if not operations:
            return ()
        names = {f"operation_{i}": name for i, name in enumerate(operations)}
        rows = self._session.rows(
            _due(len(operations)), **names, now=to_micros(now), wall=to_micros(wall), limit=limit
        )
        return tuple(map(_JOB.read, rows))

    def page(
        self,
        space: str,
        request: PageRequest,
        *,
        state: JobState | None = None,
        operation: str | None = None,
    ) -> Page[Job]:
        """Jobs, newest first."""
        equal = {"space": space, "state": None if state is None else str(state), "operation": operation}
        return fetch_page(self._session, _JOB, request, _NEWEST, equal)
