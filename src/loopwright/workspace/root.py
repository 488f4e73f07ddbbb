"""Assembles a workspace: ports, operations, reactors, jobs, the serving runtime and the live feed."""

from __future__ import annotations

import logging
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgspec

from loopwright.adapters.world import FollowingClock, KeptInstant, ReplayClock
from loopwright.core.errors import Conflict, Corrupt, NotFound, Unavailable
from loopwright.core.nouns import Event, Job
from loopwright.engine.context import Context, Principal
from loopwright.engine.controller import Controller
from loopwright.engine.current import run_at
from loopwright.engine.jobs import Worker
from loopwright.engine.journal import HEADS_FILE, anchor_head
from loopwright.engine.live import LiveFeed
from loopwright.engine.operation import Operation, handlers_in, invoke, operations_in, reactors_in
from loopwright.engine.presence import AT_WORK, IN_USE, alone, shared
from loopwright.engine.relay import Relay
from loopwright.loops.erasing import forgotten, resume
from loopwright.loops.trash import collect_due
from loopwright.workspace.catalogue import Assembly, runtime_of, slice_modules
from loopwright.workspace.settings import LEDGER_FILE, Settings, load_settings

if TYPE_CHECKING:
    from loopwright.ports.world import Clock
    from loopwright.serving.runtime import Runtime

__all__ = ["Workspace"]

log = logging.getLogger(__name__)

_REPLAY_FILE = "replay-instant"
_HEADER_BYTES = 4096
"""what SQLite leaves of a ledger whose every page is in the log beside it"""
_PATIENT = ("run.",)
"""kinds of events that change nothing others go by at once; runs begin and end by the hundred"""
_ERRANDS = 3
"""jobs that wait for others, carried out at once"""
_CONTROLLER = Principal(name="controller")


