"""The catalogue of datasets: found by words, owners and tags, with how fresh they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec.structs import replace

from loopwright.core.addresses import Address, AssetName
from loopwright.core.errors import Invalid
from loopwright.core.instants import duration, from_micros, parse_instant
from loopwright.core.manifests import Manifest
from loopwright.core.nouns import Asset, Version
from loopwright.core.schema import ColumnType
from loopwright.data.allowing import refusals
from loopwright.data.contracts import contract_of
from loopwright.data.nouns import DATASET
from loopwright.data.profiled import stored_profile
from loopwright.data.reading import spans_of
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.engine.publishing import asset_of, manifest_of, standing
from loopwright.ports.ledger import Page, PageRequest, Transaction

__all__ = [
    "OWNER",
    "CatalogueEntry",
    "Facets",
    "Owner",
    "TagWords",
    "Text",
    "describe",
    "describe_asset",
    "facets",
    "search",
]

OWNER = "owner"
"""the tag that says whose a dataset is"""
_PAGE = 1000
_TAGS = 50

Limit = Annotated[int, msgspec.Meta(ge=1, le=1000, description="how many on a page")]
Text = Annotated[str, msgspec.Meta(max_length=1000)]
Owner = Annotated[str, msgspec.Meta(max_length=200)]
Word = Annotated[str, msgspec.Meta(min_length=1, max_length=250, pattern=r"^[^\s=]+(=.*)?$")]
TagWords = Annotated[tuple[Word, ...], msgspec.Meta(max_length=_TAGS)]


class CatalogueEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset in the catalogue."""

    name: str
    description: str
    owner: str
    tags: dict[str, str]
    """all but the owner"""
    version: int
    rows: int
    files: int
    size_bytes: int
    updated_at: datetime
    newest_at: datetime | None = None
    """the newest instant in the column that the contract's freshness is about; None too where that may not
    be read without a purpose"""
    within: str = ""
    """how old that may be"""
    fresh: bool | None = None
    """whether it is no older; None where the contract asks for no freshness"""


class Facets(msgspec.Struct, frozen=True, kw_only=True):
    """By what datasets can be chosen, with how many there are of each."""

    owners: dict[str, int]
    tags: dict[str, int]


@operation("data.search", scope="dataset:read", route="GET /catalogue")
def search(
    ctx: Context, *, text: Text = "", owner: Owner = "", tag: str = "", limit: Limit = 100, token: str = ""
) -> Page[CatalogueEntry]:
    """Find datasets by name: those that have every word of a text in name, description, owner or tags.

    `tag` is a key or `key=value`. How fresh they are is by the freshness that their contracts ask for, and
    the newest instant there is. O(datasets) a page.
    """
    with ctx.read() as tx:
        found: list[tuple[Asset, Version]] = []
        for asset in _datasets(ctx, tx):
            if asset.name <= token or not _is_meant(asset, text, owner, tag):
                continue
            newest = next(standing(tx, asset), None)
            if newest is not None:
                found.append((asset, newest))
            if len(found) > limit:
                break
    following = found[limit - 1][0].name if len(found) > limit else ""
    return Page(items=tuple(_entry(ctx, *each) for each in found[:limit]), next_token=following)


@operation("data.facets", scope="dataset:read", route="GET /catalogue/facets")
def facets(ctx: Context) -> Facets:
    """Show the owners and tags of all datasets, with how many have each."""
    owners, tags = Counter[str](), Counter[str]()
    with ctx.read() as tx:
        for asset in _datasets(ctx, tx):
            owners.update([asset.tags[OWNER]] if OWNER in asset.tags else [])
            tags.update(key for key in asset.tags if key != OWNER)
    return Facets(owners=dict(sorted(owners.items())), tags=dict(sorted(tags.items())))


@operation("data.describe", scope="dataset:write", route="PATCH /datasets/{name}")
def describe(
    ctx: Context,
    name: AssetName,
    *,
    owner: Owner | None = None,
    description: Text | None = None,
    tags: TagWords | None = None,
) -> Asset:
    """Say whose a dataset is, what it is, and by which words it is found; what is not said stays.

    `tags` are keys or `key=value`, all that there shall be; an empty owner is none.
    """
    return describe_asset(ctx, DATASET, name, owner=owner, description=description, tags=tags)


