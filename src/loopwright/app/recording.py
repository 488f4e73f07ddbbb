"""`lw.run`: tracks a block or a function as a run, on this machine's workspace or on a server."""

from __future__ import annotations

import asyncio
import atexit
import functools
import inspect
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import Any, SupportsFloat, SupportsIndex, TypeVar, overload

from loopwright.app.capturing import Captured, captured
from loopwright.app.connecting import connect
from loopwright.app.packages import Savable, log_model, packed, ports_of
from loopwright.app.sampling import SystemSampler
from loopwright.app.terminating import Terminations
from loopwright.app.yielding import read_apart, read_apart_async
from loopwright.client import Client
from loopwright.core.errors import Conflict, Invalid, LoopwrightError, Unavailable
from loopwright.core.nouns import Json, MetricPoint, Run, RunState, Version
from loopwright.engine.current import enter, leave
from loopwright.engine.operation import Upload
from loopwright.registry.nouns import LoggedModel
from loopwright.registry.signatures import ModelSignature
from loopwright.tracking.buffer import PATIENCE_S, PointBuffer
from loopwright.tracking.recording import logged_point
from loopwright.workspace import Workspace

__all__ = ["REPEATS", "Recorder", "run"]

REPEATS = "LOOPWRIGHT_REPRODUCES"
"""in the environment of a program: the id of the run that its runs are done again for"""

log = logging.getLogger(__name__)

_PAUSE_S = 0.5
F = TypeVar("F", bound=Callable[..., Any])
_CURRENT: ContextVar[Recorder | None] = ContextVar("loopwright.run", default=None)
_TERMINATIONS = Terminations()


def _going() -> Recorder | None:
    """The run that was begun last in this thread or task and has not ended."""
    found = _CURRENT.get()
    while found is not None and not found.is_going:
        found = found._outer
    return found


def _make_current(recorder: Recorder | None) -> None:
    """What is called from now on, in this thread or task, is in this run."""
    _CURRENT.set(recorder)
    if recorder is None:
        leave()
    else:
        enter(recorder.face, recorder.id)


def _state_after(error: BaseException | None) -> RunState:
    """How a run ended whose block ended with this."""
    match error:
        case None | GeneratorExit() | SystemExit(code=None | 0):
            return RunState.FINISHED
        case KeyboardInterrupt() | asyncio.CancelledError():
            return RunState.KILLED
        case _:
            return RunState.FAILED


