"""Queries that list rows: by equal columns, in the order of a key, from a place on, page by page."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Column, Integer, Select, Table, bindparam, select, tuple_

from loopwright.adapters.sql.rows import Row, Shape
from loopwright.adapters.sql.statements import Session
from loopwright.core.errors import Invalid
from loopwright.ports.ledger import Page, PageRequest

__all__ = ["LIMIT", "Order", "fetch_page", "limit_param", "page_of", "read_token", "write_token"]

S = TypeVar("S", bound=msgspec.Struct)
T = TypeVar("T")

LIMIT = 50_000
"""most items a page may have"""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """The key a list is ordered by (its last column makes it unique), and its direction."""

    columns: tuple[str, ...]
    newest_first: bool = True


def limit_param() -> Any:
    """The parameter `limit`."""
    return bindparam("limit", type_=Integer)


def write_token(key: Sequence[Any]) -> str:
    """The opaque token of a place in a list."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(list(key))).decode().rstrip("=")


def read_token(token: str, types: Sequence[type]) -> list[Any]:
    """The key of a token; `Invalid` when it is not one of this list."""
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        key = msgspec.msgpack.decode(raw, type=list[int | float | str])
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise Invalid("the page token is not one of ours", hint="start again without a token") from error
    if len(key) != len(types) or any(not isinstance(k, t) for k, t in zip(key, types, strict=True)):
        raise Invalid("the page token is of another list", hint="start again without a token")
    return key


def checked_limit(request: PageRequest) -> int:
    """The number of items asked for."""
    if not 1 <= request.limit <= LIMIT:
        raise Invalid(f"a page has 1 to {LIMIT} items, not {request.limit}", hint="ask for fewer")
    return request.limit


@lru_cache(maxsize=512)
def _listing(
    table: Table,
    columns: tuple[Column[Any], ...],
    equal: tuple[str, ...],
    null: tuple[str, ...],
    order: Order,
    *,
    after: bool,
) -> Select[Any]:
    key = [table.c[name] for name in order.columns]
    found = select(*columns).where(
        *(table.c[name] == bindparam(name) for name in equal), *(table.c[name].is_(None) for name in null)
    )
    if after:
        place = tuple_(*(bindparam(f"after_{c.name}", type_=c.type) for c in key))
        found = found.where(tuple_(*key) < place if order.newest_first else tuple_(*key) > place)
    return found.order_by(*(c.desc() if order.newest_first else c.asc() for c in key)).limit(limit_param())


def fetch_page(
    session: Session,
    shape: Shape[S],
    request: PageRequest,
    order: Order,
    equal: Mapping[str, Any],
    *,
    null: tuple[str, ...] = (),
) -> Page[S]:
    """One page of a table; filters that are None do not count; columns in `null` have to be null."""
    table = shape.columns[0].table
    wanted = {name: value for name, value in equal.items() if value is not None}
    places = dict(zip((c.name for c in shape.columns), range(len(shape.columns)), strict=True))
    types = [table.c[name].type.python_type for name in order.columns]
    after = read_token(request.token, types) if request.token else []
    statement = _listing(table, shape.columns, tuple(wanted), null, order, after=bool(after))
    place = {f"after_{name}": value for name, value in zip(order.columns, after, strict=False)}
    rows = session.rows(statement, **wanted, **place, limit=checked_limit(request) + 1)
    return page_of(rows, request, shape.read, lambda row: [row[places[name]] for name in order.columns])


def page_of(
    rows: Sequence[Row], request: PageRequest, read: Callable[[Row], T], key: Callable[[Row], Sequence[Any]]
) -> Page[T]:
    """A page of rows that were fetched with one more than its limit."""
    more = len(rows) > request.limit
    kept = rows[: request.limit]
    return Page(items=tuple(map(read, kept)), next_token=write_token(key(kept[-1])) if more else "")
