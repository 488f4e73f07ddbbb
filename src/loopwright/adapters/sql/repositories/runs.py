"""Runs and the edges of the lineage graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import ClauseElement, Update, bindparam, func, literal_column, select, update

from loopwright.adapters.sql import schema
from loopwright.adapters.sql.listing import Order, fetch_page
from loopwright.adapters.sql.repositories.keys import among, ask_among
from loopwright.adapters.sql.repositories.metrics import latest_by_id, latest_of
from loopwright.adapters.sql.repositories.searching import Search
from loopwright.adapters.sql.repositories.texts import PARAMS, TAGS, Place, put_texts, write_texts
from loopwright.adapters.sql.rows import Row, Shape, from_json
from loopwright.adapters.sql.statements import Session, Upsert, insert_new
from loopwright.core.errors import Conflict, NotFound
from loopwright.core.instants import from_micros, to_micros
from loopwright.core.nouns import FoundRun, Link, LinkRole, Run, RunState, VersionRef
from loopwright.core.queries import RunQuery
from loopwright.ports.ledger import Page, PageRequest

__all__ = ["SqlRuns"]

_RUN = Shape(Run, schema.runs)
_r, _l, _e = schema.runs.c, schema.links.c, schema.experiments.c
_NEWEST = Order(columns=("created_at", "id"))

_THIS = (_r.id == bindparam("id"), _r.removed_at.is_(None))
_PLACE = select(_r.no, _r.space, _r.experiment_no).where(*_THIS)
_ROW = select(_r.no, _r.experiment_no, *_RUN.columns).where(*_THIS)
_ADD_EXPERIMENT = insert_new(schema.experiments, ["space", "name"])
_EXPERIMENT_NO = select(_e.no).where(_e.space == bindparam("e_space"), _e.name == bindparam("e_name"))


def _with_number(insert: Any) -> ClauseElement:
    """A new run with the number of its experiment, 0 where it has none yet; gives both numbers."""
    number = func.coalesce(_EXPERIMENT_NO.scalar_subquery(), literal_column("0"))
    values = dict.fromkeys(column.name for column in _RUN.columns)
    new = insert(schema.runs).values(**values, experiment_no=number)
    found: ClauseElement = new.on_conflict_do_nothing().returning(_r.no, _r.experiment_no)
    return found


_ADD = Upsert(_RUN.columns, _with_number)


def _plainly(insert: Any) -> ClauseElement:
    """As `_with_number` where nobody waits for the numbers; one that is there is an error."""
    values = dict.fromkeys(column.name for column in _RUN.columns)
    number = func.coalesce(_EXPERIMENT_NO.scalar_subquery(), literal_column("0"))
    found: ClauseElement = insert(schema.runs).values(**values, experiment_no=number)
    return found


_PUT = Upsert(_RUN.columns, _plainly)
_PUT_EXPERIMENT = """
INSERT INTO experiments (space, name) SELECT home.space, home.name
FROM (SELECT ?::text COLLATE "C" AS space, ?::text COLLATE "C" AS name) home
WHERE NOT EXISTS (SELECT 1 FROM experiments e WHERE e.space = home.space AND e.name = home.name)"""
_NUMBERED = update(schema.runs).where(_r.no == bindparam("b_no")).values(experiment_no=bindparam("b_number"))
_BY_NO = among(select(_r.no, *_RUN.columns), _r.no)
_SPACE = select(_r.space).where(*_THIS)
_FIXED = {"id", "space", "kind", "experiment"}
_NAMES = tuple(column.name for column in _RUN.columns)
_SPACE_AT = _NAMES.index("space")
_MARK_DELETED = (
    update(schema.runs)
    .where(
        _r.space == bindparam("b_space"),
        _r.experiment == bindparam("b_experiment"),
        _r.deleted_at.is_not_distinct_from(bindparam("b_before", type_=_r.deleted_at.type)),
    )
    .values(deleted_at=bindparam("b_after"))
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


@lru_cache(maxsize=256)
def _update(names: tuple[str, ...]) -> Update:
    """Writes some columns of a run: an index of a column that is written is written too."""
    return (
        update(schema.runs)
        .where(_r.id == bindparam("b_id"))
        .values({name: bindparam(name) for name in names})
    )


class SqlRuns:
    """Fulfils `ports.ledger.Runs`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._seen: tuple[int, str, Row] = (-1, "", ())

    def add(self, run: Run) -> None:
        """Keep a new run."""
        home = {"e_space": run.space, "e_name": run.experiment}
        if not self._session.is_sqlite:
            self._put(run, home)
            return
        row = self._session.add(_ADD, {**_RUN.write(run), **home})
        if row is None:
            raise Conflict(f"run:{run.id} is already there", hint="give a new run a new id")
        number, experiment = row
        if run.experiment is not None and not experiment:
            experiment = self._new_experiment(run.space, run.experiment)
            self._session.put(_NUMBERED, {"b_no": number, "b_number": experiment})
        place = Place(number, run.space, experiment)
        write_texts(self._session, PARAMS, place, {}, run.params)
        write_texts(self._session, TAGS, place, {}, run.tags)

    def _put(self, run: Run, home: Mapping[str, str | None]) -> None:
        """All of a new run in statements that nobody waits for: those of its texts find its number."""
        if run.experiment is not None:
            self._session.put_text(_PUT_EXPERIMENT, (run.space, run.experiment))
        self._session.put(_PUT, {**_RUN.write(run), **home})
        put_texts(self._session, PARAMS, run.id, run.space, run.params)
        put_texts(self._session, TAGS, run.id, run.space, run.tags)

    def _new_experiment(self, space: str, name: str) -> int:
        self._session.change(_ADD_EXPERIMENT, {"space": space, "name": name})
        found = self._session.row(_EXPERIMENT_NO, e_space=space, e_name=name)
        return int(found[0]) if found else 0

    def get(self, run_id: str) -> Run:
        """The run, else `NotFound`."""
        return _RUN.read(self._row(run_id)[2:])

    def _row(self, run_id: str) -> Row:
        """Number, experiment's number and columns of a run; at hand until anything changes."""
        if self._knows(run_id):
            return self._seen[2]
        found = self._session.row(_ROW, id=run_id)
        if found is None:
            raise _no_run(run_id)
        self._keep(run_id, found)
        return found

    def _knows(self, run_id: str) -> bool:
        moment, known, _ = self._seen
        return known == run_id and moment == self._session.moment and not self._session.read_only

    def _keep(self, run_id: str, row: Row) -> None:
        if not self._session.read_only:
            self._seen = (self._session.moment, run_id, row)
            self._session.places[run_id] = (row[0], row[2 + _SPACE_AT], row[1])

    def update(self, run: Run) -> None:
        """Replace everything but id, space and kind."""
        number, experiment, *values = self._row(run.id)
        before, after = dict(zip(_NAMES, values, strict=True)), _RUN.write(run)
        changed = tuple(name for name in _NAMES if after[name] != before[name] and name not in _FIXED)
        if changed:
            self._session.put(_update(changed), {**after, "b_id": run.id})
        place = Place(number, before["space"], experiment)
        if "params" in changed:
            write_texts(self._session, PARAMS, place, from_json(before["params"]), run.params)
        if "tags" in changed:
            write_texts(self._session, TAGS, place, from_json(before["tags"]), run.tags)

    def mark_deleted(
        self, space: str, experiment: str, *, before: datetime | None, after: datetime | None
    ) -> int:
        """Of an experiment's runs, let those deleted at `before` be deleted at `after`; how many."""
        moments = {"b_before": _micros(before), "b_after": _micros(after)}
        return self._session.change(_MARK_DELETED, {"b_space": space, "b_experiment": experiment, **moments})

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
        return fetch_page(self._session, _RUN, request, _NEWEST, equal, null=("deleted_at",))

    def search(self, space: str, query: RunQuery, request: PageRequest) -> Page[FoundRun]:
        """Runs that a query is about, in its order, with their latest metrics."""
        found = Search(self._session, space, query).page(request)
        return Page(items=self._found(found.items), next_token=found.next_token)

    def count(self, space: str, query: RunQuery, most: int) -> int:
        """How many runs a query is about, at most so many are counted."""
        return Search(self._session, space, query).count(most)

    def latest(self, run_ids: Sequence[str]) -> Sequence[FoundRun]:
        """Runs by id with their latest metrics, in the order asked."""
        if len(run_ids) == 1:
            return (self._latest(run_ids[0]),)
        rows = [self._session.row(_PLACE, id=run_id) for run_id in run_ids]
        missing = [run_id for run_id, row in zip(run_ids, rows, strict=True) if row is None]
        if missing:
            raise _no_run(missing[0])
        return self._found(tuple(row[0] for row in rows if row is not None))

    def _latest(self, run_id: str) -> FoundRun:
        """Of one run: both questions are asked at once where a store is asked over a wire."""
        rows = list[Row]()
        if self._knows(run_id) or self._session.is_sqlite:
            rows.append(self._row(run_id))
        else:
            self._session.ask(_ROW, rows.extend, id=run_id)
        metrics = latest_by_id(self._session, run_id)
        if not rows:
            raise _no_run(run_id)
        self._keep(run_id, rows[0])
        return FoundRun(run=_RUN.read(rows[0][2:]), metrics=metrics)

    def _found(self, numbers: Sequence[int]) -> tuple[FoundRun, ...]:
        rows = list[Row]()
        ask_among(self._session, _BY_NO, numbers, rows.extend)
        metrics = latest_of(self._session, numbers)
        runs = {row[0]: _RUN.read(row[1:]) for row in rows}
        return tuple(FoundRun(run=runs[no], metrics=metrics.get(no, ())) for no in numbers if no in runs)

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


def _micros(instant: datetime | None) -> int | None:
    return None if instant is None else to_micros(instant)


def _link(row: Row) -> Link:
    _, run_id, role, kind, name, number, digest, at = row
    ref = VersionRef(kind=kind, name=name, number=number, digest=digest)
    return Link(run_id=run_id, role=LinkRole(role), version=ref, at=from_micros(at))


def _no_run(run_id: str) -> NotFound:
    return NotFound(f"there is no run:{run_id}", hint="loopwright runs list")
