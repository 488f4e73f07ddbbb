"""Runs, their metrics and their files in memory, over the tables of one unit of work."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from loopwright.core.errors import Conflict, Invalid
from loopwright.core.instants import to_micros
from loopwright.core.nouns import FoundRun, Link, LinkRole, MetricPoint, Run, RunState
from loopwright.core.queries import RunQuery
from loopwright.ports.ledger import Artifact, Page, PageRequest
from loopwright.testing.ledger_unit import Unit, kept, matches, missing, page_of
from loopwright.testing.querying import ordered

__all__ = ["MemoryArtifacts", "MemoryMetrics", "MemoryRuns"]


class MemoryRuns:
    """Fulfils `ports.ledger.Runs`."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    def add(self, run: Run) -> None:
        if run.id in self._unit.rows("runs") or run.id in self._unit.rows("tombstones"):
            raise Conflict(f"run:{run.id} is already there")
        self._unit.edit("runs")[run.id] = kept(run)

    def get(self, run_id: str) -> Run:
        found: Run | None = self._unit.rows("runs").get(run_id)
        if found is None:
            raise missing(f"run:{run_id}")
        return found

    def update(self, run: Run) -> None:
        known = self.get(run.id)
        fixed = {"space": known.space, "kind": known.kind, "experiment": known.experiment}
        self._unit.edit("runs")[run.id] = kept(replace(run, **fixed))

    def mark_deleted(
        self, space: str, experiment: str, *, before: datetime | None, after: datetime | None
    ) -> int:
        runs = self._unit.edit("runs")
        wanted = {"space": space, "experiment": experiment}
        found = [run for run in runs.values() if run.deleted_at == before and matches(run, wanted)]
        for run in found:
            runs[run.id] = replace(run, deleted_at=after)
        return len(found)

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
        wanted = {
            "space": space,
            "kind": kind,
            "experiment": experiment,
            "state": state,
            "parent_id": parent_id,
        }
        items = [r for r in self._unit.rows("runs").values() if r.deleted_at is None and matches(r, wanted)]
        return page_of(items, request, lambda r: (to_micros(r.created_at), r.id))

    def search(self, space: str, query: RunQuery, request: PageRequest) -> Page[FoundRun]:
        inside = [run for run in self._unit.rows("runs").values() if run.space == space]
        found = ordered(query, [self._found(run) for run in inside])
        begin = 0
        if request.token:
            ids = [each.run.id for each in found]
            if request.token not in ids:
                raise Invalid("the page token is of another list", hint="start again without a token")
            begin = ids.index(request.token) + 1
        items = tuple(found[begin : begin + request.limit])
        return Page(items=items, next_token=items[-1].run.id if begin + request.limit < len(found) else "")

    def count(self, space: str, query: RunQuery, most: int) -> int:
        inside = [run for run in self._unit.rows("runs").values() if run.space == space]
        return min(most, len(ordered(query, [self._found(run) for run in inside])))

    def latest(self, run_ids: Sequence[str]) -> Sequence[FoundRun]:
        return tuple(self._found(self.get(run_id)) for run_id in run_ids)

    def _found(self, run: Run) -> FoundRun:
        points = MemoryMetrics(self._unit).latest(run.id)
        return FoundRun(run=run, metrics=tuple(points[key] for key in sorted(points)))

    def link(self, link: Link) -> None:
        space = self.get(link.run_id).space
        edges = self._unit.edit("links")
        if not any(_edge(known) == _edge(link) for _, known in edges.values()):
            edges[len(edges) + 1] = (space, link)

    def links(self, run_id: str) -> Sequence[Link]:
        return tuple(edge for _, edge in self._unit.rows("links").values() if edge.run_id == run_id)

    def users(
        self, kind: str, name: str, number: int, role: LinkRole, *, space: str = "default"
    ) -> Sequence[str]:
        wanted = (space, kind, name, number, role)
        found = [
            (to_micros(edge.at), no, edge.run_id)
            for no, (where, edge) in self._unit.rows("links").items()
            if (where, edge.version.kind, edge.version.name, edge.version.number, edge.role) == wanted
        ]
        return tuple(run_id for _, _, run_id in sorted(found, reverse=True))


def _edge(link: Link) -> tuple[object, ...]:
    return (link.run_id, link.role, link.version.kind, link.version.name, link.version.number)


class MemoryMetrics:
    """Fulfils `ports.ledger.Metrics`."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    def _points(self, run_id: str) -> list[MetricPoint]:
        if run_id not in self._unit.rows("runs"):
            raise missing(f"run:{run_id}")
        return [point for key, point in self._unit.rows("points").items() if key[0] == run_id]

    def log(self, run_id: str, points: Sequence[MetricPoint]) -> None:
        self._points(run_id)
        kept = self._unit.edit("points")
        for point in points:
            exact = replace(point, value=point.value + 0.0)
            kept.setdefault((run_id, point.key, *_place_of(exact)), exact)

    def latest(self, run_id: str) -> Mapping[str, MetricPoint]:
        best: dict[str, MetricPoint] = {}
        for point in sorted(self._points(run_id), key=lambda p: (p.step, *_place_of(p))):
            best[point.key] = point
        return best

    def history(self, run_id: str, key: str, request: PageRequest) -> Page[MetricPoint]:
        points = [point for point in self._points(run_id) if point.key == key]
        return page_of(points, request, _place_of, newest_first=False)

    def count(self, run_id: str, key: str) -> int:
        return len([point for point in self._points(run_id) if point.key == key])

    def places(self, run_id: str, key: str, places: Sequence[int]) -> Sequence[MetricPoint]:
        points = sorted((point for point in self._points(run_id) if point.key == key), key=_place_of)
        return [points[place] for place in places if place < len(points)]

    def _steps(self, run_id: str, key: str) -> list[int]:
        return [p.step for p in sorted((p for p in self._points(run_id) if p.key == key), key=_place_of)]

    def rises(self, run_id: str, key: str) -> bool:
        found = self._steps(run_id, key)
        return bool(found) and found == sorted(found)

    def steps(self, run_id: str, key: str) -> range | None:
        found = self._steps(run_id, key)
        stride = found[1] - found[0] if len(found) > 1 else 1
        if (
            not found
            or any(step != found[0] + stride * place for place, step in enumerate(found))
            or stride < 1
        ):
            return None
        return range(found[0], found[-1] + 1, stride)


def _place_of(point: MetricPoint) -> tuple[Any, ...]:
    """(at, step, value) with NaN, which equals nothing, as a value of its own above all others."""
    is_nan = math.isnan(point.value)
    return (point.at_us, point.step, int(is_nan), 0.0 if is_nan else point.value)


class MemoryArtifacts:
    """Fulfils `ports.ledger.Artifacts`."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    def put(self, artifact: Artifact) -> None:
        self._unit.edit("artifacts")[artifact.space, artifact.owner, artifact.path] = kept(artifact)

    def get(self, space: str, owner: str, path: str) -> Artifact | None:
        return self._unit.rows("artifacts").get((space, owner, path))

    def under(self, space: str, owner: str, folder: str) -> Iterator[Artifact]:
        rows = self._unit.rows("artifacts")
        begin = f"{folder}/" if folder else ""
        keys = sorted(key for key in rows if key[:2] == (space, owner) and key[2].startswith(begin))
        return iter([rows[key] for key in keys])

    def remove(self, space: str, owner: str, path: str) -> None:
        self._unit.edit("artifacts").pop((space, owner, path), None)

    def digests(self) -> Iterator[str]:
        return iter({artifact.digest for artifact in self._unit.rows("artifacts").values()})
