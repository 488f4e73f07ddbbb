"""Histories by their addresses: which adapter reads which, with the rights of whoever runs this."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from loopwright.adapters.histories import Credentials, FolderHistory, RestHistory, Root, Roots
from loopwright.adapters.objects import FsspecContents
from loopwright.adapters.sql.past import SqlHistory, SqlHistorySink
from loopwright.core.errors import Invalid
from loopwright.ports.histories import History, HistorySink

__all__ = ["open_history", "open_sink"]

_DATABASES = frozenset({"sqlite", "postgresql", "postgres", "postgresql+psycopg", "postgresql+psycopg2"})
_STORE = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_PROXIED = "mlflow-artifacts:/"
_BESIDE = ("mlruns", "mlartifacts")


def open_history(
    address: str,
    roots: Sequence[str] = (),
    *,
    environment: Mapping[str, str] | None = None,
    token: str = "",
    space: str | None = None,
) -> History:
    """The history at `http(s)://server`, `sqlite:///mlflow.db`, `postgresql://...` or in a folder `mlruns`.

    `roots` are the places whose files may be read, as FOLDER, `s3://bucket/prefix`, or ADDRESS=FOLDER where
    they were moved; without any, those beside the store. A server's own files come from it. `Invalid` when it
    is no history, `Unavailable` when it does not answer.
    """
    scheme = urlsplit(address).scheme.lower()
    read = [root for each in roots for root in _declared(each)]
    if scheme in {"http", "https"}:
        given = _credentials(os.environ if environment is None else environment, token)
        return RestHistory(address, given, Roots(read), space=space)
    if scheme in _DATABASES:
        return SqlHistory(address, Roots(read or _beside(address)))
    folder = _folder(address, scheme)
    return FolderHistory(folder, Roots([*read, *_rooted(folder)]))


def open_sink(folder: Path, python: str) -> HistorySink:
    """A fresh MLflow store in a folder: a database of the schema that `python`'s MLflow makes, and files."""
    return SqlHistorySink(folder, python)


def _folder(address: str, scheme: str) -> Path:
    folder = Path(urlsplit(address).path if scheme == "file" else address)
    if (scheme and scheme != "file") or not folder.is_dir():
        raise Invalid(
            f"{address[:100]!r} is neither a server, a database nor a folder of MLflow",
            hint="http://127.0.0.1:5000, sqlite:///mlflow.db, postgresql://host/database, or ./mlruns",
        )
    return folder


def _rooted(folder: Path) -> list[Root]:
    """A folder under each spelling of its address."""
    spelled = {os.path.abspath(folder), os.path.realpath(folder)}
    return [Root(prefix=each, folder=folder) for each in sorted(spelled)]


def _beside(address: str) -> list[Root]:
    """The folders of files that MLflow makes beside an SQLite database."""
    if not address.startswith("sqlite"):
        return []
    home = Path(os.path.realpath(urlsplit(address).path.removeprefix("/") or ".")).parent
    if address.startswith("sqlite:////"):
        home = Path(os.path.realpath("/" + address.removeprefix("sqlite:////"))).parent
    found = [root for name in _BESIDE if (home / name).is_dir() for root in _rooted(home / name)]
    proxied = next((home / name for name in reversed(_BESIDE) if (home / name).is_dir()), None)
    return [*found, *([Root(prefix=_PROXIED, folder=proxied)] if proxied else [])]


def _declared(text: str) -> list[Root]:
    """The roots that one `--artifact-root` names."""
    prefix, given, place = text.rpartition("=")
    if _STORE.match(place):
        return [Root(prefix=prefix or place, store=FsspecContents(place, prefix or place))]
    folder = Path(place)
    if not folder.is_dir():
        raise Invalid(f"there is no folder {place[:200]!r}", hint="--artifact-root names a folder or a store")
    if given:
        return [Root(prefix=prefix, folder=folder)]
    return [*_rooted(folder), Root(prefix=_PROXIED, folder=folder)]


def _credentials(environment: Mapping[str, str], token: str) -> Credentials:
    """As MLflow's own client takes them."""

    def told(name: str) -> str:
        return environment.get(f"MLFLOW_TRACKING_{name}", "")

    return Credentials(
        token=token or told("TOKEN"),
        user=told("USERNAME"),
        password=told("PASSWORD"),
        is_insecure=told("INSECURE_TLS").lower() == "true",
        certificates=told("SERVER_CERT_PATH"),
    )