def describe_asset(
    ctx: Context,
    kind: str,
    name: str,
    *,
    owner: str | None = None,
    description: str | None = None,
    tags: tuple[str, ...] | None = None,
) -> Asset:
    """As `describe`, of an asset of any kind."""
    keys = [word.partition("=")[0] for word in tags or ()]
    if OWNER in keys or len(set(keys)) < len(keys):
        raise Invalid("a tag is named twice, or is the owner", hint="give each key once, the owner as owner")

    def work(tx: Transaction) -> Asset:
        asset = asset_of(ctx, tx, kind, name)
        kept = {key: value for key, value in asset.tags.items() if tags is None or key == OWNER}
        kept |= {key: value for key, _, value in (word.partition("=") for word in tags or ())}
        if owner is not None:
            kept = {**kept, OWNER: owner} if owner else {k: v for k, v in kept.items() if k != OWNER}
        said = asset.description if description is None else description
        changed = replace(asset, tags=kept, description=said, updated_at=ctx.now())
        tx.assets.update(changed)
        given = {"tags": tags, "owner": owner, "description": description}
        what = [key for key, value in given.items() if value is not None]
        ctx.record(tx, "asset.changed", Address(kind=kind, name=name), {"what": what})
        return changed

    return ctx.write(work)


def _datasets(ctx: Context, tx: Transaction) -> Iterator[Asset]:
    token = ""
    while True:
        page = tx.assets.page(ctx.space, DATASET, PageRequest(limit=_PAGE, token=token))
        yield from (asset for asset in page.items if asset.deleted_at is None)
        token = page.next_token
        if not token:
            return


def _is_meant(asset: Asset, text: str, owner: str, tag: str) -> bool:
    key, sign, value = tag.partition("=")
    if tag and (key not in asset.tags or (sign and asset.tags[key] != value)):
        return False
    if owner and asset.tags.get(OWNER) != owner:
        return False
    said = [asset.name, asset.description, *asset.tags, *asset.tags.values()]
    whole = "\n".join(said).casefold()
    return all(word in whole for word in text.casefold().split())


def _entry(ctx: Context, asset: Asset, newest: Version) -> CatalogueEntry:
    at, within, fresh = _freshness(ctx, asset.name, newest)
    return CatalogueEntry(
        name=asset.name,
        description=asset.description,
        owner=asset.tags.get(OWNER, ""),
        tags={key: value for key, value in asset.tags.items() if key != OWNER},
        version=newest.number,
        rows=int(newest.facts.get("rows", 0)),
        files=int(newest.facts.get("files", 0)),
        size_bytes=newest.size_bytes,
        updated_at=newest.created_at,
        newest_at=at,
        within=within,
        fresh=fresh,
    )


def _freshness(ctx: Context, name: str, newest: Version) -> tuple[datetime | None, str, bool | None]:
    """The newest instant, how old it may be and whether it is not: of the rule that is furthest behind."""
    held = contract_of(ctx, name, required=False)
    if held is None or not held.contract.freshness:
        return None, "", None
    manifest = manifest_of(ctx, newest)
    withheld = refusals(ctx, newest, {rule.column for rule in held.contract.freshness}, "")
    found = []
    for rule in held.contract.freshness:
        at = _newest_in(ctx, manifest, rule.column)
        left = None if at is None else at + duration(rule.within) - ctx.now()
        found.append((None if rule.column in withheld else at, rule.within, left))
    known = [each for each in found if each[2] is not None]
    if not known:
        return None, found[0][1], None
    at, within, left = min(known, key=lambda each: each[2])  # type: ignore[arg-type,return-value]  # those without one are left out
    return at, within, left is not None and left.total_seconds() >= 0


def _newest_in(ctx: Context, manifest: Manifest, column: str) -> datetime | None:
    """The greatest instant of a column: of the dataset's times by the parts' spans, else by the profile."""
    ends = [spans[column][1] for entry in manifest.entries if column in (spans := spans_of(entry))]
    if ends:
        return from_micros(max(ends))
    profile = stored_profile(ctx, manifest)
    told = {} if profile is None else profile["columns"].get(column, {})
    is_known = told.get("type") == ColumnType.INSTANT and told.get("max") is not None
    return parse_instant(told["max"]) if is_known else None
