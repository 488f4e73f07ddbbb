"""What an operation is given: who asks, in which space, under which run, and the ports."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from loopwright.core.errors import Denied
from loopwright.core.nouns import Event, Json, Link, LinkRole, VersionRef
from loopwright.engine.erased import note_read
from loopwright.ports.courier import Courier, Safe
from loopwright.ports.functions import Functions
from loopwright.ports.lakes import Lake
from loopwright.ports.ledger import Ledger, Transaction
from loopwright.ports.objects import Objects
from loopwright.ports.online import Online
from loopwright.ports.predictors import Framework, Packager, SearchSpace, Tuner
from loopwright.ports.queries import Queries
from loopwright.ports.scans import Scanner
from loopwright.ports.sources import Sources
from loopwright.ports.tables import Tables
from loopwright.ports.world import Clock, Ids, Keys, Signer

__all__ = ["COLUMNS_READ", "Context", "Ports", "Principal"]

COLUMNS_READ = "columns_read/"
"""documents by run: the columns it read of each version, null where these may be all"""

T = TypeVar("T")


class Ports(Protocol):
    """Everything of the world that was assembled; heavy ones are loaded when first asked for."""

    @property
    def folder(self) -> Path:
        """Where the workspace keeps its files."""

    @property
    def ledger(self) -> Ledger:
        """Metadata."""

    @property
    def objects(self) -> Objects:
        """Bytes by their digest."""

    @property
    def tables(self) -> Tables:
        """The engine of columns."""

    @property
    def scanner(self) -> Scanner:
        """The engine of checks."""

    @property
    def queries(self) -> Queries:
        """The engine of queries that people write."""

    @property
    def online(self) -> Online:
        """Features by entity."""

    @property
    def functions(self) -> Functions:
        """Free Python functions that this process was given."""

    @property
    def clock(self) -> Clock:
        """The platform's instant and the wall clock."""

    @property
    def ids(self) -> Ids:
        """Names for what has none."""

    @property
    def keys(self) -> Keys:
        """The workspace's signing key."""

    @property
    def trash_days(self) -> int:
        """How many days what was deleted lies in the trash, where nothing else is said of it."""

    @property
    def safe(self) -> Safe:
        """Seals small secrets with the workspace's key."""

    @property
    def courier(self) -> Courier:
        """Posts to addresses outside."""

    @property
    def lakes(self) -> Mapping[str, Lake]:
        """Tables as others keep them, by format."""

    @property
    def sources(self) -> Sources:
        """What rows are ingested from."""

    @property
    def frameworks(self) -> Mapping[str, Framework]:
        """Learning frameworks by flavour."""

    @property
    def packagers(self) -> Mapping[str, Packager]:
        """What brings models into packages and back, by flavour."""

    @property
    def signer(self) -> Signer:
        """Signs packages of models, and verifies those of others."""

    @property
    def trusted(self) -> tuple[str, ...]:
        """Whose packages may run code here beside our own: see `registry.trust`."""

    def tuner(self, spaces: tuple[SearchSpace, ...], *, seed: int) -> Tuner:
        """A seeded study over the spaces."""


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, and what they may: scopes as `noun:right`, `*` for all."""

    name: str
    scopes: frozenset[str] = frozenset({"*"})

    def may(self, scope: str) -> bool:
        """Whether the scope, all rights of its noun, or everything is granted."""
        noun = scope.partition(":")[0]
        return bool(self.scopes & {scope, f"{noun}:*", "*"})


class Context:
    """Given to every operation. Immutable: `under` and `acting_as` give changed copies."""

    def __init__(
        self,
        ports: Ports,
        *,
        principal: Principal,
        space: str = "default",
        run_id: str | None = None,
    ) -> None:
        self.ports = ports
        self.principal = principal
        self.space = space
        self.run_id = run_id

    def under(self, run_id: str | None) -> Context:
        """The same context inside a run: what is read and made is linked to it."""
        return Context(self.ports, principal=self.principal, space=self.space, run_id=run_id)

    def acting_as(self, principal: Principal) -> Context:
        """The same context of another principal (a controller acts under its own name)."""
        return Context(self.ports, principal=principal, space=self.space, run_id=self.run_id)

    def require(self, scope: str) -> None:
        """Raise `Denied` unless the principal has the scope."""
        if not self.principal.may(scope):
            raise Denied(
                f"{self.principal.name} lacks the scope {scope}",
                hint="ask an owner of the space for it",
            )

    def now(self) -> datetime:
        """The platform's instant."""
        return self.ports.clock.now()

    def new_id(self) -> str:
        """A new id."""
        return self.ports.ids.new()

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in a unit of work; its value is returned once durable. Nothing slow inside."""
        return self.ports.ledger.write(work)

    def read(self) -> AbstractContextManager[Transaction]:
        """A consistent snapshot to read from."""
        return self.ports.ledger.read()

    def record(self, tx: Transaction, kind: str, subject: object, payload: Json | None = None) -> str:
        """Write a line of the journal in this unit of work; gives its id. Payloads hold no values of data."""
        event = Event(
            id=self.new_id(),
            space=self.space,
            principal=self.principal.name,
            kind=kind,
            subject=str(subject),
            at=self.now(),
            wall_at=self.ports.clock.wall(),
            payload=payload or {},
        )
        tx.journal.append(event)
        return event.id

    def touch(
        self, tx: Transaction, role: LinkRole, version: VersionRef, columns: Collection[str] | None = None
    ) -> None:
        """Link a version to the current run, if there is one; of what is read, say by which columns (all)."""
        if self.run_id is None:
            return
        tx.runs.link(Link(run_id=self.run_id, role=role, version=version, at=self.now()))
        if role is LinkRole.INPUT:
            self._tell_columns(tx, f"{COLUMNS_READ}{self.run_id}", version, columns)
            note_read(tx, self.space, self.run_id, version)

    def _tell_columns(
        self, tx: Transaction, told: str, version: VersionRef, columns: Collection[str] | None
    ) -> None:
        """Add to what a run read of a version: the names of columns, or none told for all of them."""
        before = tx.documents.get(self.space, told, str(version))
        known = set[str]() if before is None else before["columns"]
        read = None if columns is None or known is None else sorted({*known, *columns})
        if before is None or before["columns"] != read:
            tx.documents.put(self.space, told, str(version), {"columns": read})
