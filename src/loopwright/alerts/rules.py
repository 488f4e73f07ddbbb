"""What a webhook may be called and told, how what is told is signed, and which failures pass. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import uuid
from collections.abc import Sequence

from loopwright.alerts.nouns import EVENTS, Happening
from loopwright.core.errors import Invalid

__all__ = ["check_events", "check_name", "check_secret", "delivery_id", "headers_of", "is_passing", "letter"]

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?\Z", re.IGNORECASE)
_SPACE = uuid.UUID("5e0c3e5e-6a52-5c55-9a0b-0d6a3a1f7c11")
_MOST_SECRET = 1_000


def check_name(name: str) -> str:
    """The name itself, else `Invalid`."""
    if not _NAME.match(name):
        raise Invalid(
            f"Webhook name {name[:100]!r} is invalid.",
            hint="63 letters, digits, dots, underscores and hyphens at most, a letter or digit at both ends",
            where="name",
        )
    return name


def check_events(events: Sequence[str]) -> tuple[str, ...]:
    """The events by name, each once; `Invalid` for none, or one that there is not."""
    if not events:
        raise Invalid("Webhook events must be a non-empty list", hint="name one event at least")
    for event in events:
        if event not in EVENTS:
            raise Invalid(f"there is no event {event[:100]!r}", hint=f"the events are {', '.join(EVENTS)}")
    return tuple(sorted(set(events)))


def check_secret(secret: str) -> str:
    """The secret itself, else `Invalid`, which does not tell it."""
    if len(secret) > _MOST_SECRET:
        raise Invalid(f"the secret has more than {_MOST_SECRET} characters", hint="take a shorter one")
    return secret


def letter(happening: Happening) -> bytes:
    """What is posted: the same bytes at every try."""
    entity, _, action = happening.event.partition(".")
    told = {
        "entity": entity,
        "action": action,
        "timestamp": happening.at.isoformat(),
        "data": happening.data,
    }
    return json.dumps(told).encode()


def delivery_id(source: str, webhook_id: str) -> str:
    """The id of telling one webhook of one thing, the same at every try: a receiver takes it once."""
    return str(uuid.uuid5(_SPACE, f"{source}/{webhook_id}"))


def headers_of(body: bytes, *, delivery: str, at_s: int, secret: str) -> tuple[tuple[str, str], ...]:
    """The headers of a post: id, instant, and where there is a secret its HMAC-SHA256 over all three."""
    headers = [
        ("Content-Type", "application/json"),
        ("X-MLflow-Delivery-Id", delivery),
        ("X-MLflow-Timestamp", str(at_s)),
    ]
    if secret:
        signed = b"%s.%d.%s" % (delivery.encode(), at_s, body)
        digest = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
        headers.append(("X-MLflow-Signature", f"v1,{base64.b64encode(digest).decode()}"))
    return tuple(headers)


def is_passing(status: int) -> bool:
    """Whether an answer tells to come again later."""
    return status in {408, 425, 429} or status >= 500
