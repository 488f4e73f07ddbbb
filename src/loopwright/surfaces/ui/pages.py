"""What each page shows: every value comes from an operation, so pages hold no rule or right of their own."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from loopwright.core.nouns import Event, Run, Signal
from loopwright.surfaces.ui import (
    datasets,
    differences,
    evaluation,
    explorations,
    features,
    labels,
    registry,
    traces,
    tracking,
    trash,
    webhooks,
)
from loopwright.surfaces.ui.desk import Desk, Page, Query, Values
from loopwright.surfaces.ui.graphs import graph
from loopwright.surfaces.ui.package import packaged
from loopwright.surfaces.ui.series import mark, promotions, series_of, splits, within

__all__ = ["PAGES"]

_TOLD = (
    "alias.moved",
    "asset.created",
    "decision.made",
    "endpoint.routed",
    "incident.opened",
    "incident.resolved",
    "quarantine.added",
    "run.failed",
    "run.started",
)
_STARTED = ("training", "retraining")
_MADE = ("dataset", "feature_service", "model", "endpoint", "monitor")
_KINDS = (
    "dataset",
    "feature_view",
    "feature_service",
    "model",
    "endpoint",
    "monitor",
    "policy",
    "experiment",
    "exploration",
)
_DRAWN = ("roc_auc", "predictions")
_RANGES = ("30", "90")
_MOST_LINES = 8
_AFTER = timedelta(days=14)


def _home(desk: Desk, path: dict[str, str], query: Query) -> Values:
    told = [event for kind in _TOLD for event in desk.call("journal.list", kind=kind, limit=25).items]
    told = sorted(filter(_is_told, told), key=lambda event: -event.seq)
    endpoints = desk.call("serving.list", limit=20).items
    models = desk.call("assets.list", kind="model", limit=20).items
    incidents = desk.call("incidents.list", limit=20).items
    measured = _measured(desk, endpoints[0].name) if endpoints else {}
    return {
        "title": "Home",
        "events": told[:60],
        "names": {f"incident:{run.id}": run.name for run in incidents},
        "datasets": desk.call("assets.list", kind="dataset", limit=200).items,
        "views": desk.call("assets.list", kind="feature_view", limit=200).items,
        "models": [desk.call("assets.show", kind="model", name=model.name) for model in models],
        "endpoints": endpoints,
        "series": measured,
        "newest": {name: points[-1] for name, points in measured.items() if points},
        "incidents": incidents,
        "monitored": [asset.name for asset in desk.call("assets.list", kind="monitor", limit=1).items],
        "marks": [mark(run) for run in incidents],
        "promotions": promotions(desk.call("journal.list", kind="alias.moved", limit=200).items),
        "decisions": desk.call("decisions.list", limit=6).items,
        "now": desk.now,
    }


def _is_told(event: Event) -> bool:
    """Whether the timeline holds it: the beginnings of things that matter, and no move told twice."""
    match event.kind:
        case "alias.moved":
            return not event.subject.startswith("endpoint:")
        case "run.started":
            return event.payload.get("kind") in _STARTED and not event.payload.get("parent")
        case "asset.created":
            return event.subject.partition(":")[0] in _MADE
    return True


def _measured(desk: Desk, endpoint: str) -> dict[str, list[Any]]:
    """What the home page draws of an endpoint."""
    subject = f"endpoint:{endpoint}"
    found = [s for name in _DRAWN for s in desk.call("signals.list", subject=subject, name=name, limit=2000)]
    return within(series_of(found), None)


def _assets(desk: Desk, path: dict[str, str], query: Query) -> Values:
    kind = query.get("kind")
    if kind == "dataset":
        return {"title": "Datasets", "kinds": _KINDS, "kind": kind, **datasets.found(desk, query)}
    found = desk.call("assets.list", kind=kind, limit=200, token=query.get("token"))
    views = {asset.id: desk.call("assets.show", kind=asset.kind, name=asset.name) for asset in found.items}
    return {"title": "Assets", "kinds": _KINDS, "kind": kind, "page": found, "views": views, "facets": None}


def _asset(desk: Desk, path: dict[str, str], query: Query) -> Values:
    view = desk.call("assets.show", **path)
    versions = desk.call("assets.versions", **path, limit=50, token=query.get("token"))
    return {"title": view.asset.name, "view": view, "page": versions}


def _version(desk: Desk, path: dict[str, str], query: Query) -> Values:
    view = desk.call("versions.show", address=path["address"])
    address = str(view.version.ref)
    return {
        "title": address,
        "view": view,
        "files": _files(desk, view.version, query) if view.body.get("layout") == "folder" else None,
        "section": "/models" if view.version.kind == "model" else "/assets",
        "run": desk.maybe("runs.show", run_id=view.version.run_id) if view.version.run_id else None,
        "package": packaged(desk, view.version) if view.version.kind == "model" else None,
        "table": datasets.table_at(desk, view.version, query),
        "lineage": graph(desk, address, whole="all" in query),
        "decisions": desk.call("decisions.list", subject=address, limit=20).items,
    }


def _files(desk: Desk, version: Any, query: Query) -> Any:
    """A page of a folder's files, by path."""
    number, token = str(version.number), query.get("token") or ""
    return desk.call("data.files", name=version.name, version=number, limit=100, token=token)


