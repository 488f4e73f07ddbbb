"""Stores that real MLflow made (`past/making.py`), kept as archives; and a workspace to bring them to."""

from __future__ import annotations

import contextlib
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from loopwright.loops.bringing import Asked, Report, bring
from loopwright.loops.comparing import Compared, compare
from loopwright.loops.own import OwnHistory
from loopwright.ports.histories import History
from loopwright.workspace import Workspace
from loopwright.workspace.histories import open_history

__all__ = ["at_database", "brought", "compared", "opened", "store", "workspace"]

KEPT = Path(__file__).parents[1] / "protocols/mlflow/past/kept"
MADE = "/srv/past"


def store(name: str, folder: Path) -> Path:
    """The folder of a store: `three` and `two` are databases with files, `files` is a folder of files."""
    with tarfile.open(KEPT / f"{name}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / name


def opened(at: Path) -> History:
    """A store as a history; its files are not where they were when it was made."""
    moved = [f"{MADE}/{at.name}/mlruns={at / 'mlruns'}", f"file://{MADE}/{at.name}/mlruns={at / 'mlruns'}"]
    database = at / "mlflow.db"
    return open_history(f"sqlite:///{database}" if database.exists() else str(at / "mlruns"), moved)


@contextmanager
def at_database(at: Path) -> Iterator[sqlite3.Connection]:
    """Changes to a store's rows by hand."""
    with contextlib.closing(sqlite3.connect(at / "mlflow.db")) as connection, connection:
        yield connection


@contextmanager
def workspace(folder: Path) -> Iterator[Workspace]:
    with Workspace.open(folder / ".loopwright") as found:
        yield found


def brought(at: Path, target: Workspace, asked: Asked | None = None) -> Report:
    with closing(opened(at)) as history:
        return bring(history, target, asked or Asked())


def compared(at: Path, target: Workspace) -> Compared:
    with closing(opened(at)) as history:
        return compare(history, OwnHistory(target.context()))
