"""Operations over the nine nouns themselves: assets, versions, lineage, decisions, journal, jobs, signals."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, TypeVar

import msgspec
from msgspec.structs import replace

from loopwright.core.addresses import AssetName, ByNumber, check_name, parse_address
from loopwright.core.errors import Conflict, Invalid, NotFound
from loopwright.core.nouns import (
    Alias,
    Asset,
    Decision,
    Event,
    Job,
    JobState,
    Json,
    LinkRole,
    Run,
    Signal,
    Version,
    VersionRef,
)
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.engine.publishing import (
    READS,
    asset_of,
    check_name_is_free_to_go,
    manifest_of,
    readers_of,
    resolve,
    standing,
)
from loopwright.engine.renaming import note_renamed
from loopwright.ports.ledger import Page, PageRequest, Transaction

__all__ = [
    "AssetView",
    "Edge",
    "Lineage",
    "Node",
    "VersionView",
    "assets",
    "decisions",
    "jobs",
    "journal",
    "lineage",
    "rename",
    "show_asset",
    "show_decision",
    "show_job",
    "show_version",
    "signals",
    "versions",
]

Limit = Annotated[int, msgspec.Meta(ge=1, le=1000, description="how many on a page")]
_LINEAGE_LIMIT = 400
_POLICY = "policy"

Kept = TypeVar("Kept", Asset, Version)


class AssetView(msgspec.Struct, frozen=True, kw_only=True):
    """An asset with its newest version and its aliases."""

    asset: Asset
    newest: Version | None
    aliases: tuple[Alias, ...]


class VersionView(msgspec.Struct, frozen=True, kw_only=True):
    """A version with what its manifest says."""

    version: Version
    body: Json
    columns: tuple[Json, ...]
    entries: int
    rows: int | None
    aliases: tuple[str, ...]


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A version or a run of the lineage graph."""

    id: str
    """its address: `dataset:flights@3`, `run:<id>`"""
    kind: str
    label: str
    detail: str = ""


