"""`lw.run`: tracks a block or a function as a run, on this machine's workspace or on a server."""

from __future__ import annotations

import atexit
import functools
import inspect
import threading
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, TypeVar

from loopwright.app.capturing import captured
from loopwright.app.connecting import connect
from loopwright.app.sampling import SystemSampler
from loopwright.client import Client
from loopwright.core.errors import Invalid
from loopwright.core.nouns import Json, MetricPoint, Run, RunState
from loopwright.tracking.buffer import PointBuffer
from loopwright.tracking.recording import logged_point
from loopwright.workspace import Workspace

__all__ = ["Recorder", "run"]

F = TypeVar("F", bound=Callable[..., Any])
_CURRENT: ContextVar[Recorder | None] = ContextVar("loopwright.run", default=None)


class Recorder:
    """One run while it is recorded; made by `lw.run`. Methods may be called from any thread."""

    def __init__(
        self,
        name: str,
        *,
        experiment: str | None,
        params: Mapping[str, object],
        tags: Mapping[str, str],
        to: Workspace | Client | None,
        run_id: str | None,
        system_metrics: bool,
    ) -> None:
        self._name = name
        self._experiment = experiment
        self._params = {key: str(value) for key, value in params.items()}
        self._tags = dict(tags)
        self._given = to
        self._face: Workspace | Client | None = to
        self._resumed = run_id
        self._with_system = system_metrics
        self._run: Run | None = None
        self._points: PointBuffer | None = None
        self._sampler: SystemSampler | None = None
        self._token: Token[Recorder | None] | None = None
        self._ending = threading.Lock()

    # -- life ------------------------------------------------------------------

    def __enter__(self) -> Recorder:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.end()
        else:
            state = RunState.KILLED if isinstance(error, KeyboardInterrupt) else RunState.FAILED
            self.end(state, facts={"error": f"{type(error).__name__}: {error}"[:500]})

    def __call__(self, function: F) -> F:
        """As a decorator: each call is a run of its own, its arguments are the params."""

        @functools.wraps(function)
        def tracked(*args: Any, **kwargs: Any) -> Any:
            bound = inspect.signature(function).bind(*args, **kwargs)
            bound.apply_defaults()
            plain = {k: v for k, v in bound.arguments.items() if isinstance(v, str | int | float | bool)}
            with self._copy({**plain, **self._params}):
                return function(*args, **kwargs)

        return tracked  # type: ignore[return-value]  # it has the signature of what it wraps

    def _copy(self, params: Mapping[str, object]) -> Recorder:
        return Recorder(
            self._name,
            experiment=self._experiment,
            params=params,
            tags=self._tags,
            to=self._given,
            run_id=None,
            system_metrics=self._with_system,
        )

    def start(self) -> Recorder:
        """Begin the run (a block does it): a child of the run it is begun in."""
        if self._run is not None:
            raise Invalid(f"run:{self.id} was started already", hint="make another one for another run")
        outer = _CURRENT.get()
        if self._face is None:
            self._face = connect() if outer is None else outer.face
        if self._resumed is not None:
            self._run = self._face.call("runs.show", run_id=self._resumed).run
        else:
            self._run = self._face.call(
                "runs.start",
                name=self._name,
                experiment=self._experiment,
                parent=None if outer is None else outer.id,
                params=self._params,
                tags=self._tags,
                facts=captured(),
            )
        self._points = PointBuffer(self._write)
        if self._with_system:
            self._sampler = SystemSampler(self.log)
        self._token = _CURRENT.set(self)
        atexit.register(self._at_exit)
        return self

    def end(self, state: RunState = RunState.FINISHED, *, facts: Json | None = None) -> None:
        """End the run once everything logged is durable; a second time nothing happens."""
        with self._ending:
            if self._points is None:
                return
            if self._sampler is not None:
                self._sampler.close()
            points, self._points = self._points, None
        atexit.unregister(self._at_exit)
        if self._token is not None:
            _CURRENT.reset(self._token)
            self._token = None
        try:
            points.close()
        finally:
            self.face.call("runs.end", run_id=self.id, state=state, facts=facts)
            if self._given is None and _CURRENT.get() is None:
                self.face.close()

    def _at_exit(self) -> None:
        """The program ended within the run: what was logged is kept, the run is said to be killed."""
        self._token = None
        self.end(RunState.KILLED, facts={"error": "the program ended before the run"})

    # -- what it is ------------------------------------------------------------

    @property
    def id(self) -> str:
        """The run's id."""
        if self._run is None:
            raise Invalid("the run has not begun", hint="use it as a block: with lw.run(...) as run:")
        return self._run.id

    @property
    def face(self) -> Workspace | Client:
        """Where it is recorded."""
        if self._face is None:
            raise Invalid("the run has not begun", hint="use it as a block: with lw.run(...) as run:")
        return self._face

    # -- logging ---------------------------------------------------------------

    def log(self, metrics: Mapping[str, float], *, step: int = 0) -> None:
        """Log one point of each metric; it costs some microseconds and is durable within a second."""
        if self._points is None:
            raise Invalid("the run is not going", hint="log inside its block")
        self._points.add(metrics, step)

    def param(self, **params: object) -> None:
        """Add params; each is written once."""
        written = {key: str(value) for key, value in params.items()}
        self.face.call("runs.annotate", run_id=self.id, params=written)

    def tag(self, **tags: str) -> None:
        """Set tags."""
        self.face.call("runs.annotate", run_id=self.id, tags=tags)

    def flush(self) -> None:
        """Everything logged before the call is durable at return."""
        if self._points is not None:
            self._points.flush()

    def _write(self, points: Sequence[MetricPoint]) -> None:
        self.face.call("runs.log", run_id=self.id, points=tuple(map(logged_point, points)))


def run(
    name: str,
    *,
    experiment: str | None = None,
    params: Mapping[str, object] | None = None,
    tags: Mapping[str, str] | None = None,
    to: Workspace | Client | None = None,
    run_id: str | None = None,
    system_metrics: bool = False,
) -> Recorder:
    """Track a block, or by `@lw.run(...)` each call of a function, as a run.

    It goes where `lw.connect()` goes, or `to`. Inside another run it is its child. `run_id` goes on with a
    run that has not ended. With `system_metrics` the load of the machine is logged every ten seconds.
    Recorded besides: the commit and the difference to it, the installed packages, the command, the machine.
    """
    return Recorder(
        name,
        experiment=experiment,
        params=params or {},
        tags=tags or {},
        to=to,
        run_id=run_id,
        system_metrics=system_metrics,
    )
