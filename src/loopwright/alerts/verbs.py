"""Use cases of webhooks."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from loopwright.alerts import keeping
from loopwright.alerts.deliveries import log_of, try_out
from loopwright.alerts.keeping import Facts, known, read
from loopwright.alerts.nouns import KIND, Delivery, Webhook, WebhookStatus
from loopwright.alerts.rules import check_events, check_name, check_secret
from loopwright.core.addresses import Address
from loopwright.core.errors import Corrupt, Invalid, Unavailable
from loopwright.core.nouns import Asset
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.ports.courier import Receipt
from loopwright.ports.ledger import Page, PageRequest, Transaction
from loopwright.tracking.limits import check_length, check_size
from loopwright.tracking.names import hex_id

__all__ = ["Trial", "create", "delete", "deliveries", "show", "try_webhook", "update", "webhooks"]

_DESCRIPTION = 1_000
_MOST = 1_000


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a post of an example."""

    ok: bool
    receipt: Receipt | None = None
    error: str = ""


@operation("webhooks.create", scope="webhook:write", route="POST /webhooks")
def create(
    ctx: Context,
    name: str,
    address: str,
    events: tuple[str, ...],
    *,
    description: str = "",
    secret: str = "",
    status: WebhookStatus = WebhookStatus.ACTIVE,
) -> Webhook:
    """Tell an address outside of events from now on, signed with the secret where there is one.

    `Invalid` when the address is none that may be posted to. The secret is sealed, and never shown again.
    """
    check_length("description", description, _DESCRIPTION)
    facts = Facts(name=check_name(name), url=address, events=check_events(events), status=status)
    ctx.ports.courier.check(address)
    fresh = ctx.new_id()
    sealed = _sealed(ctx, _uuid(fresh), secret)

    def work(tx: Transaction) -> Webhook:
        asset = Asset(
            id=fresh,
            space=ctx.space,
            kind=KIND,
            name=_uuid(fresh),
            created_at=ctx.now(),
            created_by=ctx.principal.name,
            description=description,
            facts=msgspec.to_builtins(facts),
            updated_at=ctx.now(),
        )
        tx.assets.add(asset)
        _keep_secret(ctx, tx, asset.name, sealed)
        ctx.record(tx, "asset.created", Address(kind=KIND, name=asset.name), {"asset": asset.id})
        return read(ctx, tx, asset)

    return ctx.write(work)


def _uuid(fresh: str) -> str:
    digits = hex_id(fresh)
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _sealed(ctx: Context, webhook_id: str, secret: str) -> str:
    return ctx.ports.safe.seal(check_secret(secret), about=f"webhook:{webhook_id}") if secret else ""


def _keep_secret(ctx: Context, tx: Transaction, webhook_id: str, sealed: str) -> None:
    if sealed:
        tx.documents.put(ctx.space, keeping.SECRETS, webhook_id, {"sealed": sealed})


@operation("webhooks.list", scope="webhook:read", route="GET /webhooks")
def webhooks(ctx: Context, *, limit: int = 100, token: str = "") -> Page[Webhook]:
    """List the webhooks of the space, newest first."""
    check_size(limit, _MOST)
    with ctx.read() as tx:
        found = sorted(keeping.all_webhooks(ctx, tx), key=lambda asset: asset.name, reverse=True)
        left = [asset for asset in found if not token or asset.name < token]
        items = tuple(read(ctx, tx, asset) for asset in left[:limit])
    return Page(items=items, next_token=items[-1].id if len(left) > limit else "")


@operation("webhooks.show", scope="webhook:read", route="GET /webhooks/{webhook_id}")
def show(ctx: Context, webhook_id: str) -> Webhook:
    """Show a webhook, but not its secret."""
    with ctx.read() as tx:
        return read(ctx, tx, known(ctx, tx, webhook_id))


@operation("webhooks.update", scope="webhook:write", route="PATCH /webhooks/{webhook_id}")
def update(
    ctx: Context,
    webhook_id: str,
    *,
    name: str | None = None,
    address: str | None = None,
    events: tuple[str, ...] | None = None,
    description: str | None = None,
    secret: str | None = None,
    status: WebhookStatus | None = None,
) -> Webhook:
    """Change a webhook; what is not given stays. Activating one that was disabled begins it anew."""
    check_length("description", description or "", _DESCRIPTION)
    given = {
        "name": None if name is None else check_name(name),
        "url": address,
        "events": None if events is None else check_events(events),
        "status": status,
    }
    if address is not None:
        ctx.ports.courier.check(address)
    sealed = _sealed(ctx, webhook_id, secret or "")

    def work(tx: Transaction) -> Webhook:
        asset = known(ctx, tx, webhook_id)
        facts = replace(
            keeping.facts_of(asset), **{key: value for key, value in given.items() if value is not None}
        )
        if status is not None:
            facts = replace(facts, reason="")
            keeping.counted(ctx, tx, webhook_id, is_ok=True, why="")
        if secret is not None:
            tx.documents.remove(ctx.space, keeping.SECRETS, webhook_id)
            _keep_secret(ctx, tx, webhook_id, sealed)
        told = asset if description is None else replace(asset, description=description)
        return read(ctx, tx, keeping.change(ctx, tx, told, facts, "webhook"))

    return ctx.write(work)


@operation("webhooks.delete", scope="webhook:write", route="DELETE /webhooks/{webhook_id}")
def delete(ctx: Context, webhook_id: str) -> Webhook:
    """Delete a webhook with its secret; what is still to be told is not told any more."""

    def work(tx: Transaction) -> Webhook:
        asset = known(ctx, tx, webhook_id)
        found = read(ctx, tx, asset)
        tx.assets.update(replace(asset, deleted_at=ctx.now()))
        tx.documents.remove(ctx.space, keeping.SECRETS, webhook_id)
        ctx.record(tx, "asset.deleted", Address(kind=KIND, name=webhook_id), {"asset": asset.id})
        return found

    return ctx.write(work)


@operation("webhooks.test", scope="webhook:write", route="POST /webhooks/{webhook_id}/test")
def try_webhook(ctx: Context, webhook_id: str, *, event: str | None = None) -> Trial:
    """Post an example of an event (the first asked for, unless said) to a webhook; gives the answer."""
    found = show(ctx, webhook_id)
    (wanted,) = check_events([event or found.events[0]])
    try:
        receipt = try_out(ctx, webhook_id, found.url, wanted)
    except (Invalid, Unavailable, Corrupt) as error:
        return Trial(ok=False, error=str(error))
    return Trial(ok=receipt.status < 400, receipt=receipt)


@operation("webhooks.deliveries", scope="webhook:read", route="GET /webhooks/{webhook_id}/deliveries")
def deliveries(ctx: Context, webhook_id: str, *, limit: int = 50, token: str = "") -> Page[Delivery]:
    """List what became of a webhook's last tries, newest first."""
    show(ctx, webhook_id)
    return log_of(ctx, webhook_id, PageRequest(limit=check_size(limit, _MOST), token=token))