def _runs(desk: Desk, path: dict[str, str], query: Query) -> Values:
    kind = query.get("kind")
    found = desk.call("runs.list", kind=kind, limit=100, token=query.get("token"))
    kinds = ("run", "training", "trial", "evaluation", "retraining", "rollout", "incident")
    return {"title": "Runs", "page": found, "kind": kind, "kinds": kinds}


def _endpoints(desk: Desk, path: dict[str, str], query: Query) -> Values:
    return {"title": "Endpoints", "page": desk.call("serving.list", limit=200)}


def _endpoint(desk: Desk, path: dict[str, str], query: Query) -> Values:
    view = desk.call("serving.show", endpoint=path["name"])
    subject = f"endpoint:{view.name}"
    signals = desk.call("signals.list", subject=subject, name="predictions", limit=4000)
    routed = desk.call("journal.list", kind="endpoint.routed", subject=subject, limit=100).items
    series = within(series_of(signals), None)
    days = series.get("predictions", [])
    return {
        "title": view.name,
        "view": view,
        "series": series,
        "total": sum(point[1] for point in days),
        "days": days,
        "routed": routed,
        "split": splits(routed),
    }


def _monitors(desk: Desk, path: dict[str, str], query: Query) -> Values:
    return {"title": "Monitoring", "page": desk.call("monitoring.list", limit=200)}


def _monitor(desk: Desk, path: dict[str, str], query: Query) -> Values:
    view = desk.call("monitoring.show", name=path["name"])
    days = int(query["days"]) if query.get("days") in _RANGES else None
    endpoint = f"endpoint:{view.monitor.endpoint}"
    since = None if days is None else _begin(view.newest.get("predictions"), days)
    signals = desk.call("signals.list", subject=endpoint, start=since, limit=20_000)
    series = within(series_of(signals), days)
    incidents = desk.call("incidents.list", limit=100).items
    moves = desk.call("journal.list", kind="alias.moved", limit=200).items
    return {
        "title": f"Monitoring {path['name']}",
        "name": path["name"],
        "endpoint": view.monitor.endpoint,
        "alarms": view.alarms,
        "reference": view.monitor.reference,
        "read_rows": view.read_rows,
        "series": series,
        "newest": {name: points[-1] for name, points in series.items() if points},
        "is_judged": any(points for name, points in series.items() if name.startswith("drift.")),
        "days": days,
        "ranges": _RANGES,
        "incidents": incidents,
        "marks": [mark(run) for run in incidents],
        "promotions": promotions(moves),
    }


def _begin(newest: Signal | None, days: int) -> datetime | None:
    """Before whatever is told of the last so many days: no window is checked before it has begun."""
    last = None if newest is None else newest.window_start or newest.at
    return None if last is None else last - timedelta(days=days)


def _incidents(desk: Desk, path: dict[str, str], query: Query) -> Values:
    return {"title": "Incidents", "page": desk.call("incidents.list", limit=100, token=query.get("token"))}


def _incident(desk: Desk, path: dict[str, str], query: Query) -> Values:
    run = desk.call("incidents.show", incident_id=path["incident_id"])
    refused = [d for d in desk.call("decisions.list", limit=200).items if f"incident:{run.id}" in d.reason]
    told = desk.call("journal.list", subject=f"incident:{run.id}", limit=50).items
    return {
        "title": f"Incident {run.name}",
        "run": run,
        "decisions": refused,
        "events": told,
        "names": {f"incident:{run.id}": run.name},
        "series": _around(desk, run),
        "marks": [mark(run)],
    }