class Workspace:
    """A workspace on this machine: everything the product does, with the same calling face as the client."""

    def __init__(self, settings: Settings, *, clock: Clock | None = None) -> None:
        _make_folder(settings.folder)
        _check_ledger_is_there(settings)
        self.settings = settings
        self._replayed = KeptInstant(settings.folder / _REPLAY_FILE)
        self.ports = Assembly(settings, clock=clock or self._clock_of_replay())
        self.live = LiveFeed()
        self._modules = slice_modules()
        self.operations: dict[str, Operation] = operations_in(self._modules)
        self._started = False
        self._collected_in = ""
        with ExitStack() as marks:
            marks.enter_context(shared(settings.folder, IN_USE))
            self.ports.ledger.subscribe(self._committed, patient=_PATIENT)
            for space in sorted(forgotten(self.context())):
                log.warning("an erasure in %s was broken off, or undone by a backup: ended now", space)
                resume(self.context(_CONTROLLER, space))
            self._marks = marks.pop_all()

    @classmethod
    def open(
        cls, folder: str | Path | None = None, *, clock: Clock | None = None, settings: Settings | None = None
    ) -> Workspace:
        """Open the workspace of a folder (made when it is new), or the nearest one upwards."""
        if settings is None:
            given = None if folder is None else {"workspace": str(folder)}
            settings = load_settings(given)
        return cls(settings, clock=clock)

    def _clock_of_replay(self) -> Clock | None:
        """Where a replay goes on, or was left off, all of the workspace lives at the replay's instant."""
        return None if self._replayed.read() is None else FollowingClock(self._replayed)

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
        """Call an operation by its name, as a client would; within `lw.run` it is linked to the run."""
        if name not in self.operations:
            raise NotFound(f"there is no operation {name!r}", hint="the reference lists them all")
        upload = arguments.pop("upload", None)
        ctx = self.context().under(run_at(self))
        return invoke(self.operations[name], ctx, arguments, upload=upload)

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
        handlers = handlers_in(self._modules)

        def worker(name: str, *, beside: bool) -> Worker:
            mine = {job: handler for job, handler in handlers.items() if handler.beside is beside}
            return Worker(ctx, mine, name=name, context_for=self._context_for_job)

        return Controller(
            ctx,
            relay,
            worker(worker_name, beside=False),
            name=worker_name,
            every_minute=self._every_minute,
            beside=[worker(f"{worker_name}-{n}", beside=True) for n in range(_ERRANDS)],
        )

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
            self.controller.wake(events)

    def anchor(self) -> None:
        """Sign the journal's head and keep it outside the ledger."""
        anchor_head(self.context(_CONTROLLER), self.settings.folder / HEADS_FILE)

    def _every_minute(self) -> None:
        """Sign the head of the journal, and once an hour ask for what the trash has too long."""
        self.anchor()
        ctx = self.context(_CONTROLLER)
        hour = f"{ctx.now():%Y-%m-%dT%H}"
        if self._started and hour != self._collected_in:
            self._collected_in = hour
            collect_due(ctx)

    def start(self) -> None:
        """Start schedules, reactors, jobs and the endpoints in threads of this process.

        `Conflict` while another process replays in this workspace, `Invalid` where a module of feature
        functions that the settings name cannot be imported.
        """
        self.ports.look_for_functions()
        self._marks.enter_context(shared(self.settings.folder, AT_WORK))
        self._started = True
        self.runtime.start()
        self.controller.start()

    @contextmanager
    def replaying(self) -> Iterator[None]:
        """A block in which no other process works in this workspace: its clock may be moved.

        Others may read and write meanwhile: who opens it then has the replay's clock, and has it too after
        a replay that was cut off, until `end_replay`. `Conflict` when one serves, works or replays there.
        What is due is done here from the start, also shortly after one that did so was killed.
        """
        clock = self.ports.clock
        with alone(self.settings.folder, AT_WORK):
            if isinstance(clock, ReplayClock):
                clock.keep_in(self._replayed)
            self.controller.take_over()
            try:
                yield
            finally:
                if isinstance(clock, ReplayClock):
                    clock.keep_in(None)
                self._replayed.close()

    def end_replay(self) -> None:
        """The replay has come to its end: who opens the workspace from now on has the machine's clock."""
        self._replayed.forget()

    def settle_beside(self) -> bool:
        """As `settle`, unless another process replays there, which does what is due by its own clock.

        False says that it is left to that process.
        """
        with ExitStack() as marks:
            try:
                marks.enter_context(shared(self.settings.folder, AT_WORK))
            except Conflict:
                return False
            self.settle()
        return True

    def settle(self) -> int:
        """Do everything that is due now in the caller's thread (replays and tests); how many steps it took.

        Endpoints this process serves then answer by every route change committed before the return.
        """
        steps = self.controller.settle()
        runtime = self.__dict__.get("runtime")
        if runtime is not None:
            runtime.catch_up()
        return steps

    def close(self) -> None:
        """Stop what was started, write out what is buffered, let go of files and connections.

        All of it is tried, even when a full disk keeps a part from being written; the error is then raised.
        """
        with ExitStack() as steps:
            steps.callback(self._marks.close)
            steps.callback(self.ports.close)
            if "controller" in self.__dict__:
                steps.callback(self.controller.stop)
            if "runtime" in self.__dict__:
                steps.callback(self.runtime.close)


def _make_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise Unavailable(
            f"the workspace {folder} is a file where a folder should be",
            hint="move the file away, or choose another folder with --workspace",
        )
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


def _check_ledger_is_there(settings: Settings) -> None:
    """`Corrupt` where objects or signed heads tell that there once was a ledger: none is made anew."""
    path = settings.folder / LEDGER_FILE
    log = path.with_name(f"{path.name}-wal")
    if settings.database or path.is_dir() or _size(log) or _size(path) > _HEADER_BYTES:
        return
    left = [name for name in (HEADS_FILE, "objects") if _size(settings.folder / name)]
    if left and (left != ["objects"] or any((settings.folder / "objects").glob("??/*"))):
        state = "empty" if path.exists() else "missing"
        raise Corrupt(
            f"the ledger {path} is {state}, but {' and '.join(left)} are there",
            hint="restore a backup: loopwright restore FILE --force; name the store with --database if the "
            f"ledger is kept elsewhere; or move {settings.folder} away to begin anew",
        )


def _size(path: Path) -> int:
    """Bytes of a file (of a folder: more than none); 0 when it is not there."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0
    return 1 if stat.S_ISDIR(found.st_mode) else found.st_size


def describe(settings: Settings) -> dict[str, Any]:
    """The settings as plain values, without secrets."""
    shown = msgspec.to_builtins(settings)
    for name in ("token", "objects_options", "database"):
        shown[name] = "set" if shown[name] else "not set"
    return dict(shown)
