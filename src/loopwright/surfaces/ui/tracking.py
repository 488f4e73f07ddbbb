"""The pages of what is tracked: experiments, the runs of one, a run, several runs side by side."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

from loopwright.core.errors import Invalid, LoopwrightError
from loopwright.core.nouns import FoundRun, Run
from loopwright.engine.wire import failure_of
from loopwright.surfaces.ui.desk import Desk, Query, Values
from loopwright.surfaces.ui.graphs import graph
from loopwright.surfaces.ui.shaping import size, span, when
from loopwright.surfaces.ui.tables import cell, in_list, known_names, milliseconds, row, usual_columns

__all__ = ["MOST_COMPARED", "comparison", "experiment", "experiments", "run", "run_rows"]

MOST_COMPARED = 50
_FIRST = 100
_MOST = 1000
_MOST_COLUMNS = 60
_MOST_CHILDREN = 200
_NOTE = "mlflow.note.content"
_PINNED = "loopwright.pinned"
_SYSTEM = "system/"
_CODE = {
    "mlflow.source.git.commit": "commit",
    "mlflow.source.git.branch": "branch",
    "mlflow.source.git.repoURL": "repository",
    "mlflow.source.name": "source",
    "mlflow.source.type": "started from",
    "mlflow.project.entryPoint": "entry point",
}
_SECOND, _MILLISECOND = timedelta(seconds=1), timedelta(milliseconds=1)
_CODE_NAMES = {"diff": "digest of changes", "file": "changes", "root": "folder"}
_CODE_FACTS = ("code", "command", "environment", "machine")
_OWN_FACTS = ("params", "experiment_id", "artifact_uri", "user_id", "datasets", *_CODE_FACTS)


def experiments(desk: Desk, path: dict[str, str], query: Query) -> Values:
    """The list of experiments, perhaps of those whose names hold a text."""
    named = query.get("name", "").strip()
    asked = "name ILIKE '%" + named.replace("'", "''") + "%'" if named else None
    lifecycle = "deleted" if query.get("lifecycle") == "deleted" else "active"
    found = desk.call(
        "experiments.list", filter=asked, lifecycle=lifecycle, limit=_FIRST, token=query.get("token")
    )
    newest = {each.id: _newest(desk, each.name, lifecycle) for each in found.items}
    return {
        "title": "Experiments",
        "page": found,
        "newest": newest,
        "named": named,
        "lifecycle": lifecycle,
        "note": _NOTE,
    }


def _newest(desk: Desk, name: str, lifecycle: str) -> Run | None:
    """The run of an experiment that began last."""
    found = desk.call("runs.search", experiment=(name,), lifecycle=lifecycle, limit=1).items
    return found[0].run if found else None


def experiment(desk: Desk, path: dict[str, str], query: Query) -> Values:
    """The runs of an experiment, with the first page of its table."""
    asset = desk.call("experiments.show", name=path["name"])
    asked = Query([("experiment", asset.name), *((k, v) for k in _ASKED for v in query.all(k))])
    try:
        first = run_rows(desk, {}, asked)
    except LoopwrightError as error:
        first = {"failure": failure_of(error)}
    return {
        "title": asset.name,
        "asset": asset,
        "note": asset.tags.get(_NOTE, "") or asset.description,
        "retention": desk.call("experiments.retention", name=asset.name),
        "trash_days": desk.trash_days,
        "tags": {key: value for key, value in asset.tags.items() if not key.startswith("mlflow.")},
        "first": {"experiment": asset.name, **first},
    }


_ASKED = ("filter", "order", "column", "group", "lifecycle")


def run_rows(desk: Desk, path: dict[str, str], query: Query) -> Values:
    """One page of the runs of an experiment as rows, for the script of the table."""
    columns = _columns(query)
    found = _searched(desk, query)
    shown = columns or usual_columns(found.items)
    group = query.get("group", "")
    told = [*shown, group] if group not in ("", "parent") and group not in shown else shown
    values: Values = {
        "columns": shown,
        "told": told,
        "rows": [row(each, told) for each in found.items],
        "next": found.next_token,
    }
    if not query.get("token") and not query.get("runs"):
        values["names"] = known_names(found.items)
    return values


def _columns(query: Query) -> tuple[str, ...]:
    columns = query.all("column")
    if len(columns) > _MOST_COLUMNS:
        raise Invalid(f"{len(columns)} columns are too many", hint=f"choose at most {_MOST_COLUMNS}")
    return columns


def _searched(desk: Desk, query: Query) -> Any:
    only = query.get("runs", "").split()
    if "parent" in query:
        children = desk.call("runs.list", parent=query["parent"], limit=_MOST_CHILDREN).items
        only = [child.id for child in children] or ["-"]
    conditions = [f"({query['filter']}\n)"] if query.get("filter", "").strip() else []
    if only:
        conditions.append(in_list("attributes.run_id", only))
    text = " AND ".join(conditions) if len(conditions) > 1 or only else query.get("filter")
    return desk.call(
        "runs.search",
        experiment=(query.get("experiment", ""),),
        filter=text,
        order=_order(query),
        lifecycle=query.get("lifecycle"),
        limit=_limit(query.get("limit", "")),
        token=query.get("token"),
    )


def _limit(text: str) -> int:
    return min(_MOST, max(1, int(text[:9]))) if text.isascii() and text.isdigit() else _FIRST


def _order(query: Query) -> tuple[str, ...]:
    group, order = query.get("group", ""), query.all("order")
    if group in ("", "parent"):
        return order
    kind, _, key = group.partition(".")
    field = f"{kind}.`{key.replace('`', '``')}`"
    return (field, *(each for each in order if not each.startswith(f"{field} ")))


def run(desk: Desk, path: dict[str, str], query: Query) -> Values:
    """A run: what it was given, what came of it, its files, its place among others."""
    view = desk.call("runs.show", run_id=path["run_id"])
    found: Run = view.run
    files = desk.maybe("runs.artifacts", run_id=found.id, limit=_MOST)
    metrics = {key: cell(point.value) for key, point in sorted(view.metrics.items())}
    return {
        "title": found.name,
        "view": view,
        "section": "/experiments" if found.experiment else "/runs",
        "since": milliseconds(found.started_at),
        "facts": {key: value for key, value in found.facts.items() if key not in _OWN_FACTS and value},
        "note": found.tags.get(_NOTE, ""),
        "pinned": found.tags.get(_PINNED, "").lower() == "true",
        "tags": {key: value for key, value in found.tags.items() if not key.startswith("mlflow.")},
        "code": _code(found),
        "metrics": {key: value for key, value in metrics.items() if not key.startswith(_SYSTEM)},
        "system": {key: value for key, value in metrics.items() if key.startswith(_SYSTEM)},
        "datasets": found.facts.get("datasets", ()),
        "parent": desk.maybe("runs.show", run_id=found.parent_id) if found.parent_id else None,
        "files": () if files is None else files.items,
        "lineage": graph(desk, f"run:{found.id}", whole="all" in query),
        "drawn_run": {
            "runs": [{"id": found.id, "name": found.name, "state": found.state}],
            "metrics": sorted(metrics, key=lambda key: view.metrics[key].step == 0),
            "files": [] if files is None else files.items,
        },
    }


def _code(found: Run) -> Mapping[str, Any]:
    tagged = {name: found.tags[tag] for tag, name in _CODE.items() if found.tags.get(tag)}
    told = {key: found.facts[key] for key in _CODE_FACTS if found.facts.get(key)}
    if isinstance(told.get("command"), list):
        told["command"] = " ".join(map(str, told["command"]))
    if isinstance(told.get("code"), Mapping):
        tagged |= {_CODE_NAMES.get(key, key): value for key, value in told.pop("code").items() if value}
    if isinstance(told.get("machine"), Mapping):
        told["machine"] = _machine(told["machine"])
    return {**tagged, **told}


def _machine(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts of a machine, its memory as people read it."""
    named = {**facts}
    memory = named.pop("memory_bytes", None)
    return {**named, **({"memory": size(memory)} if isinstance(memory, int | float) else {})}