class Edge(msgspec.Struct, frozen=True, kw_only=True):
    """From what was read to the run, from the run to what it made."""

    source: str
    target: str


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """The part of the graph around one version or run; `cut` when it was too large to be whole."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    cut: bool = False


@operation("assets.list", scope="asset:read", route="GET /assets")
def assets(ctx: Context, *, kind: str | None = None, limit: Limit = 100, token: str = "") -> Page[Asset]:
    """List assets by kind and name, without those in the trash."""
    with ctx.read() as tx:
        return _kept(tx.assets.page(ctx.space, kind, PageRequest(limit=limit, token=token)))


@operation("assets.show", scope="asset:read", route="GET /assets/{kind}/{name}")
def show_asset(ctx: Context, kind: str, name: AssetName) -> AssetView:
    """Show an asset with its newest version and its aliases."""
    with ctx.read() as tx:
        asset = asset_of(ctx, tx, kind, name)
        return AssetView(
            asset=asset, newest=next(standing(tx, asset), None), aliases=tuple(tx.aliases.of(asset.id))
        )


@operation("assets.versions", scope="asset:read", route="GET /assets/{kind}/{name}/versions")
def versions(
    ctx: Context, kind: str, name: AssetName, *, limit: Limit = 100, token: str = ""
) -> Page[Version]:
    """List the versions of an asset, newest first, without those in the trash."""
    with ctx.read() as tx:
        asset = asset_of(ctx, tx, kind, name)
        return _kept(tx.versions.page(asset.id, PageRequest(limit=limit, token=token)))


def _kept(page: Page[Kept]) -> Page[Kept]:
    """The page without what is in the trash: it may be short, and more may follow all the same."""
    kept = tuple(item for item in page.items if item.deleted_at is None)
    return Page(items=kept, next_token=page.next_token)


@operation("assets.rename", scope="asset:write", route="POST /assets/{kind}/{name}/rename")
def rename(ctx: Context, kind: str, name: AssetName, to: AssetName) -> Asset:
    """Give an asset another name; its versions, aliases and history stay with it.

    A policy, and a dataset that one guards, keep theirs: the one is found by the name of the other.
    """

    def work(tx: Transaction) -> Asset:
        asset = asset_of(ctx, tx, kind, name)
        if kind == _POLICY:
            raise Conflict(
                f"{kind}:{name} keeps its name: it guards what is named in it", hint="set another one"
            )
        if tx.assets.find(ctx.space, kind, to) is not None:
            raise Conflict(f"there is already a {kind} named {to!r}", hint="choose another name")
        check_name_is_free_to_go(tx, ctx.space, kind, name)
        renamed = replace(asset, name=check_name(to))
        tx.assets.update(renamed)
        note_renamed(tx, asset)
        ctx.record(tx, "asset.renamed", f"asset:{asset.id}", {"from": name, "to": to, "kind": kind})
        return renamed

    return ctx.write(work)


@operation("versions.show", scope="asset:read", route="GET /versions/{address}")
def show_version(ctx: Context, address: str) -> VersionView:
    """Show the version an address means (`dataset:flights@3`, `model:arrival-delay@champion`)."""
    version = resolve(ctx, address)
    manifest = manifest_of(ctx, version)
    with ctx.read() as tx:
        pointers = tuple(a.alias for a in tx.aliases.of(version.asset_id) if a.number == version.number)
    columns = manifest.schema.columns if manifest.schema else ()
    return VersionView(
        version=version,
        body=manifest.body,
        columns=tuple(msgspec.to_builtins(column) for column in columns),
        entries=len(manifest.entries),
        rows=manifest.rows,
        aliases=pointers,
    )


def _version_node(ref: VersionRef) -> Node:
    return Node(id=str(ref), kind=ref.kind, label=f"{ref.name}@{ref.number}", detail=ref.digest[:12])


class _Walk:
    """A breadth-first walk over runs and versions, in one snapshot."""

    def __init__(self, tx: Transaction, space: str) -> None:
        self._tx = tx
        self._space = space
        self.nodes: dict[str, Node] = {}
        self.edges: dict[tuple[str, str], Edge] = {}

    @property
    def is_full(self) -> bool:
        return len(self.nodes) >= _LINEAGE_LIMIT

    def edge(self, source: str, target: str) -> None:
        self.edges[source, target] = Edge(source=source, target=target)

    def run(self, run_id: str, *, up: bool) -> list[VersionRef]:
        """Add a run with all it read and made; the versions to go on from."""
        run, detail = self._run(run_id)
        node = Node(id=f"run:{run.id}", kind=run.kind, label=run.name, detail=detail)
        self.nodes[node.id] = node
        onward = []
        links = self._tx.runs.links(run_id)
        made = {link.version for link in links if link.role is LinkRole.OUTPUT}
        for link in links:
            if link.role is LinkRole.INPUT and link.version in made:
                continue  # what a run made and read again is no input of it
            version = _version_node(link.version)
            self.nodes.setdefault(version.id, version)
            is_input = link.role is LinkRole.INPUT
            self.edge(*((version.id, node.id) if is_input else (node.id, version.id)))
            if is_input is up:
                onward.append(link.version)
        return onward

    def _run(self, run_id: str) -> tuple[Run, str]:
        """A run of the space and its state, or the tombstone of one that was removed."""
        left = self._tx.trash.tombstone(run_id)
        run = left or self._tx.runs.get(run_id)
        if run.space != self._space:
            raise NotFound(f"there is no run:{run_id}", hint="loopwright runs list")
        return run, "removed" if left is not None else run.state.value

    def _told(self, ref: VersionRef, *, up: bool) -> list[VersionRef]:
        """What a version made outside of every run says it was made of, or such ones made of it."""
        if up:
            version = self._at(str(ref))
            is_told = version is not None and version.run_id is None
            names = version.facts.get(READS, ()) if version is not None and is_told else ()
        else:
            names = sorted(self._tx.documents.all(self._space, readers_of(str(ref))))
        found = [version.ref for name in names if (version := self._at(name)) is not None]
        for each in found:
            self.nodes.setdefault(str(each), _version_node(each))
            self.edge(*((str(each), str(ref)) if up else (str(ref), str(each))))
        return found

    def _at(self, address: str) -> Version | None:
        wanted = parse_address(address)
        asset = self._tx.assets.find(self._space, wanted.kind, wanted.name)
        if asset is None or not isinstance(wanted.selector, ByNumber):
            return None
        return self._tx.versions.get(asset.id, wanted.selector.number)

    def follow(self, start: list[VersionRef], *, up: bool) -> None:
        """Walk from versions against the arrows (up) or along them."""
        role = LinkRole.OUTPUT if up else LinkRole.INPUT
        queue, seen = list(start), {str(ref) for ref in start}
        while queue and not self.is_full:
            ref = queue.pop(0)
            self.nodes.setdefault(str(ref), _version_node(ref))
            users = self._tx.runs.users(ref.kind, ref.name, ref.number, role, space=self._space)[:20]
            onward = [found for run_id in users for found in self.run(run_id, up=up)]
            onward += self._told(ref, up=up)
            fresh = {str(found): found for found in onward if str(found) not in seen}
            seen |= fresh.keys()
            queue += fresh.values()


@operation("lineage.show", scope="asset:read", route="GET /lineage/{address}")
def lineage(ctx: Context, address: str) -> Lineage:
    """Show what a version or run was made from, and what was made from it."""
    wanted = parse_address(address)
    version = None if wanted.kind == "run" else resolve(ctx, wanted)
    with ctx.read() as tx:
        walk = _Walk(tx, ctx.space)
        if version is None:
            walk.follow(walk.run(wanted.name, up=True), up=True)
            walk.follow(walk.run(wanted.name, up=False), up=False)
        else:
            walk.follow([version.ref], up=True)
            walk.follow([version.ref], up=False)
    return Lineage(nodes=tuple(walk.nodes.values()), edges=tuple(walk.edges.values()), cut=walk.is_full)


@operation("decisions.list", scope="decision:read", route="GET /decisions")
def decisions(
    ctx: Context,
    *,
    subject: str | None = None,
    action: str | None = None,
    limit: Limit = 100,
    token: str = "",
) -> Page[Decision]:
    """List decisions, newest first."""
    with ctx.read() as tx:
        request = PageRequest(limit=limit, token=token)
        return tx.decisions.page(ctx.space, request, subject=subject, action=action)


@operation("decisions.show", scope="decision:read", route="GET /decisions/{decision_id}")
def show_decision(ctx: Context, decision_id: str) -> Decision:
    """Show a decision with its evidence."""
    with ctx.read() as tx:
        found = tx.decisions.get(decision_id)
    if found.space != ctx.space:
        raise NotFound(f"there is no decision:{decision_id}", hint="loopwright decisions list")
    return found


@operation("journal.list", scope="journal:read", route="GET /journal")
def journal(
    ctx: Context, *, subject: str | None = None, kind: str | None = None, limit: Limit = 100, token: str = ""
) -> Page[Event]:
    """List lines of the journal, newest first; a kind that ends in `.` means all that start so."""
    with ctx.read() as tx:
        return tx.journal.page(ctx.space, PageRequest(limit=limit, token=token), subject=subject, kind=kind)


@operation("jobs.list", scope="job:read", route="GET /jobs")
def jobs(
    ctx: Context,
    *,
    state: JobState | None = None,
    operation_name: str | None = None,
    limit: Limit = 100,
    token: str = "",
) -> Page[Job]:
    """List jobs, newest first."""
    with ctx.read() as tx:
        request = PageRequest(limit=limit, token=token)
        return tx.jobs.page(ctx.space, request, state=state, operation=operation_name)


@operation("jobs.show", scope="job:read", route="GET /jobs/{job_id}")
def show_job(ctx: Context, job_id: str) -> Job:
    """Show a job with its attempts and its result."""
    with ctx.read() as tx:
        found = tx.jobs.get(job_id)
    if found.space != ctx.space:
        raise NotFound(f"there is no job:{job_id}", hint="loopwright jobs list")
    return found


@operation("signals.list", scope="signal:read", route="GET /signals/{subject}")
def signals(
    ctx: Context, subject: str, *, name: str | None = None, start: datetime | None = None, limit: int = 2000
) -> tuple[Signal, ...]:
    """List the measurements about a subject in order of time, the newest `limit` of them."""
    if not 1 <= limit <= 20_000:
        raise Invalid(f"limit {limit} is out of range", hint="ask for 1 to 20000 signals")
    parse_address(subject)
    with ctx.read() as tx:
        return tuple(tx.signals.window(ctx.space, subject, name=name, start=start, limit=limit))