class Recorder:
    """One run while it is recorded; made by `lw.run`. Methods may be called from any thread.

    A process that was forked within it may log to it over a client: its points are written as they come, and
    only the process that began the run ends it.
    """

    def __init__(
        self,
        name: str,
        *,
        experiment: str | None,
        params: Mapping[str, object],
        tags: Mapping[str, object],
        to: Workspace | Client | None,
        run_id: str | None,
        parent: str | None,
        system_metrics: bool,
    ) -> None:
        self._name = name
        self._experiment = experiment
        self._params = {key: str(value) for key, value in params.items()}
        self._tags = {key: str(value) for key, value in tags.items()}
        self._given = to
        self._face: Workspace | Client | None = to
        self._resumed = run_id
        self._parent = parent
        self._with_system = system_metrics
        self._run: Run | None = None
        self._points: PointBuffer | None = None
        self._sampler: SystemSampler | None = None
        self._outer: Recorder | None = None
        self._pid = os.getpid()
        self._ending = threading.Lock()

    def __repr__(self) -> str:
        state = "not begun" if self._run is None else "running" if self.is_going else "ended"
        return f"<run {self._name} {'' if self._run is None else self._run.id + ' '}{state}>"

    # -- life ------------------------------------------------------------------

    def __enter__(self) -> Recorder:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        state = _state_after(error)
        if error is None or state is RunState.FINISHED:
            self.end()
            return
        try:
            self.end(state, facts={"error": f"{type(error).__name__}: {error}"[:500]})
        except LoopwrightError as failure:  # what went wrong in the block is what its caller has to see
            log.warning("run:%s could not be ended: %s", self.id, failure)
            error.add_note(f"run:{self.id} could not be ended: {failure}")

    def __call__(self, function: F) -> F:
        """As a decorator: each call is a run of its own, its arguments are the params.

        A coroutine's run lasts until it is done, a generator's until it is read to its end or closed.
        """
        if self._resumed is not None:
            raise Invalid(
                "each call is a run of its own", hint="go on with a run in a block: with lw.run(...)"
            )

        def begun(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Recorder:
            bound = inspect.signature(function).bind(*args, **kwargs)
            bound.apply_defaults()
            plain = {k: v for k, v in bound.arguments.items() if isinstance(v, str | int | float | bool)}
            return self._copy({**plain, **self._params})

        @functools.wraps(function)
        def tracked(*args: Any, **kwargs: Any) -> Any:
            with begun(args, kwargs):
                return function(*args, **kwargs)

        @functools.wraps(function)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            with begun(args, kwargs):
                return await function(*args, **kwargs)

        @functools.wraps(function)
        def read(*args: Any, **kwargs: Any) -> Any:
            with begun(args, kwargs) as recorder:
                return (yield from read_apart(function(*args, **kwargs), recorder._aside))

        @functools.wraps(function)
        async def read_async(*args: Any, **kwargs: Any) -> Any:
            with begun(args, kwargs) as recorder:
                apart = read_apart_async(function(*args, **kwargs), recorder._aside)
                async with aclosing(apart):
                    async for item in apart:
                        yield item

        if inspect.isasyncgenfunction(function):
            chosen: Callable[..., Any] = read_async
        elif inspect.isgeneratorfunction(function):
            chosen = read
        else:
            chosen = awaited if inspect.iscoroutinefunction(function) else tracked
        return chosen  # type: ignore[return-value]  # it has the signature of what it wraps

    def _copy(self, params: Mapping[str, object]) -> Recorder:
        return Recorder(
            self._name,
            experiment=self._experiment,
            params=params,
            tags=self._tags,
            to=self._given,
            run_id=None,
            parent=self._parent,
            system_metrics=self._with_system,
        )

    def start(self) -> Recorder:
        """Begin the run (a block does it): a child of the run it is begun in."""
        if self._run is not None:
            raise Invalid(f"run:{self.id} was started already", hint="make another one for another run")
        outer = _going()
        if self._face is None:
            self._face = connect() if outer is None else outer.face
        if self._resumed is not None:
            self._run = self._face.call("runs.resume", run_id=self._resumed)
            if self._params or self._tags:
                self._face.call("runs.annotate", run_id=self.id, params=self._params, tags=self._tags)
        else:
            self._begin(self._face, captured(), outer)
        self._points = PointBuffer(self._write)
        if self._with_system:
            self._sampler = SystemSampler(self.log)
        self._outer = outer
        _make_current(self)
        atexit.register(self._at_exit)
        _TERMINATIONS.add(self)
        return self

    def _begin(self, face: Workspace | Client, found: Captured, outer: Recorder | None) -> None:
        """Start the run, a child in its parent's experiment, with what it began with: facts, and files."""
        parent, experiment = self._parent, self._experiment
        if parent is None and outer is not None:
            parent, experiment = outer.id, experiment or outer.experiment
        elif parent is not None and experiment is None:
            experiment = face.call("runs.show", run_id=parent).run.experiment
        repeated = os.environ.get(REPEATS)
        tags = (
            {"loopwright.reproduces": repeated, **self._tags} if repeated and parent is None else self._tags
        )
        self._run = face.call(
            "runs.start",
            name=self._name,
            experiment=experiment,
            parent=parent,
            params=self._params,
            tags=tags,
            facts=found.facts,
        )
        try:
            for path, text in found.files.items():
                self.keep(path, text.encode())
        except LoopwrightError as error:
            face.call("runs.end", run_id=self.id, state=RunState.FAILED, facts={"error": str(error)[:500]})
            raise

    def end(self, state: RunState = RunState.FINISHED, *, facts: Json | None = None) -> None:
        """End the run once everything logged is durable; a second time nothing happens.

        A server that does not answer is waited for, up to a minute. A run whose points could not be written
        is ended as failed.
        """
        points = self._taken()
        if points is None:
            return
        atexit.unregister(self._at_exit)
        if _CURRENT.get() is self:
            _make_current(_going())
        try:
            self._close(points, state, facts)
        finally:
            _TERMINATIONS.remove(self)
            if self._given is None and _CURRENT.get() is None:
                self.face.close()

    def terminated(self) -> None:
        """The program was told to end by SIGTERM; the connection stays open for the runs it is in."""
        points = self._taken()
        if points is not None:
            self._close(points, RunState.KILLED, {"error": "the program was ended by SIGTERM"})

    def _taken(self) -> PointBuffer | None:
        """What is not written yet, for the one that ends the run; None where it has ended or is another's."""
        if os.getpid() != self._pid:
            return None
        with self._ending:
            if self._points is not None and self._sampler is not None:
                self._sampler.close()
            points, self._points = self._points, None
        return points

    def _close(self, points: PointBuffer, state: RunState, facts: Json | None) -> None:
        until = time.monotonic() + PATIENCE_S
        try:
            points.close()
        except LoopwrightError as error:
            told = {**(facts or {}), "error": f"points were lost: {error}"[:500]}
            self._say_ended(RunState.FAILED, told, until=until)
            raise
        self._say_ended(state, facts, until=until)

    def _say_ended(self, state: RunState, facts: Json | None, *, until: float) -> None:
        """End it where it is recorded; an answer that was lost is no reason to end it twice."""
        is_again = False
        while True:
            try:
                self.face.call("runs.end", run_id=self.id, state=state, facts=facts)
                return
            except Unavailable:
                if time.monotonic() > until:
                    raise
                time.sleep(_PAUSE_S)
                is_again = True
            except Conflict:
                if is_again and self.face.call("runs.show", run_id=self.id).run.state is state:
                    return
                raise

    def _at_exit(self) -> None:
        """The program ended within the run: what was logged is kept, the run is said to be killed."""
        self.end(RunState.KILLED, facts={"error": "the program ended before the run"})

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """A block in which the run goes on without being the current one."""
        inside = _CURRENT.get()
        _CURRENT.set(self._outer)
        _make_current(_going())
        try:
            yield
        finally:
            self._outer = _going()
            _make_current(inside)

    # -- what it is ------------------------------------------------------------

    @property
    def is_going(self) -> bool:
        """Whether it was begun and has not ended."""
        return self._points is not None

    @property
    def id(self) -> str:
        """The run's id."""
        if self._run is None:
            raise Invalid("the run has not begun", hint="use it as a block: with lw.run(...) as run:")
        return self._run.id

    @property
    def experiment(self) -> str | None:
        """The name of the experiment it is in, None where it is in none."""
        return None if self._run is None else self._run.experiment

    @property
    def face(self) -> Workspace | Client:
        """Where it is recorded."""
        if self._face is None:
            raise Invalid("the run has not begun", hint="use it as a block: with lw.run(...) as run:")
        return self._face

    # -- logging ---------------------------------------------------------------

    def log(self, metrics: Mapping[str, SupportsFloat], *, step: SupportsIndex = 0) -> None:
        """Log one point of each metric; it costs some microseconds and is durable within a second."""
        points = self._points
        if points is None or _TERMINATIONS.is_told:
            if _TERMINATIONS.is_told:
                return
            raise Invalid("the run is not going", hint="log inside its block")
        if points.pid != os.getpid():
            points = self._points = PointBuffer(self._write, soon=0)
        points.add(metrics, step)

    def param(self, **params: object) -> None:
        """Add params; each is written once."""
        written = {key: str(value) for key, value in params.items()}
        self.face.call("runs.annotate", run_id=self.id, params=written)

    def tag(self, **tags: object) -> None:
        """Set tags, whose values are kept as text."""
        written = {key: str(value) for key, value in tags.items()}
        self.face.call("runs.annotate", run_id=self.id, tags=written)

    def keep(self, path: str, data: bytes | Path) -> None:
        """Keep a file of the run under a path: bytes, or a file of this machine."""
        chunks = [data] if isinstance(data, bytes) else _pieces(data)
        self.face.call("runs.upload", run_id=self.id, path=path, upload=Upload(chunks=chunks))

    def log_model(
        self,
        model: Savable,
        name: str = "model",
        *,
        input_example: Any = None,
        signature: ModelSignature | None = None,
        form: str = "",
        register: str | None = None,
    ) -> LoggedModel | Version:
        """Keep a model as a package of the run; with `register`, also as the next version of a model."""
        if isinstance(model, str):
            raise Invalid(
                f"{model!r} is a name, not a model", hint="the model comes first: log_model(model, name)"
            )
        files = packed(
            model,
            input_example=input_example,
            signature=signature,
            form=form,
            metadata=None,
            ports=ports_of(self.face),
        )
        logged = log_model(self.face, files, name, run_id=self.id)
        if register is None:
            return logged
        source = f"models:/{logged.id}"
        version: Version = self.face.call("registry.register", name=register, source=source)
        return version

    def flush(self) -> None:
        """Everything logged before the call is durable at return."""
        points = self._points
        if points is not None and points.pid == os.getpid():
            points.flush()

    def _write(self, points: Sequence[MetricPoint]) -> None:
        self.face.call("runs.log", run_id=self.id, points=tuple(map(logged_point, points)))


def _pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        yield from iter(lambda: opened.read(1 << 20), b"")


@overload
def run(
    name: str,
    *,
    experiment: str | None = None,
    params: Mapping[str, object] | None = None,
    tags: Mapping[str, object] | None = None,
    to: Workspace | Client | None = None,
    run_id: str | None = None,
    parent: str | None = None,
    system_metrics: bool = False,
) -> Recorder: ...


@overload
def run(name: F) -> F: ...


def run(
    name: str | F,
    *,
    experiment: str | None = None,
    params: Mapping[str, object] | None = None,
    tags: Mapping[str, object] | None = None,
    to: Workspace | Client | None = None,
    run_id: str | None = None,
    parent: str | None = None,
    system_metrics: bool = False,
) -> Recorder | F:
    """Track a block, or by `@lw.run(...)` each call of a function, as a run.

    It goes where `lw.connect()` goes, or `to`. Inside another run it is its child, in the same experiment
    unless another is named; `parent` is the id of the run it is a child of where that goes on in another
    thread, process or machine. `run_id` goes on with a run, also with one that has ended. With
    `system_metrics` the load of the machine is logged every ten seconds. Recorded besides: the commit and the
    difference to it, the installed packages, the command, the machine. `@lw.run` alone takes the name of the
    function.
    """
    made = Recorder(
        name if isinstance(name, str) else getattr(name, "__name__", "run"),
        experiment=experiment,
        params=params or {},
        tags=tags or {},
        to=to,
        run_id=run_id,
        parent=parent,
        system_metrics=system_metrics,
    )
    return made if isinstance(name, str) else made(name)
