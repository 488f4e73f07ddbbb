"""Assembles a workspace: ports, operations, reactors, jobs, the serving runtime and the live feed."""

from __future__ import annotations

import os
import secrets
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgspec

from loopwright.core.errors import NotFound, Unavailable
from loopwright.core.nouns import Event, Job
from loopwright.engine.context import Context, Principal
from loopwright.engine.controller import Controller
from loopwright.engine.jobs import Worker
from loopwright.engine.journal import anchor_head
from loopwright.engine.live import LiveFeed
from loopwright.engine.operation import Operation, handlers_in, invoke, operations_in, reactors_in
from loopwright.engine.relay import Relay
from loopwright.workspace.catalogue import Assembly, runtime_of, slice_modules
from loopwright.workspace.settings import Settings, load_settings

if TYPE_CHECKING:
    from loopwright.ports.world import Clock
    from loopwright.serving.runtime import Runtime

__all__ = ["Workspace"]

_CONTROLLER = Principal(name="controller")


class Workspace:
    """A workspace on this machine: everything the product does, with the same calling face as the client."""

    def __init__(self, settings: Settings, *, clock: Clock | None = None) -> None:
        _make_folder(settings.folder)
        self.settings = settings
        self.ports = Assembly(settings, clock=clock)
        self.live = LiveFeed()
        self._modules = slice_modules()
        self.operations: dict[str, Operation] = operations_in(self._modules)
        self._started = False
        self.ports.ledger.subscribe(self._committed)

    @classmethod
    def open(
        cls, folder: str | Path | None = None, *, clock: Clock | None = None, settings: Settings | None = None
    ) -> Workspace:
        """Open the workspace of a folder (made when it is new), or the nearest one upwards."""
        if settings is None:
            given = None if folder is None else {"workspace": str(folder)}
            settings = load_settings(given)
        return cls(settings, clock=clock)

    def __enter__(self) -> Workspace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def context(self, principal: Principal | None = None, space: str | None = None) -> Context:
        """A context to call verbs with; the principal is the local user when none is given."""
        who = principal or Principal(name=self.settings.principal)
        return Context(self.ports, principal=who, space=space or self.settings.space)

    def call(self, name: str, /, **arguments: Any) -> Any:
        """Call an operation by its name, as a client would."""
        if name not in self.operations:
            raise NotFound(f"there is no operation {name!r}", hint="the reference lists them all")
        upload = arguments.pop("upload", None)
        return invoke(self.operations[name], self.context(), arguments, upload=upload)

    @cached_property
    def runtime(self) -> Runtime:
        """The serving runtime of this process."""
        return runtime_of(self.context(_CONTROLLER))

    @cached_property
    def controller(self) -> Controller:
        """Schedules, reactors and jobs of this workspace."""
        ctx = self.context(_CONTROLLER)
        relay = Relay(ctx, reactors_in(self._modules), context_for=self._context_for_event)
        worker_name = f"{os.uname().nodename}-{os.getpid()}-{secrets.token_hex(3)}"
        worker = Worker(ctx, handlers_in(self._modules), name=worker_name, context_for=self._context_for_job)
        return Controller(ctx, relay, worker, name=worker_name, every_minute=self.anchor)

    def _context_for_event(self, event: Event) -> Context:
        return self.context(_CONTROLLER, event.space)

    def _context_for_job(self, job: Job) -> Context:
        return self.context(Principal(name=job.created_by), job.space)

    def _committed(self, events: tuple[Event, ...]) -> None:
        self.live.publish(events)
        runtime = self.__dict__.get("runtime")
        if runtime is not None:
            runtime.on_events(events)
        if self._started:
            self.controller.wake()

    def anchor(self) -> None:
        """Sign the journal's head and keep it outside the ledger."""
        anchor_head(self.context(_CONTROLLER), self.settings.folder / "journal.heads")

    def start(self) -> None:
        """Start schedules, reactors, jobs and the endpoints in threads of this process."""
        self._started = True
        self.runtime.start()
        self.controller.start()

    def settle(self) -> int:
        """Do everything that is due now in the caller's thread (replays and tests)."""
        return self.controller.settle()

    def close(self) -> None:
        """Stop what was started, write out what is buffered, let go of files and connections."""
        runtime = self.__dict__.get("runtime")
        if runtime is not None:
            runtime.close()
        if "controller" in self.__dict__:
            self.controller.stop()
        self.ports.close()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = folder / f".probe-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise Unavailable(
            f"the workspace {folder} cannot be written: {error.strerror}",
            hint="make the folder writable, free some space, or choose another one with --workspace",
        ) from error


def describe(settings: Settings) -> dict[str, Any]:
    """The settings as plain values, without secrets."""
    shown = msgspec.to_builtins(settings)
    for name in ("token", "objects_options", "database"):
        shown[name] = "set" if shown[name] else "not set"
    return dict(shown)
