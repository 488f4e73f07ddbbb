"""Runs and the edges of the lineage graph."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import bindparam, select, update

from loopwright.adapters.sql import schema
from loopwright.adapters.sql.listing import Order, fetch_page
from loopwright.adapters.sql.rows import Row, Shape
from loopwright.adapters.sql.statements import Session, insert_new
from loopwright.core.errors import Conflict, NotFound
from loopwright.core.instants import from_micros, to_micros
from loopwright.core.nouns import Link, LinkRole, Run, RunState, VersionRef
from loopwright.ports.ledger import Page, PageRequest

__all__ = ["SqlRuns"]

_RUN = Shape(Run, schema.runs)
_r, _l = schema.runs.c, schema.links.c
_NEWEST = Order(columns=("created_at", "id"))

_ADD = insert_new(schema.runs, [column.name for column in _RUN.columns])
_GET = select(*_RUN.columns).where(_r.id == bindparam("id"))
_SPACE = select(_r.space).where(_r.id == bindparam("id"))
_FIXED = {"id", "space", "kind"}
_UPDATE = (
    update(schema.runs)
    .where(_r.id == bindparam("b_id"))
    .values({c.name: bindparam(c.name) for c in _RUN.columns if c.name not in _FIXED})
)
_EDGE = ("space", "run_id", "role", "kind", "name", "version", "digest", "at")
_LINK = insert_new(schema.links, _EDGE)
_LINKS = select(*(_l[name] for name in _EDGE)).where(_l.run_id == bindparam("run_id")).order_by(_l.no)
_USERS = (
    select(_l.run_id)
    .where(
        _l.space == bindparam("space"),
        _l.kind == bindparam("kind"),
        _l.name == bindparam("name"),
        _l.version == bindparam("version"),
        _l.role == bindparam("role"),
    )
    .order_by(_l.at.desc(), _l.no.desc())
)


class SqlRuns:
    """Fulfils `ports.ledger.Runs`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, run: Run) -> None:
        """Keep a new run."""
        if not self._session.change(_ADD, _RUN.write(run)):
            raise Conflict(f"run:{run.id} is already there", hint="give a new run a new id")

    def get(self, run_id: str) -> Run:
        """The run, else `NotFound`."""
        row = self._session.row(_GET, id=run_id)
        if row is None:
            raise _no_run(run_id)
        return _RUN.read(row)

    def update(self, run: Run) -> None:
        """Replace everything but id, space and kind."""
        values = _RUN.write(run)
        if not self._session.change(_UPDATE, {**values, "b_id": run.id}):
            raise _no_run(run.id)

    def page(
        self,
        space: str,
        request: PageRequest,
        *,
        kind: str | None = None,
        experiment: str | None = None,
        state: RunState | None = None,
        parent_id: str | None = None,
    ) -> Page[Run]:
        """Runs that match, newest first."""
        equal = {
            "space": space,
            "kind": kind,
            "experiment": experiment,
            "state": None if state is None else str(state),
            "parent_id": parent_id,
        }
        return fetch_page(self._session, _RUN, request, _NEWEST, equal)

    def link(self, link: Link) -> None:
        """Add an edge; the same edge twice is one."""
        space = self._session.row(_SPACE, id=link.run_id)
        if space is None:
            raise _no_run(link.run_id)
        self._session.change(
            _LINK,
            {
                "space": space[0],
                "run_id": link.run_id,
                "role": str(link.role),
                "kind": link.version.kind,
                "name": link.version.name,
                "version": link.version.number,
                "digest": link.version.digest,
                "at": to_micros(link.at),
            },
        )

    def links(self, run_id: str) -> Sequence[Link]:
        """What a run read and made, in order."""
        return tuple(map(_link, self._session.rows(_LINKS, run_id=run_id)))

    def users(
        self, kind: str, name: str, number: int, role: LinkRole, *, space: str = "default"
    ) -> Sequence[str]:
        """Ids of the runs that read (or made) that version, newest first."""
        rows = self._session.rows(_USERS, space=space, kind=kind, name=name, version=number, role=str(role))
        return tuple(row[0] for row in rows)


def _link(row: Row) -> Link:
    _, run_id, role, kind, name, number, digest, at = row
    ref = VersionRef(kind=kind, name=name, number=number, digest=digest)
    return Link(run_id=run_id, role=LinkRole(role), version=ref, at=from_micros(at))


def _no_run(run_id: str) -> NotFound:
    return NotFound(f"there is no run:{run_id}", hint="loopwright runs list")
