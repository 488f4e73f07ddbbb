"""Brings a history from where it is to where we work: reads it there, hands it over here, tells what it did.

It may be stopped at any moment and begun again: what has its mark is not handed over twice, and a later time
brings what is new or changed alone.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import msgspec
from blake3 import blake3

from loopwright.core.digests import digest_bytes
from loopwright.core.errors import Corrupt, Denied, Invalid, LoopwrightError, NotFound, Unavailable
from loopwright.core.nouns import MetricPoint
from loopwright.engine.operation import Upload
from loopwright.loops.parcels import (
    EvaluationParcel,
    ExperimentParcel,
    LoggedParcel,
    ModelParcel,
    Parcel,
    RunParcel,
    TraceParcel,
    written,
)
from loopwright.loops.steps import has_files, lacks_steps, whole
from loopwright.ports.histories import (
    History,
    PastEvaluation,
    PastExperiment,
    PastFile,
    PastLogged,
    PastModel,
    PastRun,
    PastTrace,
)
from loopwright.tracking.adopting import DENIED_FILES, GONE_FILES, Adopted, Mark, NewFile

__all__ = ["Asked", "Caller", "Problem", "Report", "bring", "source_key"]

_VERSIONS = 200
_PROBLEMS = 500
_TELL_S = 0.5
_DETERMINISTIC = msgspec.msgpack.Encoder(order="deterministic").encode
_NO_STEPS = "traces whose steps are not there"
_KINDS = (
    "experiments",
    "runs",
    "logged models",
    "traces",
    "models",
    "versions",
    "evaluation datasets",
    "records",
)

Tell = Callable[[str], None]
T = TypeVar("T")
_Tally = tuple[Counter[str], Counter[str]]
"""counts and notes of one thing"""


class Caller(Protocol):
    """A workspace of this machine, or a client of a server."""

    def call(self, name: str, /, **arguments: Any) -> Any:
        """An operation's result."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """How to bring it."""

    dry_run: bool = False
    """count what would be brought, and change nothing"""
    overwrite: bool = False
    """replace what was changed here since it came in"""
    artifacts: bool = True
    """bring the files too"""
    experiments: tuple[str, ...] = ()
    """names of experiments; all of them, and the registered models, when none is given"""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A thing that was not brought, and why."""

    kind: str
    id: str
    why: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What came in, by kind and by what became of it, and what did not."""

    source: str
    version: str
    dry_run: bool
    ok: bool
    counts: dict[str, dict[str, int]]
    """by kind: `found`, and then `new`, `changed`, `same`, `joined`, `ours`, `failed`"""
    params: int
    tags: int
    points: int
    files: int
    bytes: int
    notes: dict[str, int]
    problems: tuple[Problem, ...]
    seconds: float


def source_key(address: str) -> str:
    """What names a source in marks: a digest of its address."""
    return digest_bytes(address.encode("utf-8", "surrogatepass"))[:32]


def bring(history: History, target: Caller, asked: Asked, tell: Tell = lambda _: None) -> Report:
    """Bring a history; `Unavailable` when either side stops to answer: begin again then, and it goes on."""
    work = _Bringing(history, target, asked, tell)
    began = time.monotonic()
    for past in history.experiments():
        if not asked.experiments or past.name in asked.experiments:
            work.experiment(past)
    if not asked.experiments:
        work.models()
    work.evaluations()
    for why, count in history.left_out().items():
        work.note(why, count)
    return work.report(time.monotonic() - began)


