"""Deliveries: durable jobs that post what happened, try again while it may pass, and write down each try."""

from __future__ import annotations

import logging
from datetime import datetime

import msgspec

from loopwright.alerts.keeping import counted, facts_of, secret_of
from loopwright.alerts.nouns import EVENTS, KIND, Delivery, Happening, WebhookStatus
from loopwright.alerts.rules import delivery_id, headers_of, is_passing, letter
from loopwright.core.errors import Corrupt, Invalid, Unavailable
from loopwright.core.instants import to_micros
from loopwright.core.nouns import Job, Json
from loopwright.engine.context import Context
from loopwright.engine.jobs import enqueue_in
from loopwright.engine.operation import on_job
from loopwright.ports.courier import Parcel, Receipt
from loopwright.ports.ledger import Page, PageRequest, Transaction

__all__ = ["ATTEMPTS", "deliver", "enqueue_delivery", "log_of", "post", "try_out"]

log = logging.getLogger(__name__)

JOB = "webhooks.deliver"
ATTEMPTS = 6
"""tries of one delivery: at once, then after 2, 4, 8, 16 and 32 seconds"""
_LOG = "webhook_deliveries"
_KEPT = 200
"""tries that are kept of each webhook"""
_LEASE_S = 60.0
_BEHIND = "0"


def enqueue_delivery(ctx: Context, tx: Transaction, webhook_id: str, happening: Happening) -> None:
    """Ask durably that a webhook be told; asked again for the same line, it is one delivery."""
    enqueue_in(
        ctx,
        tx,
        JOB,
        {"webhook": webhook_id, "happening": msgspec.to_builtins(happening)},
        key=f"webhook/{webhook_id}/{happening.source}",
        max_attempts=ATTEMPTS,
        lease_s=_LEASE_S,
    )


@on_job(JOB, beside=True)
def deliver(ctx: Context, job: Job) -> Json:
    """Post one thing to one webhook. `Unavailable` lets the queue come again later."""
    webhook_id = str(job.arguments["webhook"])
    happening = msgspec.convert(job.arguments["happening"], Happening)
    with ctx.read() as tx:
        asset = tx.assets.find(ctx.space, KIND, webhook_id)
    if asset is None or asset.deleted_at is not None or facts_of(asset).status is not WebhookStatus.ACTIVE:
        return {"delivered": False, "why": "the webhook is gone or disabled"}
    receipt, error = _tried(ctx, webhook_id, facts_of(asset).url, happening)
    is_ok = receipt is not None and receipt.status < 400
    may_pass = not isinstance(error, Invalid | Corrupt) and (receipt is None or is_passing(receipt.status))
    is_last = is_ok or not may_pass or job.attempt >= job.max_attempts
    tried = Delivery(
        id=delivery_id(happening.source, webhook_id),
        webhook_id=webhook_id,
        event=happening.event,
        at=ctx.ports.clock.wall(),
        attempt=job.attempt,
        ok=is_ok,
        status=None if receipt is None else receipt.status,
        error="" if error is None else error.message,
        is_last=is_last,
    )
    why = tried.error or f"the receiver answered {tried.status}"
    ctx.write(lambda tx: _noted(ctx, tx, tried, why))
    if not is_ok and not is_last:
        raise Unavailable(why, hint="it is tried again")
    return {"delivered": is_ok, "status": tried.status, "why": "" if is_ok else why}


def _tried(
    ctx: Context, webhook_id: str, url: str, happening: Happening
) -> tuple[Receipt | None, Invalid | Unavailable | Corrupt | None]:
    try:
        return post(ctx, webhook_id, url, happening), None
    except (Invalid, Unavailable, Corrupt) as error:
        log.warning("delivery failed", extra={"webhook": webhook_id, "error": error.message})
        return None, error


def post(ctx: Context, webhook_id: str, url: str, happening: Happening) -> Receipt:
    """Post one thing once, signed now."""
    body = letter(happening)
    headers = headers_of(
        body,
        delivery=delivery_id(happening.source, webhook_id),
        at_s=to_micros(ctx.ports.clock.wall()) // 1_000_000,
        secret=secret_of(ctx, webhook_id),
    )
    return ctx.ports.courier.post(Parcel(url=url, body=body, headers=headers))


def try_out(ctx: Context, webhook_id: str, url: str, event: str) -> Receipt:
    """Post an example of an event, of which nothing is written down."""
    now: datetime = ctx.ports.clock.wall()
    example = Happening(event=event, data=EVENTS[event], at=now, source=ctx.new_id())
    return post(ctx, webhook_id, url, example)


def _noted(ctx: Context, tx: Transaction, tried: Delivery, why: str) -> None:
    """Write a try down, forget the oldest beyond those that are kept, count what came to its end."""
    start, end = f"{tried.webhook_id}/", f"{tried.webhook_id}{_BEHIND}"
    tx.documents.put(ctx.space, _LOG, f"{start}{ctx.new_id()}", msgspec.to_builtins(tried))
    kept = list(tx.documents.all(ctx.space, _LOG, start=start, end=end))
    for key in kept[:-_KEPT]:
        tx.documents.remove(ctx.space, _LOG, key)
    if tried.is_last:
        counted(ctx, tx, tried.webhook_id, is_ok=tried.ok, why=why)


def log_of(ctx: Context, webhook_id: str, request: PageRequest) -> Page[Delivery]:
    """The tries of a webhook that are kept, newest first; the token is a key."""
    if request.token and (not request.token.isalnum() or len(request.token) > 40):
        raise Invalid("the token is none of this list", hint="start again without a token", where="token")
    start = f"{webhook_id}/"
    end = f"{start}{request.token}" if request.token else f"{webhook_id}{_BEHIND}"
    with ctx.read() as tx:
        found = tx.documents.all(ctx.space, _LOG, start=start, end=end)
    newest = list(found.items())[::-1]
    items = tuple(msgspec.convert(body, Delivery) for _, body in newest[: request.limit])
    more = len(newest) > request.limit
    return Page(items=items, next_token=newest[request.limit - 1][0].rpartition("/")[2] if more else "")
