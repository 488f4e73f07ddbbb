"""What lies in the trash, and its removal: first nobody finds it, then its rows go, some at a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Select, Table, bindparam, delete, null, select, tuple_, update

from loopwright.adapters.sql import schema
from loopwright.adapters.sql.listing import checked_limit, limit_param, page_of, read_token
from loopwright.adapters.sql.rows import Shape
from loopwright.adapters.sql.statements import Session
from loopwright.core.errors import NotFound
from loopwright.core.instants import to_micros
from loopwright.core.nouns import Asset, Run, Version
from loopwright.ports.ledger import Page, PageRequest

__all__ = ["SqlTrash"]

S = TypeVar("S", bound=msgspec.Struct)

_ASSET, _VERSION, _RUN = (
    Shape(Asset, schema.assets),
    Shape(Version, schema.versions),
    Shape(Run, schema.runs),
)
_a, _v, _r, _l = schema.assets.c, schema.versions.c, schema.runs.c, schema.links.c
_p, _f = schema.metric_points.c, schema.artifacts.c
_FOREVER = (1 << 63) - 1


def _lying(columns: tuple[Any, ...], table: Table, *more: Any) -> Select[Any]:
    """Rows in the trash behind a place (gone when, id), gone before an instant, oldest there first."""
    gone, name = table.c.deleted_at, table.c.id
    place = tuple_(bindparam("after_gone", type_=gone.type), bindparam("after_id", type_=name.type))
    return (
        select(*columns)
        .where(
            table.c.space == bindparam("space"),
            gone.is_not(None),
            gone < bindparam("before", type_=gone.type),
            tuple_(gone, name) > place,
            *more,
        )
        .order_by(gone, name)
        .limit(limit_param())
    )


_RUNS = _lying((*_RUN.columns, _r.deleted_at), schema.runs, _r.removed_at.is_(None))
_ASSETS = _lying((*_ASSET.columns, _a.deleted_at), schema.assets)
_VERSIONS = _lying((*_VERSION.columns, _v.deleted_at), schema.versions, _v.removed_at.is_(None))

_HIDE = (
    update(schema.runs)
    .where(_r.id == bindparam("b_id"), _r.removed_at.is_(None))
    .values(experiment=null(), experiment_no=0, params="{}", tags="{}", facts="{}")
    .values(removed_at=bindparam("b_at"), deleted_at=bindparam("b_at"))
)
_NO = select(_r.no).where(_r.id == bindparam("id"), _r.removed_at.is_not(None))
_TEXTS = tuple(
    delete(table).where(table.c.run_no == bindparam("run_no"))
    for table in (schema.run_params, schema.run_tags, schema.metric_latest)
)
_LEFT = select(*_RUN.columns).where(_r.id == bindparam("id"), _r.removed_at.is_not(None))
_PLACE = (_p.key_no, _p.at_us, _p.step, _p.is_nan, _p.value)
_OF_RUN = _p.run_no == bindparam("run_no")
_LAST = (
    select(*_PLACE).where(_OF_RUN).order_by(*_PLACE).limit(1).offset(bindparam("skip", type_=_p.step.type))
)
_CUT = delete(schema.metric_points).where(
    _OF_RUN, tuple_(*_PLACE) <= tuple_(*(bindparam(f"last_{c.name}", type_=c.type) for c in _PLACE))
)
_CUT_ALL = delete(schema.metric_points).where(_OF_RUN)
_EDGE = select(_l.no).where(_l.run_id == bindparam("id")).limit(1)
_DROP_RUN = delete(schema.runs).where(_r.id == bindparam("id"), _r.removed_at.is_not(None))

_BURY = (
    update(schema.versions)
    .where(_v.id == bindparam("b_id"), _v.removed_at.is_(None))
    .values(removed_at=bindparam("b_at"), facts="{}", tags="{}", description="", stage="")
)
_OF_ASSET = tuple(
    delete(table).where(table.c.asset_id == bindparam("id"))
    for table in (schema.aliases, schema.versions, schema.asset_measures)
)
_DROP_ASSET = delete(schema.assets).where(_a.id == bindparam("id"))

_FILES = (
    select(_f.path)
    .where(_f.space == bindparam("space"), _f.owner == bindparam("owner"))
    .order_by(_f.path)
    .limit(limit_param())
)
_CLEAR = delete(schema.artifacts).where(
    _f.space == bindparam("space"), _f.owner == bindparam("owner"), _f.path <= bindparam("last")
)
_SPACES = select(_a.space).distinct().union(select(_r.space).distinct())


class SqlTrash:
    """Fulfils `ports.ledger.Trash`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def runs(self, space: str, request: PageRequest, *, before: datetime | None = None) -> Page[Run]:
        """Runs in the trash, those that went there first first."""
        return self._page(_RUN, _RUNS, space, request, before)

    def assets(self, space: str, request: PageRequest, *, before: datetime | None = None) -> Page[Asset]:
        """Assets in the trash."""
        return self._page(_ASSET, _ASSETS, space, request, before)

    def versions(self, space: str, request: PageRequest, *, before: datetime | None = None) -> Page[Version]:
        """Versions in the trash that were not removed."""
        return self._page(_VERSION, _VERSIONS, space, request, before)

    def _page(
        self, shape: Shape[S], asked: Select[Any], space: str, request: PageRequest, before: datetime | None
    ) -> Page[S]:
        after = read_token(request.token, [int, str]) if request.token else [-1, ""]
        rows = self._session.rows(
            asked,
            space=space,
            before=_FOREVER if before is None else to_micros(before),
            after_gone=after[0],
            after_id=after[1],
            limit=checked_limit(request) + 1,
        )
        return page_of(rows, request, shape.read, lambda row: [row[-1], row[0]])

    def remove_run(self, run_id: str, at: datetime) -> None:
        """Take a run away with its params, tags and latest metrics."""
        moment = to_micros(at)
        if not self._session.change(_HIDE, {"b_id": run_id, "b_at": moment}):
            raise NotFound(f"there is no run:{run_id}", hint="loopwright runs list")
        self._session.moves_on()
        row = self._session.row(_NO, id=run_id)
        for statement in _TEXTS if row is not None else ():
            self._session.change(statement, {"run_no": row[0] if row else 0})

    def tombstone(self, run_id: str) -> Run | None:
        """What is left of a removed run, or None."""
        row = self._session.row(_LEFT, id=run_id)
        return None if row is None else _RUN.read(row)

    def sweep_run(self, run_id: str, limit: int) -> int:
        """Take away at most so many points of a removed run; 0 when none was left."""
        row = self._session.row(_NO, id=run_id)
        if row is None:
            return 0
        number = row[0]
        last = self._session.row(_LAST, run_no=number, skip=limit - 1)
        if last is not None:
            marks = {f"last_{c.name}": value for c, value in zip(_PLACE, last, strict=True)}
            return self._session.change(_CUT, {"run_no": number, **marks})
        cut = self._session.change(_CUT_ALL, {"run_no": number})
        if self._session.row(_EDGE, id=run_id) is None:
            self._session.change(_DROP_RUN, {"id": run_id})
        return cut

    def remove_version(self, version_id: str, at: datetime) -> None:
        """Leave of a version its tombstone."""
        if not self._session.change(_BURY, {"b_id": version_id, "b_at": to_micros(at)}):
            raise NotFound("there is no such version", hint="loopwright trash list")

    def remove_asset(self, asset_id: str) -> None:
        """Take an asset away with its versions and aliases."""
        for statement in _OF_ASSET:
            self._session.change(statement, {"id": asset_id})
        if not self._session.change(_DROP_ASSET, {"id": asset_id}):
            raise NotFound(f"there is no asset with the id {asset_id!r}", hint="loopwright trash list")

    def clear_files(self, space: str, owner: str, limit: int) -> int:
        """Take away at most so many files of an owner; how many there were."""
        paths = self._session.rows(_FILES, space=space, owner=owner, limit=limit)
        if not paths:
            return 0
        return self._session.change(_CLEAR, {"space": space, "owner": owner, "last": paths[-1][0]})

    def spaces(self) -> Sequence[str]:
        """The spaces that hold anything, by name."""
        return tuple(sorted(row[0] for row in self._session.rows(_SPACES)))
