"""The ledger: units of work over the repositories of the nine nouns."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol, TypeVar

import msgspec

from loopwright.core.chain import Head
from loopwright.core.nouns import (
    Alias,
    Asset,
    Decision,
    Event,
    FoundRun,
    Job,
    JobState,
    Json,
    Link,
    LinkRole,
    MetricPoint,
    Run,
    RunState,
    Signal,
    Version,
)
from loopwright.core.queries import RunQuery
from loopwright.ports.asked import LineKey, LinesAsked, OrderedAsked, VersionLine
from loopwright.ports.dumps import Dumpable, StoreCheck
from loopwright.ports.measures import Measures
from loopwright.ports.pages import Page, PageRequest
from loopwright.ports.traces import Assessments, Spans, Traces
from loopwright.ports.trash import Trash

__all__ = [
    "Aliases",
    "Artifact",
    "Artifacts",
    "Assets",
    "Decisions",
    "Documents",
    "Dumpable",
    "Jobs",
    "Journal",
    "Ledger",
    "LineKey",
    "LinesAsked",
    "Metrics",
    "OrderedAsked",
    "Page",
    "PageRequest",
    "Runs",
    "Segment",
    "Segments",
    "Signals",
    "StoreCheck",
    "Transaction",
    "Trash",
    "VersionLine",
    "Versions",
]

T = TypeVar("T")


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """One immutable Parquet object of a stream of rows (predictions, labels), as a row of the index."""

    id: str
    space: str
    stream: str
    """`predictions/delays`, `labels/landings`, `quarantine/weather`"""
    digest: str
    rows: int
    size_bytes: int
    start: datetime
    end: datetime
    """the least and greatest platform instant of its rows, both inclusive"""
    created_at: datetime
    facts: Json = {}


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """One file of an owner (`run:<id>`, `logged_model:<id>`): its path and the object of its bytes."""

    space: str
    owner: str
    path: str
    """relative, with `/` between its parts, none of them empty, `.` or `..`"""
    digest: str
    size_bytes: int
    at: datetime


class Assets(Protocol):
    """Assets by id and by (space, kind, name); a name is unique in its space and kind."""

    def add(self, asset: Asset) -> None:
        """Keep a new asset; `Conflict` when the name is taken."""

    def get(self, asset_id: str) -> Asset:
        """The asset, else `NotFound`."""

    def find(self, space: str, kind: str, name: str) -> Asset | None:
        """The asset of that name, or None."""

    def update(self, asset: Asset) -> None:
        """Replace all but id, space, kind and who made it when; `NotFound` when it is not there.

        A new name of an experiment is that of its runs too. `Conflict` when the name is taken.
        """

    def page(self, space: str, kind: str | None, request: PageRequest) -> Page[Asset]:
        """Assets ordered by kind, then name."""

    def ordered(self, space: str, kind: str, asked: OrderedAsked) -> Sequence[Asset]:
        """Assets of a kind that are not in the trash, by name or by the last change, in either direction.

        As many as are asked for, unless there are no more.
        """


class Versions(Protocol):
    """Versions of assets; content never changes."""

    def add(self, version: Version) -> None:
        """Keep a new version; `Conflict` when the number is taken."""

    def get(self, asset_id: str, number: int) -> Version | None:
        """The version of that number, or None."""

    def latest(self, asset_id: str, *, at: datetime | None = None) -> Version | None:
        """The newest version, or the newest that existed at an instant, or None."""

    def by_digest(self, asset_id: str, prefix: str) -> Sequence[Version]:
        """The versions whose digest starts so, newest first, at most two."""

    def update(self, version: Version) -> None:
        """Replace tags, description, stage and the times of change and deletion alone."""

    def supersede(self, version: Version) -> None:
        """Let a version mean other content: digest, size and facts. Erasure alone may do this."""

    def among(
        self, space: str, kind: str, *, name: str | None = None, run_id: str | None = None
    ) -> Iterator[Version]:
        """All versions of a kind, of one name, or made by one run, in no order."""

    def ordered_lines(self, space: str, kind: str, asked: LinesAsked) -> Sequence[VersionLine]:
        """Lines of versions that are not in the trash; as many as are asked for, unless there are no more."""

    def those(self, ids: Sequence[str]) -> Sequence[Version]:
        """The versions of these ids in their order; `NotFound` for one that is not there."""

    def page(self, asset_id: str, request: PageRequest) -> Page[Version]:
        """Versions, newest first."""

    def digests(self) -> Iterator[str]:
        """Every manifest digest of every space: the roots of what is reachable."""


class Aliases(Protocol):
    """Named pointers to versions."""

    def get(self, asset_id: str, alias: str) -> Alias | None:
        """The alias, or None."""

    def put(self, alias: Alias) -> None:
        """Make or move it."""

    def remove(self, asset_id: str, alias: str) -> None:
        """Take it away; nothing happens when it is not there."""

    def of(self, asset_id: str) -> Sequence[Alias]:
        """All aliases of an asset, by name."""


class Runs(Protocol):
    """Runs, and the edges of the lineage graph."""

    def add(self, run: Run) -> None:
        """Keep a new run."""

    def get(self, run_id: str) -> Run:
        """The run, else `NotFound`."""

    def update(self, run: Run) -> None:
        """Replace everything but id, space and kind (legality is the caller's: `nouns.move_run`)."""

    def mark_deleted(
        self, space: str, experiment: str, *, before: datetime | None, after: datetime | None
    ) -> int:
        """Of an experiment's runs, let those deleted at `before` be deleted at `after`; how many."""

    def page(
        self,
        space: str,
        request: PageRequest,
        *,
        kind: str | None = None,
        experiment: str | None = None,
        state: RunState | None = None,
        parent_id: str | None = None,
    ) -> Page[Run]:
        """Runs that match and are not in the trash, newest first."""

    def search(self, space: str, query: RunQuery, request: PageRequest) -> Page[FoundRun]:
        """Runs that a query is about, in its order, with their latest metrics."""

    def count(self, space: str, query: RunQuery, most: int) -> int:
        """How many runs a query is about; counting ends at `most`."""

    def latest(self, run_ids: Sequence[str]) -> Sequence[FoundRun]:
        """Runs by id with their latest metrics, in the order asked; `NotFound` for one that is not there."""

    def link(self, link: Link) -> None:
        """Add an edge; the same edge twice is one."""

    def links(self, run_id: str) -> Sequence[Link]:
        """What a run read and made, in order."""

    def users(
        self, kind: str, name: str, number: int, role: LinkRole, *, space: str = "default"
    ) -> Sequence[str]:
        """Ids of the runs of a space that read (or made) that version, newest first."""


class Metrics(Protocol):
    """Points of runs' metrics; not journaled. A point's identity is (run, key, at, step, value)."""

    def log(self, run_id: str, points: Sequence[MetricPoint]) -> None:
        """Keep points; a repeated point is a no-op. The latest is the greatest (step, at, value)."""

    def latest(self, run_id: str) -> Mapping[str, MetricPoint]:
        """The latest point of each key."""

    def history(self, run_id: str, key: str, request: PageRequest) -> Page[MetricPoint]:
        """Points of a key in order of (at, step, value)."""

    def count(self, run_id: str, key: str) -> int:
        """How many points a key has."""

    def places(self, run_id: str, key: str, places: Sequence[int]) -> Sequence[MetricPoint]:
        """The points at rising places (from 0) of the history, without reading those between them."""

    def steps(self, run_id: str, key: str) -> range | None:
        """The step of each place of a history in which steps rise evenly and never fall with time.

        None where they do not, or where the store does not know.
        """

    def rises(self, run_id: str, key: str) -> bool:
        """Whether steps never fall with time, so that (at, step, value) and (step, at, value) are one order.

        False where they do, or where the store does not know.
        """


class Artifacts(Protocol):
    """Files that belong to a run, a model or whatever else has an id: paths to objects."""

    def put(self, artifact: Artifact) -> None:
        """Make or replace the file at a path."""

    def get(self, space: str, owner: str, path: str) -> Artifact | None:
        """The file at a path, or None."""

    def under(self, space: str, owner: str, folder: str) -> Iterator[Artifact]:
        """The files below a folder (all for an empty one), however deep, by path."""

    def remove(self, space: str, owner: str, path: str) -> None:
        """Take a file away; nothing happens when it is not there."""

    def digests(self) -> Iterator[str]:
        """Every digest: roots of what is reachable."""


class Signals(Protocol):
    """Measurements; never changed, not journaled."""

    def add(self, signals: Iterable[Signal]) -> None:
        """Keep signals."""

    def get(self, signal_id: str) -> Signal:
        """The signal, else `NotFound`."""

    def window(
        self,
        space: str,
        subject: str,
        *,
        name: str | None = None,
        start: datetime | None = None,
        limit: int = 10_000,
    ) -> Sequence[Signal]:
        """Signals of a subject in order of time, from `start` on (inclusive), the newest `limit` of them."""

    def latest(self, space: str, subject: str, name: str) -> Signal | None:
        """The newest signal of that name, or None."""


class Decisions(Protocol):
    """Recorded verdicts; never changed."""

    def add(self, decision: Decision) -> None:
        """Keep a decision."""

    def get(self, decision_id: str) -> Decision:
        """The decision, else `NotFound`."""

    def page(
        self,
        space: str,
        request: PageRequest,
        *,
        subject: str | None = None,
        action: str | None = None,
    ) -> Page[Decision]:
        """Decisions, newest first."""


class Journal(Protocol):
    """The append-only, hash-chained journal. Lines are chained when the unit of work commits."""

    def append(self, event: Event) -> None:
        """Add a line in this unit of work; it gets its number and hash at commit."""

    def read(
        self,
        after: int,
        limit: int,
        *,
        space: str | None = None,
        subject: str | None = None,
    ) -> Sequence[Event]:
        """Committed lines with `seq > after`, in order."""

    def page(
        self,
        space: str,
        request: PageRequest,
        *,
        subject: str | None = None,
        kind: str | None = None,
    ) -> Page[Event]:
        """Lines, newest first; `kind` may end in `.` to mean all that start so."""

    def find(self, event_id: str) -> Event | None:
        """The line of that id, or None."""

    def head(self) -> Head:
        """Length and last hash of the committed chain."""


class Jobs(Protocol):
    """The durable queue. Times of leases are of the wall clock and given by the caller."""

    def add(self, job: Job) -> Job:
        """Enqueue; when the key is already there in this space, the job that has it is returned."""

    def get(self, job_id: str) -> Job:
        """The job, else `NotFound`."""

    def update(self, job: Job, *, fence: int) -> bool:
        """Replace the job when its stored fence is still `fence`; else nothing changes: False."""

    def due(self, operations: Sequence[str], now: datetime, wall: datetime, limit: int) -> Sequence[Job]:
        """Queued jobs with `not_before <= now` and running ones whose lease ended before `wall`, by age."""

    def page(
        self,
        space: str,
        request: PageRequest,
        *,
        state: JobState | None = None,
        operation: str | None = None,
    ) -> Page[Job]:
        """Jobs, newest first."""


class Segments(Protocol):
    """The index of streams of rows kept as objects."""

    def add(self, segment: Segment) -> None:
        """Index a segment; the same id twice is one."""

    def between(
        self, space: str, stream: str, start: datetime | None, end: datetime | None
    ) -> Sequence[Segment]:
        """Segments of a stream that overlap `[start, end]`, in order of their start."""

    def streams(self, space: str) -> Sequence[str]:
        """Names of all streams of a space."""

    def replace(self, old_ids: Sequence[str], new: Segment | None, *, space: str = "default") -> None:
        """Put one segment in the place of several of its space (compaction), or take them away (erasure)."""

    def digests(self) -> Iterator[str]:
        """Every digest: roots of what is reachable."""


class Documents(Protocol):
    """Small mutable states of the platform by (space, collection, key): cursors, monitor states, settings."""

    def get(self, space: str, collection: str, key: str) -> Json | None:
        """The document, or None."""

    def put(self, space: str, collection: str, key: str, body: Json) -> None:
        """Make or replace it."""

    def remove(self, space: str, collection: str, key: str) -> None:
        """Take it away; nothing happens when it is not there."""

    def all(
        self,
        space: str,
        collection: str,
        *,
        start: str = "",
        end: str | None = None,
        limit: int | None = None,
    ) -> Mapping[str, Json]:
        """The first `limit` documents of a collection with `start <= key` (and `key < end`), by key."""


class Transaction(Protocol):
    """The repositories of one unit of work; all of it is committed or none."""

    assets: Assets
    versions: Versions
    aliases: Aliases
    measures: Measures
    runs: Runs
    metrics: Metrics
    artifacts: Artifacts
    signals: Signals
    decisions: Decisions
    journal: Journal
    jobs: Jobs
    segments: Segments
    documents: Documents
    trash: Trash
    traces: Traces
    spans: Spans
    assessments: Assessments


class Ledger(Dumpable, Protocol):
    """The store of metadata.

    Thread safe. `write` returns only when the work is on disk (synchronous commit); a failing work
    leaves nothing. On a store with one writer, works of several threads share a commit (group
    commit), each in a savepoint, and see what was done before them. Inside `work` nothing slow may
    happen; calling `write` inside a work joins the open unit. Works must be repeatable: a store
    with many writers runs one again when the serialisation failed.
    """

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in a unit of work and return its value once that is durable."""

    def post(
        self, work: Callable[[Transaction], T], then: Callable[[T | None, BaseException | None], None]
    ) -> bool:
        """As `write`, without waiting: a thread of the ledger's own calls `then(value, error)` at the end.

        `then` must be quick. False, and nothing is done, where the store has no such thread: use `write`.
        """

    def read(self) -> AbstractContextManager[Transaction]:
        """A consistent snapshot; writing through it is a `Fault`."""

    def subscribe(
        self, listener: Callable[[tuple[Event, ...]], None], *, patient: tuple[str, ...] = ()
    ) -> Callable[[], None]:
        """Call `listener` with the events of the commits of this process; gives what ends it.

        In the order of the journal, on a thread of the ledger's own: a listener may read and write. Kinds
        that begin with one of `patient` may wait 20 ms for others. Other processes' are in the journal alone.
        """

    def revision(self) -> str:
        """The schema revision of the store."""

    def texts(self, *, without: Collection[str] = ()) -> Iterator[tuple[str, bytes]]:
        """Every row of one snapshot as the name of its table and as JSON, to be searched, in flat memory.

        Tables named in `without` are left out.
        """

    def compact(self) -> int:
        """Give back to the disk what removed rows left in the store's files; how many bytes.

        Nothing of removed rows is left. Who writes waits, on some stores who reads too. 0 without files.
        """

    def close(self) -> None:
        """Finish open works and let go of files and connections."""