class _Bringing:
    """One pass over a history."""

    def __init__(self, history: History, target: Caller, asked: Asked, tell: Tell) -> None:
        self._history, self._target, self._asked, self._tell = history, target, asked, tell
        self._source = source_key(history.address)
        self._counts: dict[str, Counter[str]] = {kind: Counter() for kind in _KINDS}
        self._sums: Counter[str] = Counter()
        self._notes: Counter[str] = Counter()
        self._problems: list[Problem] = []
        self._into: dict[str, str] = {}
        self._told_at = 0.0

    def report(self, seconds: float) -> Report:
        """What was done."""
        return Report(
            source=self._history.address,
            version=self._history.version,
            dry_run=self._asked.dry_run,
            ok=not any(count["failed"] for count in self._counts.values()),
            counts={kind: dict(count) for kind, count in self._counts.items()},
            notes=dict(self._notes),
            problems=tuple(self._problems),
            seconds=round(seconds, 3),
            **{name: self._sums[name] for name in ("params", "tags", "points", "files", "bytes")},
        )

    def note(self, text: str, count: int) -> None:
        """Something that was not brought, and how often."""
        self._notes[text] += count

    def experiment(self, past: PastExperiment) -> None:
        """An experiment with its runs and logged models; those first that are in its runs' way."""
        known = self._marks(f"experiment/{past.id}")
        seen = _digest(past)
        parcel = ExperimentParcel(seen=seen, past=past)
        self._counts["experiments"]["found"] += 1
        mark = known.get(parcel.key)
        if mark is not None and mark.seen == seen:
            self._counts["experiments"]["same"] += 1
            into = mark.id
        else:
            done = self._handed("experiments", parcel, mark)
            if done is None and not self._asked.dry_run:
                return
            into = done.id if done else past.id
        self._into[past.id] = into
        self._runs(past, into)
        marks = self._marks(f"logged/{past.id}/")
        for model in self._history.logged_models(past.id):
            self._logged(model, into, marks)
        self._traces(past, into)

    def _runs(self, past: PastExperiment, into: str) -> None:
        marks = self._marks(f"run/{past.id}/")
        each = self._history.runs(past.id)
        for done in _abreast(each, lambda run: self._run(run, into, marks), self._history.readers):
            done()
            self._progress(past.name)

    def _run(self, past: PastRun, into: str, marks: Mapping[str, Mark]) -> Callable[[], None]:
        """Bring a run; gives what counts it, in the caller's thread."""
        return self._counted("runs", past.id, lambda tally: self._brought_run(past, into, marks, tally))

    def _counted(self, kind: str, name: str, work: Callable[[_Tally], str]) -> Callable[[], None]:
        """Do some work on a thing in this thread; gives what counts it, in the caller's."""
        counts, notes = Counter[str](), Counter[str]()
        what, why = "failed", ""
        try:
            what = work((counts, notes))
        except Unavailable:
            raise
        except LoopwrightError as error:
            why = str(error)

        def counted() -> None:
            self._counts[kind]["found"] += 1
            self._sums.update(counts)
            self._notes.update(notes)
            self._became(kind, name, what, why)

        return counted

    def _brought_run(self, past: PastRun, into: str, marks: Mapping[str, Mark], tally: _Tally) -> str:
        counts, notes = tally
        files = self._listed(past.artifact_uri, notes)
        parcel = RunParcel(seen=_digest([past, files]), past=past, into=into)
        mark = marks.get(parcel.key)
        counts.update(params=len(past.params), tags=len(past.tags), files=len(files))
        counts["bytes"] += sum(file.size_bytes for file in files)
        if mark is not None and mark.seen == parcel.seen:
            return "same"
        if self._asked.dry_run:
            return "new" if mark is None else "changed"
        kept = self._copied(past.artifact_uri, files, notes)
        parcel = msgspec.structs.replace(parcel, files=kept)
        points = _counting(self._history.points(past), counts)
        done = self._take(written(parcel, points=points))
        notes.update(done.notes)
        return done.what

    def _logged(self, past: PastLogged, into: str, marks: Mapping[str, Mark]) -> None:
        self._counts["logged models"]["found"] += 1
        try:
            files = self._listed(past.artifact_uri, self._notes)
            parcel = LoggedParcel(seen=_digest([past, files]), past=past, into=into)
            mark = marks.get(parcel.key)
            self._sums["files"] += len(files)
            self._sums["bytes"] += sum(file.size_bytes for file in files)
            if mark is not None and mark.seen == parcel.seen:
                self._counts["logged models"]["same"] += 1
                return
            if not self._asked.dry_run:
                kept = self._copied(past.artifact_uri, files, self._notes)
                parcel = msgspec.structs.replace(parcel, files=kept)
        except Unavailable:
            raise
        except LoopwrightError as error:
            self._became("logged models", past.id, "failed", str(error))
            return
        self._handed("logged models", parcel, mark)

    def _traces(self, past: PastExperiment, into: str) -> None:
        marks = self._marks(f"trace/{past.id}/")

        def trace(each: PastTrace) -> Callable[[], None]:
            name = each.trace.id
            return self._counted("traces", name, lambda tally: self._brought_trace(each, into, marks, tally))

        for done in _abreast(self._history.traces(past.id), trace, self._history.readers):
            done()
            self._progress("traces")

    def _brought_trace(self, past: PastTrace, into: str, marks: Mapping[str, Mark], tally: _Tally) -> str:
        counts, notes = tally
        past = whole(self._history, past)
        if lacks_steps(past):
            notes[_NO_STEPS] += 1
        files = self._listed(past.artifact_uri, notes) if has_files(past) else []
        counts.update(files=len(files))
        counts["bytes"] += sum(file.size_bytes for file in files)
        parcel = TraceParcel(seen=_digest([past, files] if files else past), past=past, into=into)
        mark = marks.get(parcel.key)
        if mark is not None and mark.seen == parcel.seen:
            return "same"
        if self._asked.dry_run:
            return "new" if mark is None else "changed"
        kept = self._copied(past.artifact_uri, files, notes)
        done = self._take(written(msgspec.structs.replace(parcel, files=kept)))
        notes.update(done.notes)
        return done.what

    def evaluations(self) -> None:
        """Evaluation datasets; of chosen experiments alone, where some are chosen."""
        marks = self._marks("evaluation/")
        for past in self._history.evaluations():
            belongs = tuple(self._into[each] for each in past.experiments if each in self._into)
            if belongs or not self._asked.experiments:
                self._evaluation(past, belongs, marks)
                self._progress("evaluation datasets")

    def _evaluation(self, past: PastEvaluation, into: tuple[str, ...], marks: Mapping[str, Mark]) -> None:
        seen, count = _records_digest(self._history, past)
        parcel = EvaluationParcel(seen=_digest([past, seen]), past=past, into=into)
        mark = marks.get(parcel.key)
        self._counts["evaluation datasets"]["found"] += 1
        self._counts["records"]["found"] += count
        if mark is not None and mark.seen == parcel.seen:
            what = "same"
            self._counts["evaluation datasets"][what] += 1
        else:
            frames = written(parcel, records=self._history.records(past))
            done = self._handed("evaluation datasets", parcel, mark, frames)
            what = done.what if done else "failed" if not self._asked.dry_run else "new"
        self._counts["records"][what] += count

    def models(self) -> None:
        """Registered models and prompts."""
        marks = self._marks("model/")
        for past in self._history.models():
            self._counts["models"]["found"] += 1
            self._counts["versions"]["found"] += len(past.versions)
            self._progress("models")
            self._model(past, marks)

    def _model(self, past: PastModel, marks: Mapping[str, Mark]) -> None:
        bare = msgspec.structs.replace(past, versions=())
        parcel = ModelParcel(seen=_digest(past), past=bare)
        mark = marks.get(parcel.key)
        if mark is not None and mark.seen == parcel.seen:
            self._counts["models"]["same"] += 1
            self._counts["versions"]["same"] += len(past.versions)
            return
        groups = (past.versions[at : at + _VERSIONS] for at in range(0, len(past.versions), _VERSIONS))
        done = self._handed("models", parcel, mark, written(parcel, versions=groups))
        what = done.what if done else "failed" if not self._asked.dry_run else "new"
        self._counts["versions"][what] += len(past.versions)

    def _handed(
        self, kind: str, parcel: Parcel, mark: Mark | None, frames: Iterable[bytes] | None = None
    ) -> Adopted | None:
        """What became of a parcel; None when it was refused, or nothing is to be changed."""
        if self._asked.dry_run:
            self._became(kind, _name(parcel), "new" if mark is None else "changed")
            return None
        try:
            done = self._take(frames or written(parcel))
        except Unavailable:
            raise
        except LoopwrightError as error:
            self._became(kind, _name(parcel), "failed", str(error))
            return None
        self._notes.update(done.notes)
        self._became(kind, _name(parcel), done.what)
        return done

    def _became(self, kind: str, name: str, what: str, why: str = "") -> None:
        self._counts[kind][what] += 1
        if what == "ours":
            why = "it was changed here, or was here before: left as it is"
        if why and len(self._problems) < _PROBLEMS:
            self._problems.append(Problem(kind=kind, id=name[:200], why=why[:500]))

    def _take(self, frames: Iterable[bytes]) -> Adopted:
        upload = Upload(chunks=frames)
        done = self._target.call(
            "imports.take", source=self._source, upload=upload, overwrite=self._asked.overwrite
        )
        return msgspec.convert(done, Adopted, from_attributes=True)

    def _marks(self, prefix: str) -> dict[str, Mark]:
        try:
            found = self._target.call("imports.marks", source=self._source, prefix=prefix)
        except NotFound:
            return {}
        return msgspec.convert(found, dict[str, Mark], from_attributes=True)

    def _listed(self, address: str, notes: Counter[str]) -> list[PastFile]:
        if not self._asked.artifacts or not address:
            return []
        try:
            return list(self._history.files(address))
        except Denied:
            notes[DENIED_FILES] += 1
        except NotFound:
            notes[GONE_FILES] += 1
        return []

    def _copied(self, address: str, files: Sequence[PastFile], notes: Counter[str]) -> tuple[NewFile, ...]:
        """The files as objects here; those that are gone, or lead elsewhere, are noted and left out."""
        kept = []
        for file in files:
            try:
                kept.append(self._copy(address, file, notes))
            except NotFound:
                notes[GONE_FILES] += 1
            except Denied:
                notes[DENIED_FILES] += 1
        return tuple(kept)

    def _copy(self, address: str, file: PastFile, notes: Counter[str]) -> NewFile:
        digest, read = blake3(), 0

        def passing() -> Iterator[bytes]:
            nonlocal read
            for piece in self._history.read(address, file.path):
                digest.update(piece)
                read += len(piece)
                yield piece

        pieces = passing()
        first = next(pieces, b"")  # whatever refuses to be read does it before anything is sent
        done = self._target.call("imports.keep", upload=Upload(chunks=_chain(first, pieces)))
        stored = _stored(done)
        if stored != (digest.hexdigest(), read):
            raise Corrupt("a file is not here what it was there", hint="import again", where=file.path[:200])
        if read != file.size_bytes and file.size_bytes:
            notes["files that changed while they were read"] += 1
        return NewFile(path=file.path, digest=stored[0], size_bytes=read)

    def _progress(self, name: str) -> None:
        now = time.monotonic()
        if now - self._told_at >= _TELL_S:
            self._told_at = now
            runs, sums = self._counts["runs"]["found"], self._sums
            self._tell(
                f"{name[:40]}: {runs:,} runs, {sums['points']:,} points, {sums['files']:,} files, "
                f"{sums['bytes'] / 1e6:,.1f} MB"
            )


