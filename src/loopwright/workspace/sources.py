"""Sources by their addresses: which adapter reads which, imported when it is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from glob import has_magic
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from loopwright.core.errors import Invalid

if TYPE_CHECKING:
    from loopwright.adapters.notify.addresses import Rules
    from loopwright.ports.sources import FileSource, Origin, RecordStream, RowSource

__all__ = ["AnySource"]

_STORES = frozenset({"s3", "gs", "gcs", "abfs", "az", "memory"})
_STREAMS = {
    "redis": ("redis", "RedisStream"),
    "rediss": ("redis", "RedisStream"),
    "kafka": ("kafka", "KafkaStream"),
}
_KINDS = {**dict.fromkeys(_STORES, "files"), **dict.fromkeys(_STREAMS, "records"), "file": "files"}
_KINDS |= {"http": "files", "https": "files", "": "files"}
_DATABASES = frozenset({"sqlite", "postgresql", "postgres", "mysql", "mariadb", "mssql", "oracle", "duckdb"})
_DATABASES |= {"snowflake", "bigquery", "redshift", "trino", "clickhouse", "clickhousedb", "db2"}


class AnySource:
    """Fulfils `ports.sources.Sources`: what is reached over HTTP is held against the operator's rules."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def open(self, origin: Origin) -> FileSource | RowSource | RecordStream:
        """Of files: a path, http(s), an object store. Of rows: a database. Of records: Redis or Kafka."""
        scheme = _scheme(origin.address)
        match self.kind(origin.address):
            case "rows":
                rows: RowSource = _adapter("sql.sources", "SqlRows")(origin)
                return rows
            case "records":
                module, name = _STREAMS[scheme]
                records: RecordStream = _adapter(f"streams.{module}", name)(origin)
                return records
        return self._files(origin, scheme)

    def kind(self, address: str) -> str:
        """By its scheme."""
        scheme = _scheme(address)
        if scheme.partition("+")[0] in _DATABASES:
            return "rows"
        if scheme not in _KINDS:
            raise Invalid(
                f"addresses of the kind {scheme[:40]!r} are not read",
                hint="a path, https://, s3://, postgresql:// or another database, redis:// or kafka://",
            )
        return _KINDS[scheme]

    def is_many(self, address: str) -> bool:
        """A folder, a pattern, or what lies below an address of a store without an ending."""
        scheme = _scheme(address)
        if scheme in {"http", "https"}:
            return False
        if scheme in _STORES:
            return has_magic(address) or "." not in address.rpartition("/")[2]
        path = _path(address)
        return os.path.isdir(path) or (has_magic(path) and not os.path.exists(path))

    def _files(self, origin: Origin, scheme: str) -> FileSource:
        files: FileSource
        if scheme in {"http", "https"}:
            files = _adapter("notify.fetching", "HttpFile")(origin, self._rules)
        elif scheme in _STORES:
            files = _adapter("objects.sources", "StoreFiles")(origin)
        else:
            files = _adapter("objects.sources", "LocalFiles")(_path(origin.address))
        return files


def _adapter(module: str, name: str) -> Callable[..., Any]:
    found: Callable[..., Any] = getattr(import_module(f"loopwright.adapters.{module}"), name)
    return found


def _scheme(address: str) -> str:
    scheme, mark, _ = address.partition("://")
    return scheme.lower() if mark and scheme.replace("+", "").isalnum() else ""


def _path(address: str) -> str:
    return unquote(urlsplit(address).path) if _scheme(address) == "file" else address
