"""What each page shows: every value comes from an operation, so pages hold no rule or right of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from loopwright.core.errors import NotFound
from loopwright.engine.context import Context
from loopwright.engine.operation import Operation, invoke
from loopwright.surfaces.ui.layout import place

__all__ = ["PAGES", "Desk", "Page"]

Values = dict[str, Any]
_TOLD = (
    "alias.moved",
    "decision.made",
    "endpoint.routed",
    "incident.opened",
    "incident.resolved",
    "quarantine.added",
    "run.failed",
)
_KINDS = (
    "dataset",
    "feature_view",
    "feature_service",
    "model",
    "endpoint",
    "monitor",
    "policy",
    "experiment",
)


class Desk:
    """Calls operations for a page, as the page's principal."""

    def __init__(self, operations: Mapping[str, Operation], ctx: Context) -> None:
        self._operations = operations
        self._ctx = ctx

    def call(self, name: str, /, **arguments: Any) -> Any:
        """The value of an operation."""
        given = {key: value for key, value in arguments.items() if value is not None}
        return invoke(self._operations[name], self._ctx, given)

    def maybe(self, name: str, /, **arguments: Any) -> Any:
        """As `call`, None when what was asked for does not exist."""
        try:
            return self.call(name, **arguments)
        except NotFound:
            return None

    @property
    def now(self) -> Any:
        """The platform's instant."""
        return self._ctx.now()


class Page(NamedTuple):
    """A page: its path, its template, and what it is made of."""

    path: str
    template: str
    build: Callable[[Desk, dict[str, str], dict[str, str]], Values]


def _home(desk: Desk, path: dict[str, str], query: dict[str, str]) -> Values:
    told = [event for kind in _TOLD for event in desk.call("journal.list", kind=kind, limit=25).items]
    told.sort(key=lambda event: -event.seq)
    endpoints = desk.call("serving.list", limit=20).items
    models = desk.call("assets.list", kind="model", limit=20).items
    views = desk.call("assets.list", kind="feature_view", limit=200).items
    datasets = desk.call("assets.list", kind="dataset", limit=200).items
    signals = {e.name: desk.call("signals.list", subject=f"endpoint:{e.name}", limit=4000) for e in endpoints}
    return {
        "title": "Home",
        "events": told[:60],
        "datasets": datasets,
        "views": views,
        "models": [desk.call("assets.show", kind="model", name=model.name) for model in models],
        "endpoints": endpoints,
        "latest": {name: _latest(found) for name, found in signals.items()},
        "incidents": desk.call("incidents.list", state="running", limit=20).items,
        "decisions": desk.call("decisions.list", limit=5).items,
        "now": desk.now,
    }


def _latest(signals: Any) -> Values:
    return {signal.name: signal for signal in signals if not signal.facts.get("version")}


def _assets(desk: Desk, path: dict[str, str], query: dict[str, str]) -> Values:
    kind = query.get("kind")
    found = desk.call("assets.list", kind=kind, limit=200, token=query.get("token"))
    return {"title": "Assets", "kinds": _KINDS, "kind": kind, "page": found}


def _asset(desk: Desk, path: dict[str, str], query: dict[str, str]) -> Values:
    view = desk.call("assets.show", **path)
    versions = desk.call("assets.versions", **path, limit=50, token=query.get("token"))
    gate = desk.maybe("gates.show", name=path["name"]) if path["kind"] == "model" else None
    return {"title": view.asset.name, "view": view, "page": versions, "gate": gate}


def _version(desk: Desk, path: dict[str, str], query: dict[str, str]) -> Values:
    view = desk.call("versions.show", address=path["address"])
    address = str(view.version.ref)
    return {
        "title": address,
        "view": view,
        "lineage": _graph(desk, address),
        "decisions": desk.call("decisions.list", subject=address, limit=20).items,
    }


def _graph(desk: Desk, address: str) -> Values:
    found = desk.call("lineage.show", address=address)
    where = place(found.nodes, found.edges)
    nodes = [
        {"id": n.id, "kind": n.kind, "label": n.label, "x": where[n.id][0], "y": where[n.id][1]}
        for n in found.nodes
    ]
    return {
        "nodes": nodes,
        "edges": [{"source": e.source, "target": e.target} for e in found.edges],
        "focus": address,
        "cut": found.cut,
    }


def _runs(desk: Desk, path: dict[str, str], query: dict[str, str]) -> Values:
    kind = query.get("kind")
    found = desk.call("runs.list", kind=kind, limit=100, token=query.get("token"))
    kinds = ("training", "trial", "evaluation", "retraining", "rollout", "incident")
    return {"title": "Runs", "page": found, "kind": kind, "kinds": kinds}


