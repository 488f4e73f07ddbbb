"""From an alarm to an incident and back: one for a subject and cause, open while the alarm fires."""

from __future__ import annotations

from datetime import datetime

from loopwright.core.errors import NotFound
from loopwright.core.instants import parse_instant
from loopwright.core.nouns import Event, Run, RunState
from loopwright.data.nouns import DATASET
from loopwright.engine.context import Context
from loopwright.engine.operation import on_event, operation
from loopwright.loops.nouns import Window
from loopwright.ports.ledger import Page, PageRequest
from loopwright.tracking.lifecycle import found_run
from loopwright.tracking.verbs import end, start

__all__ = [
    "incident_windows",
    "incidents",
    "on_alarm_cleared",
    "on_alarm_raised",
    "open_data_incidents",
    "open_incidents",
    "show",
]

_LIMIT = 1000


def _fingerprint(event: Event) -> str:
    return str(event.payload.get("fingerprint", event.subject))


def open_incidents(ctx: Context) -> tuple[Run, ...]:
    """The incidents that are open now, newest first."""
    with ctx.read() as tx:
        request = PageRequest(limit=_LIMIT)
        return tx.runs.page(ctx.space, request, kind="incident", state=RunState.RUNNING).items


def open_data_incidents(ctx: Context) -> tuple[Run, ...]:
    """Those of the open incidents that say a dataset is not what it was: nothing may be learned from it.

    Drift of an endpoint's inputs is none of them: there the world has changed, and a new model is the answer.
    """
    return tuple(run for run in open_incidents(ctx) if _is_of_data(run))


def incident_windows(ctx: Context) -> tuple[Window, ...]:
    """From when until when data was bad, of all incidents of datasets; an open one reaches until now."""
    with ctx.read() as tx:
        found = tx.runs.page(ctx.space, PageRequest(limit=_LIMIT), kind="incident").items
    return tuple(Window(start=_since(run), end=_until(run, ctx.now())) for run in found if _is_of_data(run))


def _is_of_data(run: Run) -> bool:
    return str(run.facts.get("subject", "")).startswith(f"{DATASET}:")


def _since(run: Run) -> datetime:
    return parse_instant(run.facts["since"])


def _until(run: Run, now: datetime) -> datetime:
    last_bad = run.facts.get("until")
    return parse_instant(last_bad) if last_bad else run.ended_at or now


@on_event("incidents.open", "alarm.raised")
def on_alarm_raised(ctx: Context, event: Event) -> None:
    """Open an incident for an alarm that has none."""
    wanted = _fingerprint(event)
    if any(run.facts.get("fingerprint") == wanted for run in open_incidents(ctx)):
        return
    body = event.payload
    run = start(
        ctx,
        "incident",
        str(body.get("cause", "alarm")),
        facts={
            "subject": event.subject,
            "fingerprint": wanted,
            "columns": body.get("columns", []),
            "since": body.get("since") or event.at.isoformat(),
            "detected_at": event.at.isoformat(),
            "event": event.id,
            "said": body.get("said", ""),
        },
    )
    opened = {"columns": run.facts["columns"], "since": run.facts["since"], "cause": run.name}
    ctx.write(lambda tx: ctx.record(tx, "incident.opened", f"incident:{run.id}", opened))


@on_event("incidents.close", "alarm.cleared")
def on_alarm_cleared(ctx: Context, event: Event) -> None:
    """Resolve the incident of an alarm that has cleared."""
    wanted = _fingerprint(event)
    for run in open_incidents(ctx):
        if run.facts.get("fingerprint") != wanted:
            continue
        _resolve(ctx, run, str(event.payload.get("until") or event.at.isoformat()))


def _resolve(ctx: Context, run: Run, until: str) -> None:
    end(ctx, run.id, facts={"until": until})
    ctx.write(lambda tx: ctx.record(tx, "incident.resolved", f"incident:{run.id}", {"until": until}))


@operation("incidents.list", scope="incident:read", route="GET /incidents")
def incidents(ctx: Context, *, state: RunState | None = None, limit: int = 100, token: str = "") -> Page[Run]:
    """List incidents, newest first; a running one is open."""
    with ctx.read() as tx:
        request = PageRequest(limit=min(max(limit, 1), _LIMIT), token=token)
        return tx.runs.page(ctx.space, request, kind="incident", state=state)


@operation("incidents.show", scope="incident:read", route="GET /incidents/{incident_id}")
def show(ctx: Context, incident_id: str) -> Run:
    """Show an incident: what, where, since when, and until when."""
    with ctx.read() as tx:
        run = found_run(ctx, tx, incident_id)
    if run.kind != "incident" or "detected_at" not in run.facts:
        raise NotFound(f"run:{incident_id[:100]} is no incident", hint="loopwright incidents list")
    return run
