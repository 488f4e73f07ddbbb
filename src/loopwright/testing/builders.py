"""Builds contexts over fakes: everything in memory but the tables, which are loaded at their first use."""

from __future__ import annotations

import hmac
import shutil
import tempfile
import threading
import weakref
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from importlib import import_module
from pathlib import Path

from blake3 import blake3

from loopwright.core.errors import Corrupt, Unavailable
from loopwright.engine.context import Context, Principal
from loopwright.ports.courier import Courier, Safe
from loopwright.ports.functions import Functions
from loopwright.ports.lakes import Lake
from loopwright.ports.ledger import Ledger
from loopwright.ports.objects import Objects
from loopwright.ports.online import Online
from loopwright.ports.predictors import Framework, Packager, SearchSpace, Tuner
from loopwright.ports.queries import Queries
from loopwright.ports.scans import Scanner
from loopwright.ports.sources import Sources
from loopwright.ports.tables import Tables
from loopwright.ports.world import Clock, Ids, Keys, Signer
from loopwright.testing.ledger import MemoryLedger
from loopwright.testing.objects import MemoryObjects

__all__ = [
    "CountedIds",
    "MemoryKeys",
    "MemoryPorts",
    "MemorySafe",
    "SetClock",
    "memory_context",
    "memory_ports",
]

_START = datetime(2013, 7, 1, tzinfo=UTC)
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


class SetClock:
    """A clock that stands still until a test sets it; the wall clock goes with it."""

    def __init__(self, start: datetime = _START) -> None:
        self._now = start

    def now(self) -> datetime:
        """The instant that was set."""
        return self._now

    def wall(self) -> datetime:
        """The same instant."""
        return self._now

    def set(self, to: datetime) -> None:
        """Set it, forward or back."""
        self._now = to

    def advance(self, by: timedelta) -> None:
        """Move it."""
        self._now += by


class CountedIds:
    """Ids that count up, so that tests are the same at every run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0

    def new(self) -> str:
        """The next id, of 26 characters."""
        with self._lock:
            self._count += 1
            value = self._count
        return "".join(_ALPHABET[(value >> shift) & 31] for shift in range(125, -1, -5))


class MemoryKeys:
    """A keyed digest under a fixed key."""

    _KEY = bytes(range(32))

    def sign(self, message: bytes) -> str:
        """A keyed digest, hex."""
        return blake3(message, key=self._KEY).hexdigest()

    def verify(self, message: bytes, signature: str) -> bool:
        """Whether `sign` gave this signature."""
        return hmac.compare_digest(self.sign(message), signature)


class MemorySafe:
    """Texts turned around, with what they are about: no secret, but kept apart as a real safe does."""

    def seal(self, secret: str, *, about: str) -> str:
        """The secret, turned around."""
        return f"{about}|{secret[::-1]}"

    def unseal(self, sealed: str, *, about: str) -> str:
        """The secret, where it is about the same."""
        found, _, secret = sealed.partition("|")
        if found != about:
            raise Corrupt(f"the secret of {about} cannot be read", hint="seal it again")
        return secret[::-1]


class MemoryPorts:
    """All ports in memory; what a test does not give and no fake fulfils raises when it is asked for."""

    def __init__(
        self,
        *,
        ledger: Ledger | None = None,
        objects: Objects | None = None,
        clock: Clock | None = None,
        online: Online | None = None,
        frameworks: Mapping[str, Framework] | None = None,
        courier: Courier | None = None,
    ) -> None:
        self.ledger: Ledger = MemoryLedger() if ledger is None else ledger
        self.objects: Objects = MemoryObjects() if objects is None else objects
        self.clock: Clock = SetClock() if clock is None else clock
        self.ids: Ids = CountedIds()
        self.keys: Keys = MemoryKeys()
        self.trash_days = 30
        self.frameworks: Mapping[str, Framework] = frameworks or {}
        self.trusted: tuple[str, ...] = ()
        self.safe: Safe = MemorySafe()
        self._online = online
        self._courier = courier

    @cached_property
    def folder(self) -> Path:
        """An empty folder of this object's own, made at first use and gone with the object."""
        made = tempfile.mkdtemp(prefix="loopwright-")
        weakref.finalize(self, shutil.rmtree, made, ignore_errors=True)
        return Path(made)

    @cached_property
    def packagers(self) -> Mapping[str, Packager]:
        """The real ones: there is no fake of a framework's own files."""
        made: Mapping[str, Packager] = import_module("loopwright.workspace.catalogue").Packagers()
        return made

    @cached_property
    def signer(self) -> Signer:
        """A pair of keys in the folder."""
        made: Signer = import_module("loopwright.adapters.world").FileSigner(self.folder / "packages.key")
        return made

    @cached_property
    def functions(self) -> Functions:
        """The real ones, which are in memory."""
        made: Functions = import_module("loopwright.adapters.world").ProcessFunctions()
        return made

    @cached_property
    def tables(self) -> Tables:
        """Polars: there is no fake of tables."""
        engine: Tables = import_module("loopwright.adapters.tables").PolarsTables()
        return engine

    @cached_property
    def lakes(self) -> Mapping[str, Lake]:
        """The real ones: there is no fake of others' formats."""
        made: Mapping[str, Lake] = import_module("loopwright.workspace.catalogue").Lakes()
        return made

    @cached_property
    def sources(self) -> Sources:
        """The real ones, over HTTP on this machine alone: there is no fake of what stands outside."""
        rules = import_module("loopwright.adapters.notify.addresses").rules_of(
            http=True, networks=("127.0.0.0/8",), ports=(), about="source"
        )
        made: Sources = import_module("loopwright.workspace.sources").AnySource(rules)
        return made

    @cached_property
    def scanner(self) -> Scanner:
        """Polars, as for tables."""
        engine: Scanner = import_module("loopwright.adapters.tables.scan_polars").PolarsScanner()
        return engine

    @cached_property
    def queries(self) -> Queries:
        """The real one: a process shut off from the world has no fake."""
        engine: Queries = import_module("loopwright.adapters.tables.queries").DuckDBQueries()
        return engine

    @property
    def online(self) -> Online:
        """The online store that was given."""
        if self._online is None:
            raise Unavailable("no online store was given", hint="memory_ports(online=...)")
        return self._online

    @property
    def courier(self) -> Courier:
        """The courier that was given."""
        if self._courier is None:
            raise Unavailable("no courier was given", hint="memory_ports(courier=...)")
        return self._courier

    def tuner(self, spaces: tuple[SearchSpace, ...], *, seed: int) -> Tuner:
        """None was given."""
        raise Unavailable("there is no tuner in memory", hint="use that of an adapter")


def memory_ports(
    *,
    ledger: Ledger | None = None,
    objects: Objects | None = None,
    clock: Clock | None = None,
    online: Online | None = None,
    frameworks: Mapping[str, Framework] | None = None,
    courier: Courier | None = None,
) -> MemoryPorts:
    """Ports in memory, any of them replaced by what is given."""
    return MemoryPorts(
        ledger=ledger, objects=objects, clock=clock, online=online, frameworks=frameworks, courier=courier
    )


def memory_context(
    ports: MemoryPorts | None = None, *, principal: str = "tester", space: str = "default"
) -> Context:
    """A context over ports in memory."""
    return Context(ports or memory_ports(), principal=Principal(name=principal), space=space)
