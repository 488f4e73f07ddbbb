"""The assets of the ledger in memory, over the tables of one unit of work."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from loopwright.core.errors import Conflict
from loopwright.core.instants import to_micros
from loopwright.core.nouns import Asset
from loopwright.ports.ledger import OrderedAsked, Page, PageRequest
from loopwright.testing.ledger_unit import Unit, kept, missing, page_of, told_of

__all__ = ["MemoryAssets"]


class MemoryAssets:
    """Fulfils `ports.ledger.Assets`."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    def add(self, asset: Asset) -> None:
        taken = self.find(asset.space, asset.kind, asset.name) is not None
        if taken or asset.id in self._unit.rows("assets"):
            raise Conflict(f"there is already a {asset.kind} named {asset.name!r}")
        self._unit.edit("assets")[asset.id] = kept(asset)

    def get(self, asset_id: str) -> Asset:
        found: Asset | None = self._unit.rows("assets").get(asset_id)
        if found is None:
            raise missing(f"asset {asset_id!r}")
        return found

    def find(self, space: str, kind: str, name: str) -> Asset | None:
        for asset in self._unit.rows("assets").values():
            if (asset.space, asset.kind, asset.name) == (space, kind, name):
                found: Asset = asset
                return found
        return None

    def update(self, asset: Asset) -> None:
        before = self.get(asset.id)
        found = self.find(before.space, before.kind, asset.name)
        if found is not None and found.id != asset.id:
            raise Conflict(f"there is already a {asset.kind} named {asset.name!r}")
        fixed = {name: getattr(before, name) for name in ("space", "kind", "created_at", "created_by")}
        self._unit.edit("assets")[asset.id] = kept(replace(asset, **fixed))
        if before.name != asset.name:
            self._rename(before, asset.name)

    def ordered(self, space: str, kind: str, asked: OrderedAsked) -> Sequence[Asset]:
        found = [
            asset
            for asset in self._unit.rows("assets").values()
            if (asset.space, asset.kind) == (space, kind)
            and asset.deleted_at is None
            and asked.tags.items() <= asset.tags.items()
            and all(told_of(asset.name, asset.tags, each) for each in asked.told)
        ]
        found.sort(key=lambda asset: asset.name, reverse=asked.names_descending)
        if asked.by_change:
            found.sort(key=_changed_ms, reverse=asked.descending)
        if asked.after is not None:
            found = [asset for asset in found if _is_behind(asset, asked, *asked.after)]
        return found[: asked.limit]

    def _rename(self, asset: Asset, name: str) -> None:
        versions = self._unit.edit("versions")
        for key, version in versions.items():
            if version.asset_id == asset.id:
                versions[key] = replace(version, name=name)
        links = self._unit.edit("links")
        for number, (space, edge) in links.items():
            if (space, edge.version.kind, edge.version.name) == (asset.space, asset.kind, asset.name):
                links[number] = (space, replace(edge, version=replace(edge.version, name=name)))
        if asset.kind == "experiment":
            runs = self._unit.edit("runs")
            for key, run in runs.items():
                if (run.space, run.experiment) == (asset.space, asset.name):
                    runs[key] = replace(run, experiment=name)

    def page(self, space: str, kind: str | None, request: PageRequest) -> Page[Asset]:
        items = [a for a in self._unit.rows("assets").values() if a.space == space and kind in {None, a.kind}]
        return page_of(items, request, lambda a: (a.kind, a.name), newest_first=False)


def _changed_ms(asset: Asset) -> int:
    return to_micros(asset.updated_at or asset.created_at) // 1000


def _is_behind(asset: Asset, asked: OrderedAsked, changed_ms: int, name: str) -> bool:
    mine = _changed_ms(asset)
    if asked.by_change and mine != changed_ms:
        return (mine < changed_ms) is asked.descending
    return asset.name != name and (asset.name < name) is asked.names_descending
