"""The repositories of the ledger in memory, over the tables of one unit of work."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
from msgspec.structs import replace

from loopwright.core.chain import Head, link
from loopwright.core.errors import Conflict, Invalid
from loopwright.core.instants import to_micros
from loopwright.core.nouns import (
    Alias,
    Decision,
    Event,
    Job,
    JobState,
    Json,
    Signal,
    Version,
)
from loopwright.ports.ledger import (
    Aliases,
    Artifacts,
    Assets,
    Decisions,
    Documents,
    Jobs,
    Journal,
    LineKey,
    LinesAsked,
    Metrics,
    Page,
    PageRequest,
    Runs,
    Segment,
    Segments,
    Signals,
    Trash,
    VersionLine,
    Versions,
)
from loopwright.ports.measures import Measures
from loopwright.ports.traces import Assessments, Spans, Traces
from loopwright.testing.ledger_measured import MemoryMeasures
from loopwright.testing.ledger_named import MemoryAssets
from loopwright.testing.ledger_removals import MemoryTrash
from loopwright.testing.ledger_runs import MemoryArtifacts, MemoryMetrics, MemoryRuns
from loopwright.testing.ledger_traced import MemoryAssessments, MemorySpans, MemoryTraces
from loopwright.testing.ledger_unit import Unit, kept, matches, missing, page_of, source_holds, told_of

__all__ = ["MemoryTransaction"]


def _line(version: Version) -> VersionLine:
    return VersionLine(
        version.id,
        version.name,
        version.number,
        version.run_id,
        to_micros(version.created_at),
        to_micros(version.updated_at or version.created_at),
        msgspec.json.encode(version.tags).decode(),
        msgspec.json.encode(version.facts).decode(),
    )


def _line_value(key: LineKey, line: VersionLine) -> Any:
    match key.kind:
        case "made":
            return line.created_us // 1000
        case "changed":
            return line.changed_us // 1000
    return line.name if key.kind == "name" else line.number


def _is_line_behind(line: VersionLine, order: Sequence[LineKey], after: Sequence[int | str]) -> bool:
    for key, mark in zip(order, after, strict=True):
        value = _line_value(key, line)
        if value != mark:
            return (value < mark) is key.descending
    return False


class _Versions:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    def _of(self, asset_id: str) -> list[Version]:
        found = [v for v in self._unit.rows("versions").values() if v.asset_id == asset_id]
        return sorted(found, key=lambda v: -v.number)

    def add(self, version: Version) -> None:
        if version.asset_id not in self._unit.rows("assets"):
            raise missing(f"asset {version.asset_id!r}")
        key = (version.asset_id, version.number)
        if key in self._unit.rows("versions"):
            raise Conflict(f"{version.ref} is already there")
        self._unit.edit("versions")[key] = kept(version)

    def get(self, asset_id: str, number: int) -> Version | None:
        return self._unit.rows("versions").get((asset_id, number))

    def latest(self, asset_id: str, *, at: datetime | None = None) -> Version | None:
        return next((v for v in self._of(asset_id) if at is None or v.created_at <= at), None)

    def by_digest(self, asset_id: str, prefix: str) -> Sequence[Version]:
        return tuple(v for v in self._of(asset_id) if v.digest.startswith(prefix))[:2]

    def update(self, version: Version) -> None:
        for key, known in self._unit.rows("versions").items():
            if known.id == version.id:
                may = ("tags", "description", "stage", "updated_at", "deleted_at")
                new = replace(known, **{name: getattr(version, name) for name in may})
                self._unit.edit("versions")[key] = kept(new)
                return
        raise missing(f"version {version.ref}")

    def supersede(self, version: Version) -> None:
        for key, known in self._unit.rows("versions").items():
            if known.id == version.id:
                may = ("digest", "size_bytes", "facts", "updated_at")
                new = replace(known, **{name: getattr(version, name) for name in may})
                self._unit.edit("versions")[key] = kept(new)
                return
        raise missing(f"version {version.ref}")

    def among(
        self, space: str, kind: str, *, name: str | None = None, run_id: str | None = None
    ) -> Iterator[Version]:
        wanted = {"space": space, "kind": kind, "name": name, "run_id": run_id}
        return (v for v in self._unit.rows("versions").values() if matches(v, wanted))

    def ordered_lines(self, space: str, kind: str, asked: LinesAsked) -> Sequence[VersionLine]:
        found = self.among(space, kind, name=asked.name, run_id=asked.run_id)
        there = [
            _line(v)
            for v in found
            if v.deleted_at is None
            and asked.tags.items() <= v.tags.items()
            and all(told_of(v.name, v.tags, each) for each in asked.told)
            and all(source_holds(v.facts, each) for each in asked.sources)
        ]
        for key in reversed(asked.order):
            there.sort(key=partial(_line_value, key), reverse=key.descending)
        if asked.after is not None:
            there = [line for line in there if _is_line_behind(line, asked.order, asked.after)]
        return there[: asked.limit]

    def those(self, ids: Sequence[str]) -> Sequence[Version]:
        found = {v.id: v for v in self._unit.rows("versions").values()}
        lost = next((each for each in ids if each not in found), None)
        if lost is not None:
            raise missing(f"version {lost!r}")
        return [found[each] for each in ids]

    def page(self, asset_id: str, request: PageRequest) -> Page[Version]:
        return page_of(self._of(asset_id), request, lambda v: (v.number,))

    def digests(self) -> Iterator[str]:
        rows = self._unit.rows("versions").values()
        return iter({version.digest for version in rows if version.removed_at is None})


class _Aliases:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    def get(self, asset_id: str, alias: str) -> Alias | None:
        return self._unit.rows("aliases").get((asset_id, alias))

    def put(self, alias: Alias) -> None:
        if (alias.asset_id, alias.number) not in self._unit.rows("versions"):
            raise missing(f"version {alias.number} of {alias.asset_id!r}")
        self._unit.edit("aliases")[alias.asset_id, alias.alias] = alias

    def remove(self, asset_id: str, alias: str) -> None:
        self._unit.edit("aliases").pop((asset_id, alias), None)

    def of(self, asset_id: str) -> Sequence[Alias]:
        found = [a for a in self._unit.rows("aliases").values() if a.asset_id == asset_id]
        return tuple(sorted(found, key=lambda a: a.alias))


class _Signals:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    def add(self, signals: Iterable[Signal]) -> None:
        for signal in signals:
            numbers = (signal.value, signal.low, signal.high)
            if any(number is not None and not math.isfinite(number) for number in numbers):
                raise Invalid(f"the signal {signal.name} is not finite", hint="leave it out")
            if signal.id in self._unit.rows("signals"):
                raise Conflict("a signal of that id is already there")
            self._unit.edit("signals")[signal.id] = kept(signal)

    def get(self, signal_id: str) -> Signal:
        found: Signal | None = self._unit.rows("signals").get(signal_id)
        if found is None:
            raise missing(f"signal:{signal_id}")
        return found

    def window(
        self,
        space: str,
        subject: str,
        *,
        name: str | None = None,
        start: datetime | None = None,
        limit: int = 10_000,
    ) -> Sequence[Signal]:
        wanted = {"space": space, "subject": subject, "name": name}
        found = [
            s
            for s in self._unit.rows("signals").values()
            if matches(s, wanted) and (start is None or s.at >= start)
        ]
        return tuple(sorted(found, key=lambda s: (s.at, s.id))[-limit:])

    def latest(self, space: str, subject: str, name: str) -> Signal | None:
        found = self.window(space, subject, name=name, limit=1)
        return found[0] if found else None


class _Decisions:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    def add(self, decision: Decision) -> None:
        if decision.id in self._unit.rows("decisions"):
            raise Conflict(f"decision:{decision.id} is already there")
        self._unit.edit("decisions")[decision.id] = kept(decision)

    def get(self, decision_id: str) -> Decision:
        found: Decision | None = self._unit.rows("decisions").get(decision_id)
        if found is None:
            raise missing(f"decision:{decision_id}")
        return found

    def page(
        self,
        space: str,
        request: PageRequest,
        *,
        subject: str | None = None,
        action: str | None = None,
    ) -> Page[Decision]:
        wanted = {"space": space, "subject": subject, "action": action}
        items = [d for d in self._unit.rows("decisions").values() if matches(d, wanted)]
        return page_of(items, request, lambda d: (to_micros(d.at), d.id))


class _Journal:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    def append(self, event: Event) -> None:
        self._unit.edit("journal")
        self._unit.pending.append(kept(event))

    def chain(self) -> tuple[Event, ...]:
        head, lines = self.head(), []
        for event in self._unit.pending:
            if self.find(event.id) is not None:
                raise Conflict("a line of the journal is already there")
            line = link(event, head)
            head = Head(count=line.seq, hash=line.hash)
            self._unit.edit("journal")[line.seq] = line
            lines.append(line)
        return tuple(lines)

    def read(
        self, after: int, limit: int, *, space: str | None = None, subject: str | None = None
    ) -> Sequence[Event]:
        wanted = {"space": space, "subject": subject}
        lines = self._unit.rows("journal")
        return tuple([lines[n] for n in sorted(lines) if n > after and matches(lines[n], wanted)][:limit])

    def page(
        self, space: str, request: PageRequest, *, subject: str | None = None, kind: str | None = None
    ) -> Page[Event]:
        items = [e for e in self.read(0, 2**62, space=space, subject=subject) if _is_of(e, kind)]
        return page_of(items, request, lambda e: (e.seq,))

    def find(self, event_id: str) -> Event | None:
        return next((e for e in self._unit.rows("journal").values() if e.id == event_id), None)

    def head(self) -> Head:
        lines = self._unit.rows("journal")
        return Head(count=len(lines), hash=lines[len(lines)].hash) if lines else Head()


def _is_of(event: Event, kind: str | None) -> bool:
    if kind is None:
        return True
    return event.kind.startswith(kind) if kind.endswith(".") else event.kind == kind


class _Jobs:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    def add(self, job: Job) -> Job:
        for known in self._unit.rows("jobs").values():
            if job.key is not None and (known.space, known.key) == (job.space, job.key):
                found: Job = known
                return found
        if job.id in self._unit.rows("jobs"):
            raise Conflict(f"job:{job.id} is already there")
        self._unit.edit("jobs")[job.id] = kept(job)
        return job

    def get(self, job_id: str) -> Job:
        found: Job | None = self._unit.rows("jobs").get(job_id)
        if found is None:
            raise missing(f"job:{job_id}")
        return found

    def update(self, job: Job, *, fence: int) -> bool:
        known = self._unit.rows("jobs").get(job.id)
        jobs = self._unit.edit("jobs")
        if known is None or known.fence != fence:
            return False
        jobs[job.id] = kept(replace(job, space=known.space))
        return True

    def due(self, operations: Sequence[str], now: datetime, wall: datetime, limit: int) -> Sequence[Job]:
        found = [
            job
            for job in self._unit.rows("jobs").values()
            if job.operation in operations and _is_due(job, now, wall)
        ]
        return tuple(sorted(found, key=lambda j: (j.created_at, j.id))[:limit])

    def page(
        self,
        space: str,
        request: PageRequest,
        *,
        state: JobState | None = None,
        operation: str | None = None,
    ) -> Page[Job]:
        wanted = {"space": space, "state": state, "operation": operation}
        items = [job for job in self._unit.rows("jobs").values() if matches(job, wanted)]
        return page_of(items, request, lambda j: (to_micros(j.created_at), j.id))


def _is_due(job: Job, now: datetime, wall: datetime) -> bool:
    if job.state is JobState.QUEUED:
        return job.not_before <= now
    lost = job.leased_until is not None and job.leased_until < wall
    return job.state is JobState.RUNNING and lost


class _Segments:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    def add(self, segment: Segment) -> None:
        self._unit.edit("segments").setdefault((segment.space, segment.id), kept(segment))

    def between(
        self, space: str, stream: str, start: datetime | None, end: datetime | None
    ) -> Sequence[Segment]:
        found = [
            s
            for s in self._unit.rows("segments").values()
            if (s.space, s.stream) == (space, stream)
            and (start is None or s.end >= start)
            and (end is None or s.start <= end)
        ]
        return tuple(sorted(found, key=lambda s: (s.start, s.id)))

    def streams(self, space: str) -> Sequence[str]:
        return tuple(sorted({s.stream for s in self._unit.rows("segments").values() if s.space == space}))

    def replace(self, old_ids: Sequence[str], new: Segment | None, *, space: str = "default") -> None:
        where = space if new is None else new.space
        for old in old_ids:
            self._unit.edit("segments").pop((where, old), None)
        if new is not None:
            self.add(new)

    def digests(self) -> Iterator[str]:
        return iter({s.digest for s in self._unit.rows("segments").values()})


class _Documents:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    def get(self, space: str, collection: str, key: str) -> Json | None:
        found = self._unit.rows("documents").get((space, collection, key))
        return None if found is None else kept(found)

    def put(self, space: str, collection: str, key: str, body: Json) -> None:
        self._unit.edit("documents")[space, collection, key] = kept(body)

    def remove(self, space: str, collection: str, key: str) -> None:
        self._unit.edit("documents").pop((space, collection, key), None)

    def all(
        self,
        space: str,
        collection: str,
        *,
        start: str = "",
        end: str | None = None,
        limit: int | None = None,
    ) -> dict[str, Json]:
        rows = self._unit.rows("documents")
        keys = [k[2] for k in sorted(rows) if k[:2] == (space, collection) and start <= k[2]]
        within = [k for k in keys if end is None or k < end]
        return {k: kept(rows[space, collection, k]) for k in within[:limit]}


class MemoryTransaction:
    """All repositories over one unit."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.assets: Assets = MemoryAssets(unit)
        self.versions: Versions = _Versions(unit)
        self.aliases: Aliases = _Aliases(unit)
        self.measures: Measures = MemoryMeasures(unit)
        self.runs: Runs = MemoryRuns(unit)
        self.metrics: Metrics = MemoryMetrics(unit)
        self.artifacts: Artifacts = MemoryArtifacts(unit)
        self.signals: Signals = _Signals(unit)
        self.decisions: Decisions = _Decisions(unit)
        self.lines = _Journal(unit)
        self.journal: Journal = self.lines
        self.jobs: Jobs = _Jobs(unit)
        self.segments: Segments = _Segments(unit)
        self.documents: Documents = _Documents(unit)
        self.trash: Trash = MemoryTrash(unit)
        self.traces: Traces = MemoryTraces(unit)
        self.spans: Spans = MemorySpans(unit)
        self.assessments: Assessments = MemoryAssessments(unit)
