"""Assets, their versions and their aliases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, bindparam, delete, select, update

from loopwright.adapters.sql import schema
from loopwright.adapters.sql.listing import Order, fetch_page
from loopwright.adapters.sql.repositories.holding import Tests, holding, joined, source_tests, told_tests
from loopwright.adapters.sql.repositories.places import Atom, beyond
from loopwright.adapters.sql.rows import Row, Shape
from loopwright.adapters.sql.schema import TEXT
from loopwright.adapters.sql.statements import Session, insert_new, upsert
from loopwright.core.errors import Conflict, NotFound
from loopwright.core.instants import to_micros
from loopwright.core.nouns import Alias, Asset, Version
from loopwright.ports.ledger import LinesAsked, OrderedAsked, Page, PageRequest, VersionLine

__all__ = ["SqlAliases", "SqlAssets", "SqlVersions"]

_ASSET = Shape(Asset, schema.assets)
_VERSION = Shape(Version, schema.versions)
_ALIAS = Shape(Alias, schema.aliases)
_a, _v, _al, _l = schema.assets.c, schema.versions.c, schema.aliases.c, schema.links.c
_r, _e = schema.runs.c, schema.experiments.c
_FIXED = {"id", "space", "kind", "created_at", "created_by"}
_EXPERIMENT = "experiment"

_BY_NAME = Order(columns=("kind", "name"), newest_first=False)
_BY_NUMBER = Order(columns=("number",))

_CHANGED_MS = "COALESCE(updated_at, created_at) / 1000"
_ASSET_NAMES = ", ".join(column.name for column in _ASSET.columns)
_ADD_ASSET = insert_new(schema.assets)
_GET_ASSET = select(*_ASSET.columns).where(_a.id == bindparam("id"))
_FIND_ASSET = select(*_ASSET.columns).where(
    _a.space == bindparam("space"), _a.kind == bindparam("kind"), _a.name == bindparam("name")
)
_UPDATE_ASSET = (
    update(schema.assets)
    .where(_a.id == bindparam("b_id"))
    .values({c.name: bindparam(c.name) for c in _ASSET.columns if c.name not in _FIXED})
)
_RENAME_EXPERIMENT = (
    update(schema.experiments)
    .where(_e.space == bindparam("b_space"), _e.name == bindparam("b_old"))
    .values(name=bindparam("b_new"))
)
_RENAME_RUNS = (
    update(schema.runs)
    .where(_r.space == bindparam("b_space"), _r.experiment == bindparam("b_old"))
    .values(experiment=bindparam("b_new"))
)
_RENAME_VERSIONS = (
    update(schema.versions).where(_v.asset_id == bindparam("b_id")).values(name=bindparam("b_new"))
)
_RENAME_LINKS = (
    update(schema.links)
    .where(_l.space == bindparam("b_space"), _l.kind == bindparam("b_kind"), _l.name == bindparam("b_old"))
    .values(name=bindparam("b_new"))
)

_ADD_VERSION = insert_new(schema.versions)
_OF_ASSET = _v.asset_id == bindparam("asset_id")
_GET_VERSION = select(*_VERSION.columns).where(_OF_ASSET, _v.number == bindparam("number"))
_NEWEST = select(*_VERSION.columns).where(_OF_ASSET).order_by(_v.number.desc()).limit(1)
_NEWEST_AT = _NEWEST.where(_v.created_at <= bindparam("at"))
_BY_DIGEST = (
    select(*_VERSION.columns)
    .where(
        _OF_ASSET,
        _v.digest >= bindparam("low", type_=TEXT),
        _v.digest < bindparam("high", type_=TEXT),
    )
    .order_by(_v.number.desc())
    .limit(2)
)
_UPDATE_VERSION = (
    update(schema.versions)
    .where(_v.id == bindparam("b_id"))
    .values({name: bindparam(name) for name in ("tags", "description", "stage", "updated_at", "deleted_at")})
)
_SUPERSEDE = (
    update(schema.versions)
    .where(_v.id == bindparam("b_id"))
    .values({name: bindparam(name) for name in ("digest", "size_bytes", "facts", "updated_at")})
)
_OF_KIND = select(*_VERSION.columns).where(_v.space == bindparam("space"), _v.kind == bindparam("kind"))
_OF_NAME = _OF_KIND.where(_v.name == bindparam("name"))
_OF_RUN = _OF_KIND.where(_v.run_id == bindparam("run_id"))
_OF_BOTH = _OF_NAME.where(_v.run_id == bindparam("run_id"))
_LINE = (
    "v.id, v.name, v.number, v.run_id, v.created_at, COALESCE(v.updated_at, v.created_at), v.tags, v.facts"
)
_MANY = 64
_THOSE = select(*_VERSION.columns).where(_v.id.in_([bindparam(f"id_{i}", type_=TEXT) for i in range(_MANY)]))
_Four = Mapping[tuple[bool, bool], Select[Any]]
"""one question, by whether a name and a run are given"""
_AMONG: _Four = {
    (False, False): _OF_KIND,
    (True, False): _OF_NAME,
    (False, True): _OF_RUN,
    (True, True): _OF_BOTH,
}
_KEYS: Mapping[str, tuple[str, type]] = {
    "name": ("v.name", str),
    "number": ("v.number", int),
    "made": ("(v.created_at / 1000)", int),
    "changed": ("v.changed_ms", int),
}
_DIGESTS = select(_v.digest).where(_v.removed_at.is_(None)).distinct()

_IS_ALIAS = (_al.asset_id == bindparam("asset_id"), _al.alias == bindparam("alias"))
_GET_ALIAS = select(*_ALIAS.columns).where(*_IS_ALIAS)
_PUT_ALIAS = upsert(schema.aliases, ["asset_id", "alias"])
_REMOVE_ALIAS = delete(schema.aliases).where(*_IS_ALIAS)
_ALIASES = select(*_ALIAS.columns).where(_al.asset_id == bindparam("asset_id")).order_by(_al.alias)


class SqlAssets:
    """Fulfils `ports.ledger.Assets`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, asset: Asset) -> None:
        """Keep a new asset; `Conflict` when the name is taken."""
        if not self._session.change(_ADD_ASSET, _ASSET.write(asset)):
            raise _name_taken(asset)

    def get(self, asset_id: str) -> Asset:
        """The asset, else `NotFound`."""
        row = self._session.row(_GET_ASSET, id=asset_id)
        if row is None:
            raise NotFound(f"there is no asset with the id {asset_id!r}", hint="loopwright assets list")
        return _ASSET.read(row)

    def find(self, space: str, kind: str, name: str) -> Asset | None:
        """The asset of that name, or None."""
        row = self._session.row(_FIND_ASSET, space=space, kind=kind, name=name)
        return None if row is None else _ASSET.read(row)

    def update(self, asset: Asset) -> None:
        """Replace what may change; versions, lineage and the runs of an experiment follow a new name."""
        before = self.get(asset.id)
        values = _ASSET.write(asset)
        if before.name != asset.name:
            self._rename(before, asset)
        self._session.change(_UPDATE_ASSET, {**values, "b_id": asset.id})

    def _rename(self, before: Asset, asset: Asset) -> None:
        if self.find(before.space, before.kind, asset.name) is not None:
            raise _name_taken(asset)
        names = {"b_old": before.name, "b_new": asset.name}
        self._session.change(_RENAME_VERSIONS, {"b_id": asset.id, **names})
        self._session.change(_RENAME_LINKS, {"b_space": before.space, "b_kind": before.kind, **names})
        if before.kind == _EXPERIMENT:
            self._session.change(_RENAME_EXPERIMENT, {"b_space": before.space, **names})
            self._session.change(_RENAME_RUNS, {"b_space": before.space, **names})

    def page(self, space: str, kind: str | None, request: PageRequest) -> Page[Asset]:
        """Assets ordered by kind, then name."""
        return fetch_page(self._session, _ASSET, request, _BY_NAME, {"space": space, "kind": kind})

    def ordered(self, space: str, kind: str, asked: OrderedAsked) -> Sequence[Asset]:
        """Assets of a kind that are not in the trash, by name or by the last change, in either direction."""
        tests: Tests = [("space = ? AND kind = ?", (space, kind))]
        order = "name DESC" if asked.names_descending else "name"
        if asked.by_change:
            order = f"{_CHANGED_MS}{' DESC' if asked.descending else ''}, {order}"
        if asked.after is not None:
            tests.append(_behind(asked, *asked.after))
        tests.append(("deleted_at IS NULL", ()))
        tests += holding(self._session, "tags", asked.tags.items())
        tests += told_tests(self._session, "assets", asked.told)
        return self._fetched(tests, order, asked.limit)

    def _fetched(self, tests: Tests, order: str, limit: int) -> Sequence[Asset]:
        text = f"SELECT {_ASSET_NAMES} FROM assets WHERE {joined(tests)} ORDER BY {order} LIMIT ?"
        rows = self._session.fetch(text, [*(v for _, values in tests for v in values), limit])
        return tuple(map(_ASSET.read, rows))


