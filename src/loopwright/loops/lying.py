"""What lies in the trash, told alike for every kind: since when, until when, what holds it, how large."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from loopwright.core.nouns import Asset, Run, Version
from loopwright.engine.context import Context
from loopwright.ports.ledger import Page, PageRequest, Transaction
from loopwright.registry.naming import is_prompt
from loopwright.registry.nouns import KIND as MODEL
from loopwright.registry.nouns import LOGGED
from loopwright.registry.removing import made_from, name_of
from loopwright.tracking import experiments
from loopwright.tracking.experiments import KIND as EXPERIMENT
from loopwright.tracking.retention import retention_of

__all__ = ["Periods", "Source", "TrashItem", "TrashKind", "lying", "page_of_trash", "periods_of"]

TrashKind = Literal["version", "model", "prompt", "logged_model", "run", "experiment"]
Source = Literal["versions", "assets", "runs"]

_ORDER: tuple[Source, ...] = ("versions", "assets", "runs")
_PAGE = 200


class TrashItem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing in the trash."""

    kind: TrashKind
    id: str
    """by which it is restored"""
    title: str
    """its name; a version's as `name@3`"""
    place: str = ""
    """the experiment it is of"""
    deleted_at: datetime
    due_at: datetime
    """when its period is over"""
    held_by: tuple[str, ...] = ()
    """what keeps it from being collected: versions of models that came from a run"""
    files: int = 0
    size_bytes: int = 0
    """of its files; what others hold too stays on the disk"""


class Periods(msgspec.Struct, frozen=True, kw_only=True):
    """How long things lie in the trash: days in general, and by name or id of the experiments that say so."""

    days: int
    by_experiment: Mapping[str, int]

    def due(self, deleted_at: datetime, experiment: str = "") -> datetime:
        """When the period of something is over."""
        return deleted_at + timedelta(days=self.by_experiment.get(experiment, self.days))


def periods_of(ctx: Context) -> Periods:
    """The periods in force."""
    told: dict[str, int] = {}
    for asset in experiments.every(ctx):
        days = retention_of(asset).trash_days
        if days is not None:
            told |= {asset.name: days, asset.id: days}
    return Periods(days=ctx.ports.trash_days, by_experiment=told)


def lying(ctx: Context, source: Source) -> Iterator[TrashItem]:
    """Everything of one source, oldest in the trash first, read page by page: it may go meanwhile."""
    periods, token = periods_of(ctx), ""
    while True:
        page = _page(ctx, source, periods, PageRequest(limit=_PAGE, token=token))
        yield from page.items
        token = page.next_token
        if not token:
            return


def page_of_trash(ctx: Context, request: PageRequest, kind: TrashKind | None = None) -> Page[TrashItem]:
    """A page over all sources one after the other; with a kind only what is of it, so it may be short."""
    name, _, token = request.token.partition(".")
    begin = next((at for at, source in enumerate(_ORDER) if source == name), 0)
    periods, found = periods_of(ctx), list[TrashItem]()
    for source in _ORDER[begin:]:
        asked = PageRequest(limit=request.limit - len(found), token=token)
        page = _page(ctx, source, periods, asked)
        found += [item for item in page.items if kind is None or item.kind == kind]
        token = page.next_token
        if token:
            return Page(items=tuple(found), next_token=f"{source}.{token}")
        rest = _ORDER[_ORDER.index(source) + 1 :]
        if len(found) == request.limit and rest:
            return Page(items=tuple(found), next_token=f"{rest[0]}.")
    return Page(items=tuple(found))


def _page(ctx: Context, source: Source, periods: Periods, request: PageRequest) -> Page[TrashItem]:
    with ctx.read() as tx:
        match source:
            case "versions":
                versions = tx.trash.versions(ctx.space, request)
                told = [_of_version(each, periods) for each in versions.items if _stands(tx, each)]
                return Page(items=tuple(told), next_token=versions.next_token)
            case "assets":
                assets = tx.trash.assets(ctx.space, request)
                items = tuple(_of_asset(ctx, tx, each, periods) for each in assets.items)
                return Page(items=items, next_token=assets.next_token)
            case "runs":
                runs = tx.trash.runs(ctx.space, request)
                items = tuple(_of_run(ctx, tx, each, periods) for each in runs.items)
                return Page(items=items, next_token=runs.next_token)


def _stands(tx: Transaction, version: Version) -> bool:
    """Whether a version lies there for itself, and not with its whole model."""
    return tx.assets.get(version.asset_id).deleted_at is None


def _gone(thing: Asset | Version | Run) -> datetime:
    return thing.deleted_at or thing.created_at


def _of_version(version: Version, periods: Periods) -> TrashItem:
    return TrashItem(
        kind="version",
        id=version.id,
        title=f"{version.name}@{version.number}",
        deleted_at=_gone(version),
        due_at=periods.due(_gone(version)),
        size_bytes=version.size_bytes,
    )


def _of_asset(ctx: Context, tx: Transaction, asset: Asset, periods: Periods) -> TrashItem:
    place = str(asset.facts.get("experiment_id", "")) if asset.kind == LOGGED else ""
    own = asset.name if asset.kind == EXPERIMENT else place
    owner = f"{LOGGED}:{asset.name}" if asset.kind == LOGGED else ""
    files, size_bytes = _files(ctx, tx, owner) if owner else (0, 0)
    if asset.kind == MODEL:
        versions = list(tx.versions.among(ctx.space, MODEL, name=asset.name))
        files, size_bytes = len(versions), sum(each.size_bytes for each in versions)
    return TrashItem(
        kind=_kind(asset),
        id=asset.id,
        title=_name(asset),
        place=place,
        deleted_at=_gone(asset),
        due_at=periods.due(_gone(asset), own),
        files=files,
        size_bytes=size_bytes,
    )


def _kind(asset: Asset) -> TrashKind:
    if asset.kind == MODEL:
        return "prompt" if is_prompt(asset.tags) else "model"
    return "logged_model" if asset.kind == LOGGED else "experiment"


def _name(asset: Asset) -> str:
    if asset.kind == MODEL:
        return name_of(asset)
    return str(asset.facts.get("name", asset.name)) if asset.kind == LOGGED else asset.name


def _of_run(ctx: Context, tx: Transaction, run: Run, periods: Periods) -> TrashItem:
    files, size_bytes = _files(ctx, tx, f"run:{run.id}")
    return TrashItem(
        kind="run",
        id=run.id,
        title=run.name,
        place=run.experiment or "",
        deleted_at=_gone(run),
        due_at=periods.due(_gone(run), run.experiment or ""),
        held_by=tuple(str(each.ref) for each in made_from(tx, ctx.space, run.id)),
        files=files,
        size_bytes=size_bytes,
    )


def _files(ctx: Context, tx: Transaction, owner: str) -> tuple[int, int]:
    sizes = [file.size_bytes for file in tx.artifacts.under(ctx.space, owner, "")]
    return len(sizes), sum(sizes)
