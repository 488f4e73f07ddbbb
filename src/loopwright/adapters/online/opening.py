"""Which online store a setting means; the drivers are loaded for the one that is asked for."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from loopwright.adapters.online.store import SqliteOnline
from loopwright.core.errors import Invalid
from loopwright.ports.online import Online

__all__ = ["open_online"]

_HOMES = {
    "redis": ("redis", "RedisOnline"),
    "rediss": ("redis", "RedisOnline"),
    "unix": ("redis", "RedisOnline"),
    "postgresql": ("postgres", "PostgresOnline"),
}


def open_online(url: str, file: Path) -> Online:
    """The store at a URL (`redis://`, `postgresql://`), or the SQLite file where the URL is empty.

    `Invalid` for another URL, or where the driver is not installed.
    """
    if not url:
        return SqliteOnline(file)
    scheme = url.partition(":")[0]
    if scheme not in _HOMES:
        raise Invalid(
            f"the online store cannot be at {scheme}:",
            hint="leave it empty, or give redis:// or postgresql://",
        )
    module, name = _HOMES[scheme]
    try:
        found = getattr(import_module(f"loopwright.adapters.online.{module}"), name)
    except ImportError as error:
        extra = "redis" if module == "redis" else "postgres"
        raise Invalid(
            f"the driver for {scheme}: is not installed", hint=f'pip install "loopwright[{extra}]"'
        ) from error
    opened: Online = found(url)
    return opened
