"""MLflow's calls about webhooks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from loopwright.alerts import verbs
from loopwright.alerts.nouns import Webhook, WebhookStatus
from loopwright.core.errors import Invalid
from loopwright.core.instants import to_micros
from loopwright.engine.context import Context
from loopwright.surfaces.mlflow.routing import Route
from loopwright.surfaces.mlflow.wire import Int64, Message, Needed
from loopwright.tracking.limits import check_size

__all__ = ["routes"]

_READ, _WRITE = "webhook:read", "webhook:write"
_VERSIONS = ("2.0",)
_MOST = 1_000


class Event(msgspec.Struct, frozen=True):
    """Something that is told: a thing and what happened to it, in capitals on the wire."""

    entity: Needed
    action: Needed


class OfWebhook(Message, frozen=True):
    """A webhook by its id."""

    webhook_id: Needed


class NewWebhook(Message, frozen=True):
    """A webhook to be made."""

    name: Needed
    url: Needed
    events: list[Event] = []
    description: str = ""
    secret: str = ""
    status: str = ""


class Change(OfWebhook, frozen=True):
    """What becomes different of a webhook."""

    name: str = ""
    url: str = ""
    events: list[Event] = []
    description: str | None = None
    secret: str | None = None
    status: str = ""


class Seek(Message, frozen=True):
    """A page of webhooks."""

    max_results: Int64 = 100
    page_token: str = ""


class Trial(OfWebhook, frozen=True):
    """A test, of one of its events."""

    event: Event | None = None


class Shown(Message, frozen=True, kw_only=True):
    """A webhook as it is told: never with its secret."""

    webhook_id: str
    name: str
    description: str = ""
    url: str
    events: list[Event]
    status: str
    creation_timestamp: int
    last_updated_timestamp: int


class WebhookReply(Message, frozen=True):
    """One webhook."""

    webhook: Shown


class WebhooksReply(Message, frozen=True):
    """A page of webhooks."""

    webhooks: list[Shown] = []
    next_page_token: str = ""


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of a test."""

    success: bool
    response_status: int | None = None
    response_body: str | None = None
    error_message: str | None = None


class ResultReply(Message, frozen=True):
    """What came of a test."""

    result: Result


def routes() -> tuple[Route, ...]:
    """All routes of webhooks."""
    return tuple(_routes())


def _routes() -> Iterable[Route]:
    one = "webhooks/{webhook_id}"
    yield _route("POST", "webhooks", _WRITE, NewWebhook, _create)
    yield _route("GET", "webhooks", _READ, Seek, _list)
    yield _route("GET", one, _READ, OfWebhook, _get)
    yield _route("PATCH", one, _WRITE, Change, _update)
    yield _route("DELETE", one, _WRITE, OfWebhook, _delete)
    yield _route("POST", f"{one}/test", _WRITE, Trial, _test)


def _route(method: str, path: str, scope: str, takes: type[Message], answer: Any) -> Route:
    return Route(method=method, path=path, scope=scope, takes=takes, answer=answer, versions=_VERSIONS)


def _create(ctx: Context, asked: NewWebhook) -> WebhookReply:
    made = verbs.create(
        ctx,
        asked.name,
        asked.url,
        _events(asked.events),
        description=asked.description,
        secret=asked.secret,
        status=_status(asked.status) or WebhookStatus.ACTIVE,
    )
    return WebhookReply(webhook=_shown(made))


def _list(ctx: Context, asked: Seek) -> WebhooksReply:
    limit = check_size(asked.max_results, _MOST)
    found = verbs.webhooks(ctx, limit=limit, token=asked.page_token)
    return WebhooksReply(webhooks=[_shown(each) for each in found.items], next_page_token=found.next_token)


def _get(ctx: Context, asked: OfWebhook) -> WebhookReply:
    return WebhookReply(webhook=_shown(verbs.show(ctx, asked.webhook_id)))


def _update(ctx: Context, asked: Change) -> WebhookReply:
    changed = verbs.update(
        ctx,
        asked.webhook_id,
        name=asked.name or None,
        address=asked.url or None,
        events=_events(asked.events) or None,
        description=asked.description,
        secret=asked.secret,
        status=_status(asked.status),
    )
    return WebhookReply(webhook=_shown(changed))


def _delete(ctx: Context, asked: OfWebhook) -> None:
    verbs.delete(ctx, asked.webhook_id)


def _test(ctx: Context, asked: Trial) -> ResultReply:
    event = None if asked.event is None else _events([asked.event])[0]
    done = verbs.try_webhook(ctx, asked.webhook_id, event=event)
    if done.receipt is None:
        return ResultReply(result=Result(False, error_message=done.error))
    return ResultReply(result=Result(done.ok, done.receipt.status, done.receipt.body))


def _events(given: Iterable[Event]) -> tuple[str, ...]:
    return tuple(f"{each.entity}.{each.action}".lower() for each in given)


def _status(text: str) -> WebhookStatus | None:
    if not text:
        return None
    try:
        return WebhookStatus(text.lower())
    except ValueError as error:
        raise Invalid(f"Invalid status: {text[:100]}", hint="write ACTIVE or DISABLED") from error


def _shown(found: Webhook) -> Shown:
    return Shown(
        webhook_id=found.id,
        name=found.name,
        description=found.description,
        url=found.url,
        events=[Event(*each.upper().split(".")) for each in found.events],
        status=found.status.upper(),
        creation_timestamp=to_micros(found.created_at) // 1000,
        last_updated_timestamp=to_micros(found.updated_at) // 1000,
    )
