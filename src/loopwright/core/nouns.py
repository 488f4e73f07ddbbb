"""The nine nouns as frozen values, and which moves of a state are legal."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from loopwright.core.addresses import Address, ByNumber
from loopwright.core.errors import Conflict

__all__ = [
    "Alias",
    "Asset",
    "Decision",
    "Event",
    "Evidence",
    "FoundRun",
    "Job",
    "JobState",
    "Json",
    "Link",
    "LinkRole",
    "MetricPoint",
    "Run",
    "RunState",
    "Signal",
    "Verdict",
    "Version",
    "VersionRef",
    "move_job",
    "move_run",
]

Json = dict[str, Any]


class Asset(msgspec.Struct, frozen=True, kw_only=True):
    """A thing with a generated id, a kind and a name that may change and be used again."""

    id: str
    space: str
    kind: str
    name: str
    created_at: datetime
    created_by: str
    tags: dict[str, str] = {}
    description: str = ""
    facts: Json = {}
    """what the kind keeps (an experiment's artifact location)"""
    updated_at: datetime | None = None
    """when name, tags, description or facts changed last"""
    deleted_at: datetime | None = None
    """since when it is in the trash; its name stays taken"""


class VersionRef(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """One version of one asset, as a run or a decision names it."""

    kind: str
    name: str
    number: int
    digest: str

    def __str__(self) -> str:
        return str(Address(kind=self.kind, name=self.name, selector=ByNumber(self.number)))


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """An immutable, content-addressed snapshot of an asset; `digest` is that of its manifest."""

    id: str
    space: str
    asset_id: str
    kind: str
    name: str
    number: int
    digest: str
    size_bytes: int
    created_at: datetime
    created_by: str
    run_id: str | None = None
    parent: int | None = None
    facts: Json = {}
    """small facts shown in lists (row counts, flavour); part of the manifest, never values of data"""
    tags: dict[str, str] = {}
    description: str = ""
    stage: str = ""
    """where it stands in its life, for those who speak of stages"""
    updated_at: datetime | None = None
    """when tags, description or stage changed last"""
    deleted_at: datetime | None = None
    """since when it is in the trash; its number is not used again"""
    removed_at: datetime | None = None
    """since when only this tombstone is left: its number, its digest, who made it when"""

    @property
    def ref(self) -> VersionRef:
        """The short form that runs and decisions keep."""
        return VersionRef(kind=self.kind, name=self.name, number=self.number, digest=self.digest)


class Alias(msgspec.Struct, frozen=True, kw_only=True):
    """A named pointer to a version: the only pointer that moves."""

    space: str
    asset_id: str
    alias: str
    number: int
    moved_at: datetime
    moved_by: str
    decision_id: str | None = None


class RunState(StrEnum):
    """A run goes forward; one that has ended may be resumed, and one that runs may have to wait again."""

    SCHEDULED = "scheduled"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    KILLED = "killed"


_RUN_MOVES = {
    RunState.SCHEDULED: {RunState.RUNNING, RunState.FAILED, RunState.KILLED},
    RunState.RUNNING: {RunState.FINISHED, RunState.FAILED, RunState.KILLED, RunState.SCHEDULED},
    RunState.FINISHED: {RunState.RUNNING},
    RunState.FAILED: {RunState.RUNNING},
    RunState.KILLED: {RunState.RUNNING},
}


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One execution: training, trial, evaluation, rollout, retraining, incident."""

    id: str
    space: str
    kind: str
    name: str
    state: RunState
    created_at: datetime
    created_by: str
    experiment: str | None = None
    """name of the experiment asset it belongs to, where it has one"""
    parent_id: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    facts: Json = {}
    """what the kind keeps (an incident's cause and columns, a rollout's step, a training's code digest)"""
    deleted_at: datetime | None = None
    """since when it is in the trash"""


class FoundRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run with the latest point of each of its metrics, by name."""

    run: Run
    metrics: tuple[MetricPoint, ...]


class LinkRole(StrEnum):
    """Whether a run read or made a version."""

    INPUT = "input"
    OUTPUT = "output"


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """An edge of the lineage graph: a run read or made a version."""

    run_id: str
    role: LinkRole
    version: VersionRef
    at: datetime


class MetricPoint(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One point of a run's metric; `at` in microseconds since 1970."""

    key: str
    value: float
    step: int = 0
    at_us: int = 0


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """A timed measurement about a subject, with its sample size and interval where it has one."""

    id: str
    space: str
    subject: str
    """an address: `endpoint:delays`, `dataset:weather`, `model:arrival-delay@2`, `run:...`"""
    name: str
    value: float
    at: datetime
    window_start: datetime | None = None
    window_end: datetime | None = None
    n: int | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    facts: Json = {}


class Verdict(StrEnum):
    """What a policy said."""

    ALLOW = "allow"
    DENY = "deny"


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a verdict: what was asked, what was found, what the limit was, whether it held."""

    check: str
    held: bool
    found: str
    limit: str = ""
    signal_ids: tuple[str, ...] = ()
    detail: str = ""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """One recorded verdict with its evidence; never changed."""

    id: str
    space: str
    policy: str
    """address of the policy version, `policy:arrival-delay-gate@1`"""
    subject: str
    action: str
    """what was asked for: promote, retrain, publish, rollout"""
    verdict: Verdict
    reason: str
    evidence: tuple[Evidence, ...]
    at: datetime
    by: str


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the hash-chained journal; the ledger sets `seq`, `previous` and `hash`."""

    id: str
    space: str
    principal: str
    kind: str
    """`asset.created`, `alias.moved`, `run.finished`, `decision.made`, ..."""
    subject: str
    at: datetime
    """the platform's instant (a replay clock may set it)"""
    wall_at: datetime
    payload: Json = {}
    payload_digest: str = ""
    seq: int = 0
    previous: str = ""
    hash: str = ""


class JobState(StrEnum):
    """A job goes forward, but that a lost lease puts it back in the queue with one attempt more."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


_JOB_MOVES = {
    JobState.QUEUED: {JobState.RUNNING, JobState.CANCELLED},
    JobState.RUNNING: {
        JobState.DONE,
        JobState.FAILED,
        JobState.CANCELLED,
        JobState.QUEUED,
    },
    JobState.DONE: set[JobState](),
    JobState.FAILED: set[JobState](),
    JobState.CANCELLED: set[JobState](),
}


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A durable request that an operation be carried out.

    `fence` grows by one at every claim: a worker whose fence is old is refused when it reports.
    `key` makes a job unique in its space: a second request under the same key is the first one.
    `at_most_once` jobs whose lease is lost fail instead of being run again.
    """

    id: str
    space: str
    operation: str
    arguments: Json
    state: JobState
    created_at: datetime
    created_by: str
    not_before: datetime
    key: str | None = None
    attempt: int = 0
    max_attempts: int = 3
    at_most_once: bool = False
    lease_s: float = 30.0
    fence: int = 0
    worker: str | None = None
    leased_until: datetime | None = None
    """by the wall clock, never by a replay clock"""
    ended_at: datetime | None = None
    result: Json = {}
    error: str = ""


def move_run(run: Run, to: RunState) -> RunState:
    """The new state when the move is legal, else a `Conflict`."""
    if to not in _RUN_MOVES[run.state]:
        raise Conflict(
            f"run:{run.id} is {run.state} and cannot become {to}",
            hint="resume it first, or start a new run",
        )
    return to


def move_job(job: Job, to: JobState) -> JobState:
    """The new state when the move is legal, else a `Conflict`."""
    if to not in _JOB_MOVES[job.state]:
        raise Conflict(
            f"job:{job.id} is {job.state} and cannot become {to}",
            hint="enqueue a new job",
        )
    return to
