"""What a database of MLflow tells of models: logged ones, and registered ones with their versions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import select

from loopwright.adapters.sql.past.source import Source, integer, number, text, texts
from loopwright.ports.histories import PastLogged, PastModel, PastModelPoint, PastVersion

__all__ = ["SqlModels"]

_PAGE = 200
_STATES = {1: "PENDING", 2: "READY", 3: "FAILED"}
_GONE = "Deleted_Internal"
_Row = Mapping[str, Any]


class SqlModels:
    """The tables of models."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def logged(self, experiment_id: str) -> Iterator[PastLogged]:
        """The logged models of an experiment, by id."""
        if "logged_models" not in self._source.names:
            return
        table = self._source.table("logged_models")
        mine = select(table).where(table.c.experiment_id == int(experiment_id)).order_by(table.c.model_id)
        after = ""
        while True:
            page = self._named("logged_models", mine.where(table.c.model_id > after).limit(_PAGE))
            if not page:
                return
            yield from self._logged(page)
            after = page[-1]["model_id"]

    def _named(self, name: str, question: Any) -> list[_Row]:
        names = [column.name for column in self._source.table(name).c]
        return [dict(zip(names, row, strict=True)) for row in self._source.all(question)]

    def _logged(self, rows: Sequence[_Row]) -> Iterator[PastLogged]:
        ids = [row["model_id"] for row in rows]
        params, tags = self._texts_of("param", ids), self._texts_of("tag", ids)
        points = self._points(ids)
        for row in rows:
            model_id = text(row["model_id"])
            yield PastLogged(
                id=model_id,
                experiment_id=text(row["experiment_id"]),
                name=text(row["name"]),
                model_type=text(row["model_type"]),
                status=_STATES.get(row["status"], "PENDING"),
                created_ms=integer(row["creation_timestamp_ms"]),
                updated_ms=integer(row["last_updated_timestamp_ms"]),
                is_deleted=row["lifecycle_stage"] == "deleted",
                source_run_id=text(row["source_run_id"]),
                artifact_uri=text(row["artifact_location"]),
                params=params.get(model_id, {}),
                tags=tags.get(model_id, {}),
                points=tuple(points.get(model_id, ())),
            )

    def _texts_of(self, what: str, ids: Sequence[str]) -> dict[str, dict[str, str]]:
        table = self._source.table(f"logged_model_{what}s")
        columns = table.c.model_id, table.c[f"{what}_key"], table.c[f"{what}_value"]
        return texts(self._source.rows(select(*columns).where(table.c.model_id.in_(ids))))

    def _points(self, ids: Sequence[str]) -> dict[str, list[PastModelPoint]]:
        table = self._source.table("logged_model_metrics")
        c = table.c
        columns = (c.model_id, c.run_id, c.metric_name, c.metric_value, c.metric_step, c.metric_timestamp_ms)
        question = select(*columns, c.dataset_name, c.dataset_digest).where(c.model_id.in_(ids))
        order = (c.metric_name, c.metric_timestamp_ms, c.metric_step, c.run_id)
        found: dict[str, list[PastModelPoint]] = {}
        for row in self._source.rows(question.order_by(*order)):
            point = PastModelPoint(
                run_id=text(row[1]),
                key=text(row[2]),
                value=_told(row[3]),
                step=integer(row[4]),
                at_ms=integer(row[5]),
                dataset_name=text(row[6]),
                dataset_digest=text(row[7]),
            )
            found.setdefault(text(row[0]), []).append(point)
        return found

    def registered(self) -> Iterator[PastModel]:
        """Registered models and prompts, by name; versions that were deleted are gaps."""
        if "registered_models" not in self._source.names:
            return
        table = self._source.table("registered_models")
        mine = select(table).where(self._source.here(table)).order_by(table.c.name)
        after = ""
        while True:
            page = self._named("registered_models", mine.where(table.c.name > after).limit(_PAGE))
            if not page:
                return
            for row in page:
                yield self._registered(row)
            after = page[-1]["name"]

    def _registered(self, row: _Row) -> PastModel:
        name = row["name"]
        tags = self._of("registered_model_tags", name, "key", "value")
        aliases: list[Sequence[Any]] = []
        if "registered_model_aliases" in self._source.names:
            aliases = self._of("registered_model_aliases", name, "alias", "version")
        return PastModel(
            name=text(name),
            created_ms=integer(row["creation_time"] or 0),
            updated_ms=integer(row["last_updated_time"] or 0),
            description=text(row["description"]),
            tags={text(key): text(value) for key, value in tags},
            aliases={text(alias): integer(number) for alias, number in aliases},
            versions=tuple(self._versions(name)),
        )

    def _of(self, name: str, model: str, *columns: str) -> list[Sequence[Any]]:
        table = self._source.table(name)
        mine = select(*(table.c[each] for each in columns)).where(table.c.name == model)
        return self._source.all(
            mine.where(self._source.here(table)).order_by(*(table.c[x] for x in columns[:2]))
        )

    def _versions(self, name: str) -> Iterator[PastVersion]:
        tags: dict[int, dict[str, str]] = {}
        for number_, key, value in self._of("model_version_tags", name, "version", "key", "value"):
            tags.setdefault(integer(number_), {})[text(key)] = text(value)
        table = self._source.table("model_versions")
        mine = select(table).where(table.c.name == name, self._source.here(table)).order_by(table.c.version)
        for row in self._named("model_versions", mine):
            if row["current_stage"] != _GONE:
                yield _version(row, tags.get(row["version"], {}))


def _version(row: _Row, tags: dict[str, str]) -> PastVersion:
    stage = text(row["current_stage"])
    return PastVersion(
        number=integer(row["version"]),
        created_ms=integer(row["creation_time"] or 0),
        updated_ms=integer(row["last_updated_time"] or 0),
        user=text(row["user_id"]),
        description=text(row["description"]),
        stage="" if stage == "None" else stage,
        source=text(row["source"]),
        storage=text(row.get("storage_location")),
        run_id=text(row["run_id"]),
        run_link=text(row["run_link"]),
        status=text(row["status"]) or "READY",
        tags=tags,
    )


def _told(value: object) -> float | str:
    """A value that JSON has a form for; MLflow keeps nothing where a logged model's metric is no number."""
    found = math.nan if value is None else number(value)
    return (
        found
        if math.isfinite(found)
        else "NaN"
        if math.isnan(found)
        else "Infinity"
        if found > 0
        else "-Infinity"
    )
