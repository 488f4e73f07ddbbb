"""Pages of what is listed, by key."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

__all__ = ["Page", "PageRequest"]

T = TypeVar("T")


class PageRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which page: at most `limit` items after the key in `token` (opaque, by key and never by offset)."""

    limit: int = 100
    token: str = ""


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """Items and the token of the next page, empty at the end."""

    items: tuple[T, ...]
    next_token: str = ""
