"""How pages ask: by operations, as the page's principal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from loopwright.core.errors import NotFound
from loopwright.engine.context import Context
from loopwright.engine.operation import Operation, invoke

__all__ = ["Desk", "Page", "Query", "Values"]

Values = dict[str, Any]


class Query(dict[str, str]):
    """The last value of each name in an address's query; `all` gives every one."""

    def __init__(self, pairs: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(pairs)
        self._pairs = tuple(pairs)

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of a name, in order."""
        return tuple(value for key, value in self._pairs if key == name)


class Desk:
    """Calls operations for a page, as the page's principal."""

    def __init__(self, operations: Mapping[str, Operation], ctx: Context) -> None:
        self._operations = operations
        self._ctx = ctx

    def call(self, name: str, /, **arguments: Any) -> Any:
        """The value of an operation."""
        given = {key: value for key, value in arguments.items() if value is not None}
        return invoke(self._operations[name], self._ctx, given)

    def maybe(self, name: str, /, **arguments: Any) -> Any:
        """As `call`, None when what was asked for does not exist."""
        try:
            return self.call(name, **arguments)
        except NotFound:
            return None

    @property
    def trash_days(self) -> int:
        """How many days what was deleted lies in the trash."""
        return self._ctx.ports.trash_days

    @property
    def principal(self) -> str:
        """Who looks."""
        return self._ctx.principal.name

    @property
    def now(self) -> Any:
        """The platform's instant."""
        return self._ctx.now()


class Page(NamedTuple):
    """A page: its path, its template, and what it is made of."""

    path: str
    template: str
    build: Callable[[Desk, dict[str, str], Query], Values]