def _name(parcel: Parcel) -> str:
    return parcel.past.trace.id if isinstance(parcel, TraceParcel) else parcel.past.name


def _records_digest(history: History, past: PastEvaluation) -> tuple[str, int]:
    """A digest of the records of a dataset, and how many there are."""
    hasher, count = blake3(), 0
    for batch in history.records(past):
        count += len(batch)
        for each in batch:
            hasher.update(_DETERMINISTIC(each))
    return hasher.hexdigest(), count


def _stored(done: Any) -> tuple[str, int]:
    plain = msgspec.to_builtins(done)
    return plain["digest"], plain["size_bytes"]


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


def _counting(
    batches: Iterable[Sequence[MetricPoint]], counts: Counter[str]
) -> Iterator[Sequence[MetricPoint]]:
    for batch in batches:
        counts["points"] += len(batch)
        yield batch


def _digest(value: object) -> str:
    try:
        return digest_bytes(_DETERMINISTIC(value))
    except OverflowError as error:
        raise Invalid("a number is out of range", hint="numbers have 64 bits at most") from error


def _abreast(
    things: Iterable[T], work: Callable[[T], Callable[[], None]], readers: int
) -> Iterator[Callable[[], None]]:
    """What the work gives for each, in order; several at once where the store can be read so."""
    if readers == 1:
        yield from map(work, things)
        return
    with ThreadPoolExecutor(readers, thread_name_prefix="loopwright-import") as pool:
        waiting: deque[Future[Callable[[], None]]] = deque()
        try:
            yield from _in_order(things, lambda each: pool.submit(work, each), waiting, 2 * readers)
        finally:
            for each in waiting:
                each.cancel()


def _in_order(
    things: Iterable[T],
    begin: Callable[[T], Future[Callable[[], None]]],
    waiting: deque[Future[Callable[[], None]]],
    most: int,
) -> Iterator[Callable[[], None]]:
    for each in things:
        waiting.append(begin(each))
        if len(waiting) >= most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
