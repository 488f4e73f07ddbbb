"""Brings a ledger of an older revision to this release's, after a copy was made."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy

from loopwright.adapters.sql.creating import check_revision
from loopwright.adapters.sql.opening import sqlite_path
from loopwright.adapters.sql.postgres_link import connect_server, target_of
from loopwright.adapters.sql.schema import APPLICATION_ID, REVISIONS
from loopwright.adapters.sql.sqlite import connect_file, translated
from loopwright.core.errors import Corrupt, Invalid, NotFound, Unavailable

__all__ = ["MIGRATIONS", "UpgradeReport", "migrate", "upgrade_ledger"]

MIGRATIONS = Path(__file__).parent / "migrations"


class UpgradeReport(msgspec.Struct, frozen=True, kw_only=True):
    """Which revision a store had, which it has now, and where the copy of the older one is."""

    before: str
    after: str
    copy: str | None = None


def upgrade_ledger(
    url: str, *, migrations: Path = MIGRATIONS, revisions: Sequence[str] = REVISIONS
) -> UpgradeReport:
    """Upgrade the store at a URL in one transaction; nothing is done when it is at the newest revision.

    A SQLite file is copied to `<file>.before-<revision>` first. No other process may have the ledger open
    meanwhile. `Unavailable` when the store is newer than this release.
    """
    path = sqlite_path(url)
    if path is not None:
        return _upgrade_file(path, migrations, revisions)
    return _upgrade_server(url, migrations, revisions)


def migrate(connection: sqlalchemy.Connection, migrations: Path = MIGRATIONS, to: str = "head") -> None:
    """Run every migration that the store behind a connection lacks, up to a revision."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, to)


def _needed(found: str, where: str, revisions: Sequence[str]) -> bool:
    """Whether there is something to do; an error for a newer store."""
    if found == revisions[-1]:
        return False
    if found not in revisions:
        check_revision(found, where)
    return True


def _upgrade_file(path: Path, migrations: Path, revisions: Sequence[str]) -> UpgradeReport:
    if not path.exists():
        raise NotFound(f"there is no ledger at {path}", hint="a new one is made when it is first used")
    before = _revision_of(path)
    if not _needed(before, str(path), revisions):
        return UpgradeReport(before=before, after=before)
    copy = _copy_of(path, before)
    with _exclusive(path) as connection:
        migrate(connection, migrations)
    return UpgradeReport(before=before, after=_revision_of(path), copy=str(copy))


def _revision_of(path: Path) -> str:
    with contextlib.closing(connect_file(path, read_only=True)) as connection, translated(path):
        if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise Invalid(
                f"{path} is not a ledger",
                hint="name another file with --database, or run: loopwright restore FILE --force",
            )
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return "" if row is None else str(row[0])


def _copy_of(path: Path, revision: str) -> Path:
    """A verified copy beside the file, under a name that is free."""
    target = path.with_name(f"{path.name}.before-{revision}")
    number = 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.before-{revision}.{number}")
    with (
        contextlib.closing(connect_file(path, read_only=True)) as source,
        translated(path),
        contextlib.closing(sqlite3.connect(target)) as copy,
    ):
        source.backup(copy)
        found = copy.execute("PRAGMA integrity_check").fetchone()[0]
    if found != "ok":
        target.unlink()
        raise Corrupt(f"{path} is damaged: {found}", hint="restore a backup instead of upgrading")
    return target


@contextlib.contextmanager
def _exclusive(path: Path) -> Iterator[sqlalchemy.Connection]:
    """A connection in one transaction that nobody else can write beside; rolled back when the block fails."""
    raw = connect_file(path, read_only=False)
    engine = sqlalchemy.create_engine("sqlite://", creator=lambda: raw, poolclass=sqlalchemy.StaticPool)
    try:
        with translated(path):
            raw.execute("PRAGMA foreign_keys=OFF")
            raw.execute("BEGIN IMMEDIATE")
        with _all_or_nothing(engine, str(path)) as connection:
            yield connection
            if raw.execute("PRAGMA foreign_key_check").fetchone() is not None:
                raise Corrupt(f"{path} has rows that name what is not there", hint="restore the copy")
    finally:
        engine.dispose()
        raw.close()


@contextlib.contextmanager
def _all_or_nothing(engine: sqlalchemy.Engine, where: str) -> Iterator[sqlalchemy.Connection]:
    try:
        with engine.begin() as connection:
            yield connection
    except sqlalchemy.exc.DBAPIError as error:
        raise Unavailable(
            f"the upgrade failed and nothing was changed: {error.orig}",
            where=where,
            hint="mend what it names, then try again",
        ) from error


def _upgrade_server(url: str, migrations: Path, revisions: Sequence[str]) -> UpgradeReport:
    target = target_of(url)
    raw = connect_server(target)
    raw.autocommit = False
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=lambda: raw, poolclass=sqlalchemy.StaticPool
    )
    try:
        with _all_or_nothing(engine, target.where) as connection:
            before = _revision_there(connection, target.schema, target.where)
            if _needed(before, target.where, revisions):
                migrate(connection, migrations)
            after = _revision_there(connection, target.schema, target.where)
        return UpgradeReport(before=before, after=after)
    finally:
        engine.dispose()
        raw.close()


def _revision_there(connection: sqlalchemy.Connection, schema: str, where: str) -> str:
    inspector: Any = sqlalchemy.inspect(connection)
    if "alembic_version" not in inspector.get_table_names(schema=schema):
        raise NotFound(f"there is no ledger in {where}", hint="a new one is made when it is first used")
    return str(connection.execute(sqlalchemy.text("SELECT version_num FROM alembic_version")).scalar())
