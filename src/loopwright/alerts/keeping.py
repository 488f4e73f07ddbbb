"""How webhooks are kept: an asset each, with its sealed secret and its run of failures beside it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from loopwright.alerts.nouns import KIND, Webhook, WebhookStatus
from loopwright.core.addresses import Address
from loopwright.core.errors import NotFound
from loopwright.core.nouns import Asset
from loopwright.engine.context import Context
from loopwright.ports.ledger import PageRequest, Transaction

__all__ = ["SECRETS", "all_webhooks", "change", "counted", "facts_of", "known", "read", "secret_of"]

SECRETS = "webhook_secrets"
"""the collection of documents with sealed secrets, by id; an asset's facts are shown, these never are"""
_STATES = "webhook_states"
_BATCH = 1_000
_PATIENCE = 10
"""deliveries in a row that may fail for good before a webhook is told nothing any more"""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the asset of a webhook keeps."""

    name: str
    url: str
    events: tuple[str, ...]
    status: WebhookStatus = WebhookStatus.ACTIVE
    reason: str = ""


def facts_of(asset: Asset) -> Facts:
    """What the asset of a webhook keeps."""
    return msgspec.convert(asset.facts, Facts)


def read(ctx: Context, tx: Transaction, asset: Asset) -> Webhook:
    """The webhook that an asset is."""
    facts = facts_of(asset)
    return Webhook(
        id=asset.name,
        name=facts.name,
        url=facts.url,
        events=facts.events,
        status=facts.status,
        reason=facts.reason,
        failures=_failures(ctx, tx, asset.name),
        description=asset.description,
        has_secret=tx.documents.get(ctx.space, SECRETS, asset.name) is not None,
        created_at=asset.created_at,
        updated_at=asset.updated_at or asset.created_at,
    )


def known(ctx: Context, tx: Transaction, webhook_id: str) -> Asset:
    """The asset of a webhook, else `NotFound`."""
    found = tx.assets.find(ctx.space, KIND, webhook_id)
    if found is None or found.deleted_at is not None:
        raise NotFound(
            f"Webhook with ID {webhook_id[:100]} not found.", hint="`loopwright webhooks list` names all"
        )
    return found


def all_webhooks(ctx: Context, tx: Transaction) -> Iterator[Asset]:
    """The assets of all webhooks of the space that are not deleted, in no order."""
    request = PageRequest(limit=_BATCH)
    while True:
        page = tx.assets.page(ctx.space, KIND, request)
        yield from (asset for asset in page.items if asset.deleted_at is None)
        if not page.next_token:
            return
        request = PageRequest(limit=_BATCH, token=page.next_token)


def change(ctx: Context, tx: Transaction, asset: Asset, facts: Facts, what: str) -> Asset:
    """Keep a changed webhook and write its event."""
    changed = replace(asset, facts=msgspec.to_builtins(facts), updated_at=ctx.now())
    tx.assets.update(changed)
    ctx.record(tx, "asset.changed", Address(kind=KIND, name=asset.name), {"what": what})
    return changed


def secret_of(ctx: Context, webhook_id: str) -> str:
    """The secret that signs what is posted; empty where there is none. It never leaves this process."""
    with ctx.read() as tx:
        body = tx.documents.get(ctx.space, SECRETS, webhook_id)
    return "" if body is None else ctx.ports.safe.unseal(body["sealed"], about=f"webhook:{webhook_id}")


def counted(ctx: Context, tx: Transaction, webhook_id: str, *, is_ok: bool, why: str) -> None:
    """Count a delivery that came to its end; too many failures in a row disable the webhook."""
    before = _failures(ctx, tx, webhook_id)
    failures = 0 if is_ok else before + 1
    if failures != before:
        tx.documents.put(ctx.space, _STATES, webhook_id, {"failures": failures})
    asset = tx.assets.find(ctx.space, KIND, webhook_id)
    if failures < _PATIENCE or asset is None:
        return
    facts = facts_of(asset)
    if facts.status is WebhookStatus.ACTIVE:
        reason = f"{failures} deliveries in a row failed, the last: {why}"[:500]
        change(ctx, tx, asset, replace(facts, status=WebhookStatus.DISABLED, reason=reason), "disabled")


def _failures(ctx: Context, tx: Transaction, webhook_id: str) -> int:
    body = tx.documents.get(ctx.space, _STATES, webhook_id)
    return 0 if body is None else int(body["failures"])
