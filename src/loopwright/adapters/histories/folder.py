"""A folder of files (`mlruns`) as a history, as MLflow 2 keeps it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from loopwright.adapters.histories.traced import from_folder
from loopwright.adapters.histories.tree import Tree
from loopwright.core.errors import Corrupt, Denied, Invalid, NotFound
from loopwright.core.nouns import MetricPoint
from loopwright.ports.histories import (
    STEPS_FILE,
    Contents,
    PastDataset,
    PastEvaluation,
    PastExperiment,
    PastFile,
    PastLogged,
    PastModel,
    PastRecord,
    PastRun,
    PastTrace,
    PastVersion,
    at_us,
)

__all__ = ["FolderHistory"]

_STATES = {"1": "RUNNING", "2": "SCHEDULED", "3": "FINISHED", "4": "FAILED", "5": "KILLED"}
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*\Z")
_NO_EXPERIMENTS = frozenset({"models", "traces"})
_TRASH = ".trash"
_VERSION = re.compile(r"version-(\d{1,10})\Z")
_GONE = "Deleted_Internal"
_BATCH = 20_000


class FolderHistory:
    """Fulfils `ports.histories.History` for a file store."""

    readers = 1
    cuts_traces = False

    def __init__(self, folder: Path, contents: Contents) -> None:
        self._tree = Tree(folder)
        self._contents = contents
        self._places: dict[str, str] = {}
        self.address = f"file://{self._tree.base}"
        self.version = "mlflow file store"
        if not any(True for _ in self._experiments()):
            raise Invalid(
                f"{folder} is no file store of MLflow", hint="name the folder `mlruns`, or the database"
            )

    def _experiments(self) -> Iterator[tuple[str, str]]:
        """Ids and places of experiments, those in the trash last."""
        for inside in ("", _TRASH):
            for name in self._tree.names(inside):
                place = f"{inside}/{name}".strip("/")
                is_one = name not in _NO_EXPERIMENTS and _ID.match(name)
                if is_one and self._tree.has(f"{place}/meta.yaml"):
                    yield name, place

    def experiments(self) -> Iterator[PastExperiment]:
        """All of them, deleted ones too."""
        for name, place in self._experiments():
            meta = self._tree.meta(place)
            self._places[name] = place
            yield PastExperiment(
                id=name,
                name=_text(meta.get("name")),
                artifact_location=_text(meta.get("artifact_location")),
                created_ms=_maybe(meta.get("creation_time")),
                updated_ms=_maybe(meta.get("last_update_time")),
                is_deleted=meta.get("lifecycle_stage") == "deleted" or place.startswith(_TRASH),
                tags=self._texts(f"{place}/tags"),
            )

    def _place(self, experiment_id: str) -> str:
        if not self._places:
            self._places = dict(self._experiments())
        try:
            return self._places[experiment_id]
        except KeyError:
            raise NotFound(f"there is no experiment {experiment_id[:40]}") from None

    def runs(self, experiment_id: str) -> Iterator[PastRun]:
        """All of an experiment, deleted ones too, by id."""
        place = self._place(experiment_id)
        datasets = {
            name: self._tree.meta(f"{place}/datasets/{name}")
            for name in self._tree.names(f"{place}/datasets")
        }
        for name in self._tree.names(place):
            if _ID.match(name) and name != "datasets" and self._tree.has(f"{place}/{name}/meta.yaml"):
                yield self._run(f"{place}/{name}", name, experiment_id, datasets)

    def _run(self, place: str, run_id: str, experiment_id: str, datasets: dict[str, Any]) -> PastRun:
        meta = self._tree.meta(place)
        latest = (self._latest(place, key) for key in self._tree.leaves(f"{place}/metrics"))
        tags = self._texts(f"{place}/tags")
        return PastRun(
            id=run_id,
            experiment_id=experiment_id,
            name=_text(meta.get("run_name")) or tags.get("mlflow.runName", ""),
            user=_text(meta.get("user_id")),
            status=_STATES.get(_text(meta.get("status")), _text(meta.get("status"))),
            started_ms=_maybe(meta.get("start_time")),
            ended_ms=_maybe(meta.get("end_time")),
            is_deleted=meta.get("lifecycle_stage") == "deleted",
            deleted_ms=_maybe(meta.get("deleted_time")),
            artifact_uri=_text(meta.get("artifact_uri")),
            params=self._texts(f"{place}/params"),
            tags=tags,
            latest=tuple(sorted((each for each in latest if each), key=lambda point: point.key)),
            datasets=tuple(self._datasets(place, datasets)),
        )

    def _datasets(self, place: str, known: dict[str, Any]) -> Iterator[PastDataset]:
        for name in self._tree.names(f"{place}/inputs"):
            edge = self._tree.meta(f"{place}/inputs/{name}")
            told = known.get(_text(edge.get("source_id")))
            if told is None or edge.get("source_type") != "DATASET":
                continue
            tags = edge.get("tags")
            yield PastDataset(
                name=_text(told.get("name")),
                digest=_text(told.get("digest")),
                source_type=_text(told.get("source_type")),
                source=_text(told.get("source")),
                schema=_text_or_none(told.get("schema")),
                profile=_text_or_none(told.get("profile")),
                tags={_text(k): _text(v) for k, v in tags.items()} if isinstance(tags, dict) else {},
            )

    def _texts(self, place: str) -> dict[str, str]:
        return {name: self._tree.text(f"{place}/{name}") for name in self._tree.leaves(place)}

    def _latest(self, place: str, key: str) -> MetricPoint | None:
        rank = max(self._lines(f"{place}/metrics/{key}"), key=lambda it: (it[2], it[0], it[1]), default=None)
        return (
            None if rank is None else MetricPoint(key=key, value=rank[1], step=rank[2], at_us=at_us(rank[0]))
        )

    def _lines(self, path: str) -> Iterator[tuple[int, float, int]]:
        """Points of a metric's file as (milliseconds, value, step); step 0 where lines have none."""
        with self._tree.opened(path) as file:
            for line in file:
                parts = line.split()
                try:
                    yield int(parts[0]), float(parts[1]), int(parts[2]) if len(parts) > 2 else 0
                except (ValueError, IndexError) as error:
                    raise Corrupt("a line of a metric cannot be read", where=path[-200:]) from error

    def points(self, run: PastRun) -> Iterator[Sequence[MetricPoint]]:
        """Every point of every metric of a run once, in batches of one metric each."""
        place = f"{self._place(run.experiment_id)}/{run.id}/metrics"
        for key in (point.key for point in run.latest):
            seen, batch = set[tuple[int, str, int]](), list[MetricPoint]()
            for at_ms, value, step in self._lines(f"{place}/{key}"):
                itself = (at_ms, repr(value), step)
                if itself in seen:
                    continue
                seen.add(itself)
                batch.append(MetricPoint(key=key, value=value, step=step, at_us=at_us(at_ms)))
                if len(batch) == _BATCH:
                    yield batch
                    batch = []
            if batch:
                yield batch

    def logged_models(self, experiment_id: str) -> Iterator[PastLogged]:
        """None: they came after the stores that this reads."""
        yield from ()

    def traces(self, experiment_id: str) -> Iterator[PastTrace]:
        """The traces of an experiment, by id, without their steps."""
        place = f"{self._place(experiment_id)}/traces"
        for name in self._tree.names(place):
            if self._tree.has(f"{place}/{name}/trace_info.yaml"):
                yield self._trace(f"{place}/{name}")

    def _trace(self, place: str) -> PastTrace:
        meta = self._tree.meta(place, "trace_info.yaml")
        tags, metadata = self._texts(f"{place}/tags"), self._texts(f"{place}/request_metadata")
        said = [
            self._tree.meta(f"{place}/assessments", name) for name in self._tree.names(f"{place}/assessments")
        ]
        return from_folder(meta, tags, metadata, said, where=place)

    def steps_file(self, trace: PastTrace) -> bytes:
        """The steps of a trace as they stand beside it."""
        try:
            return b"".join(self._contents.read(trace.artifact_uri, STEPS_FILE))
        except (NotFound, Denied):
            return b""

    def evaluations(self) -> Iterator[PastEvaluation]:
        """None: these stores know none."""
        yield from ()

    def records(self, dataset: PastEvaluation) -> Iterator[Sequence[PastRecord]]:
        """None, as there are no evaluation datasets."""
        yield from ()

    def left_out(self) -> Mapping[str, int]:
        """Nothing."""
        return {}

    def models(self) -> Iterator[PastModel]:
        """Registered models and prompts, by name."""
        for name in self._tree.names("models"):
            place = f"models/{name}"
            if self._tree.has(f"{place}/meta.yaml"):
                yield self._model(place)

    def _model(self, place: str) -> PastModel:
        meta = self._tree.meta(place)
        found = (match for name in self._tree.names(place) if (match := _VERSION.match(name)))
        numbers = sorted(int(match[1]) for match in found)
        versions = (self._version(f"{place}/version-{number}", number) for number in numbers)
        return PastModel(
            name=_text(meta.get("name")),
            created_ms=_number(meta.get("creation_timestamp")),
            updated_ms=_number(meta.get("last_updated_timestamp")),
            description=_text(meta.get("description")),
            tags=self._texts(f"{place}/tags"),
            aliases={alias: _number(text) for alias, text in self._texts(f"{place}/aliases").items()},
            versions=tuple(version for version in versions if version is not None),
        )

    def _version(self, place: str, number: int) -> PastVersion | None:
        meta = self._tree.meta(place)
        stage = _text(meta.get("current_stage"))
        if stage == _GONE:
            return None
        return PastVersion(
            number=number,
            created_ms=_number(meta.get("creation_timestamp")),
            updated_ms=_number(meta.get("last_updated_timestamp")),
            user=_text(meta.get("user_id")),
            description=_text(meta.get("description")),
            stage="" if stage == "None" else stage,
            source=_text(meta.get("source")),
            storage=_text(meta.get("storage_location")),
            run_id=_text(meta.get("run_id")),
            run_link=_text(meta.get("run_link")),
            status=_text(meta.get("status")) or "READY",
            tags=self._texts(f"{place}/tags"),
        )

    def files(self, address: str) -> Iterator[PastFile]:
        """The files below an address."""
        return self._contents.files(address)

    def read(self, address: str, path: str) -> Iterator[bytes]:
        """A file in pieces."""
        return self._contents.read(address, path)

    def close(self) -> None:
        """Nothing is held."""


def _text(value: object) -> str:
    return "" if value is None or isinstance(value, dict | list) else str(value)


def _text_or_none(value: object) -> str | None:
    return None if value is None else _text(value)


def _number(value: object) -> int:
    try:
        return int(str(value).strip())
    except ValueError as error:
        raise Corrupt("a number of the store cannot be read") from error


def _maybe(value: object) -> int | None:
    return None if value is None else _number(value)