def _run(desk: Desk, path: dict[str, str], query: dict[str, str]) -> Values:
    view = desk.call("runs.show", run_id=path["run_id"])
    return {"title": view.run.name, "view": view, "lineage": _graph(desk, f"run:{view.run.id}")}


def _endpoints(desk: Desk, path: dict[str, str], query: dict[str, str]) -> Values:
    return {"title": "Endpoints", "page": desk.call("serving.list", limit=200)}


def _endpoint(desk: Desk, path: dict[str, str], query: dict[str, str]) -> Values:
    view = desk.call("serving.show", endpoint=path["name"])
    signals = desk.call("signals.list", subject=f"endpoint:{path['name']}", limit=4000)
    routed = desk.call("journal.list", kind="endpoint.routed", limit=50).items
    return {
        "title": view.name,
        "view": view,
        "series": _series(signals),
        "routed": [event for event in routed if event.subject == f"endpoint:{view.name}"],
    }


def _series(signals: Any) -> Values:
    """Signals by name as points `[milliseconds, value, low, high, n]`; a window's newest value stands."""
    found: dict[str, dict[int, list[Any]]] = {}
    for signal in signals:
        if signal.facts.get("version"):
            continue
        moment = signal.window_start or signal.at
        at = int(moment.timestamp() * 1000)
        found.setdefault(signal.name, {})[at] = [at, signal.value, signal.low, signal.high, signal.n]
    return {name: [points[at] for at in sorted(points)] for name, points in found.items()}


def _monitors(desk: Desk, path: dict[str, str], query: dict[str, str]) -> Values:
    return {"title": "Monitoring", "page": desk.call("assets.list", kind="monitor", limit=200)}


def _monitor(desk: Desk, path: dict[str, str], query: dict[str, str]) -> Values:
    view = desk.call("monitoring.show", name=path["name"])
    endpoint = view.monitor.endpoint
    signals = desk.call("signals.list", subject=f"endpoint:{endpoint}", limit=20_000)
    incidents = desk.call("incidents.list", limit=100).items
    moves = desk.call("journal.list", kind="alias.moved", limit=200).items
    return {
        "title": f"Monitoring {path['name']}",
        "name": path["name"],
        "endpoint": endpoint,
        "series": _series(signals),
        "incidents": incidents,
        "marks": [_mark(run) for run in incidents],
        "promotions": [
            [int(e.at.timestamp() * 1000), e.payload.get("to")]
            for e in moves
            if e.payload.get("alias") == "champion"
        ],
    }


def _mark(run: Any) -> Values:
    return {"since": run.facts.get("since"), "until": run.facts.get("until"), "name": run.name, "id": run.id}


def _incidents(desk: Desk, path: dict[str, str], query: dict[str, str]) -> Values:
    return {"title": "Incidents", "page": desk.call("incidents.list", limit=100, token=query.get("token"))}


def _incident(desk: Desk, path: dict[str, str], query: dict[str, str]) -> Values:
    run = desk.call("incidents.show", incident_id=path["incident_id"])
    refused = [d for d in desk.call("decisions.list", limit=200).items if f"incident:{run.id}" in d.reason]
    told = desk.call("journal.list", subject=f"incident:{run.id}", limit=50).items
    return {"title": run.name, "run": run, "decisions": refused, "events": told}


def _decisions(desk: Desk, path: dict[str, str], query: dict[str, str]) -> Values:
    action = query.get("action")
    found = desk.call("decisions.list", action=action, limit=100, token=query.get("token"))
    return {"title": "Decisions", "page": found, "action": action}


def _decision(desk: Desk, path: dict[str, str], query: dict[str, str]) -> Values:
    return {"title": "Decision", "decision": desk.call("decisions.show", decision_id=path["decision_id"])}


def _journal(desk: Desk, path: dict[str, str], query: dict[str, str]) -> Values:
    chosen = {key: query.get(key) for key in ("kind", "subject", "token")}
    return {"title": "Journal", "page": desk.call("journal.list", **chosen, limit=200), **chosen}


PAGES = (
    Page("/", "home.html", _home),
    Page("/assets", "assets.html", _assets),
    Page("/assets/{kind}/{name:path}", "asset.html", _asset),
    Page("/versions/{address:path}", "version.html", _version),
    Page("/runs", "runs.html", _runs),
    Page("/runs/{run_id}", "run.html", _run),
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
