"""Names that assets had: what was written down by one of them is found still."""

from __future__ import annotations

from collections.abc import Iterator

from loopwright.core.errors import NotFound
from loopwright.core.nouns import Asset
from loopwright.ports.ledger import Transaction

__all__ = ["names_of", "note_renamed"]

_RENAMED = "renamed"
"""documents by the name that was left: ids of the assets that had it"""


def note_renamed(tx: Transaction, asset: Asset) -> None:
    """Keep that an asset leaves its name, in the unit of work that gives it another one."""
    left = f"{asset.kind}:{asset.name}"
    before = tx.documents.get(asset.space, _RENAMED, left)
    ids = [] if before is None else before["assets"]
    tx.documents.put(asset.space, _RENAMED, left, {"assets": list(dict.fromkeys([*ids, asset.id]))})


def names_of(tx: Transaction, space: str, kind: str, name: str) -> Iterator[str]:
    """A name that was written down, and the names that assets which had it go by now."""
    yield name
    left = tx.documents.get(space, _RENAMED, f"{kind}:{name}")
    for asset_id in () if left is None else left["assets"]:
        try:
            now = tx.assets.get(asset_id).name
        except NotFound:  # it was removed since
            continue
        if now != name:
            yield now