def comparison(desk: Desk, path: dict[str, str], query: Query) -> Values:
    """Several runs side by side, by their ids."""
    ids = tuple(dict.fromkeys(unquote(each) for each in query.all("run")))
    if len(ids) > MOST_COMPARED:
        raise Invalid(
            f"{len(ids)} runs are too many to be compared", hint=f"choose 2 to {MOST_COMPARED} of them"
        )
    views = [desk.maybe("runs.show", run_id=each) for each in ids]
    found = [FoundRun(run=v.run, metrics=tuple(v.metrics.values())) for v in views if v is not None]
    return {
        "title": "Compare runs",
        "missing": [each for each, view in zip(ids, views, strict=True) if view is None],
        "compared": {
            "runs": [_compared(each) for each in found],
            "stepped": sorted({p.key for each in found for p in each.metrics if p.step}),
        },
        "experiments": sorted({each.run.experiment for each in found if each.run.experiment}),
    }


def _compared_facts(run: Run) -> dict[str, str]:
    """What else tells runs apart: when, how long, by whom, of which code and data."""
    code = _code(run)
    facts = {
        "experiment": run.experiment,
        "started": when(run.started_at),
        "took": _took(run),
        "by": run.tags.get("mlflow.user") or run.created_by,
        "commit": code.get("commit"),
        "digest of changes": code.get("digest of changes"),
        "command": code.get("command"),
        "data": ", ".join(f"{each['name']} {each['digest']}" for each in run.facts.get("datasets", ())),
    }
    return {key: cell(str(value)) for key, value in facts.items() if value}  # type: ignore[misc]  # cut texts stay texts


def _took(run: Run) -> str:
    if run.started_at is None or run.ended_at is None:
        return ""
    passed = run.ended_at - run.started_at
    return span(run.started_at, run.ended_at) if passed >= _SECOND else f"{passed / _MILLISECOND:.0f} ms"


def _compared(found: FoundRun) -> Values:
    run = found.run
    return {
        "id": run.id,
        "name": run.name,
        "state": run.state,
        "experiment": run.experiment,
        "start": milliseconds(run.started_at),
        "told": f"{when(run.started_at)} {run.experiment or run.kind}",
        "facts": _compared_facts(run),
        "params": {key: cell(value) for key, value in run.params.items()},
        "tags": {key: cell(value) for key, value in run.tags.items() if not key.startswith("mlflow.")},
        "metrics": {point.key: cell(point.value) for point in found.metrics},
    }