def _behind(asked: OrderedAsked, changed_ms: int, name: str) -> tuple[str, Sequence[Any]]:
    """The test of being behind a place; its first half is what an index is entered by."""
    later = f"name {'<' if asked.names_descending else '>'} ?"
    if not asked.by_change:
        return later, (name,)
    mark = "<" if asked.descending else ">"
    return f"{_CHANGED_MS} {mark}= ? AND ({_CHANGED_MS} {mark} ? OR {later})", (changed_ms, changed_ms, name)


def _name_taken(asset: Asset) -> Conflict:
    return Conflict(
        f"there is already a {asset.kind} named {asset.name!r}", hint="choose another name, or use that one"
    )


class SqlVersions:
    """Fulfils `ports.ledger.Versions`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, version: Version) -> None:
        """Keep a new version; `Conflict` when the number is taken."""
        if self._session.row(_GET_ASSET, id=version.asset_id) is None:
            raise NotFound(f"{version.ref} is of no asset", hint="add its asset first")
        if not self._session.change(_ADD_VERSION, _VERSION.write(version)):
            raise Conflict(
                f"{version.kind}:{version.name}@{version.number} is already there",
                hint="somebody published meanwhile: read again and repeat",
            )

    def get(self, asset_id: str, number: int) -> Version | None:
        """The version of that number, or None."""
        row = self._session.row(_GET_VERSION, asset_id=asset_id, number=number)
        return None if row is None else _VERSION.read(row)

    def latest(self, asset_id: str, *, at: datetime | None = None) -> Version | None:
        """The newest version, or the newest that existed at an instant, or None."""
        if at is None:
            row = self._session.row(_NEWEST, asset_id=asset_id)
        else:
            row = self._session.row(_NEWEST_AT, asset_id=asset_id, at=to_micros(at))
        return None if row is None else _VERSION.read(row)

    def by_digest(self, asset_id: str, prefix: str) -> Sequence[Version]:
        """The versions whose digest starts so, newest first, at most two."""
        rows = self._session.rows(_BY_DIGEST, asset_id=asset_id, low=prefix, high=prefix + "~")
        return tuple(map(_VERSION.read, rows))

    def update(self, version: Version) -> None:
        """Replace tags, description, stage and the times of change and deletion alone."""
        values = _VERSION.write(version)
        if not self._session.change(_UPDATE_VERSION, {**values, "b_id": version.id}):
            raise NotFound(f"there is no version {version.ref}", hint="loopwright assets versions")

    def supersede(self, version: Version) -> None:
        """Replace digest, size and facts; `NotFound` for a version that is not there."""
        values = _VERSION.write(version)
        if not self._session.change(_SUPERSEDE, {**values, "b_id": version.id}):
            raise NotFound(f"there is no version {version.ref}", hint="loopwright assets versions")

    def among(
        self, space: str, kind: str, *, name: str | None = None, run_id: str | None = None
    ) -> Iterator[Version]:
        """All versions of a kind, of one name, or made by one run, in no order."""
        return map(_VERSION.read, self._asked(_AMONG, space, kind, name, run_id))

    def ordered_lines(self, space: str, kind: str, asked: LinesAsked) -> Sequence[VersionLine]:
        """Lines of versions that are not in the trash; as many as are asked for, unless there are no more."""
        tests: Tests = [("v.space = ? AND v.kind = ?", (space, kind))]
        if asked.name is not None:
            tests.append(("v.name = ?", (asked.name,)))
        if asked.run_id is not None:
            tests.append(("v.run_id = ?", (asked.run_id,)))
        tests.append(("v.deleted_at IS NULL", ()))
        tests += holding(self._session, "v.tags", asked.tags.items())
        tests += told_tests(self._session, "v", asked.told)
        tests += source_tests(self._session, "v", asked.sources)
        atoms = [Atom(_KEYS[key.kind][0], key.descending, _KEYS[key.kind][1]) for key in asked.order]
        if asked.after is not None:
            tests.append(beyond(atoms, asked.after))
        order = ", ".join(f"{atom.sql} DESC" if atom.descending else atom.sql for atom in atoms)
        text = f"SELECT {_LINE} FROM versions v WHERE {joined(tests)} ORDER BY {order} LIMIT ?"
        rows = self._session.fetch(text, [*(v for _, values in tests for v in values), asked.limit])
        return [VersionLine(*row) for row in rows]

    def _asked(
        self, statements: _Four, space: str, kind: str, name: str | None, run_id: str | None
    ) -> Sequence[Row]:
        wanted = {"space": space, "kind": kind, "name": name, "run_id": run_id}
        asked = {key: value for key, value in wanted.items() if value is not None}
        return self._session.rows(statements[name is not None, run_id is not None], **asked)

    def those(self, ids: Sequence[str]) -> Sequence[Version]:
        """The versions of these ids in their order; `NotFound` for one that is not there."""
        found: dict[str, Version] = {}
        for start in range(0, len(ids), _MANY):
            part = ids[start : start + _MANY]
            padded = [*part, *([part[-1]] * (_MANY - len(part)))]
            rows = self._session.rows(_THOSE, **{f"id_{i}": each for i, each in enumerate(padded)})
            found.update((version.id, version) for version in map(_VERSION.read, rows))
        missing = next((each for each in ids if each not in found), None)
        if missing is not None:
            raise NotFound(f"there is no version of the id {missing[:80]!r}", hint="loopwright assets list")
        return [found[each] for each in ids]

    def page(self, asset_id: str, request: PageRequest) -> Page[Version]:
        """Versions, newest first."""
        return fetch_page(self._session, _VERSION, request, _BY_NUMBER, {"asset_id": asset_id})

    def digests(self) -> Iterator[str]:
        """Every manifest digest of every space: the roots of what is reachable."""
        return iter([row[0] for row in self._session.rows(_DIGESTS)])


class SqlAliases:
    """Fulfils `ports.ledger.Aliases`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, asset_id: str, alias: str) -> Alias | None:
        """The alias, or None."""
        row = self._session.row(_GET_ALIAS, asset_id=asset_id, alias=alias)
        return None if row is None else _ALIAS.read(row)

    def put(self, alias: Alias) -> None:
        """Make or move it; `NotFound` when there is no such version."""
        if self._session.row(_GET_VERSION, asset_id=alias.asset_id, number=alias.number) is None:
            raise NotFound(
                f"there is no version {alias.number} to name {alias.alias!r}", hint="publish it first"
            )
        self._session.change(_PUT_ALIAS, _ALIAS.write(alias))

    def remove(self, asset_id: str, alias: str) -> None:
        """Take it away; nothing happens when it is not there."""
        self._session.change(_REMOVE_ALIAS, {"asset_id": asset_id, "alias": alias})

    def of(self, asset_id: str) -> Sequence[Alias]:
        """All aliases of an asset, by name."""
        return tuple(map(_ALIAS.read, self._session.rows(_ALIASES, asset_id=asset_id)))
