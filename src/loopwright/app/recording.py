"""`lw.run`: tracks a block or a function as a run, on this machine's workspace or on a server."""

from __future__ import annotations

import atexit
import functools
import inspect
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar, Token
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from loopwright.app.capturing import Captured, captured
from loopwright.app.connecting import connect
from loopwright.app.packages import Savable, log_model, packed, ports_of
from loopwright.app.sampling import SystemSampler
from loopwright.client import Client
from loopwright.core.errors import Invalid, LoopwrightError
from loopwright.core.nouns import Json, MetricPoint, Run, RunState, Version
from loopwright.engine.current import Current, enter, leave
from loopwright.engine.operation import Upload
from loopwright.registry.nouns import LoggedModel
from loopwright.registry.signatures import ModelSignature
from loopwright.tracking.buffer import PointBuffer
from loopwright.tracking.recording import logged_point
from loopwright.workspace import Workspace

__all__ = ["REPEATS", "Recorder", "run"]

REPEATS = "LOOPWRIGHT_REPRODUCES"
"""in the environment of a program: the id of the run that its runs are done again for"""

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
        self._linked: Token[Current | None] | None = None
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
            self._run = self._face.call("runs.resume", run_id=self._resumed)
            if self._params or self._tags:
                self._face.call("runs.annotate", run_id=self.id, params=self._params, tags=self._tags)
        else:
            self._begin(self._face, captured(), outer)
        self._points = PointBuffer(self._write)
        if self._with_system:
            self._sampler = SystemSampler(self.log)
        self._token = _CURRENT.set(self)
        self._linked = enter(self._face, self.id)
        atexit.register(self._at_exit)
        return self

    def _begin(self, face: Workspace | Client, found: Captured, outer: Recorder | None) -> None:
        """Start the run, a child in its parent's experiment, with what it began with: facts, and files."""
        parent = None if outer is None else outer.id
        repeated = os.environ.get(REPEATS)
        tags = (
            {"loopwright.reproduces": repeated, **self._tags} if repeated and parent is None else self._tags
        )
        self._run = face.call(
            "runs.start",
            name=self._name,
            experiment=self._experiment or (outer.experiment if outer else None),
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
        if self._linked is not None:
            leave(self._linked)
            self._linked = None
        try:
            points.close()
        finally:
            self.face.call("runs.end", run_id=self.id, state=state, facts=facts)
            if self._given is None and _CURRENT.get() is None:
                self.face.close()

    def _at_exit(self) -> None:
        """The program ended within the run: what was logged is kept, the run is said to be killed."""
        self._token = self._linked = None
        self.end(RunState.KILLED, facts={"error": "the program ended before the run"})

    # -- what it is ------------------------------------------------------------

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
        if self._points is not None:
            self._points.flush()

    def _write(self, points: Sequence[MetricPoint]) -> None:
        self.face.call("runs.log", run_id=self.id, points=tuple(map(logged_point, points)))


def _pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        yield from iter(lambda: opened.read(1 << 20), b"")


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

    It goes where `lw.connect()` goes, or `to`. Inside another run it is its child, in the same experiment
    unless another is named. `run_id` goes on with a run, also with one that has ended. With `system_metrics`
    the load of the machine is logged every ten seconds. Recorded besides: the commit and the difference to
    it, the installed packages, the command, the machine.
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
