"""Views of an experiment's runs, kept under a name: their owner's to change, anybody's to follow."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import parse_qsl

import msgspec

from loopwright.core.errors import Denied, Invalid, NotFound
from loopwright.core.nouns import Json
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.ports.ledger import Transaction
from loopwright.tracking.experiments import by_name

__all__ = ["RunsView", "drop_view", "save_view", "show_view", "views"]

_COLLECTION = "run_views"
_NAME, _QUERY, _MOST = 100, 8_000, 200
_KNOWN = frozenset({"filter", "order", "column", "group", "lifecycle"})


class RunsView(msgspec.Struct, frozen=True, kw_only=True):
    """A filter, an order, columns and a grouping under a name."""

    id: str
    experiment_id: str
    name: str
    query: str
    """as in the address of the table: `filter=...&order=...&column=...`"""
    owner: str
    saved_at: datetime


@operation("views.save", scope="run:read", route="POST /experiments/{experiment}/views")
def save_view(ctx: Context, experiment: str, name: str, *, query: str) -> RunsView:
    """Keep a view of an experiment's runs under a name, in the place of one's own view of that name."""
    if not name.strip() or len(name) > _NAME or not name.isprintable():
        raise Invalid(f"a view's name has 1 to {_NAME} printable characters", hint="choose another one")
    _check_query(query)
    home = by_name(ctx, experiment).id

    def work(tx: Transaction) -> RunsView:
        mine = _mine(ctx, tx, home)
        twin = next((each for each in mine if each.name == name), None)
        if twin is None and len(mine) >= _MOST:
            raise Invalid(f"{_MOST} views of one experiment are enough", hint="drop one first")
        view = RunsView(
            id=twin.id if twin else ctx.new_id(),
            experiment_id=home,
            name=name,
            query=query,
            owner=ctx.principal.name,
            saved_at=ctx.now(),
        )
        body: Json = msgspec.to_builtins(view)
        tx.documents.put(ctx.space, _COLLECTION, f"{home}/{view.id}", body)
        return view

    return ctx.write(work)


def _check_query(query: str) -> None:
    try:
        pairs = parse_qsl(query.removeprefix("?"), strict_parsing=True, max_num_fields=200) if query else []
    except ValueError as error:
        raise Invalid(
            "the query of the view cannot be read", hint="take it from the table's address"
        ) from error
    if len(query) > _QUERY or not {key for key, _ in pairs} <= _KNOWN:
        raise Invalid("the view holds what is none of a table's", hint=f"it has {', '.join(sorted(_KNOWN))}")


def _mine(ctx: Context, tx: Transaction, home: str) -> list[RunsView]:
    kept = tx.documents.all(ctx.space, _COLLECTION, start=f"{home}/", end=f"{home}0").values()
    found = (msgspec.convert(body, RunsView) for body in kept if body["owner"] == ctx.principal.name)
    return sorted(found, key=lambda view: view.name)


@operation("views.list", scope="run:read", route="GET /experiments/{experiment}/views")
def views(ctx: Context, experiment: str) -> tuple[RunsView, ...]:
    """List one's own views of an experiment's runs, by name."""
    home = by_name(ctx, experiment).id
    with ctx.read() as tx:
        return tuple(_mine(ctx, tx, home))


@operation("views.show", scope="run:read", route="GET /experiments/{experiment}/views/{view_id}")
def show_view(ctx: Context, experiment: str, view_id: str) -> RunsView:
    """Show a view, whoever saved it: who has its link may follow it."""
    home = by_name(ctx, experiment).id
    with ctx.read() as tx:
        body = tx.documents.get(ctx.space, _COLLECTION, f"{home}/{view_id}")
    if body is None:
        raise NotFound("there is no such view", hint="whoever saved it may have dropped it")
    return msgspec.convert(body, RunsView)


@operation("views.drop", scope="run:read", route="DELETE /experiments/{experiment}/views/{view_id}")
def drop_view(ctx: Context, experiment: str, view_id: str) -> RunsView:
    """Forget a view of one's own; `Denied` for another's."""
    view = show_view(ctx, experiment, view_id)
    if view.owner != ctx.principal.name:
        raise Denied(f"the view is {view.owner}'s", hint="save it under a name of your own")
    key = f"{view.experiment_id}/{view.id}"
    ctx.write(lambda tx: tx.documents.remove(ctx.space, _COLLECTION, key))
    return view
