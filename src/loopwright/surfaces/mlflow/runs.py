"""MLflow's calls about runs: made, read, changed, deleted, restored and found."""

from __future__ import annotations

from loopwright.core.errors import Invalid
from loopwright.core.nouns import FoundRun, RunState
from loopwright.engine.context import Context
from loopwright.ports.ledger import PageRequest
from loopwright.surfaces.mlflow.experiments import LIFECYCLES, View
from loopwright.surfaces.mlflow.messages import (
    Info,
    Millis,
    OfRun,
    RunMessage,
    info_of,
    instant,
    run_id_of,
    run_of,
    texts,
)
from loopwright.surfaces.mlflow.routing import Route
from loopwright.surfaces.mlflow.wire import Int64, Message, Pair
from loopwright.tracking import lifecycle, searching
from loopwright.tracking.lifecycle import NewRun
from loopwright.tracking.limits import check_size

__all__ = ["Found", "Got", "routes"]

_MOST = 50_000
_PAGE = 1_000

_STATES = {
    "RUNNING": RunState.RUNNING,
    "SCHEDULED": RunState.SCHEDULED,
    "FINISHED": RunState.FINISHED,
    "FAILED": RunState.FAILED,
    "KILLED": RunState.KILLED,
}
_NUMBERED = dict(enumerate(_STATES.values(), start=1))


class Create(Message, frozen=True, kw_only=True):
    """A new run."""

    experiment_id: str = ""
    user_id: str = ""
    run_name: str = ""
    start_time: Millis = 0
    tags: list[Pair] = []


class Update(OfRun, frozen=True, kw_only=True):
    """What of a run is to change."""

    status: str | int | None = None
    end_time: Millis | None = None
    run_name: str = ""


class Search(Message, frozen=True, kw_only=True):
    """Which runs."""

    experiment_ids: list[str] = []
    filter: str = ""
    run_view_type: View = "ACTIVE_ONLY"
    max_results: Int64 = _PAGE
    order_by: list[str] = []
    page_token: str = ""


class Got(Message, frozen=True, kw_only=True):
    """One run."""

    run: RunMessage


class Updated(Message, frozen=True, kw_only=True):
    """What a run has become."""

    run_info: Info


class Found(Message, frozen=True, kw_only=True):
    """Runs of one page."""

    runs: list[RunMessage] = []
    next_page_token: str = ""


def routes() -> tuple[Route, ...]:
    """All calls about runs."""
    read, write = "run:read", "run:write"
    return (
        Route(method="POST", path="runs/create", scope=write, takes=Create, answer=_create, writes=True),
        Route(method="GET", path="runs/get", scope=read, takes=OfRun, answer=_get),
        Route(method="POST", path="runs/update", scope=write, takes=Update, answer=_update, writes=True),
        Route(method="POST", path="runs/delete", scope=write, takes=OfRun, answer=_delete, writes=True),
        Route(method="POST", path="runs/restore", scope=write, takes=OfRun, answer=_restore, writes=True),
        Route(method="POST", path="runs/search", scope=read, takes=Search, answer=_search),
    )


def _create(ctx: Context, asked: Create) -> Got:
    made = lifecycle.create_run(
        ctx,
        NewRun(
            experiment_id=asked.experiment_id or "0",
            name=asked.run_name,
            user=asked.user_id,
            started_at=instant(asked.start_time),
            tags=dict(texts(asked.tags)),
        ),
    )
    return Got(run=run_of(FoundRun(run=made, metrics=()), made.facts["experiment_id"], is_new=True))


def _get(ctx: Context, asked: OfRun) -> Got:
    found, experiment_id = searching.found(ctx, run_id_of(asked))
    return Got(run=run_of(found, experiment_id))


def _update(ctx: Context, asked: Update) -> Updated:
    ended_at = None if asked.end_time is None else instant(asked.end_time)
    changed = lifecycle.change_run(
        ctx, run_id_of(asked), state=_state(asked.status), ended_at=ended_at, name=asked.run_name
    )
    return Updated(run_info=info_of(changed, searching.experiment_id_of(ctx, changed)))


def _state(told: str | int | None) -> RunState | None:
    if told is None:
        return None
    found = _NUMBERED.get(told) if isinstance(told, int) else _STATES.get(told)
    if found is None:
        raise Invalid(
            f"Invalid value {told!r} for parameter 'status' supplied", hint=f"say one of {', '.join(_STATES)}"
        )
    return found


def _delete(ctx: Context, asked: OfRun) -> None:
    lifecycle.delete_run(ctx, run_id_of(asked))


def _restore(ctx: Context, asked: OfRun) -> None:
    lifecycle.restore_run(ctx, run_id_of(asked))


def _search(ctx: Context, asked: Search) -> Found:
    page = PageRequest(limit=check_size(asked.max_results, _MOST), token=asked.page_token)
    found = searching.search(
        ctx,
        asked.experiment_ids,
        asked.filter,
        asked.order_by,
        lifecycle=LIFECYCLES[asked.run_view_type],
        page=page,
    )
    runs = [run_of(each, found.experiment_ids[each.run.experiment or ""]) for each in found.page.items]
    return Found(runs=runs, next_page_token=found.page.next_token)