def _around(desk: Desk, run: Run) -> dict[str, list[Any]]:
    """The measurements of an incident's columns, from four weeks before it to two after it."""
    if not isinstance(run.facts.get("since"), str):
        return {}
    since = datetime.fromisoformat(run.facts["since"])
    until = datetime.fromisoformat(run.facts.get("until") or run.facts["detected_at"])
    found = []
    for column in list(run.facts.get("columns", ()))[:_MOST_LINES]:
        for name in (f"strange.{column}", f"drift.{column}"):
            asked = {"subject": run.facts["subject"], "name": name, "start": since - timedelta(days=28)}
            found += [s for s in desk.call("signals.list", **asked, limit=2000) if s.at < until + _AFTER]
    return series_of(found)


def _decisions(desk: Desk, path: dict[str, str], query: Query) -> Values:
    action = query.get("action")
    found = desk.call("decisions.list", action=action, limit=100, token=query.get("token"))
    return {"title": "Decisions", "page": found, "action": action}


def _decision(desk: Desk, path: dict[str, str], query: Query) -> Values:
    return {"title": "Decision", "decision": desk.call("decisions.show", decision_id=path["decision_id"])}


def _journal(desk: Desk, path: dict[str, str], query: Query) -> Values:
    chosen = {key: query.get(key) for key in ("kind", "subject", "token")}
    return {"title": "Journal", "page": desk.call("journal.list", **chosen, limit=200), **chosen}


PAGES = (
    Page("/", "home.html", _home),
    Page("/assets", "assets.html", _assets),
    Page("/assets/compare", "differences.html", differences.data_compared),
    Page("/assets/model/{name:path}", "model.html", registry.model),
    Page("/assets/dataset/{name:path}", "dataset.html", datasets.dataset),
    Page("/assets/feature_view/{name:path}", "feature.html", features.feature),
    Page("/assets/{kind}/{name:path}", "asset.html", _asset),
    Page("/versions/{address:path}", "version.html", _version),
    Page("/contracts/{name:path}", "contract.html", datasets.contract),
    Page("/explore", "explore.html", explorations.editor),
    Page("/explorations", "explorations.html", explorations.explorations),
    Page("/explorations/{name:path}", "exploration.html", explorations.exploration),
    Page("/erasures", "erasures.html", datasets.erasures),
    Page("/labels", "labels.html", labels.queues),
    Page("/labels/{name:path}", "queue.html", labels.queue),
    Page("/trash", "trash.html", trash.trash),
    Page("/experiments", "experiments.html", tracking.experiments),
    Page("/experiments/{name:path}", "experiment.html", tracking.experiment),
    Page("/traces", "traces.html", traces.traces),
    Page("/traces/{trace:path}", "trace.html", traces.trace),
    Page("/runs", "runs.html", _runs),
    Page("/runs/{run_id}", "run.html", tracking.run),
    Page("/compare", "compare.html", tracking.comparison),
    Page("/models", "models.html", registry.models),
    Page("/models/compare", "versions.html", registry.versions_compared),
    Page("/prompts", "prompts.html", registry.prompts),
    Page("/prompts/{name:path}", "prompt.html", registry.prompt),
    Page("/evaluation", "evaluations.html", evaluation.evaluations),
    Page("/evaluation/{dataset_id}", "evaluation.html", evaluation.evaluation),
    Page("/webhooks", "webhooks.html", webhooks.webhooks),
    Page("/webhooks/{webhook_id}", "webhook.html", webhooks.webhook),
    Page("/endpoints", "endpoints.html", _endpoints),
    Page("/endpoints/{name:path}", "endpoint.html", _endpoint),
    Page("/monitoring", "monitors.html", _monitors),
    Page("/monitoring/{name:path}", "monitor.html", _monitor),
    Page("/incidents", "incidents.html", _incidents),
    Page("/incidents/{incident_id}", "incident.html", _incident),
    Page("/decisions", "decisions.html", _decisions),
    Page("/decisions/{decision_id}", "decision.html", _decision),
    Page("/journal", "journal.html", _journal),
)
